//! Waiting until nothing moves.
//!
//! What a reader sees must not depend on who was faster. A prompt that comes back says that a command has ended, not that what it
//! left behind has got where it goes: after `sleep 1000 &` the child is for a moment still a shell. So nothing is typed, as
//! by a reader who looks first, before all processes are asleep.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);
/// Longer than any sleep in a program that a test waits for.
const STANDSTILL: Duration = Duration::from_secs(1);
/// So long something may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Watches for the moment after which nothing will move any more, however slow the machine is.
#[derive(Default)]
pub struct Standstill {
    last: Vec<Thread>,
    since: Option<Instant>,
}

impl Standstill {
    /// Looks, and tells whether every other process of the virtual host has waited for something since a second ago, and none
    /// has run: if none of them sleeps for so long by itself, each waits for another.
    pub fn has_come(&mut self) -> bool {
        let now = threads();
        if now != self.last || !now.iter().all(Thread::is_asleep) {
            *self = Standstill { last: now, since: None };
        }
        self.since.get_or_insert_with(Instant::now).elapsed() > STANDSTILL
    }
}

/// Returns once every thread of every other process of the virtual host waits for something, and none has run between two looks.
pub fn all_asleep() -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut before = None;
    loop {
        let now = threads();
        let awake = now.iter().find(|thread| !thread.is_asleep());
        match awake {
            None if before.as_ref() == Some(&now) => return Ok(()),
            Some(thread) if Instant::now() > deadline => {
                bail!("process {} ({}) does not come to rest", thread.tid, thread.name)
            }
            None if Instant::now() > deadline => bail!("the processes do not come to rest: {}", names(&now)),
            _ => before = Some(now),
        }
        sleep(PAUSE);
    }
}

/// What tells whether a thread has run since.
#[derive(PartialEq, Eq)]
struct Thread {
    /// Its number; that of its process, if it is the first.
    tid: u32,
    name: String,
    state: String,
    /// How often it has gone to sleep, and how often it was made to wait for the processor.
    switches: [String; 2],
}

impl Thread {
    /// By its `status`; none if it has just ended.
    fn of(pid: u32, tid: u32) -> Option<Thread> {
        let status = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).ok()?;
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.unwrap_or_default().trim().to_owned()
        };
        let switches = [field("voluntary_ctxt_switches"), field("nonvoluntary_ctxt_switches")];
        Some(Thread { tid, name: field("Name"), state: field("State"), switches })
    }

    /// Asleep until something happens, stopped, or dead: proc_pid_status(5). Not R, and not D, which lasts for moments.
    fn is_asleep(&self) -> bool {
        self.state.starts_with(['S', 'T', 't', 'Z', 'X'])
    }
}

/// All threads of this pid namespace but those of this process and of the first, which looks after it.
fn threads() -> Vec<Thread> {
    let own = std::process::id();
    let processes = numbers("/proc").into_iter().filter(|pid| *pid != own && *pid != 1);
    let threads =
        processes.flat_map(|pid| numbers(&format!("/proc/{pid}/task")).into_iter().map(move |tid| (pid, tid)));
    threads.filter_map(|(pid, tid)| Thread::of(pid, tid)).collect()
}

/// The entries of a directory that are numbers, in order.
fn numbers(directory: &str) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

fn names(threads: &[Thread]) -> String {
    let names: Vec<String> = threads.iter().map(|thread| format!("{} ({})", thread.tid, thread.name)).collect();
    names.join(", ")
}
