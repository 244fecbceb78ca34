//! Whether a container's monitor lives.
//!
//! The monitor holds a POSIX record lock on a file of the container for as long as it lives; whoever wants to know asks
//! for the holder (`F_GETLK`, `fcntl(2)`), which takes nothing and costs a microsecond. Not `flock(2)`: a lock of that
//! kind belongs to the open file and survives in every process forked since, and two who probe it collide. Not an open
//! file description lock (`F_OFD_SETLK`) either, though it would tell threads apart: asked for its holder the kernel says
//! -1, and a number written into the file would be that of another pid namespace, or would not fit on a full disk.
//!
//! So a process does itself what POSIX does not do for its threads: it remembers which locks it holds. That also keeps it
//! from closing the file that it has locked, by which POSIX gives up the lock, whichever descriptor is closed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, fcntl};

/// The locks of this process, by their directories. Locked as well while a file is looked at that may become one of them.
static OURS: Mutex<BTreeMap<PathBuf, File>> = Mutex::new(BTreeMap::new());

/// The lock, held until this is dropped or the process ends.
#[derive(Debug)]
#[must_use = "it is given up when it is dropped"]
pub struct AliveLock(PathBuf);

impl AliveLock {
    /// Takes the lock of a container's directory. `None` if another process or another thread holds it.
    pub fn take(directory: &Path) -> Result<Option<AliveLock>> {
        let mut ours = ours();
        if ours.contains_key(directory) {
            return Ok(None);
        }
        let path = directory.join("alive");
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.with_context(|| format!("open {}", path.display()))?;
        match fcntl(&file, FcntlArg::F_SETLK(&whole_file(libc::F_WRLCK))) {
            Ok(_) => {
                ours.insert(directory.to_path_buf(), file);
                Ok(Some(AliveLock(directory.to_path_buf())))
            }
            Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("lock {}", path.display())),
        }
    }
}

impl Drop for AliveLock {
    fn drop(&mut self) {
        ours().remove(&self.0); // closes the file, before anybody else can take the lock
    }
}

/// The process that holds the lock of a container's directory, if any does: ourselves, where it is another thread of ours.
pub fn holder(directory: &Path) -> Option<i32> {
    let ours = ours();
    if ours.contains_key(directory) {
        return Some(std::process::id() as i32);
    }
    let file = File::open(directory.join("alive")).ok()?;
    let mut lock = whole_file(libc::F_WRLCK);
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).ok()?;
    (lock.l_type != libc::F_UNLCK as libc::c_short).then_some(lock.l_pid)
}

fn ours() -> MutexGuard<'static, BTreeMap<PathBuf, File>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner) // a map is whole whenever somebody panics
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

#[cfg(test)]
mod tests {
    use super::*;

    /// To POSIX the second taker is the holder, and the look at the holder gives the lock up.
    #[test]
    fn threads_and_looks_do_not_share_a_lock() {
        let directory = tempfile::tempdir().unwrap();
        let lock = AliveLock::take(directory.path()).unwrap();
        assert!(lock.is_some());
        let second = std::thread::scope(|scope| scope.spawn(|| AliveLock::take(directory.path())).join().unwrap());
        assert!(second.unwrap().is_none());
        assert_eq!(holder(directory.path()), Some(std::process::id() as i32));
        let status = std::fs::read_to_string("/proc/locks").unwrap();
        let ours = format!(" {} ", std::process::id());
        assert!(status.lines().any(|line| line.contains("POSIX") && line.contains(&ours)), "{status}");
        drop(lock);
        assert_eq!(holder(directory.path()), None);
        assert!(AliveLock::take(directory.path()).unwrap().is_some());
    }
}
