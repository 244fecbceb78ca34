//! Stopping all processes of a cgroup, waking them, killing them.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};

use crate::{Controller, Group};

/// How long freezing and killing may take. A process in uninterruptible sleep can hold out for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stops every process of the cgroup where it stands. Unlike SIGSTOP the processes cannot notice, nor wake each other.
///
/// Returns when all of them stand still. If that takes too long they are woken again, and it is an error.
pub fn freeze(group: &Group) -> Result<()> {
    let start = Instant::now();
    let Some(switch) = Switch::of(group) else {
        bail!("there is nothing to freeze with (it takes cgroup v2, or the v1 freezer)");
    };
    switch.set(true)?;
    let mut pause = Duration::from_micros(50);
    while !switch.all_frozen()? {
        if start.elapsed() > PATIENCE {
            switch.set(false)?;
            bail!("freeze: a process does not stop (it may wait for a disk or a file server); all run on");
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
        if let Switch::Legacy(_) = switch {
            // A process that forked at the wrong moment keeps v1 in FREEZING until it is told again.
            switch.set(true)?;
        }
    }
    Ok(())
}

/// Lets the processes of a frozen cgroup go on. No harm if it is not frozen.
pub fn thaw(group: &Group) -> Result<()> {
    match Switch::of(group) {
        Some(switch) => switch.set(false),
        None => Ok(()),
    }
}

/// Whether the cgroup is frozen, as far as that was asked for.
pub fn is_frozen(group: &Group) -> bool {
    Switch::of(group).is_some_and(|switch| switch.all_frozen().unwrap_or(false))
}

/// Kills every process of the cgroup and of those below it, and waits until they are gone.
///
/// Killing them one by one is a race against fork. Linux 5.14 has `cgroup.kill`, which wins it. Before, and on v1, they
/// are frozen first, signalled while none can fork, and thawed to die: a frozen v1 process does not even die of
/// SIGKILL before that.
pub fn kill_all(group: &Group) -> Result<()> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(100);
    loop {
        let by_kernel = match &group.unified {
            Some(directory) => write(&directory.join("cgroup.kill"), "1").context("write to cgroup.kill")?,
            None => false,
        };
        // Also if the kernel has done it: v1 members that were moved out of the v2 cgroup are still here.
        if !by_kernel && let Some(switch) = Switch::of(group) {
            // Not freeze(): what cannot be frozen can still be killed.
            switch.set(true)?;
        }
        let processes = group.processes()?;
        for pid in &processes {
            let _ = kill(*pid, Signal::SIGKILL); // it may be gone
        }
        thaw(group)?;
        if processes.is_empty() {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            bail!("kill: process {} does not die (it may wait for a disk or a file server)", processes[0]);
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// What freezes a cgroup.
enum Switch<'a> {
    /// v2: `cgroup.freeze` takes 0 or 1, `cgroup.events` has "frozen 1" when all stand.
    Unified(&'a Path),
    /// v1: `freezer.state` takes FROZEN or THAWED, and reads FREEZING in between.
    Legacy(&'a Path),
}

impl Switch<'_> {
    fn of(group: &Group) -> Option<Switch<'_>> {
        match (&group.unified, group.legacy.get(&Controller::Freezer)) {
            // Linux 5.2 and later.
            (Some(directory), _) if directory.join("cgroup.freeze").exists() => Some(Switch::Unified(directory)),
            (_, Some(directory)) => Some(Switch::Legacy(directory)),
            _ => None,
        }
    }

    /// Asks for it. That the cgroup is gone is no error: nothing runs there.
    fn set(&self, frozen: bool) -> Result<()> {
        let (file, value) = match self {
            Switch::Unified(directory) => (directory.join("cgroup.freeze"), if frozen { "1" } else { "0" }),
            Switch::Legacy(directory) => (directory.join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" }),
        };
        write(&file, value).with_context(|| format!("write {value} to {}", file.display()))?;
        Ok(())
    }

    fn all_frozen(&self) -> Result<bool> {
        let (file, sign) = match self {
            Switch::Unified(directory) => (directory.join("cgroup.events"), "frozen 1"),
            Switch::Legacy(directory) => (directory.join("freezer.state"), "FROZEN"),
        };
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        Ok(text.lines().any(|line| line == sign))
    }
}

/// Writes to a control file; whether there was one to write to.
fn write(file: &Path, value: &str) -> io::Result<bool> {
    match File::options().write(true).open(file).and_then(|mut file| file.write_all(value.as_bytes())) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV) => Ok(false),
        Err(error) => Err(error),
    }
}
