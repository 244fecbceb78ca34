//! What users write: `--device /dev/fuse`, `--device /dev/snd:/dev/audio:rw`.

use std::fmt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail, ensure};
use cgroups::devices::{MKNOD, READ, WRITE};
use rustix::fs::{major, minor};

use crate::device::Device;
use crate::in_root::clean;

/// A directory of devices may hold so many. `/dev` of a large machine has some thousand.
const MAX_DEVICES: usize = 16_384;

/// Directories of `/dev` that hold no devices of the machine: the container has its own of each.
const OWN: [&str; 4] = ["pts", "shm", "mqueue", "fd"];

/// A device of the host, or a directory of them, that the container is to have.
///
/// Which devices these are is looked up at each start ([`DeviceWish::find`]): their numbers can change with a reboot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceWish {
    /// Where the host has it.
    pub host: PathBuf,
    /// Where the container will.
    pub container: PathBuf,
    /// What the container may do with it, of [`MKNOD`], [`READ`] and [`WRITE`].
    pub access: u32,
}

/// `HOST[:CONTAINER][:rwm]`, as Docker takes it: a second part of the letters `r`, `w`, `m` alone is no path.
impl FromStr for DeviceWish {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (host, container, letters) = match parts[..] {
            [host] => (host, host, "rwm"),
            [host, letters] if access(letters).is_some() => (host, host, letters),
            [host, container] => (host, container, "rwm"),
            [host, container, letters] => (host, container, letters),
            _ => bail!("too many colons (write HOST[:CONTAINER[:rwm]])"),
        };
        ensure!(
            !text.contains('=') || host.starts_with('/'),
            "{text:?} is a device of a vendor's driver (CDI), which this engine does not ask: name its node in /dev"
        );
        ensure!(
            host.starts_with('/') && container.starts_with('/'),
            "{text:?} is no absolute path of a device, as /dev/fuse"
        );
        let access = access(letters)
            .with_context(|| format!("invalid device access {letters:?} (write r, w and m: read, write, mknod)"))?;
        let container = clean(Path::new(container));
        ensure!(container != Path::new("/"), "a device cannot be /");
        Ok(Self { host: host.into(), container, access })
    }
}

/// As it would be written in full.
impl fmt::Display for DeviceWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
        let letters: String = letters.iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, c)| *c).collect();
        write!(f, "{}:{}:{letters}", self.host.display(), self.container.display())
    }
}

impl DeviceWish {
    /// All devices of this machine, as a privileged container has them.
    pub fn all() -> Self {
        Self { host: "/dev".into(), container: "/dev".into(), access: MKNOD | READ | WRITE }
    }

    /// The devices that are meant, as the host has them now: number, mode and owner. Links are followed.
    ///
    /// Of a directory all that are in it, at any depth; what is no device there is left out.
    pub fn find(&self) -> Result<Vec<Device>> {
        let found = std::fs::metadata(&self.host).with_context(|| format!("device {}", self.host.display()))?;
        if let Some(device) = self.device(&self.host, &self.container, &found) {
            return Ok(vec![device]);
        }
        ensure!(found.is_dir(), "{} is neither a device nor a directory of devices", self.host.display());
        let mut devices = Vec::new();
        let mut directories = vec![PathBuf::new()];
        while let Some(below) = directories.pop() {
            let directory = self.host.join(&below);
            let entries = std::fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))?;
            for entry in entries.flatten() {
                let below = below.join(entry.file_name());
                let Ok(metadata) = entry.metadata() else { continue }; // gone meanwhile; links are not followed
                if metadata.is_dir() && !is_own(&self.host.join(&below)) {
                    directories.push(below);
                } else if !is_of_hosts_terminals(&entry.path()) {
                    devices.extend(self.device(&entry.path(), &self.container.join(&below), &metadata));
                }
                ensure!(
                    devices.len() + directories.len() <= MAX_DEVICES,
                    "{} holds more than {MAX_DEVICES} devices",
                    self.host.display()
                );
            }
        }
        // In an order that does not depend on the file system.
        devices.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(devices)
    }

    fn device(&self, host: &Path, container: &Path, found: &std::fs::Metadata) -> Option<Device> {
        let kind = found.file_type();
        (kind.is_block_device() || kind.is_char_device()).then(|| Device {
            path: container.to_owned(),
            host_path: host.to_owned(),
            block: kind.is_block_device(),
            major: major(found.rdev()),
            minor: minor(found.rdev()),
            mode: found.mode() & 0o7777,
            uid: found.uid(),
            gid: found.gid(),
            access: self.access,
        })
    }
}

fn is_own(directory: &Path) -> bool {
    OWN.iter().any(|name| directory == Path::new("/dev").join(name))
}

/// The host's console is nobody's but the host's, and a terminal made by its ptmx would be among the host's: a container has
/// a console and a ptmx of its own.
fn is_of_hosts_terminals(path: &Path) -> bool {
    path == Path::new("/dev/console") || path == Path::new("/dev/ptmx")
}

/// The letters of an access, each at most once; `None` for anything else.
fn access(letters: &str) -> Option<u32> {
    let mut access = 0;
    for letter in letters.chars() {
        let bit = match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            _ => return None,
        };
        if access & bit != 0 {
            return None;
        }
        access |= bit;
    }
    (access != 0).then_some(access)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(text: &str) -> DeviceWish {
        text.parse().unwrap()
    }

    #[test]
    fn dockers_spellings() {
        for (text, full) in [
            ("/dev/fuse", "/dev/fuse:/dev/fuse:rwm"),
            ("/dev/fuse:r", "/dev/fuse:/dev/fuse:r"),
            ("/dev/fuse:/dev/x", "/dev/fuse:/dev/x:rwm"),
            ("/dev/fuse:/dev/../y/:mr", "/dev/fuse:/y:rm"),
        ] {
            assert_eq!(wish(text).to_string(), full);
            assert_eq!(wish(full), wish(text));
        }
        let wrong = ["", ":", "fuse", "/dev/fuse:", "/dev/fuse:x", "/dev/fuse:/x:rr", "/dev/fuse:/x:a", "/a:/b:r:w"];
        for text in wrong {
            assert!(text.parse::<DeviceWish>().is_err(), "{text:?}");
        }
        let cdi = "nvidia.com/gpu=all".parse::<DeviceWish>().unwrap_err().to_string();
        assert!(cdi.contains("CDI"), "{cdi}");
    }

    #[test]
    fn devices_are_found_as_the_host_has_them() {
        let [null] = &wish("/dev/null:/dev/nothing:r").find().unwrap()[..] else { panic!("not one device") };
        assert_eq!((null.major, null.minor, null.block, null.access), (1, 3, false, READ));
        assert_eq!(null.path, Path::new("/dev/nothing"));
        assert_eq!(null.rule().to_string(), "c 1:3 r");
        let all = DeviceWish::all().find().unwrap();
        assert!(all.iter().any(|device| device.path == Path::new("/dev/null")));
        assert!(!all.iter().any(|device| device.path.starts_with("/dev/pts") || is_of_hosts_terminals(&device.path)));
        assert!(wish("/etc/passwd").find().is_err() && wish("/no/such").find().is_err());
        assert!(wish("/proc/self/net:/x").find().unwrap().is_empty(), "a directory without devices");
    }
}
