//! What users write, the short way: `-v SRC:DST:OPTIONS` and `--tmpfs DST:OPTIONS`.
//!
//! Parsing says what is wished for and touches nothing. Where a named volume lies is a question for whoever keeps volumes;
//! with its directory the wish becomes a [`Mount`].

use std::path::{Path, PathBuf, absolute};
use std::str::FromStr;

use anyhow::{Error, Result, bail, ensure};
use rustix::mount::MountAttrFlags;

use crate::in_root::clean;
use crate::mount::{Generic, Mount, MountSource, Propagation, generic_option};

/// A directory or file that outlives the container, and where it is wanted inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Whose.
    pub source: VolumeSource,
    /// Where inside: absolute, clean.
    pub destination: PathBuf,
    /// `ro`, `nosuid`, `nodev`, `noexec`; for the whole tree.
    pub attributes: MountAttrFlags,
    /// How later mounts spread.
    pub propagation: Propagation,
    /// Whether what is mounted below the source comes along.
    pub recursive: bool,
    /// Whether a missing host directory is made.
    pub create: bool,
    /// Whether a new, empty named or anonymous volume is first filled with what the image has at the destination.
    pub copy: bool,
    /// `z`, `Z`: wants the source relabelled for SELinux.
    pub relabel: bool,
}

/// Whose files a volume holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSource {
    /// The host's, at this path.
    Host(PathBuf),
    /// Those of a volume that the engine keeps under this name.
    Named(String),
    /// Those of a volume that the engine makes for this container only.
    Anonymous,
}

impl Volume {
    pub(crate) fn new(source: VolumeSource, destination: &str) -> Result<Self> {
        Ok(Self {
            source,
            destination: destination_of(destination)?,
            attributes: MountAttrFlags::empty(),
            propagation: Propagation::Private,
            recursive: true,
            create: false,
            copy: true,
            relabel: false,
        })
    }

    /// The mount of this volume, which lies at `path` on the host.
    pub fn mount(&self, path: impl Into<PathBuf>) -> Mount {
        let source = MountSource::Bind { path: path.into(), recursive: self.recursive, create: self.create };
        let mut mount = Mount::new(source, &self.destination);
        mount.attributes = self.attributes;
        mount.propagation = self.propagation;
        mount
    }

    fn set_option(&mut self, option: &str) -> Result<()> {
        let host = matches!(self.source, VolumeSource::Host(_));
        match generic_option(option) {
            Some(Generic::Set(attribute)) => self.attributes |= attribute,
            Some(Generic::Clear(attribute)) => self.attributes -= attribute,
            Some(Generic::Propagation(propagation)) if host => self.propagation = propagation,
            None if option == "nocopy" && !host => self.copy = false,
            None if option == "z" || option == "Z" => self.relabel = true,
            // What they ask for is so on Linux anyway.
            None if matches!(option, "cached" | "delegated" | "consistent") => {}
            _ => bail!(
                "invalid mode: {option} (known: ro, rw, z, Z, nosuid, nodev, noexec, rprivate, rslave, rshared, nocopy)"
            ),
        }
        Ok(())
    }
}

/// `-v`: `SRC:DST[:OPTIONS]`, or `DST` alone for an anonymous volume.
///
/// `SRC` is a path of the host if it begins with `/` or `.`, else the name of a volume.
impl FromStr for Volume {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (mut volume, options) = match parts[..] {
            [destination] => (Self::new(VolumeSource::Anonymous, destination)?, ""),
            [source, destination] => (Self::new(source_of(source)?, destination)?, ""),
            [source, destination, options] => (Self::new(source_of(source)?, destination)?, options),
            _ => bail!("too many colons (expected SRC:DST[:OPTIONS]; for a path with a colon use --mount)"),
        };
        volume.create = matches!(volume.source, VolumeSource::Host(_));
        for option in options.split(',').filter(|option| !option.is_empty()) {
            volume.set_option(option)?;
        }
        Ok(volume)
    }
}

/// `--tmpfs`: `DST[:OPTIONS]`, with the options of `tmpfs(5)` and Docker's defaults `noexec,nosuid,nodev`.
pub fn parse_tmpfs(text: &str) -> Result<Mount> {
    let (destination, options) = text.split_once(':').unwrap_or((text, ""));
    let mut mount = tmpfs(destination)?;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let key = option.split('=').next().unwrap_or(option);
        let known = matches!(key, "size" | "mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks" | "mpol" | "huge");
        ensure!(known || generic_option(option).is_some(), "invalid tmpfs option {option:?}");
        mount.set_options([option]);
    }
    Ok(mount)
}

/// A tmpfs with Docker's defaults.
pub(crate) fn tmpfs(destination: &str) -> Result<Mount> {
    let mut mount = Mount::new(MountSource::Tmpfs, destination_of(destination)?);
    mount.set_options(["noexec", "nosuid", "nodev"]);
    Ok(mount)
}

fn source_of(source: &str) -> Result<VolumeSource> {
    let relative = matches!(source, "." | "..") || source.starts_with("./") || source.starts_with("../");
    if source.starts_with('/') || relative {
        return Ok(VolumeSource::Host(absolute(source)?));
    }
    ensure!(!source.is_empty(), "the source is empty");
    ensure!(
        !source.contains('/'),
        "{source:?} is no name for a volume; if a path of the host is meant, write it as /… or ./{source}"
    );
    named(source)
}

/// A volume's name, checked: it becomes the name of a directory.
pub(crate) fn named(name: &str) -> Result<VolumeSource> {
    let valid = name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    ensure!(valid, "{name:?} is no name for a volume: two or more of a-z A-Z 0-9 _ . -, the first a letter or a digit");
    Ok(VolumeSource::Named(name.to_owned()))
}

fn destination_of(destination: &str) -> Result<PathBuf> {
    let path = Path::new(destination);
    ensure!(path.is_absolute(), "the destination {destination:?} is not an absolute path");
    let path = clean(path);
    ensure!(path != Path::new("/"), "the destination must not be /");
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RO: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

    fn volume(text: &str) -> Volume {
        text.parse().unwrap()
    }

    #[test]
    fn the_three_sources_of_v() {
        assert_eq!(volume("/srv:/data").source, VolumeSource::Host("/srv".into()));
        assert_eq!(volume("/srv:/data//x/").destination, Path::new("/data/x"));
        assert_eq!(volume("data:/data").source, VolumeSource::Named("data".into()));
        assert_eq!(volume("/data").source, VolumeSource::Anonymous);
        let here = std::env::current_dir().unwrap();
        assert_eq!(volume("./x:/data").source, VolumeSource::Host(here.join("x")));
        assert_eq!(volume(".:/data").source, VolumeSource::Host(here));
    }

    #[test]
    fn options_of_v() {
        let read_only = volume("/srv:/data:ro,z,rslave");
        assert_eq!((read_only.attributes, read_only.propagation, read_only.relabel), (RO, Propagation::Slave, true));
        assert_eq!(volume("/srv:/data:ro,rw").attributes, MountAttrFlags::empty());
        assert!(volume("/srv:/data").create);
        assert!(!volume("data:/data:nocopy").copy);
    }

    #[test]
    fn what_v_refuses() {
        let wrong = [
            "",
            ":",
            "data",
            "/srv:data",
            "/srv:/",
            "/srv:/data:ro:x",
            ":/data",
            "a/b:/data",
            "/srv:/data:bogus",
            "data:/data:rslave",
            "/srv:/data:nocopy",
            "x:/data",
            "-x:/data",
            "/srv:/x/..",
        ];
        for text in wrong {
            assert!(text.parse::<Volume>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn tmpfs_has_safe_defaults() {
        let mount = parse_tmpfs("/run").unwrap();
        let safe =
            MountAttrFlags::MOUNT_ATTR_NOEXEC | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        assert_eq!(mount.attributes, safe);
        let mount = parse_tmpfs("/run:exec,size=64m,mode=700").unwrap();
        assert_eq!(mount.attributes, safe - MountAttrFlags::MOUNT_ATTR_NOEXEC);
        assert_eq!(mount.data, ["size=64m", "mode=700"]);
        assert!(parse_tmpfs("/run:loop=1").is_err());
        assert!(parse_tmpfs("run").is_err());
    }
}
