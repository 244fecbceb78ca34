//! Whether a container's monitor lives.
//!
//! The monitor holds a POSIX record lock on a file of the container for as long as it lives; whoever wants to know asks
//! for the holder (`F_GETLK`, `fcntl(2)`), which takes nothing and costs a microsecond. Not `flock(2)`: a lock of that
//! kind belongs to the open file and survives in every process forked since, and two who probe it collide.

use std::fs::{File, OpenOptions};
use std::path::Path;

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, fcntl};

/// The lock, held until the process ends. POSIX gives up a process's locks on a file as soon as it closes *any*
/// descriptor of that file, so it is opened here and nowhere else.
#[derive(Debug)]
pub struct AliveLock(#[expect(dead_code, reason = "held for the lock on it")] File);

impl AliveLock {
    /// Takes the lock of a container's directory. `None` if another process holds it.
    pub fn take(directory: &Path) -> Result<Option<AliveLock>> {
        let path = directory.join("alive");
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.with_context(|| format!("open {}", path.display()))?;
        match fcntl(&file, FcntlArg::F_SETLK(&whole_file(libc::F_WRLCK))) {
            Ok(_) => Ok(Some(AliveLock(file))),
            Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("lock {}", path.display())),
        }
    }
}

/// The process that holds the lock of a container's directory, if any does.
pub fn holder(directory: &Path) -> Option<i32> {
    let file = File::open(directory.join("alive")).ok()?;
    let mut lock = whole_file(libc::F_WRLCK);
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).ok()?;
    (lock.l_type != libc::F_UNLCK as libc::c_short).then_some(lock.l_pid)
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}
