//! Removing containers: those that have ended, those that run, and those of which the books cannot be read.

use std::fs::File;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{KILL_TIMEOUT, kill, process, send};
use crate::alive::{self, AliveLock};
use crate::attach;
use crate::container::Container;
use crate::discard::empty_bin;
use crate::full::is_full;
use crate::monitor::connection::{Silent, ask};
use crate::monitor::packet::Request;
use crate::readable::readable;
use crate::root::Root;
use crate::status::{self, Status};

/// What becomes of the volumes that were made for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnVolumes {
    /// They stay.
    Keep,
    /// They go with it (`rm -v`).
    Remove,
}

/// Removes a container. One that runs is killed first, if that is wanted; one that is damaged is then removed as well.
pub fn remove(container: &Container, force: bool, volumes: OwnVolumes) -> Result<()> {
    let looked = container.description().and_then(|description| Ok((description, status::of(container)?.0)));
    match looked {
        Err(_) if force && container.directory().exists() => overpower(container)?,
        Err(_) if force && !container.directory().exists() => return Ok(()), // somebody else was quicker
        Err(error) => return Err(error),
        Ok((_, Status::Created | Status::Exited | Status::Lost)) => {} // nobody will ask how a lost one has ended
        Ok(_) if force => {
            let killed = kill_by_force(container);
            // That its end could not be written down, on a full disk for example, is no matter any more.
            if status::of(container).is_ok_and(|(status, _)| status.is_running() || status == Status::Starting) {
                killed?;
            }
        }
        Ok((description, status)) => {
            let paused = status.is_running() && status::is_paused(&description);
            ensure!(!paused, "it is paused: unpause it and stop it first, or use rm -f");
            bail!("it is running: stop it first, or use rm -f")
        }
    }
    if !container.directory().exists() {
        return Ok(()); // made with --rm: its monitor was quicker
    }
    let _lock = match AliveLock::take(&container.directory()) {
        Err(_) if !container.directory().exists() => return Ok(()), // the same
        lock => lock?.context("it is just being started")?,
    };
    // On a full disk the table of addresses can be written when the container's files are gone.
    let undone = container.undo_records();
    let full = undone.as_ref().is_err_and(is_full);
    if !full {
        undone.context("undo what was left of it")?;
    }
    match volumes {
        OwnVolumes::Keep => container.delete(),
        OwnVolumes::Remove => container.delete_with_volumes(),
    }?;
    if full {
        network::release(&container.root().bridge(), container.id()).context("give its address back")?;
    }
    Ok(())
}

/// Kills a container whatever its monitor does; one that does not answer is killed first, so that we can do its work.
fn kill_by_force(container: &Container) -> Result<()> {
    match kill(container) {
        Err(error) => kill_monitor(container, error.downcast::<Silent>()?.pid)?,
        Ok(()) => return Ok(()),
    }
    match status::of(container)?.0 {
        Status::Created | Status::Exited => Ok(()), // what was half made is undone with its records
        _ => kill(container),
    }
}

fn kill_monitor(container: &Container, pid: i32) -> Result<()> {
    let Some(number) = Pid::from_raw(pid) else { return Ok(()) };
    let monitor = pidfd_open(number, PidfdFlags::empty()).context("find the monitor")?;
    // The descriptor first, the look after: that it still holds the lock says that it is who we mean.
    if alive::holder(&container.directory()) == Some(pid) {
        send(&monitor, Signal::SIGKILL as i32)?;
        ensure!(readable(&monitor, Some(KILL_TIMEOUT))?, "its monitor was killed and does not die");
    }
    Ok(())
}

/// Ends a container that is damaged: what happened to it or what it is cannot be read. Its monitor knows both by heart, and
/// is asked to end it. If there is none, or it does not, the state may still name the process. What is left in the
/// container's cgroup dies when that is taken away.
fn overpower(container: &Container) -> Result<()> {
    if let Some(pid) = alive::holder(&container.directory()) {
        let asked = ask_for_the_end(container);
        if asked.is_err() || alive::holder(&container.directory()) == Some(pid) {
            kill_monitor(container, pid)?;
        }
    }
    if let Ok(state) = container.state()
        && let Some(process) = process(&state)?
    {
        send(&process, Signal::SIGKILL as i32)?;
        let _ = cgroups::thaw(&container.cgroup()); // it may have none, or not be paused
        ensure!(readable(&process, Some(KILL_TIMEOUT))?, "it was killed and does not die");
    }
    Ok(())
}

fn ask_for_the_end(container: &Container) -> Result<()> {
    let watch = ask(container, Request::Wait)?;
    ask(container, Request::Signal(Signal::SIGKILL as i32))?;
    let _ = cgroups::thaw(&container.cgroup());
    ensure!(readable(&watch, Some(KILL_TIMEOUT))?, "it was killed and does not die");
    attach::wait(&watch).map(drop)
}

/// How often those who end look for what others have left.
const AT_TIMES: Duration = Duration::from_secs(10);

/// Removes what was made with `--rm` and has ended without its monitor, which was killed, and what killed removals have
/// left; at most every ten seconds, however many containers end. What cannot be removed is left to `rm`, which can say why.
///
/// A monitor does it when it is done and nobody waits for it. `run` could have done it at its beginning; but there each
/// container that runs, with `--rm` at least, would have cost every other start some microseconds.
pub fn sweep_at_times(root: &Root) {
    let stamp = root.swept();
    let last = stamp.metadata().and_then(|metadata| metadata.modified());
    // A clock that was set back makes it long ago.
    if last.is_ok_and(|last| last.elapsed().is_ok_and(|age| age < AT_TIMES)) {
        return;
    }
    let _ = File::create(&stamp).and_then(|file| file.set_modified(SystemTime::now()));
    let _ = empty_bin(root);
    for container in Container::all(root).unwrap_or_default() {
        let _ = finish_lost(&container);
    }
}

/// Removes a container that was made with `--rm` and has ended without its monitor. Tells whether it was one.
pub fn finish_lost(container: &Container) -> Result<bool> {
    let lost = status::of(container)?.0 == Status::Lost && container.description()?.auto_remove;
    if lost {
        kill(container)?; // does what its monitor would have done
    }
    Ok(lost)
}
