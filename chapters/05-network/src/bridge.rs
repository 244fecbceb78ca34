//! What a network has host-wide: the bridge and the names derived from the state directory.
//!
//! Everything that names an object of the whole host comes from the path of the state directory, so that two of them on
//! one machine never meet: the bridge `md-1a2b3c4d`, an nftables table of the same name, and a subnet, chosen once so
//! that it does not collide with a route of the host, and remembered in `ROOT/networks/bridge/network.json`.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::subnet::Subnet;

/// A bridge, by name. Nothing of it need exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    name: String,
    dir: PathBuf,
}

/// What is remembered of a bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Its addresses; the first is its own.
    pub subnet: Subnet,
    /// Whether it was we who made this host forward packets between its interfaces (`net.ipv4.ip_forward`).
    #[serde(default)]
    pub forwarding_was_off: bool,
}

impl Bridge {
    /// The default bridge of a state directory. Looks at nothing but the path.
    pub fn derive(root: &Path) -> Bridge {
        // By components, so that a slash at the end makes no difference.
        let root: PathBuf = std::path::absolute(root).unwrap_or_else(|_| root.to_owned()).components().collect();
        let hash = fnv1a(root.as_os_str().as_encoded_bytes());
        // 11 characters; the kernel allows 15 (IFNAMSIZ includes the closing zero).
        Bridge { name: format!("md-{:08x}", hash as u32 ^ (hash >> 32) as u32), dir: root.join("networks/bridge") }
    }

    /// The name of the interface and of the nftables table.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is remembered; `None` before its first container.
    pub fn settings(&self) -> Result<Option<Settings>> {
        let path = self.settings_file();
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).with_context(|| {
                format!("{} is damaged (remove it when no container of this bridge runs)", path.display())
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    pub(crate) fn remember(&self, settings: &Settings) -> Result<()> {
        replace(&self.settings_file(), &serde_json::to_vec_pretty(settings).context("encode the bridge's settings")?)
    }

    fn settings_file(&self) -> PathBuf {
        self.dir.join("network.json")
    }

    /// Waits until no other process changes this bridge, its leases or its rules.
    pub fn lock(&self) -> Result<Locked> {
        fs::create_dir_all(&self.dir).with_context(|| format!("make {}", self.dir.display()))?;
        let path = self.dir.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("open {}", path.display()))?;
        // An flock, and it ends with this process whatever becomes of it. The descriptor is closed before any clone3:
        // a child would hold the lock on (flock(2)).
        file.lock().with_context(|| format!("lock {}", path.display()))?;
        Ok(Locked(file))
    }
}

/// The right to change what a bridge has. Let go by dropping it.
#[must_use]
pub struct Locked(#[expect(dead_code, reason = "held for its lock")] File);

/// Chooses a subnet that meets none of `taken` and holds none of `nameservers`.
///
/// The candidates are Docker's 172.18–172.31 and then all of 10/8, /16 each, beginning at a place that depends on the
/// bridge's name: two state directories that choose at the same moment do not choose the same.
pub fn choose_subnet(bridge: &Bridge, taken: &[Subnet], nameservers: &[IpAddr]) -> Result<Subnet> {
    let offset = fnv1a(bridge.name.as_bytes()) as u32;
    let docker = (0..14).map(|n| Ipv4Addr::new(172, 18 + ((n + offset) % 14) as u8, 0, 0));
    let private = (0..256).map(|n| Ipv4Addr::new(10, ((n + offset) % 256) as u8, 0, 0));
    let free = |subnet: &Subnet| {
        let resolves = |server: &IpAddr| matches!(server, IpAddr::V4(server) if subnet.contains(*server));
        !taken.iter().any(|other| other.overlaps(*subnet)) && !nameservers.iter().any(resolves)
    };
    match docker.chain(private).map(|network| Subnet::around(network, 16)).find(free) {
        Some(subnet) => Ok(subnet),
        None => bail!("no subnet left for {}: the host has routes into all of 172.18–172.31 and 10/8", bridge.name),
    }
}

/// Replaces a file in one step: readers see the old one or the new one.
pub(crate) fn replace(path: &Path, text: &[u8]) -> Result<()> {
    let aside = path.with_extension("new");
    fs::write(&aside, text).with_context(|| format!("write {}", aside.display()))?;
    fs::rename(&aside, path).with_context(|| format!("replace {}", path.display()))
}

/// FNV-1a, 64 bits: small, and the same in every version of this program (std's hasher does not promise that).
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ() {
        let one = Bridge::derive(Path::new("/var/lib/minidocker"));
        let other = Bridge::derive(Path::new("/var/lib/minidocker2"));
        assert_ne!(one.name(), other.name());
        assert_eq!(one, Bridge::derive(Path::new("/var/lib/minidocker/")), "a trailing slash is the same place");
        assert!(one.name().len() <= 15 && one.name().starts_with("md-"));
        assert_eq!(one.dir(), Path::new("/var/lib/minidocker/networks/bridge"));
    }

    #[test]
    fn subnets_avoid_routes_and_nameservers() -> Result<()> {
        let bridge = Bridge::derive(Path::new("/x"));
        let first = choose_subnet(&bridge, &[], &[])?;
        assert!(first.to_string().starts_with("172."));
        let second = choose_subnet(&bridge, &[first], &[])?;
        assert!(!second.overlaps(first));
        let server = IpAddr::V4(second.gateway());
        let third = choose_subnet(&bridge, &[Subnet::around(first.gateway(), 24)], &[server])?;
        assert!(third != first && third != second);
        let all_docker = "172.16.0.0/12".parse::<Subnet>()?;
        assert!(choose_subnet(&bridge, &[all_docker], &[])?.to_string().starts_with("10."));
        assert!(choose_subnet(&bridge, &["0.0.0.0/0".parse()?], &[]).is_err());
        Ok(())
    }
}
