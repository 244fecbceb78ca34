//! The flags of chapter 3, which every later program takes as well.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use cgroups::devices::{READ, WRITE};
use cgroups::parse_bytes;
use clap::Args;
use namespaces::{Process, rootless};

use crate::device::Device;
use crate::device_wish::DeviceWish;
use crate::mount::{Mount, MountSource, default_mounts};
use crate::plan::plan;
use crate::rootfs::{Root, Rootfs};
use crate::tmpfs::Tmpfs;
use crate::volume::{Volume, VolumeSource};
use crate::wish::MountWish;

/// What is mounted in the container, and where the process stands in it. Spelled as `docker run` spells it.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Files")]
pub struct RootfsArgs {
    /// Mount a directory or file of the host, or a volume: SRC:DST[:ro,…] (may be repeated)
    #[arg(short, long = "volume", value_name = "SRC:DST[:OPTIONS]")]
    pub volumes: Vec<Volume>,

    /// Mount something: type=bind|volume|tmpfs,src=…,dst=…[,readonly] (may be repeated)
    #[arg(long = "mount", value_name = "FIELDS")]
    pub mounts: Vec<MountWish>,

    /// Mount an empty directory in memory (may be repeated)
    #[arg(long, value_name = "DST[:OPTIONS]")]
    pub tmpfs: Vec<Tmpfs>,

    /// Size of /dev/shm [default: 64m]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub shm_size: Option<u64>,

    /// Give it a device of the host, or all in a directory: HOST[:CONTAINER[:rwm]] (may be repeated)
    #[arg(long = "device", value_name = "HOST[:CONTAINER[:rwm]]")]
    pub devices: Vec<DeviceWish>,

    /// Make the root filesystem read-only
    #[arg(long)]
    pub read_only: bool,

    /// Working directory inside; made if it is missing
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
}

impl RootfsArgs {
    /// The root filesystem of a container that has no volumes but directories of the host.
    ///
    /// Its devices open only if the cgroup permits it too: see [`Device::rule`].
    pub fn rootfs(&self, root: Root) -> Result<Rootfs> {
        let mut rootfs = Rootfs::new(root);
        rootfs.mounts = self.mounts()?;
        rootfs.devices = find_devices(&self.devices)?;
        rootfs.read_only = self.read_only;
        Ok(rootfs)
    }

    /// All mounts of a container that has no volumes but directories of the host.
    pub fn mounts(&self) -> Result<Vec<Mount>> {
        plan(self.default_mounts(), self.user_mounts(without_store)?)
    }

    /// The mounts that every container has, with the size of `/dev/shm` asked for.
    pub fn default_mounts(&self) -> Vec<Mount> {
        let mut mounts = default_mounts();
        if let Some(size) = self.shm_size {
            for mount in mounts.iter_mut().filter(|mount| mount.source == MountSource::Tmpfs) {
                mount.data.retain(|option| !option.starts_with("size="));
                mount.data.push(format!("size={size}"));
            }
        }
        mounts
    }

    /// The user's own mounts. `locate` says where on the host a volume with this name, or a new one without, lies.
    pub fn user_mounts(&self, mut locate: impl FnMut(&Volume) -> Result<PathBuf>) -> Result<Vec<Mount>> {
        let mut mounts: Vec<Mount> = self.tmpfs.iter().map(|tmpfs| tmpfs.mount.clone()).collect();
        mounts.extend(self.mounts.iter().filter_map(|wish| match wish {
            MountWish::Tmpfs(mount) => Some(mount.clone()),
            MountWish::Volume(_) => None,
        }));
        for volume in self.wished_volumes() {
            ensure!(
                !volume.relabel || !Path::new("/sys/fs/selinux/enforce").exists(),
                "{}: files are not relabelled for SELinux yet (leave z or Z out, and use chcon)",
                volume.destination.display()
            );
            let path = match &volume.source {
                VolumeSource::Host(path) => path.clone(),
                VolumeSource::Named(_) | VolumeSource::Anonymous => locate(volume)?,
            };
            mounts.push(volume.mount(path));
        }
        Ok(mounts)
    }

    /// The volumes of `-v` and `--mount`.
    pub fn wished_volumes(&self) -> impl Iterator<Item = &Volume> {
        let long = self.mounts.iter().filter_map(|wish| match wish {
            MountWish::Volume(volume) => Some(volume),
            MountWish::Tmpfs(_) => None,
        });
        self.volumes.iter().chain(long)
    }

    /// Puts the process where `--workdir` says.
    pub fn set_cwd(&self, process: &mut Process) -> Result<()> {
        if let Some(cwd) = &self.workdir {
            ensure!(cwd.is_absolute(), "the working directory {} is not an absolute path", cwd.display());
            process.cwd.clone_from(cwd);
            process.create_cwd = true;
        }
        Ok(())
    }
}

/// The devices that are meant, as the host has them now.
pub fn find_devices(wishes: &[DeviceWish]) -> Result<Vec<Device>> {
    let mut devices = Vec::new();
    for wish in wishes {
        ensure!(
            wish.access & (READ | WRITE) == (READ | WRITE) || !rootless(),
            "--device {wish}: to permit less than reading and writing takes a device cgroup, which is root's to make"
        );
        devices.extend(wish.find()?);
    }
    Ok(devices)
}

/// Nobody keeps volumes in this chapter.
fn without_store(volume: &Volume) -> Result<PathBuf> {
    let name = match &volume.source {
        VolumeSource::Named(name) => format!("the volume {name:?}"),
        _ => format!("a volume for {}", volume.destination.display()),
    };
    bail!(
        "{name} needs the engine, which keeps volumes (here, give a path of the host: -v /SRC:{})",
        volume.destination.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_left_to_the_store() {
        let args = RootfsArgs { volumes: vec!["data:/data".parse().unwrap()], ..Default::default() };
        assert!(args.mounts().is_err());
        let mounts = args.user_mounts(|_| Ok("/volumes/data".into())).unwrap();
        assert_eq!(mounts, [Mount::bind("/volumes/data", "/data")]);
    }

    #[test]
    fn shm_size_is_in_bytes() {
        let args = RootfsArgs { shm_size: Some(1 << 20), ..Default::default() };
        let shm = args.mounts().unwrap().into_iter().find(|mount| mount.source == MountSource::Tmpfs).unwrap();
        assert_eq!(shm.option("size"), Some("1048576"));
    }
}
