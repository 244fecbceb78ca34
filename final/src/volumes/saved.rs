//! A container's mounts as data for `container.json`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rootfs::{Mount, MountSource, Propagation, Reach};
use rustix::mount::MountAttrFlags;
use serde::{Deserialize, Serialize};

/// A mount, written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedMount {
    /// Where, inside.
    pub destination: PathBuf,
    /// `bind`, `tmpfs`, `dev`, `proc`, `sysfs`, `devpts`, `mqueue` or `cgroup`.
    pub kind: String,
    /// Of a bind: what, on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,
    /// Of a bind: a path inside the source, if not all of it is wanted.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub below: PathBuf,
    /// Of a bind: whether what is mounted below the source comes along.
    #[serde(default)]
    pub recursive: bool,
    /// Of a bind: whether a missing source is made.
    #[serde(default)]
    pub create: bool,
    /// The `MOUNT_ATTR_…` flags of `mount_setattr(2)`.
    pub attributes: u32,
    /// Whether they are for the topmost mount of a tree alone.
    #[serde(default)]
    pub top_only: bool,
    /// Whether owners are shown by the maps of the container's user namespace.
    #[serde(default)]
    pub idmap: bool,
    /// The file system's own options.
    #[serde(default)]
    pub data: Vec<String>,
    /// `private`, `slave` or `shared`.
    pub propagation: String,
    /// The name of the volume that the source is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// Whether that volume was made for this container, without a name, and goes with it.
    #[serde(default)]
    pub own: bool,
    /// Whether it is filled from the image before the first start, if it is empty.
    #[serde(default)]
    pub copy: bool,
    /// Whether the user, another container or the image wanted it, and not the engine.
    #[serde(default)]
    pub user: bool,
    /// The options of `-v`, as they were written.
    #[serde(default)]
    pub mode: String,
    /// Those of `--tmpfs`, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmpfs: Option<String>,
}

impl SavedMount {
    /// Whether it can only be read.
    pub fn is_read_only(&self) -> bool {
        MountAttrFlags::from_bits_retain(self.attributes).contains(MountAttrFlags::MOUNT_ATTR_RDONLY)
    }

    /// Lets it only be read.
    pub fn set_read_only(&mut self) {
        self.attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY.bits();
    }
}

impl From<&Mount> for SavedMount {
    fn from(mount: &Mount) -> SavedMount {
        let (kind, bind) = match &mount.source {
            MountSource::Bind { path, below, recursive, create } => {
                ("bind", Some((path.clone(), below.clone(), *recursive, *create)))
            }
            MountSource::Tmpfs => ("tmpfs", None),
            MountSource::Dev => ("dev", None),
            MountSource::Proc => ("proc", None),
            MountSource::Sysfs => ("sysfs", None),
            MountSource::Devpts => ("devpts", None),
            MountSource::Mqueue => ("mqueue", None),
            MountSource::Cgroup => ("cgroup", None),
        };
        let propagation = match mount.propagation {
            Propagation::Private => "private",
            Propagation::Slave => "slave",
            Propagation::Shared => "shared",
        };
        let (source, below, recursive, create) =
            bind.map_or((None, PathBuf::new(), false, false), |(path, below, r, c)| (Some(path), below, r, c));
        SavedMount {
            destination: mount.destination.clone(),
            kind: kind.into(),
            source,
            below,
            recursive,
            create,
            attributes: mount.attributes.bits(),
            top_only: mount.reach == Reach::Mount,
            idmap: mount.idmap,
            data: mount.data.clone(),
            propagation: propagation.into(),
            ..SavedMount::default()
        }
    }
}

impl TryFrom<&SavedMount> for Mount {
    type Error = anyhow::Error;

    fn try_from(saved: &SavedMount) -> Result<Mount> {
        let source = match saved.kind.as_str() {
            "bind" => MountSource::Bind {
                path: saved.source.clone().context("a bind without a source")?,
                below: saved.below.clone(),
                recursive: saved.recursive,
                create: saved.create,
            },
            "tmpfs" => MountSource::Tmpfs,
            "dev" => MountSource::Dev,
            "proc" => MountSource::Proc,
            "sysfs" => MountSource::Sysfs,
            "devpts" => MountSource::Devpts,
            "mqueue" => MountSource::Mqueue,
            "cgroup" => MountSource::Cgroup,
            other => anyhow::bail!("a mount of an unknown kind: {other:?}"),
        };
        let mut mount = Mount::new(source, &saved.destination);
        mount.attributes = MountAttrFlags::from_bits_retain(saved.attributes);
        mount.reach = if saved.top_only { Reach::Mount } else { Reach::Tree };
        mount.idmap = saved.idmap;
        mount.data = saved.data.clone();
        mount.propagation = match saved.propagation.as_str() {
            "slave" => Propagation::Slave,
            "shared" => Propagation::Shared,
            _ => Propagation::Private,
        };
        Ok(mount)
    }
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_what_was_planned() {
        let mut mounts = rootfs::default_mounts();
        mounts.push(Mount::bind("/srv", "/data").read_only());
        let long = "type=bind,src=/a,dst=/b,ro,idmap,bind-recursive=writable,bind-propagation=rslave";
        let short = "db:/c:nosuid";
        let wishes = rootfs::RootfsArgs {
            mounts: [long, "src=db,dst=/d,volume-subpath=x/y"].map(|text| text.parse().unwrap()).into(),
            volumes: vec![short.parse().unwrap()],
            ..Default::default()
        };
        mounts.extend(wishes.user_mounts(|_| Ok("/volumes/db/_data".into())).unwrap());
        for mount in mounts {
            let text = serde_json::to_string(&SavedMount::from(&mount)).unwrap();
            let saved: SavedMount = serde_json::from_str(&text).unwrap();
            assert_eq!(Mount::try_from(&saved).unwrap(), mount);
        }
    }
}
