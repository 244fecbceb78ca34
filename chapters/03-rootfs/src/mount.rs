//! One mount as data: what, where, how. Planning makes a list of these, [`attach`](crate::attach) carries it out.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Result, bail};
use rustix::mount::MountAttrFlags;

use crate::propagation::Propagation;
use crate::sys::Reach;

use MountAttrFlags as Attr;

/// One mount of a container's filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where, as an absolute path inside the container.
    pub destination: PathBuf,
    /// What.
    pub source: MountSource,
    /// How: read-only, nosuid, nodev, noexec …
    pub attributes: MountAttrFlags,
    /// Of a bind: whether the attributes hold for everything mounted below its source as well. They should: in a volume
    /// that is read-only, a writable mount is a hole.
    pub reach: Reach,
    /// The filesystem's own options, as `mode=755` or `newinstance` (`proc(5)`, `tmpfs(5)`, the kernel's devpts.rst).
    pub data: Vec<String>,
    /// How later mounts spread between the source and the container. Only binds have something to spread to.
    pub propagation: Propagation,
    /// Of a bind: whether owners are shown by the maps of the container's user namespace, so that what is root's on the
    /// host is root's inside.
    pub idmap: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A file or directory of the host.
    Bind {
        /// Its path, for the caller's root and working directory.
        path: PathBuf,
        /// A path inside that directory, if not all of it is wanted. Links are followed as if the directory were `/`.
        below: PathBuf,
        /// Whether what is mounted below it comes along.
        recursive: bool,
        /// Whether a missing one is made, as a directory: Docker does so for `-v`, not for `--mount`.
        create: bool,
    },
    /// An empty filesystem in memory.
    Tmpfs,
    /// The tmpfs for `/dev`, with the device nodes and links that every container has.
    Dev,
    /// Processes. An instance shows one PID namespace.
    Proc,
    /// The kernel's objects. An instance shows one network namespace.
    Sysfs,
    /// Terminals; every instance has its own.
    Devpts,
    /// POSIX message queues of this IPC namespace.
    Mqueue,
    /// The container's cgroups: the v2 hierarchy, or a directory of v1 hierarchies.
    Cgroup,
}

impl MountSource {
    /// What exists at `path` on the host.
    pub fn bind(path: impl Into<PathBuf>, recursive: bool) -> Self {
        Self::Bind { path: path.into(), below: PathBuf::new(), recursive, create: false }
    }
}

impl Mount {
    /// A mount of `source` on `destination`, read and write, with nothing special about it.
    pub fn new(source: MountSource, destination: impl Into<PathBuf>) -> Self {
        Self {
            destination: destination.into(),
            source,
            attributes: Attr::empty(),
            reach: Reach::Tree,
            data: Vec::new(),
            propagation: Propagation::Private,
            idmap: false,
        }
    }

    /// Binds what exists at `path` on the host, with everything mounted below it.
    pub fn bind(path: impl Into<PathBuf>, destination: impl Into<PathBuf>) -> Self {
        Self::new(MountSource::bind(path, true), destination)
    }

    /// The same mount, read-only, recursively.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.attributes |= Attr::MOUNT_ATTR_RDONLY;
        self
    }

    /// A mount as an OCI runtime-spec describes it: `type`, `source`, `destination`, `options` (config.md, "Mounts").
    ///
    /// A known type of a known place becomes ours: a tmpfs on `/dev` is [`MountSource::Dev`].
    pub fn from_spec(kind: &str, source: &str, destination: impl Into<PathBuf>, options: &[String]) -> Result<Self> {
        let destination = destination.into();
        let mut recursive = false;
        let mut bind = kind == "bind";
        let mut others = Vec::new();
        for option in options {
            match option.as_str() {
                "bind" => bind = true,
                "rbind" => (bind, recursive) = (true, true),
                _ => others.push(option.as_str()),
            }
        }
        let source = match kind {
            _ if bind => MountSource::bind(source, recursive),
            "tmpfs" if destination.as_os_str() == "/dev" => MountSource::Dev,
            "tmpfs" => MountSource::Tmpfs,
            "proc" => MountSource::Proc,
            "sysfs" => MountSource::Sysfs,
            "devpts" => MountSource::Devpts,
            "mqueue" => MountSource::Mqueue,
            "cgroup" | "cgroup2" => MountSource::Cgroup,
            _ => bail!(
                "mount on {}: type {kind:?} is not supported (known: bind, tmpfs, proc, sysfs, devpts, mqueue, cgroup)",
                destination.display()
            ),
        };
        let mut mount = Self::new(source, destination);
        mount.set_options(others);
        Ok(mount)
    }

    /// Sorts mount options, as `ro`, `nosuid`, `rslave`, `size=64m`, into attributes, propagation and the filesystem's data.
    ///
    /// A later option overrides an earlier one (`noexec,exec`), as in `mount(8)`.
    pub fn set_options<'a>(&mut self, options: impl IntoIterator<Item = &'a str>) {
        for option in options {
            match generic_option(option) {
                Some(Generic::Set(attribute)) => self.attributes |= attribute,
                Some(Generic::Clear(attribute)) => self.attributes -= attribute,
                Some(Generic::Propagation(propagation)) => self.propagation = propagation,
                Some(Generic::IdMap) => self.idmap = true,
                Some(Generic::Nothing) => {}
                None => self.data.push(option.to_owned()),
            }
        }
    }

    /// Whether the kernel makes this one, so that its destination is a place whose meaning no image may change.
    pub(crate) fn is_system(&self) -> bool {
        !matches!(self.source, MountSource::Bind { .. } | MountSource::Tmpfs)
    }

    /// The value of the filesystem option `key`, as `755` in `mode=755`.
    pub(crate) fn option(&self, key: &str) -> Option<&str> {
        self.data.iter().rev().find_map(|option| option.strip_prefix(key)?.strip_prefix('='))
    }
}

/// A mount option that any filesystem has.
pub(crate) enum Generic {
    Set(MountAttrFlags),
    Clear(MountAttrFlags),
    Propagation(Propagation),
    IdMap,
    Nothing,
}

/// What the generic mount option `name` says, `None` if it is for the filesystem. The `r…` forms of the runtime-spec mean
/// "recursively", which ours always are.
pub(crate) fn generic_option(name: &str) -> Option<Generic> {
    Some(match name {
        "ro" | "rro" | "readonly" => Generic::Set(Attr::MOUNT_ATTR_RDONLY),
        "rw" | "rrw" => Generic::Clear(Attr::MOUNT_ATTR_RDONLY),
        "nosuid" | "rnosuid" => Generic::Set(Attr::MOUNT_ATTR_NOSUID),
        "suid" | "rsuid" => Generic::Clear(Attr::MOUNT_ATTR_NOSUID),
        "nodev" | "rnodev" => Generic::Set(Attr::MOUNT_ATTR_NODEV),
        "dev" | "rdev" => Generic::Clear(Attr::MOUNT_ATTR_NODEV),
        "noexec" | "rnoexec" => Generic::Set(Attr::MOUNT_ATTR_NOEXEC),
        "exec" | "rexec" => Generic::Clear(Attr::MOUNT_ATTR_NOEXEC),
        "nosymfollow" | "rnosymfollow" => Generic::Set(Attr::MOUNT_ATTR_NOSYMFOLLOW),
        "symfollow" | "rsymfollow" => Generic::Clear(Attr::MOUNT_ATTR_NOSYMFOLLOW),
        "noatime" | "rnoatime" => Generic::Set(Attr::MOUNT_ATTR_NOATIME),
        "strictatime" | "rstrictatime" => Generic::Set(Attr::MOUNT_ATTR_STRICTATIME),
        "nodiratime" | "rnodiratime" => Generic::Set(Attr::MOUNT_ATTR_NODIRATIME),
        "private" | "rprivate" => Generic::Propagation(Propagation::Private),
        "slave" | "rslave" => Generic::Propagation(Propagation::Slave),
        "shared" | "rshared" => Generic::Propagation(Propagation::Shared),
        "idmap" | "ridmap" => Generic::IdMap,
        // The defaults, and what has no meaning inside a container.
        "defaults" | "relatime" | "rrelatime" | "atime" | "ratime" | "diratime" | "rdiratime" | "async" => {
            Generic::Nothing
        }
        _ => return None,
    })
}

/// As errors name it: `/srv on /data`, `proc on /proc`.
impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = self.destination.display();
        match &self.source {
            MountSource::Bind { path, below, .. } if below.as_os_str().is_empty() => {
                write!(f, "{} on {on}", path.display())
            }
            MountSource::Bind { path, below, .. } => write!(f, "{} on {on}", path.join(below).display()),
            MountSource::Tmpfs | MountSource::Dev => write!(f, "tmpfs on {on}"),
            MountSource::Proc => write!(f, "proc on {on}"),
            MountSource::Sysfs => write!(f, "sysfs on {on}"),
            MountSource::Devpts => write!(f, "devpts on {on}"),
            MountSource::Mqueue => write!(f, "mqueue on {on}"),
            MountSource::Cgroup => write!(f, "cgroup on {on}"),
        }
    }
}

/// The table of mounts that every Docker container has (moby's `DefaultLinuxSpec`), in the order of mounting.
pub fn default_mounts() -> Vec<Mount> {
    use MountSource as S;
    [
        (S::Proc, "/proc", "nosuid,noexec,nodev"),
        (S::Dev, "/dev", "nosuid,strictatime,mode=755,size=65536k"),
        (S::Devpts, "/dev/pts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
        (S::Sysfs, "/sys", "nosuid,noexec,nodev,ro"),
        (S::Cgroup, "/sys/fs/cgroup", "ro,nosuid,noexec,nodev"),
        (S::Mqueue, "/dev/mqueue", "nosuid,noexec,nodev"),
        (S::Tmpfs, "/dev/shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
    ]
    .into_iter()
    .map(|(source, destination, options)| {
        let mut mount = Mount::new(source, destination);
        mount.set_options(options.split(','));
        mount
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_spec(kind: &str, destination: &str, options: &[&str]) -> Result<Mount> {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        Mount::from_spec(kind, "/source", destination, &options)
    }

    #[test]
    fn options_are_sorted_and_the_last_wins() {
        let mut mount = Mount::new(MountSource::Tmpfs, "/run");
        mount.set_options(["ro", "noexec", "size=1m", "exec", "rslave", "relatime"]);
        assert_eq!(mount.attributes, Attr::MOUNT_ATTR_RDONLY);
        assert_eq!(mount.data, ["size=1m"]);
        assert_eq!(mount.propagation, Propagation::Slave);
    }

    #[test]
    fn a_bind_of_the_runtime_spec() {
        let mount = from_spec("none", "/data", &["rbind", "rro"]).unwrap();
        let source = MountSource::bind("/source", true);
        assert_eq!((mount.source, mount.attributes), (source, Attr::MOUNT_ATTR_RDONLY));
        let mount = from_spec("bind", "/data", &[]).unwrap();
        assert!(matches!(mount.source, MountSource::Bind { recursive: false, .. }));
    }

    #[test]
    fn the_default_table_survives_the_runtime_spec() {
        let spec = [
            ("proc", "/proc", "nosuid,noexec,nodev"),
            ("tmpfs", "/dev", "nosuid,strictatime,mode=755,size=65536k"),
            ("devpts", "/dev/pts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
            ("sysfs", "/sys", "nosuid,noexec,nodev,ro"),
            ("cgroup", "/sys/fs/cgroup", "ro,nosuid,noexec,nodev"),
            ("mqueue", "/dev/mqueue", "nosuid,noexec,nodev"),
            ("tmpfs", "/dev/shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
        ];
        let mounts = spec.map(|(kind, destination, options)| {
            let options: Vec<&str> = options.split(',').collect();
            from_spec(kind, destination, &options).unwrap()
        });
        assert_eq!(mounts.to_vec(), default_mounts());
        assert!(from_spec("nfs", "/data", &[]).is_err());
    }

    #[test]
    fn errors_name_source_and_destination() {
        assert_eq!(Mount::bind("/srv", "/data").to_string(), "/srv on /data");
    }
}
