//! Volumes on disk. One appears whole or not at all, and goes in one step, whoever else is at work.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::io::retry_on_intr;
use serde::{Deserialize, Serialize};

use crate::container::Container;
use crate::discard::{DISCARDED, Discarded};
use crate::id;
use crate::root::Root;

/// Docker's label on a volume that got its name by chance.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// The engine's volumes.
#[derive(Clone, Debug)]
pub struct VolumeStore {
    root: Root,
}

/// A volume: the content of its `volume.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name, also that of its directory.
    pub name: String,
    /// When it was made, as RFC 3339 in UTC.
    pub created: String,
    /// Anything the user wants to find it by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What `volume create -o` said.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

impl Volume {
    /// A volume that is made now.
    pub fn new(name: &str, labels: BTreeMap<String, String>) -> Volume {
        Volume { name: name.into(), created: Timestamp::now().to_string(), labels, options: BTreeMap::new() }
    }

    /// Whether it was given no name, but got one.
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }

    /// The directory of the host that it stands for, if it was made with `-o type=none -o o=bind -o device=DIR`.
    pub fn device(&self) -> Option<&Path> {
        self.options.get("device").map(Path::new)
    }
}

/// Held while a container is being written down: as long, no volume is removed, so that one which is found is still there
/// when the container says that it uses it.
#[derive(Debug)]
#[must_use = "it is given up when it is dropped"]
pub struct Lease(#[expect(dead_code, reason = "held for the lock on it")] File);

impl VolumeStore {
    /// The volumes of a state directory.
    pub fn of(root: &Root) -> VolumeStore {
        VolumeStore { root: root.clone() }
    }

    /// Where the volumes lie.
    fn directory(&self) -> PathBuf {
        self.root.volumes()
    }

    /// The directory of one.
    pub fn directory_of(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// What of a volume is mounted.
    pub fn data(&self, name: &str) -> PathBuf {
        self.directory_of(name).join("_data")
    }

    /// Keeps volumes from being removed. Many may hold it; removing waits for all.
    pub fn lease(&self) -> Result<Lease> {
        self.lock(FlockOperation::LockShared)
    }

    fn lock(&self, how: FlockOperation) -> Result<Lease> {
        let directory = self.directory();
        let file = File::open(&directory).with_context(|| format!("open {}", directory.display()))?;
        retry_on_intr(|| flock(&file, how)).with_context(|| format!("lock {}", directory.display()))?;
        Ok(Lease(file))
    }

    /// The volume of that name, made if there is none. Gives whether it was made.
    ///
    /// Made aside and moved into place: of two who want it at once one makes it, and both find it whole.
    pub fn ensure(&self, volume: &Volume) -> Result<bool> {
        let name = &volume.name;
        let place = self.directory_of(name);
        if place.is_dir() {
            return Ok(false);
        }
        // Under the name of what is thrown away: if we are killed half-way, it will be.
        let making = self.root.tmp().join(format!("{DISCARDED}{}", id::new_id()?));
        let make = || -> Result<bool> {
            // 0701 and 0755: the containers that mount it may run as any user. Nobody else gets to it, through a state
            // directory of mode 0700 (CVE-2021-41091).
            make_directory(&making, 0o701)?;
            make_directory(&making.join("_data"), 0o755)?;
            fs::write(making.join("volume.json"), serde_json::to_vec_pretty(volume)?).context("write volume.json")?;
            match fs::rename(&making, &place) {
                Ok(()) => Ok(true),
                // A directory with something in it is never replaced (`rename(2)`).
                Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                    Ok(false)
                }
                Err(error) => Err(error).with_context(|| format!("move it to {}", place.display())),
            }
        };
        let made = make().with_context(|| format!("make the volume {name}"));
        if !matches!(made, Ok(true)) {
            let _ = fs::remove_dir_all(&making);
        }
        made
    }

    /// The volume of that name, if there is one.
    ///
    /// One without a readable `volume.json` is shown for what it is, a directory, so that it can be used and removed.
    pub fn find(&self, name: &str) -> Result<Option<Volume>> {
        if name.contains('/') || name.starts_with('.') || name.is_empty() {
            return Ok(None); // no name of a volume, but perhaps a path
        }
        let directory = self.directory_of(name);
        match fs::symlink_metadata(&directory) {
            Ok(found) if found.is_dir() => {
                let text = fs::read(directory.join("volume.json")).unwrap_or_default();
                let volume = serde_json::from_slice::<Volume>(&text).ok();
                Ok(Some(volume.filter(|volume| volume.name == name).unwrap_or_else(|| {
                    let changed = found.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
                    let created = changed.map(|time| time.to_string()).unwrap_or_default();
                    Volume { name: name.into(), created, labels: BTreeMap::new(), options: BTreeMap::new() }
                })))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("look at {}", directory.display())),
        }
    }

    /// All volumes, by name.
    pub fn list(&self) -> Result<Vec<Volume>> {
        let directory = self.directory();
        let entries = fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))?;
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names.iter().filter_map(|name| self.find(name).ok().flatten()).collect())
    }

    /// Removes a volume that no container has.
    ///
    /// # Errors
    /// One that is used names the containers that use it.
    pub fn remove(&self, name: &str) -> Result<()> {
        let lease = self.lock(FlockOperation::LockExclusive)?;
        let Some(volume) = self.find(name)? else { bail!("no such volume: {name}") };
        let users = self.users(&volume.name)?;
        ensure!(users.is_empty(), "volume is in use - [{}] (remove the containers first)", users.join(", "));
        let discarded = self.discard(&volume.name)?;
        drop(lease);
        discarded.delete()
    }

    /// Removes those of these volumes that no container has. For what was made for a container that is going.
    pub fn remove_unused(&self, names: &[String]) -> Vec<Discarded> {
        if names.is_empty() {
            return Vec::new(); // as a rule: then nobody needs to be waited for
        }
        let Ok(_lease) = self.lock(FlockOperation::LockExclusive) else { return Vec::new() };
        let Ok(used) = self.used() else { return Vec::new() };
        let unused = names.iter().filter(|name| !used.contains(name));
        unused.filter_map(|name| self.discard(name).ok()).collect()
    }

    /// Takes a volume out of the list; its files are still to be deleted.
    fn discard(&self, name: &str) -> Result<Discarded> {
        let place = self.directory_of(name);
        Discarded::take(&self.root, &place).with_context(|| format!("remove {}", place.display()))
    }

    /// The ids of the containers that have this volume.
    pub fn users(&self, name: &str) -> Result<Vec<String>> {
        let mut users = Vec::new();
        for container in Container::all(&self.root)? {
            let Ok(description) = container.description() else { continue }; // damaged: nobody starts it any more
            if description.mounts.iter().any(|mount| mount.volume.as_deref() == Some(name)) {
                users.push(container.id().to_string());
            }
        }
        users.sort();
        Ok(users)
    }

    /// The names of all volumes that containers have: one look at each container, for lists.
    pub fn used(&self) -> Result<Vec<String>> {
        let descriptions = Container::all(&self.root)?.into_iter().filter_map(|container| container.description().ok());
        Ok(descriptions.flat_map(|description| description.mounts).filter_map(|mount| mount.volume).collect())
    }
}

fn make_directory(path: &Path, mode: u32) -> Result<()> {
    layers::make_directory(path, mode).with_context(|| format!("make {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn store() -> (tempfile::TempDir, VolumeStore) {
        let temporary = tempfile::tempdir().unwrap();
        let root = Root::open(Some(temporary.path().join("root"))).unwrap();
        (temporary, VolumeStore::of(&root))
    }

    #[test]
    fn a_volume_is_made_once() {
        let (_temporary, store) = store();
        let volume = Volume::new("db", BTreeMap::from([("a".into(), "b".into())]));
        assert!(store.ensure(&volume).unwrap() && !store.ensure(&Volume::new("db", BTreeMap::new())).unwrap());
        assert_eq!(store.find("db").unwrap(), Some(volume.clone()));
        assert_eq!(store.list().unwrap(), [volume]);
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(store.directory_of("db")), mode(store.data("db"))), (0o701, 0o755));
        store.remove("db").unwrap();
        assert_eq!(store.find("db").unwrap(), None);
        assert_eq!(store.remove("db").unwrap_err().to_string(), "no such volume: db");
        assert_eq!(fs::read_dir(store.root.tmp()).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_one_hides_nothing() {
        let (_temporary, store) = store();
        store.ensure(&Volume::new("good", BTreeMap::new())).unwrap();
        store.ensure(&Volume::new("bad", BTreeMap::new())).unwrap();
        fs::write(store.directory_of("bad").join("volume.json"), "{").unwrap();
        let names: Vec<String> = store.list().unwrap().into_iter().map(|volume| volume.name).collect();
        assert_eq!(names, ["bad", "good"]);
        store.remove("bad").unwrap();
        for name in ["", "..", ".", "a/b", "/etc"] {
            assert_eq!(store.find(name).unwrap(), None, "{name}");
        }
    }

    #[test]
    fn nothing_is_removed_while_a_container_is_written_down() {
        let (_temporary, store) = store();
        store.ensure(&Volume::new("db", BTreeMap::new())).unwrap();
        let lease = store.lease().unwrap();
        let other = store.clone();
        let removing = std::thread::spawn(move || other.remove("db"));
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(store.find("db").unwrap().is_some() && !removing.is_finished());
        drop(lease);
        removing.join().unwrap().unwrap();
        assert!(store.find("db").unwrap().is_none());
    }
}
