//! A cgroup's part in a container's start.

use std::cell::OnceCell;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};
use namespaces::{Birth, Child, Gate, Isolation, Kind, Process, Record};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags};

use crate::hierarchy::{in_initial_user_namespace, may_write};
use crate::{DeviceRules, Group, Hierarchies, Limits, Plan};

/// The kind of our records; their data is a [`Group`].
pub const RECORD: &str = "cgroup";

/// A cgroup of the container's own, with limits.
///
/// On v2 the child is born in it, so that there is no moment at which it is anywhere else, and moving it would take a
/// lock against every fork on the machine (`cgroup_threadgroup_rwsem`). v1 has no such birth: there the child, which
/// waits at the gate and has no children yet, is moved.
///
/// Where nothing is limited and no cgroup can be made, as for most users without root, there is none.
pub struct Cgroup {
    path: String,
    limits: Limits,
    devices: Option<DeviceRules>,
    namespace: bool,
    plan: OnceCell<Option<Plan>>,
    birth: Option<Rc<OwnedFd>>,
}

impl Cgroup {
    /// The cgroup `path`, as in `minidocker-1a2b/ID`, below the place that is ours in every tree. One that begins with
    /// `/` has a parent that is not of our making, and stays.
    pub fn new(path: &str, limits: Limits) -> Cgroup {
        Cgroup { path: path.to_owned(), limits, devices: None, namespace: true, plan: OnceCell::new(), birth: None }
    }

    /// Lets the container open (and make nodes for) these devices only.
    ///
    /// Without effect in a user namespace: nobody can make a device node there, and opening the nodes that it is given
    /// is what their owner and mode say.
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
        let devices = self.devices.as_ref().filter(|_| in_initial_user_namespace());
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
        let plan = self.plan().ok()??;
        Some(Record { kind: RECORD.into(), data: serde_json::to_value(&plan.group).ok()? })
    }

    fn prepare(&mut self) -> Result<()> {
        let Some(plan) = self.plan()? else { return Ok(()) };
        plan.carry_out()?;
        self.birth = plan.group.unified.as_deref().map(open).transpose()?;
        Ok(())
    }

    fn births(&self) -> Vec<Birth> {
        let cgroup = self.birth.clone().map(Birth::Cgroup);
        let namespace = (self.namespace && self.namespace_at_birth()).then_some(Birth::New(Kind::Cgroup));
        cgroup.into_iter().chain(namespace).collect()
    }

    fn outside(&mut self, child: &Child) -> Result<()> {
        match self.plan()? {
            Some(plan) => plan.group.join_legacy(child.pid()),
            None => Ok(()),
        }
    }

    fn inside(&mut self, _gate: &Gate, _process: &mut Process) -> Result<()> {
        if self.namespace && !self.namespace_at_birth() {
            unshare(CloneFlags::CLONE_NEWCGROUP).context("unshare the cgroup namespace")?;
        }
        Ok(())
    }
}

/// The cgroup of a container that runs, for another process in it. Its cgroup namespace is joined with the others.
pub struct Join {
    path: String,
    group: Group,
    birth: Option<Rc<OwnedFd>>,
}

impl Join {
    /// The cgroup `path`, which must exist: a process that came to run outside of its container's limits would be no
    /// part of it.
    pub fn new(path: &str) -> Join {
        Join { path: path.to_owned(), group: Group::default(), birth: None }
    }
}

impl Isolation for Join {
    fn prepare(&mut self) -> Result<()> {
        self.group = Group::at(&self.path)?;
        self.birth = self.group.unified.as_deref().map(open).transpose()?;
        Ok(())
    }

    fn births(&self) -> Vec<Birth> {
        self.birth.clone().map(Birth::Cgroup).into_iter().collect()
    }

    fn outside(&mut self, child: &Child) -> Result<()> {
        self.group.join_legacy(child.pid())
    }
}

/// Opens a cgroup's directory as a place to be born in.
fn open(directory: &Path) -> Result<Rc<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(directory, flags, Mode::empty());
    Ok(Rc::new(fd.with_context(|| format!("open cgroup {}", directory.display()))?))
}
