//! A process and its isolations, from `clone3` to `execve` and back.

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::sys::prctl;
use rustix::process::Signal;

use crate::birth::{Births, born};
use crate::clone::exit_now;
use crate::gate::Message;
use crate::{Child, Exit, Gate, Isolation, Kind, Process, Record, StartError};

/// A container that does not exist yet: what to execute, and what sets it apart.
///
/// Starting one takes three steps, each with a value of its own that undoes everything when it is dropped:
/// [`Container::create`] → [`Created::start`] → [`Running::wait`].
pub struct Container {
    process: Process,
    isolations: Vec<Box<dyn Isolation>>,
    undo: fn(&Record) -> Result<()>,
    patience: Option<Duration>,
}

impl Container {
    /// A container with these isolations, which will be carried out in this order. `undo` is the undoing function of
    /// the last chapter that any of them comes from.
    pub fn new(process: Process, isolations: Vec<Box<dyn Isolation>>, undo: fn(&Record) -> Result<()>) -> Container {
        Container { process, isolations, undo, patience: None }
    }

    /// Gives the child up when it says nothing for so long.
    ///
    /// For one that is born among processes that are there already: whoever is root in its pid namespace can stop it
    /// (SIGSTOP), or freeze it, before it gets as far as the payload, and would have us wait for ever.
    pub fn patience(mut self, patience: Duration) -> Container {
        self.patience = Some(patience);
        self
    }

    /// What will have to be undone when it is gone. Whoever wants to survive a crash writes this down first.
    pub fn records(&self) -> Vec<Record> {
        self.isolations.iter().filter_map(|isolation| isolation.record()).collect()
    }

    /// Makes the container, all but the payload: the child stands inside and waits for [`Created::start`].
    ///
    /// The caller must be single-threaded. On an error the child is dead and reaped and the records are undone.
    pub fn create(self) -> Result<Created> {
        self.stand(|_| Ok(()), false)
    }

    /// Makes the container, does something else while the child is busy inside, and has the payload executed as soon as
    /// all stands: the child need not wait for the word, nor be woken by it, since it is there already.
    pub fn start_while(self, meanwhile: impl FnOnce(&Child) -> Result<()>) -> Result<Running> {
        self.stand(meanwhile, true)?.running()
    }

    fn stand(mut self, meanwhile: impl FnOnce(&Child) -> Result<()>, start: bool) -> Result<Created> {
        // ANCHOR: create
        let mut guard = Guard { child: None, records: self.records(), undo: self.undo };
        for isolation in &mut self.isolations {
            isolation.prepare()?;
        }
        let mut births = Births::gather(self.isolations.iter().flat_map(|isolation| isolation.births()));
        let visible = !births.makes(Kind::User);
        self.process.prepare();
        // ANCHOR: create-clone
        let (gate, inner) = Gate::pair(self.patience)?;
        let Some((child, pathfinder)) = born(&mut births, &gate, &inner)? else {
            drop(gate); // else the child would hold its own gate open when the outside is killed
            drop(births); // directories and namespaces of the host, whose descriptors are not for the child to have
            live(self.process, self.isolations, inner, visible);
        };
        drop(inner);
        // ANCHOR_END: create-clone
        let child = guard.child.insert(child);
        for isolation in &mut self.isolations {
            isolation.outside(child)?;
        }
        // A child that has already failed says why; that the gate is closed says less.
        for (name, fd) in child.gifts() {
            let _ = gate.send_fd(&name, fd.as_fd());
        }
        let _ = gate.send(&Message::Born, None);
        meanwhile(child)?;
        if start {
            let _ = gate.send(&Message::Start, None);
        }
        drop(pathfinder); // at work no more: the child is there
        gate.expect(&Message::Ready)?;
        for isolation in &mut self.isolations {
            isolation.adopt(&gate)?;
        }
        Ok(Created { guard, gate })
        // ANCHOR_END: create
    }
}

/// The life of the child, from its birth to `execve`.
// ANCHOR: live
fn live(process: Process, isolations: Vec<Box<dyn Isolation>>, gate: Gate, visible: bool) -> ! {
    // Were a panic to unwind out of here, the child would run what is the parent's: its guards, its callers.
    let end = catch_unwind(AssertUnwindSafe(|| become_payload(process, isolations, &gate, visible)));
    let error = match end {
        Ok(Err(error)) => StartError::from(&error),
        Err(_) => StartError::from(&anyhow!("the child panicked (a bug; its message stands above)")),
    };
    let _ = gate.send(&Message::Failed(error.clone()), None);
    exit_now(error.code.into());
}
// ANCHOR_END: live

// ANCHOR: become-payload
fn become_payload(
    mut process: Process,
    isolations: Vec<Box<dyn Isolation>>,
    gate: &Gate,
    visible: bool,
) -> Result<Infallible> {
    gate.expect(&Message::Born)?;
    if visible {
        hide()?;
    }
    for mut isolation in isolations {
        isolation.inside(gate, &mut process)?;
    }
    process.enter_cwd()?;
    gate.send(&Message::Ready, None)?;
    gate.expect(&Message::Start)?;
    process.execute()
}
// ANCHOR_END: become-payload

/// Hides our memory, environment and descriptors from those who are in our pid namespace already.
///
/// Until `execve(2)` we hold the engine's, and once we have given up our capabilities we have no more of them than root
/// inside: that one could trace us, and go through `/proc/PID/fd` to a directory of the host and up from it
/// (CVE-2016-9962). What is not dumpable only a CAP_SYS_PTRACE of the user namespace that the engine runs in gets to
/// see (`ptrace(2)`, "Ptrace access mode checking"). `execve(2)` ends it.
///
/// Not in a user namespace of the child's own: nobody was there before it, and its maker must still find its
/// namespaces in `/proc` where the child stays behind as an init. Not before `Born`: until then its maps are written.
fn hide() -> Result<()> {
    prctl::set_dumpable(false).context("hide from the processes around (PR_SET_DUMPABLE)")
}

/// Kills, reaps and undoes what it holds when it is dropped.
struct Guard {
    child: Option<Child>,
    records: Vec<Record>,
    undo: fn(&Record) -> Result<()>,
}

impl Guard {
    fn undo_records(&mut self) -> Result<()> {
        let mut result = Ok(());
        for record in self.records.drain(..).rev() {
            // One that fails must not keep the others from being undone.
            result = result.and((self.undo)(&record).with_context(|| format!("undo {}", record.kind)));
        }
        result
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            let _ = child.signal(Signal::KILL);
            let _ = child.wait();
        }
        let _ = self.undo_records();
    }
}

/// A container that stands, its child waiting at the gate. Dropped, it is undone.
pub struct Created {
    guard: Guard,
    gate: Gate,
}

impl Created {
    /// The child: pid 1 of its pid namespace, if it has one of its own.
    pub fn child(&self) -> &Child {
        self.guard.child.as_ref().expect("a created container has a child")
    }

    /// Executes the payload. Returns when `execve(2)` has succeeded, or with the reason why not.
    pub fn start(self) -> Result<Running> {
        let _ = self.gate.send(&Message::Start, None);
        self.running()
    }

    /// Waits until `execve(2)` has closed the child's side of the gate.
    fn running(self) -> Result<Running> {
        match self.gate.receive()? {
            None => Ok(Running { guard: self.guard }),
            Some((Message::Failed(error), _)) => Err(error.into()),
            Some((message, _)) => Err(anyhow!("{message:?} came through the gate where execve was expected")),
        }
    }
}

/// A container whose payload runs. Dropped, it is killed and undone.
pub struct Running {
    guard: Guard,
}

impl Running {
    /// The child.
    pub fn child(&self) -> &Child {
        self.guard.child.as_ref().expect("a running container has a child")
    }

    /// Waits for its end, reaps it, and undoes the records.
    pub fn wait(mut self) -> Result<Exit> {
        let child = self.guard.child.take().expect("a running container has a child");
        let exit = child.wait()?;
        self.guard.undo_records()?;
        Ok(exit)
    }

    /// Lets go of the child without ending it: whoever waits for the pid undoes the records.
    pub fn release(mut self) -> Child {
        self.guard.records.clear();
        self.guard.child.take().expect("a running container has a child")
    }
}
