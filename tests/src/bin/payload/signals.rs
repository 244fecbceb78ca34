//! Programs that live long, and what they do when told to end.

use std::fs;
use std::str::FromStr;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::unistd::{ForkResult, Pid, fork, pause};

/// Says `ready` and lives until a signal; SIGTERM and SIGINT end it even where it is process 1, which has no defaults.
pub fn wait() -> Result<u8> {
    trap(&["TERM", "INT"])
}

/// Says `ready`, waits for one of the signals, says its name, and ends with 10 + its place in the list.
pub fn trap(names: &[&str]) -> Result<u8> {
    let signals = names.iter().map(|name| parse(name)).collect::<Result<Vec<_>>>()?;
    let set: SigSet = signals.iter().copied().collect();
    set.thread_block().context("block the signals")?;
    println!("ready");
    let got = set.wait().context("wait for a signal")?;
    println!("got {got}");
    let place = signals.iter().position(|signal| *signal == got).unwrap_or(0);
    Ok(10 + place as u8)
}

/// Says `ready` and lives on whatever comes, SIGKILL excepted.
pub fn ignore(names: &[&str]) -> Result<u8> {
    for name in names {
        // SAFETY: SIG_IGN is no handler, so nothing runs in a signal's context.
        unsafe { signal(parse(name)?, SigHandler::SigIgn) }.context("ignore the signal")?;
    }
    println!("ready");
    loop {
        pause();
    }
}

/// Ends by a signal of its own.
pub fn raise(name: &str) -> Result<u8> {
    nix::sys::signal::raise(parse(name)?).context("raise the signal")?;
    sleep(Duration::from_secs(1));
    println!("survived {name}");
    Ok(1)
}

/// Leaves `count` orphans that end at once; says how many of them are still zombies a while later.
pub fn zombies(count: usize) -> Result<()> {
    for _ in 0..count {
        // SAFETY: this program has one thread.
        let ForkResult::Parent { child } = unsafe { fork() }? else {
            // SAFETY: as above. The grandchild outlives us, so it falls to process 1.
            if let ForkResult::Child = unsafe { fork() }? {
                sleep(Duration::from_millis(20));
            }
            std::process::exit(0);
        };
        nix::sys::wait::waitpid(child, None)?;
    }
    // As long as it takes, within reason: what reaps may be busy.
    let mut left = count;
    for _ in 0..1500 {
        left = count_zombies();
        if left == 0 && orphans() == 0 {
            break;
        }
        sleep(Duration::from_millis(10));
    }
    println!("{left} zombies");
    Ok(())
}

fn states() -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok()).collect()
}

fn count_zombies() -> usize {
    states().iter().filter(|stat| stat.contains(" (payload) Z ")).count()
}

fn orphans() -> usize {
    let own = format!("{} (payload)", Pid::this());
    states().iter().filter(|stat| stat.contains(" (payload) ") && !stat.starts_with(&own)).count()
}

/// `kill -9 -1`: every process that we can see and may signal.
pub fn kill_all() -> Result<()> {
    match kill(Pid::from_raw(-1), Signal::SIGKILL) {
        Ok(()) => println!("killed others"),
        Err(Errno::ESRCH) => println!("nobody else here"),
        Err(error) => println!("refused: {error}"),
    }
    Ok(())
}

fn parse(name: &str) -> Result<Signal> {
    Signal::from_str(&format!("SIG{}", name.trim_start_matches("SIG"))).with_context(|| format!("no signal {name}"))
}
