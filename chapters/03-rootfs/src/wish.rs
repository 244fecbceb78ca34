//! What users write, the long way: `--mount type=bind,src=/srv,dst=/data,readonly`.

use std::path::{Component, Path};
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail, ensure};
use cgroups::parse_bytes;
use namespaces::spelling::did_you_mean;
use rustix::mount::MountAttrFlags;

use crate::mount::{Generic, Mount, generic_option};
use crate::propagation::Propagation;
use crate::sys::Reach;
use crate::tmpfs::tmpfs;
use crate::volume::{Volume, VolumeSource, host_path, named};

/// What `--mount` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountWish {
    /// `type=bind` or `type=volume`.
    Volume(Volume),
    /// `type=tmpfs`.
    Tmpfs(Mount),
}

/// The keys that every type has.
const COMMON: [&str; 9] = ["type", "source", "src", "destination", "dst", "target", "readonly", "ro", "consistency"];
/// Those that one type has.
const OWN: [&str; 12] = [
    "bind-propagation",
    "bind-recursive",
    "bind-nonrecursive",
    "bind-create-src",
    "idmap",
    "volume-nocopy",
    "volume-label",
    "volume-driver",
    "volume-opt",
    "volume-subpath",
    "tmpfs-size",
    "tmpfs-mode",
];
/// Keys that may stand without a value.
const FLAGS: [&str; 6] = ["readonly", "ro", "idmap", "volume-nocopy", "bind-nonrecursive", "bind-create-src"];

/// `--mount`: `type=bind,src=/srv,dst=/data,readonly` and the like: one line of CSV (RFC 4180), whose fields are `key=value`.
/// A field with a comma is quoted as a whole: `"src=/a,b"`.
impl FromStr for MountWish {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut fields = Vec::new();
        for field in csv(text)? {
            let (key, value) = field.split_once('=').map_or((field.as_str(), None), |(k, v)| (k, Some(v.to_owned())));
            let key = key.to_ascii_lowercase();
            let known = COMMON.contains(&key.as_str()) || OWN.contains(&key.as_str());
            ensure!(known, "unexpected key {key:?} in {text:?}{}", did_you_mean(&key, COMMON.into_iter().chain(OWN)));
            ensure!(
                value.is_some() || FLAGS.contains(&key.as_str()),
                "invalid field {field:?}: it must be a key=value pair"
            );
            fields.push((key, value));
        }
        let take = |names: &[&str]| {
            let found = fields.iter().rev().find(|(key, _)| names.contains(&key.as_str()));
            found.and_then(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        let kind = take(&["type"]).unwrap_or_else(|| "volume".to_owned());
        let source = take(&["source", "src"]);
        let destination = take(&["destination", "dst", "target"]).context("the target is required (dst=/PATH)")?;
        let mut wish = match (kind.as_str(), source) {
            ("bind", Some(source)) => Self::Volume(Volume::new(host_path(&source)?, &destination)?),
            ("bind", None) => bail!("a bind needs a source (src=/PATH)"),
            ("volume", Some(name)) => Self::Volume(Volume::new(named(&name)?, &destination)?),
            ("volume", None) => Self::Volume(Volume::new(VolumeSource::Anonymous, &destination)?),
            ("tmpfs", None) => Self::Tmpfs(tmpfs(&destination)?),
            ("tmpfs", Some(_)) => bail!("a tmpfs has no source"),
            _ => bail!(
                "type {kind:?} is not supported{}",
                match did_you_mean(&kind, ["bind", "volume", "tmpfs"].into_iter()) {
                    none if none.is_empty() => " (known: bind, volume, tmpfs)".to_owned(),
                    near => near,
                }
            ),
        };
        for (key, value) in &fields {
            ensure!(
                COMMON.contains(&key.as_str()) || wish.takes(key),
                "cannot mix {:?} options with mount type {kind:?}: {key}",
                key.split('-').next().unwrap_or(key)
            );
            wish.set_field(key, value.as_deref()).with_context(|| format!("field {key:?}"))?;
        }
        wish.check(take(&["bind-recursive"]).as_deref())?;
        Ok(wish)
    }
}

impl MountWish {
    /// Whether a key that is not of all types is for this one.
    fn takes(&self, key: &str) -> bool {
        match self {
            Self::Tmpfs(_) => key.starts_with("tmpfs-"),
            Self::Volume(Volume { source: VolumeSource::Host(_), .. }) => key.starts_with("bind-") || key == "idmap",
            Self::Volume(_) => key.starts_with("volume-") || key == "idmap",
        }
    }

    fn set_field(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        let needed = || value.context("needs a value");
        match (key, self) {
            ("readonly" | "ro", Self::Volume(Volume { attributes, .. }) | Self::Tmpfs(Mount { attributes, .. })) => {
                attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, truth(value)?);
            }
            ("bind-propagation", Self::Volume(volume)) => match generic_option(needed()?) {
                Some(Generic::Propagation(propagation)) => volume.propagation = propagation,
                _ => bail!("invalid propagation (known: rprivate, rslave, rshared, private, slave, shared)"),
            },
            ("bind-recursive", Self::Volume(volume)) => match needed()? {
                "enabled" | "readonly" => (volume.recursive, volume.reach) = (true, Reach::Tree),
                "writable" => (volume.recursive, volume.reach) = (true, Reach::Mount),
                "disabled" => volume.recursive = false,
                other => bail!("{other:?} is not supported (known: enabled, disabled, writable, readonly)"),
            },
            ("bind-nonrecursive", Self::Volume(volume)) => volume.recursive = !truth(value)?,
            ("bind-create-src", Self::Volume(volume)) => volume.create = truth(value)?,
            ("idmap", Self::Volume(volume)) => volume.idmap = truth(value)?,
            ("volume-nocopy", Self::Volume(volume)) => volume.copy = !truth(value)?,
            ("volume-label", Self::Volume(volume)) => volume.labels.push(needed()?.to_owned()),
            ("volume-driver", Self::Volume(_)) => {
                ensure!(matches!(needed()?, "local" | ""), "the only volume driver is local");
            }
            ("volume-opt", Self::Volume(_)) => bail!("a volume with options is made before: volume create -o …"),
            ("volume-subpath", Self::Volume(volume)) => volume.subpath = subpath(needed()?)?.to_owned(),
            ("tmpfs-size", Self::Tmpfs(mount)) => mount.data.push(format!("size={}", parse_bytes(needed()?)?)),
            ("tmpfs-mode", Self::Tmpfs(mount)) => mount.data.push(format!("mode={:o}", octal(needed()?)?)),
            _ => {} // read before: type, source, destination; without a meaning on Linux: consistency
        }
        Ok(())
    }

    /// Docker's conditions on what is given together.
    fn check(&self, bind_recursive: Option<&str>) -> Result<()> {
        let Self::Volume(volume) = self else { return Ok(()) };
        let read_only = volume.attributes.contains(MountAttrFlags::MOUNT_ATTR_RDONLY);
        match bind_recursive {
            Some("writable" | "readonly") if !read_only => {
                bail!("bind-recursive={} says how far readonly goes, which is not given", bind_recursive.unwrap_or(""))
            }
            // Later mounts of the host would come in as they are there.
            Some("readonly") if volume.propagation != Propagation::Private => {
                bail!(
                    "bind-recursive=readonly cannot be kept with mounts that come later: use bind-propagation=rprivate"
                )
            }
            _ => Ok(()),
        }
    }
}

/// A path inside a volume: relative, and never upwards.
fn subpath(path: &str) -> Result<&Path> {
    let path = Path::new(path);
    let inside = |component| matches!(component, Component::Normal(_) | Component::CurDir);
    ensure!(
        !path.as_os_str().is_empty() && path.components().all(inside),
        "{:?} must be a relative path within the volume",
        path.display().to_string()
    );
    Ok(path)
}

/// Permission bits as `chmod(1)` takes them.
fn octal(text: &str) -> Result<u32> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777 && !text.starts_with('+'));
    mode.with_context(|| format!("{text:?} is no mode (write it in octal, as in 1777)"))
}

/// The value of a flag that may stand alone: `readonly`, `readonly=true`. The spellings are those of Go's `ParseBool`.
fn truth(value: Option<&str>) -> Result<bool> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => bail!("{other:?} is neither true nor false"),
    }
}

/// Splits one line of CSV as RFC 4180 has it: a field that begins with a quote ends with one, and holds commas and, doubled,
/// quotes; a quote elsewhere is an error.
fn csv(text: &str) -> Result<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (field, after) = rest.split_at(end);
                ensure!(!field.contains('"'), "a quote within a field (quote the whole of it: \"src=/a,b\")");
                (field.to_owned(), after)
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// A field after its opening quote, and what stands after the closing one: nothing, or a comma first.
fn quoted_field(text: &str) -> Result<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"').context("a quote is not closed")?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => {
                ensure!(after.is_empty() || after.starts_with(','), "a quoted field goes on after its quote");
                return Ok((field, after));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RO: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

    fn volume(text: &str) -> Volume {
        match text.parse() {
            Ok(MountWish::Volume(volume)) => volume,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn refusal(text: &str) -> String {
        format!("{:#}", text.parse::<MountWish>().unwrap_err())
    }

    #[test]
    fn mount_in_long_form() {
        let bind = volume(r#"type=bind,"src=/a,b",target=/data,readonly"#);
        assert_eq!(bind.source, VolumeSource::Host("/a,b".into()));
        assert_eq!((bind.attributes, bind.create, bind.reach), (RO, false, Reach::Tree));
        let wish: MountWish = "type=tmpfs,dst=/run,tmpfs-size=1m,tmpfs-mode=0700".parse().unwrap();
        let MountWish::Tmpfs(mount) = wish else { panic!("not a tmpfs") };
        assert_eq!(mount.data, ["size=1048576", "mode=700"]);
        let db = volume("src=db,dst=/data,volume-nocopy,volume-label=a=b,volume-subpath=x/y");
        assert_eq!((&db.source, db.copy), (&VolumeSource::Named("db".into()), false));
        assert_eq!((db.labels, db.subpath), (vec!["a=b".to_owned()], "x/y".into()));
        assert_eq!(volume("dst=/data").source, VolumeSource::Anonymous);
        assert_eq!(volume("type=volume,src=,dst=/data").source, VolumeSource::Anonymous);
    }

    #[test]
    fn how_far_a_bind_goes() {
        assert!(!volume("type=bind,src=/a,dst=/x,bind-recursive=disabled").recursive);
        assert!(!volume("type=bind,src=/a,dst=/x,bind-nonrecursive").recursive);
        assert_eq!(volume("type=bind,src=/a,dst=/x,ro,bind-recursive=writable").reach, Reach::Mount);
        assert_eq!(volume("type=bind,src=/a,dst=/x,ro,bind-recursive=readonly").reach, Reach::Tree);
        assert_eq!(volume("type=bind,src=/a,dst=/x,bind-propagation=rslave").propagation, Propagation::Slave);
        assert!(volume("type=bind,src=/a,dst=/x,idmap").idmap);
        assert!(refusal("type=bind,src=/a,dst=/x,bind-recursive=writable").contains("readonly"));
        assert!(
            refusal("type=bind,src=/a,dst=/x,ro,bind-recursive=readonly,bind-propagation=rslave").contains("rprivate")
        );
    }

    #[test]
    fn quotes_are_csvs() {
        assert_eq!(csv(r#""a,""b""",c,"#).unwrap(), [r#"a,"b""#, "c", ""]);
        for wrong in [r#"a"b"#, r#"src="/a,b""#, r#""a"#, r#""a"b"#] {
            assert!(csv(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_mount_refuses() {
        let wrong = [
            "",
            "type=bind,dst=/x",
            "type=bind,src=/a",
            "type=bind,src=a,dst=/x",
            "type=bind,src=/a,dst=x",
            "type=bind,src=/a,dst=/",
            "type=nfs,dst=/x",
            "type=tmpfs,src=/a,dst=/x",
            "type=tmpfs,dst=/x,bind-propagation=rslave",
            "type=tmpfs,dst=/x,tmpfs-size=much",
            "type=tmpfs,dst=/x,tmpfs-mode=9",
            "type=bind,src=/a,dst=/x,readonly=perhaps",
            "type=bind,src=/a,dst=/x,\"",
            "type=bind,src=/a,dst=/x,bogus=1",
            "type=bind,src=/a,dst=/x,tmpfs-size=1",
            "type=bind,src=/a,dst=/x,volume-nocopy",
            "type=bind,src=/a,dst=/x,bind-propagation",
            "src=db,dst=/x,volume-driver=nfs",
            "src=db,dst=/x,volume-subpath=../y",
            "src=db,dst=/x,volume-subpath=/y",
            "src=/db,dst=/x",
        ];
        for text in wrong {
            assert!(text.parse::<MountWish>().is_err(), "{text:?}");
        }
        assert!(refusal("type=bind,sorce=/a,dst=/x").contains("did you mean source?"));
        assert!(refusal("type=bnid,src=/a,dst=/x").contains("did you mean bind?"));
        assert!(refusal("type=bind,src=/a,dst=/x,volume-nocopy").contains("cannot mix"));
    }
}
