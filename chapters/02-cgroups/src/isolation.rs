//! A cgroup's part in a container's start.

use std::cell::{Cell, OnceCell};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};
use namespaces::{Birth, Gate, Isolation, Kind, Process, Record};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags};

use crate::hierarchy::{in_initial_user_namespace, may_write};
use crate::{DeviceRules, Group, Hierarchies, Limits, Plan};

/// The kind of our records; their data is a [`Group`].
pub const RECORD: &str = "cgroup";

/// A cgroup of the container's own, with limits.
///
/// On v2 the child is born in it. v1 has no such birth: there the child moves itself, the first thing that it does
/// inside, long before the payload. See [`Entrance`] for why it, and not us.
///
/// Where nothing is limited and no cgroup can be made, as for most users without root, there is none.
pub struct Cgroup {
    path: String,
    limits: Limits,
    devices: Option<DeviceRules>,
    namespace: bool,
    plan: OnceCell<Option<Plan>>,
    entrance: Entrance,
}

impl Cgroup {
    /// The cgroup `path`, as in `minidocker-1a2b/ID`, below the place that is ours in every tree. One that begins with
    /// `/` has a parent that is the user's, and stays if it was there before.
    pub fn new(path: &str, limits: Limits) -> Cgroup {
        Cgroup {
            path: path.to_owned(),
            limits,
            devices: None,
            namespace: true,
            plan: OnceCell::new(),
            entrance: Entrance::default(),
        }
    }

    /// Lets the container open (and make nodes for) these devices only.
    ///
    /// Without effect unless we are root of the machine: who is not can make no device node, neither by hand nor by
    /// unpacking an image, and could not enforce the list either. A container with a user namespace that root starts
    /// does need it: a node in its image, unpacked by root, opens there as its mode says.
    pub fn devices(mut self, rules: DeviceRules) -> Cgroup {
        self.devices = Some(rules);
        self
    }

    /// Leaves the container in our cgroup namespace (`--cgroupns host`): it sees the path of its cgroup.
    pub fn in_host_namespace(mut self) -> Cgroup {
        self.namespace = false;
        self
    }

    /// What will be done, or `None` where there is nothing to do and no place for it.
    pub fn plan(&self) -> Result<Option<&Plan>> {
        if let Some(plan) = self.plan.get() {
            return Ok(plan.as_ref());
        }
        let enforceable = || !namespaces::rootless() && in_initial_user_namespace();
        let devices = self.devices.as_ref().filter(|_| enforceable());
        let plan = Plan::new(Hierarchies::detect()?, &self.path, &self.limits, devices, may_write)?;
        Ok(self.plan.get_or_init(|| plan).as_ref())
    }

    /// Whether the namespace can come with the birth: if nothing moves the child afterwards, since its root is the
    /// cgroup that the process is in at that moment (`cgroup_namespaces(7)`).
    fn namespace_at_birth(&self) -> bool {
        self.plan.get().and_then(Option::as_ref).is_none_or(|plan| plan.group.legacy.is_empty())
    }
}

impl Isolation for Cgroup {
    fn record(&self) -> Option<Record> {
        // A plan that fails does so again in prepare(), which can say so.
        self.plan().ok()??;
        let group = Group::everywhere(&self.path).ok()?;
        Some(Record { kind: RECORD.into(), data: serde_json::to_value(&group).ok()? })
    }

    fn prepare(&mut self) -> Result<()> {
        let Some(plan) = self.plan()? else { return Ok(()) };
        plan.carry_out()?;
        self.entrance = Entrance::to(&plan.group)?;
        Ok(())
    }

    fn births(&self) -> Vec<Birth> {
        let namespace = (self.namespace && self.namespace_at_birth()).then_some(Birth::New(Kind::Cgroup));
        self.entrance.birth().into_iter().chain(namespace).collect()
    }

    fn inside(&mut self, _gate: &Gate, _process: &mut Process) -> Result<()> {
        self.entrance.enter()?;
        if self.namespace && !self.namespace_at_birth() {
            unshare(CloneFlags::CLONE_NEWCGROUP).context("unshare the cgroup namespace")?;
        }
        Ok(())
    }
}

/// The cgroup of a container that runs, for another process in it. Its cgroup namespace is joined with the others.
pub struct Join {
    group: Group,
    entrance: Entrance,
}

impl Join {
    /// This cgroup. That it is gone by then will be an error: a process that ran outside of its container's limits would
    /// be no part of it.
    pub fn new(group: Group) -> Join {
        Join { group, entrance: Entrance::default() }
    }
}

impl Isolation for Join {
    fn prepare(&mut self) -> Result<()> {
        self.entrance = Entrance::to(&self.group)?;
        Ok(())
    }

    fn births(&self) -> Vec<Birth> {
        self.entrance.birth().into_iter().collect()
    }

    fn inside(&mut self, _gate: &Gate, _process: &mut Process) -> Result<()> {
        self.entrance.enter()
    }
}

/// The way into a cgroup, opened outside and taken by the child.
///
/// The obvious way, writing the child's number to `cgroup.procs`, stops every fork and exec on the machine for the
/// moment (`cgroup_threadgroup_rwsem`, taken for writing) and begins with waiting for an RCU grace period: 5 to 15 ms
/// on a machine that does anything else, though only 3 µs when measured in a loop. Two ways do without the lock: to be
/// born in the cgroup (v2, Linux 5.7), and, in v1, a thread that moves itself alone, by writing 0 to `tasks` (Linux
/// 5.5). The child has one thread. It is the one who opened the file whose rights count.
#[derive(Default)]
struct Entrance {
    /// Given away at the birth: what the child does not need to hold, no one inside can take from it.
    unified: Cell<Option<Rc<OwnedFd>>>,
    tasks: Vec<(PathBuf, File)>,
}

impl Entrance {
    /// Opens the way.
    fn to(group: &Group) -> Result<Entrance> {
        let open_tasks = |directory: &Path| {
            let path = directory.join("tasks");
            let file = File::options().write(true).open(&path);
            Ok((directory.to_owned(), file.with_context(|| format!("open {}", path.display()))?))
        };
        Ok(Entrance {
            unified: Cell::new(group.unified.as_deref().map(open_directory).transpose()?),
            tasks: group.legacy_directories().into_iter().map(open_tasks).collect::<Result<_>>()?,
        })
    }

    fn birth(&self) -> Option<Birth> {
        self.unified.take().map(Birth::Cgroup)
    }

    /// Called in the child, which has one thread.
    fn enter(&mut self) -> Result<()> {
        for (directory, mut tasks) in self.tasks.drain(..) {
            tasks.write_all(b"0").with_context(|| format!("move into cgroup {}", directory.display()))?;
        }
        Ok(())
    }
}

/// Opens a cgroup's directory as a place to be born in.
fn open_directory(directory: &Path) -> Result<Rc<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(directory, flags, Mode::empty());
    Ok(Rc::new(fd.with_context(|| format!("open cgroup {}", directory.display()))?))
}
