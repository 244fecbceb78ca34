//! Which cgroup trees this machine has, and which controller lives in which.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use crate::mounts::{CgroupMount, cgroup_mounts};

/// What counts or limits one kind of resource, under its v1 name (`cgroups(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Controller {
    /// Reading and writing of block devices; "io" in v2.
    Blkio,
    /// CPU time: quota and weight.
    Cpu,
    /// Accounting of CPU time; in v2 every cgroup has it.
    Cpuacct,
    /// Which processors and memory nodes.
    Cpuset,
    /// Which devices may be opened; in v2 a program attached to the cgroup.
    Devices,
    /// Stopping all processes; in v2 every cgroup has it.
    Freezer,
    /// Memory in huge pages, which does not count as memory.
    Hugetlb,
    /// Memory.
    Memory,
    /// Number of processes and threads.
    Pids,
}

impl Controller {
    const ALL: [Controller; 9] = [
        Controller::Blkio,
        Controller::Cpu,
        Controller::Cpuacct,
        Controller::Cpuset,
        Controller::Devices,
        Controller::Freezer,
        Controller::Hugetlb,
        Controller::Memory,
        Controller::Pids,
    ];

    /// Its name in v1's mount options.
    pub fn v1(self) -> &'static str {
        match self {
            Controller::Blkio => "blkio",
            Controller::Cpu => "cpu",
            Controller::Cpuacct => "cpuacct",
            Controller::Cpuset => "cpuset",
            Controller::Devices => "devices",
            Controller::Freezer => "freezer",
            Controller::Hugetlb => "hugetlb",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
        }
    }

    /// Its name in v2's `cgroup.controllers`, where it is one.
    pub fn v2(self) -> Option<&'static str> {
        match self {
            Controller::Blkio => Some("io"),
            Controller::Cpuacct | Controller::Devices | Controller::Freezer => None,
            same => Some(same.v1()),
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.v1())
    }
}

/// The cgroup trees of this machine, as far as this process sees them.
///
/// A directory of the v2 tree and one per v1 tree, below which we make cgroups: for root the top of what is mounted,
/// for others what has been delegated to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// The v2 tree, on a hybrid machine too.
    pub unified: Option<Unified>,
    /// The v1 trees by controller. Several controllers may share one tree, as in `cpu,cpuacct`.
    pub legacy: BTreeMap<Controller, PathBuf>,
    /// Another directory of the v2 tree that may hold cgroups of an ordinary user, made from another login.
    pub elsewhere: Option<PathBuf>,
}

/// The v2 tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unified {
    /// The directory below which we make cgroups.
    pub base: PathBuf,
    /// The controllers that it can hand down (`cgroup.controllers`): none on most hybrid machines.
    pub controllers: Vec<Controller>,
}

impl Unified {
    fn at(base: PathBuf) -> Result<Unified> {
        let list = base.join("cgroup.controllers");
        let list = fs::read_to_string(&list).with_context(|| format!("read {}", list.display()))?;
        Ok(Unified { base, controllers: parse_controllers(&list) })
    }
}

impl Hierarchies {
    /// The trees of this machine, looked up once per process.
    ///
    /// From `/proc/self/mountinfo` and nothing else, since `/proc/cgroups` knows no mounts, and where things "usually"
    /// are is wrong inside containers.
    pub fn detect() -> Result<&'static Hierarchies> {
        static FOUND: OnceLock<Hierarchies> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found);
        }
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
        let mut found = Hierarchies::default();
        for mount in cgroup_mounts(&mountinfo).filter(CgroupMount::is_visible) {
            found.add(&mount);
        }
        if let Some(unified) = &mut found.unified {
            if namespaces::rootless() || !in_initial_user_namespace() {
                let own = fs::read_to_string("/proc/self/cgroup").context("read /proc/self/cgroup")?;
                found.elsewhere = Some(of_user_manager(&unified.base, geteuid().as_raw()));
                unified.base = delegated(&unified.base, &own, may_write);
            }
            *unified = Unified::at(unified.base.clone())?;
        }
        Ok(FOUND.get_or_init(|| found))
    }

    /// The trees of this machine, as they are to be used for the cgroup `name`, a relative path.
    ///
    /// One that exists is managed where it is. An ordinary user has started it perhaps in a scope of systemd's and comes
    /// back from a login shell, which is in another part of the tree, where nothing is theirs: then the base is
    /// `elsewhere`. The user's rights go there from anywhere: to read, and to change files of their own.
    pub fn holding(name: &Path) -> Result<Hierarchies> {
        let found = Hierarchies::detect()?.clone();
        match found.place(name, Path::is_dir) {
            Some(base) => Ok(Hierarchies { unified: Some(Unified::at(base)?), ..found }),
            None => Ok(found),
        }
    }

    /// The base that has the cgroup `name`, if it is not the usual one.
    fn place(&self, name: &Path, exists: impl Fn(&Path) -> bool) -> Option<PathBuf> {
        let usual = &self.unified.as_ref()?.base;
        let elsewhere = self.elsewhere.as_ref()?;
        (!exists(&usual.join(name)) && exists(&elsewhere.join(name))).then(|| elsewhere.clone())
    }

    /// Takes note of a mount. Of several mounts of one tree the last is taken, or the one in the usual place.
    fn add(&mut self, mount: &CgroupMount) {
        let usual = |path: &Path| path.starts_with("/sys/fs/cgroup");
        let better = |old: Option<&Path>| old.is_none_or(|old| usual(&mount.point) || !usual(old));
        if mount.v2 {
            if better(self.unified.as_ref().map(|unified| unified.base.as_path())) {
                self.unified = Some(Unified { base: mount.point.clone(), controllers: Vec::new() });
            }
            return;
        }
        for controller in Controller::ALL {
            let known = self.legacy.get(&controller).map(PathBuf::as_path);
            if mount.options.split(',').any(|option| option == controller.v1()) && better(known) {
                self.legacy.insert(controller, mount.point.clone());
            }
        }
    }

    /// Whether the v2 tree has this controller.
    pub fn unified_has(&self, controller: Controller) -> bool {
        self.unified.as_ref().is_some_and(|unified| unified.controllers.contains(&controller))
    }

    /// The kind of machine, in the words of systemd's documentation.
    pub fn kind(&self) -> &'static str {
        match (&self.unified, self.legacy.is_empty()) {
            (Some(_), true) => "v2",
            (Some(_), false) => "hybrid",
            (None, false) => "v1",
            (None, true) => "none",
        }
    }
}

/// Whether this process may make directories and change files in `directory`.
pub(crate) fn may_write(directory: &Path) -> bool {
    accessat(CWD, directory, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// Whether this process is in the user namespace that the machine was booted with. Only there can it make device nodes,
/// and attach programs to cgroups.
pub(crate) fn in_initial_user_namespace() -> bool {
    const PROC_USER_INIT_INO: u64 = 0xEFFF_FFFD; // include/linux/proc_ns.h
    rustix::fs::stat("/proc/self/ns/user").is_ok_and(|stat| stat.st_ino == PROC_USER_INIT_INO)
}

/// A checked path of a cgroup, relative to the base of each tree: never absolute, never upwards.
pub(crate) fn relative(path: &str) -> Result<PathBuf> {
    let path = Path::new(path.trim_matches('/'));
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    ensure!(plain && path != Path::new(""), "invalid cgroup path {path:?}: it must name a directory, without \"..\"");
    ensure!(
        !path.to_string_lossy().contains(char::is_control),
        "invalid cgroup path {path:?}: control characters would go to the terminal of whoever lists it"
    );
    if path.as_os_str().len() > 3000 || path.components().any(|part| part.as_os_str().len() > 255) {
        bail!("invalid cgroup path: it is too long");
    }
    Ok(path.to_owned())
}

/// The controllers of a `cgroup.controllers` file: `cpuset cpu io memory pids`. Those we do not use are left out.
fn parse_controllers(list: &str) -> Vec<Controller> {
    let known = |name: &str| Controller::ALL.into_iter().find(|controller| controller.v2() == Some(name));
    list.split_whitespace().filter_map(known).collect()
}

/// What an ordinary user may manage of the v2 tree: the highest cgroup above our own that is ours to change.
///
/// Systemd gives each user `user@UID.service` with all below it. Moving a process takes the right to change the common
/// ancestor of where it is and where it goes (`cgroup-v2.rst`, "Delegation Containment"), which this one is.
/// So a container that is started in a scope of systemd's (`systemd-run --user --scope`) comes to be beside that scope, not
/// below it: what the scope itself may take (`-p MemoryMax=…`) does not hold for it, what the user's service may take does.
/// Where there is none, it is our own cgroup: using it will fail, and say what is missing.
fn delegated(mount: &Path, own: &str, writable: impl Fn(&Path) -> bool) -> PathBuf {
    // "0::/user.slice/user-1000.slice/…" is the line of v2. "/.." is outside of our cgroup namespace.
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).filter(|own| !own.starts_with(".."));
    let own = match own {
        None | Some("") => mount.to_owned(),
        Some(own) => mount.join(own),
    };
    let ours = own.ancestors().take_while(|dir| dir.starts_with(mount));
    let ours = ours.take_while(|dir| writable(dir) && writable(&dir.join("cgroup.procs")));
    ours.last().unwrap_or(&own).to_owned()
}

/// What systemd delegates to a user, wherever that user's processes are: `user@.service(5)`.
///
/// One could instead ask the kernel where a container's process is (`/proc/PID/cgroup`), which would find what was
/// delegated by hand as well. But a chapter's container is known by name alone, and a process may have gone deeper: a
/// systemd in the container puts itself into cgroups of its own. Who was given a cgroup by hand works from within it.
fn of_user_manager(mount: &Path, user: u32) -> PathBuf {
    mount.join(format!("user.slice/user-{user}.slice/user@{user}.service"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchies(mountinfo: &str) -> Hierarchies {
        let mut found = Hierarchies::default();
        cgroup_mounts(mountinfo).for_each(|mount| found.add(&mount));
        found
    }

    #[test]
    fn a_v2_machine() {
        let found = hierarchies(
            "22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw\n\
             30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
        );
        assert_eq!(found.kind(), "v2");
        assert_eq!(found.unified.unwrap().base, Path::new("/sys/fs/cgroup"));
    }

    #[test]
    fn a_hybrid_machine_with_shared_trees() {
        let found = hierarchies(
            "31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n\
             32 31 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
             33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
             34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n",
        );
        assert_eq!(found.kind(), "hybrid");
        assert_eq!(found.legacy[&Controller::Cpu], Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(found.legacy[&Controller::Cpu], found.legacy[&Controller::Cpuacct]);
        assert_eq!(found.legacy.len(), 3);
        assert_eq!(found.unified.unwrap().base, Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn inside_a_container_and_a_cgroup_namespace() {
        let found = hierarchies(
            "700 690 0:29 /docker/4f1c /sys/fs/cgroup/memory ro,nosuid master:9 - cgroup cgroup rw,memory\n\
             701 690 0:30 /../.. /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
        );
        assert_eq!(found.kind(), "v1");
        assert_eq!(found.legacy[&Controller::Pids], Path::new("/sys/fs/cgroup/pids"));
    }

    #[test]
    fn the_usual_place_wins_over_copies_elsewhere() {
        let found = hierarchies(
            "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
             90 23 0:26 / /var/lib/my\\040tree rw - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(found.unified.unwrap().base, Path::new("/sys/fs/cgroup"));
        let found = hierarchies("90 23 0:26 / /var/lib/my\\040tree rw - cgroup2 cgroup2 rw\n");
        assert_eq!(found.unified.unwrap().base, Path::new("/var/lib/my tree"));
    }

    #[test]
    fn a_user_gets_what_systemd_delegates() {
        let mount = Path::new("/sys/fs/cgroup");
        let service = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
        let own = "1:name=systemd:/\n0::/user.slice/user-1000.slice/user@1000.service/app.slice/term.scope\n";
        assert_eq!(delegated(mount, own, |path| path.starts_with(service)), Path::new(service));
        // From a login session there is nothing above that is ours.
        let own = "0::/user.slice/user-1000.slice/session-2.scope\n";
        assert_eq!(delegated(mount, own, |_| false), mount.join("user.slice/user-1000.slice/session-2.scope"));
        // A container whose whole tree is ours, and a process outside of its cgroup namespace.
        assert_eq!(delegated(mount, "0::/\n", |_| true), mount);
        assert_eq!(delegated(mount, "0::/../..\n", |_| true), mount);
    }

    #[test]
    fn what_was_started_in_a_scope_is_found_from_a_login() {
        let mount = Path::new("/sys/fs/cgroup");
        let service = of_user_manager(mount, 1000);
        assert_eq!(service, Path::new("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service"));
        let from = |base: &Path| Hierarchies {
            unified: Some(Unified { base: base.to_owned(), controllers: Vec::new() }),
            elsewhere: Some(service.clone()),
            ..Hierarchies::default()
        };
        let login = from(&mount.join("user.slice/user-1000.slice/session-2.scope"));
        let name = Path::new("minidocker/4f1c");
        let there = service.join(name);
        assert_eq!(login.place(name, |path| path == there), Some(service.clone()));
        // What is nowhere is to be made in the usual place, and what is there is found there.
        assert_eq!(login.place(name, |_| false), None);
        assert_eq!(login.place(name, |_| true), None);
        assert_eq!(from(&service).place(name, |path| path == there), None);
        // Root has one place only.
        assert_eq!(Hierarchies { elsewhere: None, ..login }.place(name, |path| path == there), None);
    }

    #[test]
    fn controllers_have_two_names() {
        use Controller::*;
        assert_eq!(
            parse_controllers("cpuset cpu io memory hugetlb pids\n"),
            [Cpuset, Cpu, Blkio, Memory, Hugetlb, Pids]
        );
    }

    #[test]
    fn paths_stay_below() {
        assert_eq!(relative("/a/b/").unwrap(), Path::new("a/b"));
        for path in ["", "/", "a/../b", "..", "./a", &"x".repeat(256)] {
            relative(path).expect_err(path);
        }
    }
}
