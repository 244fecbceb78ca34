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
/// So long something may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns once every other process of the virtual host waits for something, and none has run between two looks.
pub fn all_asleep() -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut before = None;
    loop {
        let now = processes();
        let awake = now.iter().find(|process| !process.is_asleep());
        match awake {
            None if before.as_ref() == Some(&now) => return Ok(()),
            Some(process) if Instant::now() > deadline => {
                bail!("process {} ({}) does not come to rest", process.pid, process.name)
            }
            None if Instant::now() > deadline => bail!("the processes do not come to rest: {}", names(&now)),
            _ => before = Some(now),
        }
        sleep(PAUSE);
    }
}

/// What tells whether a process has run since.
#[derive(PartialEq, Eq)]
struct Process {
    pid: u32,
    name: String,
    state: String,
    /// How often it has gone to sleep, and how often it was made to wait for the processor.
    switches: [String; 2],
}

impl Process {
    /// By its `status`; none if it has just ended.
    fn of(pid: u32) -> Option<Process> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.unwrap_or_default().trim().to_owned()
        };
        let switches = [field("voluntary_ctxt_switches"), field("nonvoluntary_ctxt_switches")];
        Some(Process { pid, name: field("Name"), state: field("State"), switches })
    }

    /// Asleep until something happens, stopped, or dead: proc_pid_status(5). Not R, and not D, which lasts for moments.
    fn is_asleep(&self) -> bool {
        self.state.starts_with(['S', 'T', 't', 'Z', 'X'])
    }
}

/// All processes of this pid namespace but this one and the first, which looks after it.
fn processes() -> Vec<Process> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut pids: Vec<u32> = pids.filter(|pid| *pid != own && *pid != 1).collect();
    pids.sort_unstable();
    pids.into_iter().filter_map(Process::of).collect()
}

fn names(processes: &[Process]) -> String {
    let names: Vec<String> = processes.iter().map(|process| format!("{} ({})", process.pid, process.name)).collect();
    names.join(", ")
}
