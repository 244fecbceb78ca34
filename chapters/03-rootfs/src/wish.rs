//! What users write, the long way: `--mount type=bind,src=/srv,dst=/data,readonly`.

use std::path::absolute;
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail, ensure};
use rustix::mount::MountAttrFlags;

use crate::mount::{Generic, Mount, generic_option};
use crate::volume::{Volume, VolumeSource, named, tmpfs};

/// What `--mount` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountWish {
    /// `type=bind` or `type=volume`.
    Volume(Volume),
    /// `type=tmpfs`.
    Tmpfs(Mount),
}

/// `--mount`: `type=bind,src=/srv,dst=/data,readonly` and the like, comma-separated, quotes around a field with a comma.
impl FromStr for MountWish {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut fields = Vec::new();
        for field in csv(text)? {
            let (key, value) = field.split_once('=').map_or((field.as_str(), None), |(k, v)| (k, Some(v.to_owned())));
            fields.push((key.to_ascii_lowercase(), value));
        }
        let take = |names: &[&str]| {
            let found = fields.iter().rev().find(|(key, _)| names.contains(&key.as_str()));
            found.and_then(|(_, value)| value.clone())
        };
        let kind = take(&["type"]).unwrap_or_else(|| "volume".to_owned());
        let source = take(&["source", "src"]);
        let destination = take(&["destination", "dst", "target"]).context("the destination is missing (dst=/PATH)")?;
        let mut wish = match (kind.as_str(), source) {
            ("bind", Some(source)) => Self::Volume(Volume::new(VolumeSource::Host(absolute(source)?), &destination)?),
            ("bind", None) => bail!("a bind needs a source (src=/PATH)"),
            ("volume", Some(name)) => Self::Volume(Volume::new(named(&name)?, &destination)?),
            ("volume", None) => Self::Volume(Volume::new(VolumeSource::Anonymous, &destination)?),
            ("tmpfs", None) => Self::Tmpfs(tmpfs(&destination)?),
            ("tmpfs", Some(_)) => bail!("a tmpfs has no source"),
            _ => bail!("type {kind:?} is not supported (known: bind, volume, tmpfs)"),
        };
        for (key, value) in &fields {
            wish.set_field(key, value.as_deref()).with_context(|| format!("field {key:?}"))?;
        }
        Ok(wish)
    }
}

impl MountWish {
    fn set_field(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        let needed = || value.context("needs a value");
        match (key, self) {
            ("type" | "source" | "src" | "destination" | "dst" | "target" | "consistency", _) => {}
            ("readonly" | "ro", Self::Volume(Volume { attributes, .. }) | Self::Tmpfs(Mount { attributes, .. })) => {
                attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, truth(value)?);
            }
            ("bind-propagation", Self::Volume(volume)) => match generic_option(needed()?) {
                Some(Generic::Propagation(propagation)) => volume.propagation = propagation,
                _ => bail!("invalid propagation (known: rprivate, rslave, rshared)"),
            },
            ("bind-recursive", Self::Volume(volume)) => match needed()? {
                "enabled" | "readonly" => volume.recursive = true,
                "disabled" => volume.recursive = false,
                other => bail!("{other:?} is not supported (known: enabled, disabled, readonly)"),
            },
            ("bind-create-src", Self::Volume(volume)) => volume.create = truth(value)?,
            ("volume-nocopy", Self::Volume(volume)) => volume.copy = !truth(value)?,
            ("volume-driver", Self::Volume(_)) => ensure!(needed()? == "local", "the only volume driver is local"),
            ("tmpfs-size", Self::Tmpfs(mount)) => mount.data.push(format!("size={}", needed()?)),
            ("tmpfs-mode", Self::Tmpfs(mount)) => mount.data.push(format!("mode={}", needed()?)),
            _ => bail!("unknown, or not for this type of mount"),
        }
        Ok(())
    }
}

/// The value of a flag that may stand alone: `readonly`, `readonly=true`.
fn truth(value: Option<&str>) -> Result<bool> {
    match value {
        None | Some("1" | "t" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => bail!("{other:?} is neither true nor false"),
    }
}

/// Splits at commas outside of double quotes; a doubled quote inside of them is one quote (RFC 4180).
fn csv(text: &str) -> Result<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let field = fields.last_mut().context("no field")?;
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    ensure!(!quoted, "a quote is not closed");
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RO: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

    #[test]
    fn mount_in_long_form() {
        let wish: MountWish = r#"type=bind,"src=/a,b",target=/data,readonly"#.parse().unwrap();
        let MountWish::Volume(volume) = wish else { panic!("not a volume") };
        assert_eq!(volume.source, VolumeSource::Host("/a,b".into()));
        assert_eq!((volume.attributes, volume.create), (RO, false));
        let wish: MountWish = "type=tmpfs,dst=/run,tmpfs-size=1m".parse().unwrap();
        let MountWish::Tmpfs(mount) = wish else { panic!("not a tmpfs") };
        assert_eq!(mount.data, ["size=1m"]);
        let wish: MountWish = "src=db,dst=/data,volume-nocopy".parse().unwrap();
        let MountWish::Volume(volume) = wish else { panic!("not a volume") };
        assert_eq!((volume.source, volume.copy), (VolumeSource::Named("db".into()), false));
    }

    #[test]
    fn what_mount_refuses() {
        let wrong = [
            "",
            "type=bind,dst=/x",
            "type=bind,src=/a",
            "type=nfs,dst=/x",
            "type=tmpfs,src=/a,dst=/x",
            "type=tmpfs,dst=/x,bind-propagation=rslave",
            "type=bind,src=/a,dst=/x,readonly=perhaps",
            "type=bind,src=/a,dst=/x,\"",
            "type=bind,src=/a,dst=/x,bogus=1",
            "type=bind,src=/a,dst=/x,tmpfs-size=1",
        ];
        for text in wrong {
            assert!(text.parse::<MountWish>().is_err(), "{text:?}");
        }
    }
}
