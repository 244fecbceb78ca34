//! The core of the whole course: one trait, whose verbs tell the story of a start.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::clock::Offsets;
use crate::{Child, Gate, Kind, Process};

/// One thing that sets a container apart from a plain process.
///
/// A [`Container`](crate::Container) carries its isolations through a start in list order, verb by verb:
///
/// ```text
/// outside   record → prepare ─┐ clone3 ┌─ outside ─ "born" ─┐                  ┌─ adopt ─ "start" ─┐
/// inside                      └────────┘                    └─ inside ─ "ready"┘                   └─ execve
/// ```
///
/// After `clone3` the child's memory is a copy: nothing that the outside learns later reaches it except through the
/// gate. So a thing is opened or computed in [`prepare`](Isolation::prepare) if the child is to have it.
pub trait Isolation {
    /// What must be undone when the container is gone, as data.
    ///
    /// Asked before [`prepare`](Isolation::prepare): it names things by the container's id, so that it can be written
    /// to disk before any of them exists, and whoever finds it there after a crash can undo it.
    fn record(&self) -> Option<Record> {
        None
    }

    /// Outside, before the child exists. What is opened or computed here, the clone carries inside.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// What the child is born in: new namespaces, existing ones, a cgroup. Asked after [`prepare`](Isolation::prepare).
    fn births(&self) -> Vec<Birth> {
        Vec::new()
    }

    /// Outside, while the child is held at the gate: uid maps, resource limits, the host end of a veth pair.
    fn outside(&mut self, _child: &Child) -> Result<()> {
        Ok(())
    }

    /// Inside, as the child, in its new namespaces. May send file descriptors out through the gate.
    fn inside(&mut self, _gate: &Gate, _process: &mut Process) -> Result<()> {
        Ok(())
    }

    /// Outside again: take what the child sent.
    fn adopt(&mut self, _gate: &Gate) -> Result<()> {
        Ok(())
    }
}

/// What a child is born in.
#[derive(Clone, Debug)]
pub enum Birth {
    /// A fresh namespace.
    New(Kind),
    /// Existing namespaces: a pidfd with any kinds of that process, or the fd of a `/proc/PID/ns` file with its one
    /// kind (`setns(2)` takes both).
    Join(Rc<OwnedFd>, Vec<Kind>),
    /// A fresh time namespace, with its clocks set. [`Birth::New`] of [`Kind::Time`] gives one in which they go as ours do.
    Clocks(Offsets),
    /// A cgroup of the v2 hierarchy, by a descriptor of its directory (`CLONE_INTO_CGROUP`).
    Cgroup(Rc<OwnedFd>),
}

/// What must be undone later, as data that any process can read back.
///
/// Undoing a record twice does no harm, nor does undoing one whose thing never came to be: a start may be killed
/// between any two steps. The kind says which chapter understands the data, as in
/// `{"kind":"cgroup","data":{"path":"minidocker/4f1c"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The isolation that wrote it.
    pub kind: String,
    /// What it needs to undo itself.
    pub data: serde_json::Value,
}
