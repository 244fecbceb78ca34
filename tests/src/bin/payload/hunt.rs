//! Watching for processes that are the engine's still: those that have joined the container and not executed its program yet.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

/// Looks at every process that comes, through everything that /proc has of it, until the file `stop` exists. Prints each thing
/// that is not the container's: a directory, a root, a secret in the environment (a value with `SECRET` in it), the engine's
/// program, and whether it could be traced while it was that. At the end whether it has looked at all.
pub fn engine(stop: &str) -> Result<()> {
    let own = fs::metadata("/").context("look at our root")?;
    let own = (own.dev(), own.ino());
    let mut seen = std::collections::BTreeSet::new();
    let mut looks = 0u64;
    println!("ready");
    while !Path::new(stop).exists() {
        for pid in processes() {
            looks += 1;
            for found in look_at(pid, own) {
                if seen.insert(found.clone()) {
                    println!("found {found}");
                }
            }
        }
    }
    println!("looked at {}", if looks > 0 { "many" } else { "nobody" });
    Ok(())
}

/// Every process but ourselves.
fn processes() -> Vec<i32> {
    let own = std::process::id() as i32;
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| *pid != own).collect()
}

fn look_at(pid: i32, own_root: (u64, u64)) -> Vec<String> {
    let mut found = Vec::new();
    let path = |name: &str| format!("/proc/{pid}/{name}");
    if fs::metadata(path("root")).is_ok_and(|root| (root.dev(), root.ino()) != own_root) {
        found.push("a root".to_owned());
    }
    let program = fs::read_link(path("exe")).unwrap_or_default();
    if is_engine(&program) {
        if File::open(path("exe")).is_ok() {
            found.push(format!("the engine's program {}", program.display()));
        }
        if can_trace(pid) {
            found.push("a tracee that is the engine".to_owned());
        }
    }
    let environment = fs::read(path("environ")).unwrap_or_default();
    if let Some(variable) = environment.split(|byte| *byte == 0).find(|variable| contains(variable, b"SECRET")) {
        found.push(format!("a secret {}", String::from_utf8_lossy(variable)));
    }
    for entry in fs::read_dir(path("fd")).into_iter().flatten().flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        // What has no name is a pipe or a socket.
        if !target.is_absolute() || !fs::metadata(entry.path()).is_ok_and(|it| it.is_dir()) {
            continue;
        }
        // A directory of the host leads to all of it; one of the container no further than to its root.
        let top = entry.path().join("../".repeat(40));
        if fs::metadata(&top).is_ok_and(|top| (top.dev(), top.ino()) != own_root) {
            let names: Vec<String> = fs::read_dir(&top)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect();
            found.push(format!("a directory {} below {}", target.display(), names.join(" ")));
        }
    }
    found
}

/// Attaches to a process and lets go of it.
fn can_trace(pid: i32) -> bool {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: ptrace(2): these requests follow no pointer of ours.
    unsafe {
        if libc::ptrace(libc::PTRACE_SEIZE, pid, none, none) != 0 {
            return false;
        }
        libc::ptrace(libc::PTRACE_INTERRUPT, pid, none, none);
        libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL);
        libc::ptrace(libc::PTRACE_DETACH, pid, none, none);
    }
    true
}

fn is_engine(program: &Path) -> bool {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("minidocker") || name.starts_with("ch0") || program == Path::new("/")
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// Waits for a process that is the engine's program, keeps hold of that by O_PATH, and writes over it as soon as it no longer
/// runs (ETXTBSY until then). Prints `ready`; `holds …`; in the end `overwritten` or `refused` and why.
pub fn overwrite_engine() -> Result<()> {
    println!("ready");
    let held = loop {
        let mut paths = processes().into_iter().map(|pid| PathBuf::from(format!("/proc/{pid}/exe")));
        let held = paths.find_map(|path| {
            let program = fs::read_link(&path).ok().filter(|program| is_engine(program))?;
            let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&path).ok()?;
            Some((file, program))
        });
        if let Some(held) = held {
            break held;
        }
    };
    let (file, program) = held;
    println!("holds {}", program.display());
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut last = None;
    // Until whoever runs it is gone; a minute, for who is never gone.
    for _ in 0..6000 {
        match OpenOptions::new().write(true).truncate(true).open(&link) {
            Ok(mut file) => {
                file.write_all(b"#!/bin/sh\necho owned\n").context("write over the engine")?;
                println!("overwritten");
                return Ok(());
            }
            Err(error) => last = error.raw_os_error().map(Errno::from_raw),
        }
        if last != Some(Errno::ETXTBSY) {
            break;
        }
        sleep(Duration::from_millis(10));
    }
    println!("refused {last:?}");
    Ok(())
}

/// Exchanges two names, again and again, until it is killed.
pub fn exchange(one: &str, other: &str) -> Result<u8> {
    println!("ready");
    loop {
        renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).context("exchange the names")?;
    }
}
