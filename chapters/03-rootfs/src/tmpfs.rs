//! What users write: `--tmpfs /run:size=64m,exec`.

use std::str::FromStr;

use anyhow::{Error, Result, ensure};
use namespaces::spelling::did_you_mean;

use crate::mount::{Generic, Mount, MountSource, generic_option};
use crate::volume::destination_of;

/// The options of `tmpfs(5)` that a user may set; each has a value.
const OWN: [&str; 8] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"];
/// Those of any mount, as people write them here.
const GENERIC: [&str; 9] = ["ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "noatime"];

/// `--tmpfs`: the mount, and its options as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tmpfs {
    /// What is mounted.
    pub mount: Mount,
    /// What stands after the colon, as in `size=64m,exec`.
    pub options: String,
}

impl FromStr for Tmpfs {
    type Err = Error;

    fn from_str(text: &str) -> Result<Tmpfs> {
        let options = text.split_once(':').map_or("", |(_, options)| options);
        Ok(Tmpfs { mount: parse_tmpfs(text)?, options: options.to_owned() })
    }
}

/// `--tmpfs`: `DST[:OPTIONS]`, with the options of `tmpfs(5)` and Docker's defaults `noexec,nosuid,nodev`.
pub fn parse_tmpfs(text: &str) -> Result<Mount> {
    let (destination, options) = text.split_once(':').unwrap_or((text, ""));
    let mut mount = tmpfs(destination)?;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        set_option(&mut mount, option)?;
    }
    Ok(mount)
}

/// A tmpfs with Docker's defaults.
pub(crate) fn tmpfs(destination: &str) -> Result<Mount> {
    let mut mount = Mount::new(MountSource::Tmpfs, destination_of(destination)?);
    mount.set_options(["noexec", "nosuid", "nodev"]);
    Ok(mount)
}

fn set_option(mount: &mut Mount, option: &str) -> Result<()> {
    let own = option.split_once('=').is_some_and(|(key, value)| OWN.contains(&key) && !value.is_empty());
    // Nothing that is mounted elsewhere spreads into a new tmpfs, and nothing in it has another owner.
    let generic = matches!(generic_option(option), Some(Generic::Set(_) | Generic::Clear(_) | Generic::Nothing));
    ensure!(
        own || generic,
        "invalid tmpfs option {option:?}{}",
        match option.split('=').next() {
            Some(key) if OWN.contains(&key) => format!(" (it needs a value: {key}=…)"),
            key => did_you_mean(key.unwrap_or_default(), OWN.into_iter().chain(GENERIC)),
        }
    );
    mount.set_options([option]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::mount::MountAttrFlags;

    use super::*;

    #[test]
    fn tmpfs_has_safe_defaults() {
        let mount = parse_tmpfs("/run").unwrap();
        let safe =
            MountAttrFlags::MOUNT_ATTR_NOEXEC | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        assert_eq!(mount.attributes, safe);
        let mount = parse_tmpfs("/run:exec,size=64m,mode=700").unwrap();
        assert_eq!(mount.attributes, safe - MountAttrFlags::MOUNT_ATTR_NOEXEC);
        assert_eq!(mount.data, ["size=64m", "mode=700"]);
    }

    #[test]
    fn what_tmpfs_refuses() {
        let said = |text: &str| parse_tmpfs(text).unwrap_err().to_string();
        assert!(said("/run:loop=1").contains("invalid tmpfs option"));
        assert!(said("/run:szie=1m").contains("did you mean size?"));
        assert!(said("/run:size").contains("needs a value"));
        assert!(said("/run:noexce").contains("did you mean noexec?"));
        assert!(said("/run:rshared").contains("invalid"));
        assert!(said("run").contains("absolute"));
        assert!(said("/").contains("must not be /"));
    }
}
