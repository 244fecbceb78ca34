//! What users write, the short way: `-v SRC:DST:OPTIONS`.
//!
//! Parsing says what is wished for and touches nothing. Where a named volume lies is a question for whoever keeps volumes;
//! with its directory the wish becomes a [`Mount`].

use std::path::{Path, PathBuf, absolute};
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail, ensure};
use namespaces::spelling::did_you_mean;
use rustix::mount::MountAttrFlags;

use crate::in_root::clean;
use crate::mount::{Generic, Mount, MountSource, generic_option};
use crate::propagation::Propagation;
use crate::sys::Reach;

/// A directory or file that outlives the container, and where it is wanted inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Whose.
    pub source: VolumeSource,
    /// A path inside the source, if not all of it is wanted.
    pub subpath: PathBuf,
    /// Where inside: absolute, clean.
    pub destination: PathBuf,
    /// `ro`, `nosuid`, `nodev`, `noexec`.
    pub attributes: MountAttrFlags,
    /// Whether they hold for what is mounted below the source as well.
    pub reach: Reach,
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
    /// Whether owners are shown by the maps of the container's user namespace.
    pub idmap: bool,
    /// Labels for a volume that is made for this, `KEY=VALUE`.
    pub labels: Vec<String>,
    /// The options as they were written, for whoever asks later.
    pub mode: String,
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
    /// A volume of `source` on `destination`, readable and writable, with nothing special about it.
    pub fn new(source: VolumeSource, destination: &str) -> Result<Self> {
        Ok(Self {
            source,
            subpath: PathBuf::new(),
            destination: destination_of(destination)?,
            attributes: MountAttrFlags::empty(),
            reach: Reach::Tree,
            propagation: Propagation::Private,
            recursive: true,
            create: false,
            copy: true,
            relabel: false,
            idmap: false,
            labels: Vec::new(),
            mode: String::new(),
        })
    }

    /// The mount of this volume, which lies at `path` on the host.
    pub fn mount(&self, path: impl Into<PathBuf>) -> Mount {
        let source = MountSource::Bind {
            path: path.into(),
            below: self.subpath.clone(),
            recursive: self.recursive,
            create: self.create,
        };
        let mut mount = Mount::new(source, &self.destination);
        mount.attributes = self.attributes;
        mount.reach = self.reach;
        mount.propagation = self.propagation;
        mount.idmap = self.idmap;
        mount
    }

    /// The options of `-v`. Of each group no more than one may be given, as in Docker: of `ro,rw` nobody knows what was meant.
    fn set_options(&mut self, options: &str) -> Result<()> {
        let mut given: Vec<(Group, &str)> = Vec::new();
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let group = self.set_option(option)?;
            let before = given.iter().find(|(other, _)| *other == group && group != Group::Any);
            if let Some((_, before)) = before {
                bail!("invalid mode: {options} ({before} and {option} contradict each other)");
            }
            given.push((group, option));
        }
        self.mode = options.to_owned();
        Ok(())
    }

    fn set_option(&mut self, option: &str) -> Result<Group> {
        let host = matches!(self.source, VolumeSource::Host(_));
        const RO: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;
        match generic_option(option) {
            Some(Generic::Set(attribute)) => {
                self.attributes |= attribute;
                return Ok(if attribute == RO { Group::Mode } else { Group::Any });
            }
            Some(Generic::Clear(attribute)) => {
                self.attributes -= attribute;
                return Ok(if attribute == RO { Group::Mode } else { Group::Any });
            }
            Some(Generic::Propagation(propagation)) if host => {
                self.propagation = propagation;
                return Ok(Group::Propagation);
            }
            Some(Generic::IdMap) => self.idmap = true,
            None if option == "nocopy" && !host => self.copy = false,
            None if option == "z" || option == "Z" => {
                self.relabel = true;
                return Ok(Group::Label);
            }
            // What they ask for is so on Linux anyway.
            None if matches!(option, "cached" | "delegated" | "consistent") => return Ok(Group::Consistency),
            Some(Generic::Propagation(_)) => {
                bail!(
                    "invalid mode: {option} (nothing is ever mounted inside a volume of the engine's, so nothing spreads)"
                )
            }
            _ if option == "nocopy" => {
                bail!("invalid mode: nocopy (nothing is ever copied into a directory of the host)")
            }
            _ => {
                let hint = did_you_mean(option, OPTIONS.into_iter());
                let hint = if hint.is_empty() { format!(" (known: {})", OPTIONS.join(", ")) } else { hint };
                bail!("invalid mode: {option}{hint}")
            }
        }
        Ok(Group::Any)
    }
}

/// What `-v` knows, for the error that lists it.
const OPTIONS: [&str; 14] = [
    "ro", "rw", "z", "Z", "nosuid", "nodev", "noexec", "rprivate", "rslave", "rshared", "private", "slave", "shared",
    "nocopy",
];

/// Options that exclude each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Mode,
    Label,
    Propagation,
    Consistency,
    Any,
}

/// `-v`: `SRC:DST[:OPTIONS]`, or `DST` alone for an anonymous volume.
///
/// `SRC` is a path of the host if it begins with `/` or `.`, else the name of a volume.
impl FromStr for Volume {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        ensure!(!parts.contains(&""), "invalid spec: {text:?}: empty section between colons");
        let (mut volume, options) = match parts[..] {
            [destination] => (Self::new(VolumeSource::Anonymous, destination)?, ""),
            [source, destination] => (Self::new(source_of(source)?, destination)?, ""),
            [source, destination, options] => (Self::new(source_of(source)?, destination)?, options),
            _ => bail!("too many colons (expected SRC:DST[:OPTIONS]; for a path with a colon use --mount)"),
        };
        volume.create = matches!(volume.source, VolumeSource::Host(_));
        volume.set_options(options)?;
        Ok(volume)
    }
}

fn source_of(source: &str) -> Result<VolumeSource> {
    if source.starts_with(['/', '.']) {
        return host_path(source);
    }
    ensure!(
        !source.contains('/'),
        "{source:?} is no name for a volume; if a path of the host is meant, write it as /… or ./{source}"
    );
    named(source)
}

/// A path of the host. A relative one counts from where we are and must say so: `./x`.
pub(crate) fn host_path(source: &str) -> Result<VolumeSource> {
    ensure!(source.starts_with(['/', '.']), "the source {source:?} is not an absolute path (or write ./{source})");
    Ok(VolumeSource::Host(absolute(source).with_context(|| format!("find out where {source} is"))?))
}

/// A volume's name, checked: it becomes the name of a directory.
pub fn named(name: &str) -> Result<VolumeSource> {
    let valid = (2..=255).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    ensure!(
        valid,
        "{name:?} is no name for a volume: two to 255 of a-z A-Z 0-9 _ . -, the first a letter or a digit \
         (a directory of the host is written /… or ./…)"
    );
    Ok(VolumeSource::Named(name.to_owned()))
}

pub(crate) fn destination_of(destination: &str) -> Result<PathBuf> {
    let path = Path::new(destination);
    ensure!(path.is_absolute(), "the destination {destination:?} is not an absolute path");
    ensure!(!destination.contains('\0'), "a NUL byte in the destination");
    let path = clean(path);
    ensure!(path != Path::new("/"), "invalid specification: the destination must not be /");
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RO: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

    fn volume(text: &str) -> Volume {
        text.parse().unwrap()
    }

    fn refusal(text: &str) -> String {
        text.parse::<Volume>().unwrap_err().to_string()
    }

    #[test]
    fn the_three_sources_of_v() {
        assert_eq!(volume("/srv:/data").source, VolumeSource::Host("/srv".into()));
        assert_eq!(volume("/srv:/data//x/").destination, Path::new("/data/x"));
        assert_eq!(volume("data:/data").source, VolumeSource::Named("data".into()));
        assert_eq!(volume("/data").source, VolumeSource::Anonymous);
        let here = std::env::current_dir().unwrap();
        assert_eq!(volume("./x:/data").source, VolumeSource::Host(here.join("x")));
        assert_eq!(volume(".x:/data").source, VolumeSource::Host(here.join(".x")));
        assert_eq!(volume(".:/data").source, VolumeSource::Host(here));
    }

    #[test]
    fn options_of_v() {
        let read_only = volume("/srv:/data:ro,z,rslave");
        assert_eq!((read_only.attributes, read_only.propagation, read_only.relabel), (RO, Propagation::Slave, true));
        assert_eq!((read_only.reach, read_only.mode.as_str()), (Reach::Tree, "ro,z,rslave"));
        assert_eq!(volume("/srv:/data:rw,nodev").attributes, MountAttrFlags::MOUNT_ATTR_NODEV);
        assert!(volume("/srv:/data").create);
        assert!(!volume("data:/data:nocopy").copy);
        assert!(volume("/srv:/data:idmap").idmap && volume("data:/data:idmap").idmap);
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
            "/srv::ro",
            "a/b:/data",
            "/srv:/data:bogus",
            "data:/data:rslave",
            "/srv:/data:nocopy",
            "x:/data",
            "-x:/data",
            "/srv:/x/..",
            "/data:ro",
            "/srv:/data:",
        ];
        for text in wrong {
            assert!(text.parse::<Volume>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn contradictions_and_slips_are_named() {
        for contradiction in ["ro,rw", "ro,ro", "z,Z", "rslave,rshared", "cached,delegated"] {
            let said = refusal(&format!("/srv:/data:{contradiction}"));
            assert!(said.contains("contradict"), "{said}");
        }
        assert!(refusal("/srv:/data:rsalve").contains("did you mean rslave?"));
        assert!(refusal("/srv:/data:magnificent").contains("known: ro, rw"));
        assert!(refusal("dta/x:/data").contains("./dta/x"));
    }
}
