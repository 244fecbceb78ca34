//! Stopping, signalling and removing containers, with a monitor or without one.
//!
//! In reading order: here, stopping and signalling; [`removal`].

pub mod removal;

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use namespaces::Exit;
use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::alive::{self, AliveLock};
use crate::attach;
use crate::container::Container;
use crate::description::Description;
use crate::discard::Discarded;
use crate::monitor::connection::{Silent, ask};
use crate::monitor::finish;
use crate::monitor::packet::Request;
use crate::readable::readable;
use crate::state::{State, process_started};
use crate::status::{self, Status};

pub use self::removal::{OwnVolumes, finish_lost, remove, sweep_at_times};

/// How long a killed container may take to be gone. A process in the middle of a system call to a dead file server cannot
/// be killed at all.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a start that is under way may take until nobody waits for it any more.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends the main process of a running container a signal. A paused one takes it when it is unpaused, which SIGKILL and
/// its own stop signal see to themselves.
pub fn signal(container: &Container, number: i32) -> Result<()> {
    send_signal(container, number)?;
    let description = container.description()?;
    if number == Signal::SIGKILL as i32 || number == description.stop_signal {
        wake(&description);
    }
    Ok(())
}

/// Lets a paused container go on, for the signal that it has been sent: a process that stands still takes none, and on v1
/// not even SIGKILL.
fn wake(description: &Description) {
    let _ = cgroups::thaw(&description.cgroup); // it may be gone already, or have no cgroup
}

fn send_signal(container: &Container, number: i32) -> Result<()> {
    match status::of(container)? {
        (Status::Running, _) => ask(container, Request::Signal(number)).map(drop),
        (Status::Unmonitored, state) => {
            let Some(process) = process(&state)? else { return Ok(()) };
            send(&process, number)
        }
        _ => bail!("the container is not running"),
    }
}

/// Asks a container to stop with its own signal and kills it when that takes too long. One that does not run is stopped.
pub fn stop(container: &Container, timeout: Option<Duration>, signal: Option<i32>) -> Result<()> {
    let description = container.description()?;
    let signal = signal.unwrap_or(description.stop_signal);
    let timeout = timeout.unwrap_or(Duration::from_secs(description.stop_timeout));
    end(container, signal, Some(timeout))
}

/// Kills a container and waits until it is gone.
pub fn kill(container: &Container) -> Result<()> {
    end(container, Signal::SIGKILL as i32, Some(Duration::ZERO))
}

fn end(container: &Container, number: i32, timeout: Option<Duration>) -> Result<()> {
    match status::of(container)? {
        (Status::Running, _) => end_monitored(container, number, timeout),
        (Status::Unmonitored | Status::Lost, state) => end_unmonitored(container, state, number, timeout),
        (Status::Starting, _) => {
            started(container)?;
            end(container, number, timeout)
        }
        (Status::Created | Status::Exited, _) => Ok(()),
    }
}

fn end_monitored(container: &Container, number: i32, timeout: Option<Duration>) -> Result<()> {
    let watch = match ask(container, Request::Wait) {
        Ok(watch) => watch,
        Err(error) if error.is::<Silent>() => return Err(error),
        // Between the look at its state and this it may have ended by itself.
        Err(_) => return settled(container),
    };
    let _ = send_signal(container, number);
    if let Ok(description) = container.description() {
        wake(&description);
    }
    if !readable(&watch, timeout)? {
        let _ = send_signal(container, Signal::SIGKILL as i32);
        ensure!(readable(&watch, Some(KILL_TIMEOUT))?, "it was killed and does not die (is it waiting for a device?)");
    }
    match attach::wait(&watch) {
        Ok(_) => Ok(()),
        Err(_) => settled(container), // the monitor was killed this moment
    }
}

/// Waits until a start is over, well or not.
fn started(container: &Container) -> Result<()> {
    let begin = Instant::now();
    while let (Status::Starting, _) = status::of(container)? {
        if begin.elapsed() > START_TIMEOUT {
            match alive::holder(&container.directory()) {
                Some(pid) => return Err(Silent { pid }.into()),
                None => return Ok(()),
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Waits until the books are closed by whoever is doing that just now.
fn settled(container: &Container) -> Result<()> {
    let begin = Instant::now();
    loop {
        match status::of(container) {
            Ok((Status::Running | Status::Starting, _)) if begin.elapsed() < KILL_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok((status @ (Status::Unmonitored | Status::Lost), state)) => {
                let number = Signal::SIGKILL as i32;
                return end_unmonitored(container, state, number, (!status.is_running()).then_some(Duration::ZERO));
            }
            _ => return Ok(()),
        }
    }
}

/// Ends a container whose monitor was killed, and does what the monitor would have done.
fn end_unmonitored(container: &Container, mut state: State, number: i32, timeout: Option<Duration>) -> Result<()> {
    let Some(_lock) = AliveLock::take(&container.directory())? else {
        return settled(container); // somebody else does
    };
    let description = container.description()?;
    if let Some(process) = process(&state)? {
        send(&process, number)?;
        wake(&description);
        if !readable(&process, timeout)? {
            send(&process, Signal::SIGKILL as i32)?;
            cgroups::kill_all(&description.cgroup)?;
            ensure!(readable(&process, Some(KILL_TIMEOUT))?, "it was killed and does not die");
        }
    }
    // How it ended nobody saw; that it was killed is the likeliest.
    let discarded = finish(container, &description, &mut state, Exit::Signal(Signal::SIGKILL as i32))?;
    discarded.map_or(Ok(()), Discarded::delete)
}

/// The main process, unless its number is another one's by now.
fn process(state: &State) -> Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(state.pid.max(0)) else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::empty()) {
        // The descriptor first, the look after: it is held by then and cannot change.
        Ok(process) if process_started(state.pid) == Some(state.pid_started) => Ok(Some(process)),
        Ok(_) | Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(error) => Err(error).context("find the container's process"),
    }
}

fn send(process: &OwnedFd, number: i32) -> Result<()> {
    let signal = namespaces::signals::by_number(number).with_context(|| format!("no signal {number}"))?;
    match pidfd_send_signal(process, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("send the signal"),
    }
}
