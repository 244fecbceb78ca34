//! Programs that want more than their share.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, pause};

/// Takes `bytes` of memory and writes to every page of it: memory that is only reserved is not counted.
pub fn hog(bytes: usize) -> Result<()> {
    let mut memory: Vec<u8> = Vec::with_capacity(bytes);
    let mut said = 0;
    while memory.len() < bytes {
        memory.resize((memory.len() + 4096).min(bytes), 1);
        if memory.len() >> 20 > said {
            said = memory.len() >> 20;
            println!("{said} MiB");
        }
    }
    println!("had {} bytes", std::hint::black_box(&memory).len());
    Ok(())
}

/// Takes `bytes` of memory as [`hog`] does, and keeps them.
pub fn hold(bytes: usize) -> Result<()> {
    let memory = vec![1_u8; bytes];
    println!("ready");
    loop {
        std::hint::black_box(&memory);
        pause();
    }
}

/// Asks for huge pages of 2 MiB and touches them; says how it went.
pub fn huge(pages: usize) -> Result<()> {
    let (access, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB);
    // SAFETY: a new mapping wherever the kernel likes it.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), pages << 21, access, flags, -1, 0) };
    if memory == libc::MAP_FAILED {
        println!("{:?}", Errno::last());
        return Ok(());
    }
    for page in 0..pages {
        // SAFETY: within the mapping, which nobody else knows of.
        unsafe { memory.cast::<u8>().add(page << 21).write_volatile(1) };
    }
    println!("had {pages}");
    Ok(())
}

/// Computes for `milliseconds` of wall time; says how much processor time it got, in the same unit.
pub fn burn(milliseconds: u64) -> Result<()> {
    let start = Instant::now();
    let mut x = 1u64;
    while start.elapsed() < Duration::from_millis(milliseconds) {
        for _ in 0..10_000 {
            x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
    let used = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let used = used.user_time().tv_sec() * 1000
        + used.user_time().tv_usec() / 1000
        + used.system_time().tv_sec() * 1000
        + used.system_time().tv_usec() / 1000;
    println!("used {used} of {}", start.elapsed().as_millis());
    Ok(())
}

/// Forks until it is refused or has `most` children; says which, and ends them.
pub fn bomb(most: usize) -> Result<()> {
    let mut children = Vec::new();
    let refusal = loop {
        if children.len() == most {
            break None;
        }
        // SAFETY: this program has one thread.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => loop {
                pause();
            },
            Ok(ForkResult::Parent { child }) => children.push(child),
            Err(error) => break Some(error),
        }
    };
    match refusal {
        None => println!("forked {most}, nobody stopped it"),
        Some(Errno::EAGAIN) => println!("forked {}, then EAGAIN", children.len()),
        Some(error) => println!("forked {}, then {error}", children.len()),
    }
    for child in children {
        kill(child, Signal::SIGKILL)?;
        waitpid(child, None)?;
    }
    Ok(())
}

/// Makes cgroups in each other below a directory, goes into the last one and waits. Their names are long, so that no path
/// reaches it.
pub fn nest(directory: &str, depth: usize) -> Result<()> {
    std::env::set_current_dir(directory).with_context(|| format!("go to {directory}"))?;
    let name = "x".repeat(120);
    for _ in 0..depth {
        std::fs::create_dir(&name).context("make a cgroup")?;
        std::env::set_current_dir(&name).context("go into it")?;
    }
    std::fs::write("cgroup.procs", "0").context("enter it")?;
    println!("there");
    loop {
        pause();
    }
}
