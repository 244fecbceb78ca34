//! From what users, other containers and the image want to mounts, and the volumes that must exist for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use rootfs::{Mount, RootfsArgs, Volume as Wish, VolumeSource};

use super::saved::SavedMount;
use super::store::{ANONYMOUS, Volume, VolumeStore};
use crate::container::Container;
use crate::id;
use crate::root::Root;

/// All that is to be mounted besides what every container has.
#[derive(Clone, Debug, Default)]
pub struct Wished {
    /// The mounts.
    pub mounts: Vec<Mount>,
    /// The same, written down, with what is known of their volumes.
    saved: Vec<SavedMount>,
    /// The volumes of them that may not be there yet.
    volumes: Vec<Volume>,
}

impl Wished {
    /// Finds out what is wanted; makes nothing. On one place the command line wins over another container's volumes, and both
    /// over the image's.
    pub fn gather<'a>(
        root: &Root,
        args: &RootfsArgs,
        from: &[VolumesFrom],
        of_image: impl Iterator<Item = &'a String>,
    ) -> Result<Wished> {
        let store = VolumeStore::of(root);
        let mut wished = Wished::default();
        let mut of_volumes: BTreeMap<PathBuf, SavedMount> = BTreeMap::new();
        wished.mounts = args.user_mounts(|volume| {
            let (data, mount) = wished_volume(&store, volume, &mut wished.volumes)?;
            of_volumes.insert(volume.destination.clone(), mount);
            Ok(data)
        })?;
        rootfs::plan(Vec::new(), wished.mounts.clone())?; // two on one place, and other contradictions
        for volume in args.wished_volumes() {
            let mount = of_volumes.entry(volume.destination.clone()).or_default();
            mount.mode.clone_from(&volume.mode);
        }
        for tmpfs in &args.tmpfs {
            of_volumes.entry(tmpfs.mount.destination.clone()).or_default().tmpfs = Some(tmpfs.options.clone());
        }
        for mount in &wished.mounts {
            // A volume of ours is made when the time has come.
            if of_volumes.get(&mount.destination).is_none_or(|volume| volume.volume.is_none()) {
                rootfs::check_source(mount).with_context(|| format!("mount {mount}"))?;
            }
            let known = of_volumes.remove(&mount.destination).unwrap_or_default();
            let SavedMount { volume, own, copy, mode, tmpfs, .. } = known;
            wished.saved.push(SavedMount { user: true, volume, own, copy, mode, tmpfs, ..SavedMount::from(mount) });
        }
        for other in from {
            for saved in other.mounts(root)? {
                wished.add(saved)?;
            }
        }
        for destination in of_image {
            let wish = Wish::new(VolumeSource::Anonymous, destination)
                .with_context(|| format!("the image's VOLUME {destination:?}"))?;
            if !wished.covers(&wish.destination) {
                let (data, volume) = wished_volume(&store, &wish, &mut wished.volumes)?;
                let mount = SavedMount::from(&wish.mount(data));
                wished.add(SavedMount { user: true, own: true, ..merge(mount, volume) })?;
            }
        }
        Ok(wished)
    }

    /// Adds a mount unless there is one on its place.
    fn add(&mut self, saved: SavedMount) -> Result<()> {
        if !self.covers(&saved.destination) {
            self.mounts.push(Mount::try_from(&saved)?);
            self.saved.push(saved);
        }
        Ok(())
    }

    fn covers(&self, destination: &Path) -> bool {
        self.mounts.iter().any(|mount| mount.destination == destination)
    }

    /// Has the engine's volumes show their owners as a user namespace maps them: root's in one container is root's in all.
    pub fn map_volumes(&mut self) {
        for (mount, saved) in self.mounts.iter_mut().zip(&mut self.saved) {
            if saved.volume.is_some() {
                (mount.idmap, saved.idmap) = (true, true);
            }
        }
    }

    /// A mount of the plan as it is written down.
    pub fn save(&self, mount: &Mount) -> SavedMount {
        let known = self.saved.iter().find(|saved| saved.destination == mount.destination);
        known.cloned().unwrap_or_else(|| SavedMount::from(mount))
    }

    /// Makes the volumes that are not there yet. Called when the container that has them is written down: were we killed in
    /// between, whoever tidies it up knows of them.
    pub fn make_volumes(&self, root: &Root) -> Result<()> {
        let store = VolumeStore::of(root);
        self.volumes.iter().try_for_each(|volume| store.ensure(volume).map(drop))
    }
}

fn merge(mount: SavedMount, volume: SavedMount) -> SavedMount {
    SavedMount { volume: volume.volume, own: volume.own, copy: volume.copy, ..mount }
}

/// Where a volume of the engine's lies or will lie, and what is to be remembered of it.
fn wished_volume(store: &VolumeStore, wish: &Wish, new: &mut Vec<Volume>) -> Result<(PathBuf, SavedMount)> {
    let mut labels = BTreeMap::new();
    for label in &wish.labels {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        ensure!(!key.is_empty(), "the volume label {label:?} has no name (write KEY=VALUE)");
        labels.insert(key.to_owned(), value.to_owned());
    }
    let own = wish.source == VolumeSource::Anonymous;
    let name = match &wish.source {
        VolumeSource::Named(name) => name.clone(),
        VolumeSource::Anonymous => {
            labels.insert(ANONYMOUS.into(), String::new());
            id::new_id()?
        }
        VolumeSource::Host(path) => return Ok((path.clone(), SavedMount::default())),
    };
    let existing = store.find(&name)?;
    let device = existing.as_ref().and_then(|volume| volume.device().map(Path::to_path_buf));
    // A directory of the host under a volume's name is the user's own to fill.
    let copy = wish.copy && device.is_none() && wish.subpath.as_os_str().is_empty();
    if existing.is_none() {
        new.push(Volume::new(&name, labels));
    }
    let data = device.unwrap_or_else(|| store.data(&name));
    Ok((data, SavedMount { volume: Some(name), own, copy, ..SavedMount::default() }))
}

/// `--volumes-from CONTAINER[:ro|rw]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumesFrom {
    container: String,
    read_only: Option<bool>,
}

impl FromStr for VolumesFrom {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<VolumesFrom> {
        let (container, mode) = text.split_once(':').map_or((text, None), |(name, mode)| (name, Some(mode)));
        let mut read_only = None;
        for option in mode.into_iter().flat_map(|mode| mode.split(',')) {
            match option {
                "ro" => read_only = Some(true),
                "rw" => read_only = Some(false),
                "z" | "Z" => {}
                _ => anyhow::bail!("invalid mode: {option:?} (write CONTAINER, CONTAINER:ro or CONTAINER:rw)"),
            }
        }
        ensure!(!container.is_empty(), "which container's? (write CONTAINER[:ro])");
        Ok(VolumesFrom { container: container.into(), read_only })
    }
}

impl VolumesFrom {
    /// The volumes of that container, for another one. They stay its own: they go when it goes and nobody has them.
    fn mounts(&self, root: &Root) -> Result<Vec<SavedMount>> {
        let context = || format!("--volumes-from {}", self.container);
        let container = Container::find(root, &self.container).with_context(context)?;
        let mounts = container.description().with_context(context)?.mounts;
        let volumes = mounts.into_iter().filter(|mount| mount.user && mount.kind == "bind");
        Ok(volumes
            .map(|mut mount| {
                mount.own = false;
                mount.copy = false;
                if mount.volume.is_some() {
                    mount.idmap = false; // that is a matter of this container's user namespace, not of that one's
                }
                if self.read_only == Some(true) {
                    mount.set_read_only();
                }
                mount
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let temporary = tempfile::tempdir().unwrap();
        let root = Root::open(Some(temporary.path().join("root"))).unwrap();
        (temporary, root)
    }

    #[test]
    fn nothing_is_made_before_it_is_written_down() {
        let (_temporary, root) = root();
        let args = RootfsArgs { volumes: vec!["db:/db".parse().unwrap(), "/x".parse().unwrap()], ..Default::default() };
        let of_image = ["/db".to_string(), "/x/".to_string(), "/image".to_string()];
        let wished = Wished::gather(&root, &args, &[], of_image.iter()).unwrap();
        assert!(VolumeStore::of(&root).list().unwrap().is_empty());
        let saved: Vec<SavedMount> = wished.mounts.iter().map(|mount| wished.save(mount)).collect();
        let [db, x, image] = &saved[..] else { panic!("{saved:?}") };
        assert_eq!((db.volume.as_deref(), db.own, db.copy, db.user), (Some("db"), false, true, true));
        assert!(x.own && image.own && image.volume.is_some() && x.volume != image.volume);
        wished.make_volumes(&root).unwrap();
        let volumes = VolumeStore::of(&root).list().unwrap();
        assert_eq!(volumes.iter().filter(|volume| volume.is_anonymous()).count(), 2);
        assert_eq!(volumes.len(), 3);
    }

    #[test]
    fn a_volume_with_options_is_not_copied_to() {
        let (_temporary, root) = root();
        let volumes = ["db:/db:nocopy,ro".parse().unwrap()].into();
        let args = RootfsArgs { volumes, ..Default::default() };
        let wished = Wished::gather(&root, &args, &[], [].iter()).unwrap();
        let saved = wished.save(&wished.mounts[0]);
        assert!(!saved.copy && saved.is_read_only() && saved.mode == "nocopy,ro");
    }

    #[test]
    fn whose_volumes() {
        let from = |text: &str| text.parse::<VolumesFrom>();
        assert_eq!(from("web:ro").unwrap().read_only, Some(true));
        assert_eq!(from("web").unwrap().read_only, None);
        for wrong in ["", ":ro", "web:", "web:wr", "web:ro:z"] {
            assert!(from(wrong).is_err(), "{wrong}");
        }
    }
}
