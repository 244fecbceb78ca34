//! What the child executes, and how it is left by `execve(2)`.

use std::convert::Infallible;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, chdir, execve};

use crate::failure::{CANNOT_EXECUTE, NOT_FOUND, StartError};
use crate::title::Title;
use crate::{diagnose, init, signals};

/// Where commands are looked for when the environment has no `PATH` (Docker's default).
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The payload: what is to be executed, and in what surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The command and its arguments. A command without a slash is looked for in the environment's `PATH`.
    pub argv: Vec<OsString>,
    /// The whole environment, `KEY=VALUE`.
    pub env: Vec<OsString>,
    /// The working directory, inside.
    pub cwd: PathBuf,
    /// Make the working directory if it is missing (as Docker does for `WORKDIR` and `--workdir`).
    pub create_cwd: bool,
    /// Leave pid 1 to a process that reaps and forwards signals, and run the payload as its child (`--init`).
    pub init: bool,
    /// End with whoever waits for it, however that one ends (`PR_SET_PDEATHSIG`).
    pub die_with_parent: bool,
    entered: bool,
    title: Option<Title>,
}

impl Process {
    /// A command in an empty environment, at the root.
    pub fn new(argv: Vec<OsString>) -> Process {
        let cwd = PathBuf::from("/");
        Process {
            argv,
            env: vec![],
            cwd,
            create_cwd: false,
            init: false,
            die_with_parent: false,
            entered: false,
            title: None,
        }
    }

    /// A command in the environment and the directory of the caller: what `unshare(1)` does.
    pub fn inheriting(argv: Vec<OsString>) -> Process {
        let env = env::vars_os().map(|(key, value)| [key, value].join(OsStr::new("="))).collect();
        let cwd = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        Process { env, cwd, ..Process::new(argv) }
    }

    /// The value of an environment variable.
    pub fn env(&self, key: &str) -> Option<&OsStr> {
        self.env.iter().rev().find_map(|entry| {
            let rest = entry.as_bytes().strip_prefix(key.as_bytes())?;
            rest.strip_prefix(b"=").map(OsStr::from_bytes)
        })
    }

    /// Sets an environment variable, replacing its former value in its place.
    pub fn set_env(&mut self, key: &str, value: impl AsRef<OsStr>) {
        let prefix = format!("{key}=");
        let mut entry = OsString::from(&prefix);
        entry.push(value);
        match self.env.iter_mut().find(|entry| entry.as_bytes().starts_with(prefix.as_bytes())) {
            Some(former) => *former = entry,
            None => self.env.push(entry),
        }
    }

    /// Sets an environment variable that has no value yet.
    pub fn set_env_default(&mut self, key: &str, value: impl AsRef<OsStr>) {
        if self.env(key).is_none() {
            self.set_env(key, value);
        }
    }

    /// Goes to the working directory; once, so that it can be called before the rights to go there are given up.
    ///
    /// Called inside, with the container's root as ours. Leaves us in a directory below that root: one that
    /// `getcwd(2)` cannot name from here lies outside of it, reached by a leaked descriptor (CVE-2024-21626).
    pub fn enter_cwd(&mut self) -> Result<()> {
        if self.entered {
            return Ok(());
        }
        let failed = |errno: nix::Error| {
            StartError::new(CANNOT_EXECUTE, Some(errno as i32), format!("chdir to {}: {errno}", self.cwd.display()))
        };
        match chdir(&self.cwd) {
            Err(nix::Error::ENOENT) if self.create_cwd => {
                fs::create_dir_all(&self.cwd)
                    .with_context(|| format!("make the working directory {}", self.cwd.display()))?;
                chdir(&self.cwd).map_err(failed)?;
            }
            result => result.map_err(failed)?,
        }
        let here = nix::unistd::getcwd().context("find out where the working directory is")?;
        if !here.is_absolute() {
            anyhow::bail!("the working directory {} lies outside of the container's root", self.cwd.display());
        }
        self.entered = true;
        Ok(())
    }

    /// Called before the clone: finds out what cannot be found out inside.
    pub(crate) fn prepare(&mut self) {
        self.title = if self.init { Title::locate() } else { None };
    }

    pub(crate) fn title(&self) -> Option<&Title> {
        self.title.as_ref()
    }

    /// Becomes the payload, or says why not.
    ///
    /// Called in the child as its last act. What Rust's runtime or the caller left behind ends here: ignored signals,
    /// the signal mask, the umask, the scheduling, every descriptor from 3 up.
    pub(crate) fn execute(&self) -> Result<Infallible> {
        if self.die_with_parent {
            prctl::set_pdeathsig(Signal::SIGKILL).context("ask to die with the parent")?;
        }
        umask(Mode::from_bits_truncate(0o022));
        reset_scheduling();
        close_descriptors()?;
        if self.init {
            init::become_init(self)?;
        }
        signals::reset()?;
        Err(self.exec().into())
    }

    fn exec(&self) -> StartError {
        let Some(command) = self.argv.first() else {
            return StartError::new(NOT_FOUND, None, "no command given");
        };
        let (Ok(argv), Ok(env)) = (c_strings(&self.argv), c_strings(&self.env)) else {
            return StartError::new(CANNOT_EXECUTE, None, "a NUL byte in an argument or the environment");
        };
        let searched = !command.as_bytes().contains(&b'/');
        let mut denied = None;
        for path in self.candidates(command) {
            let Ok(file) = CString::new(path.as_os_str().as_bytes()) else {
                continue;
            };
            if searched && is_missing(&path) {
                continue; // cheaper than an execve(2), which makes half a process image before it looks
            }
            let Err(errno) = execve(&file, &argv, &env);
            match errno {
                // Missing here, perhaps not further down the PATH; unless it is there and something it needs is not.
                nix::Error::ENOENT | nix::Error::ENOTDIR | nix::Error::ENAMETOOLONG if !path.exists() => {}
                // A bare name means no directory.
                nix::Error::EACCES if searched && path.is_dir() => {}
                nix::Error::EACCES => denied = denied.or(Some(path)),
                _ => return diagnose::exec_failure(&path, errno),
            }
        }
        match denied {
            Some(path) => diagnose::exec_failure(&path, nix::Error::EACCES),
            None => diagnose::not_found(command),
        }
    }

    /// The files that a command may mean, in the order in which they are tried.
    fn candidates(&self, command: &OsStr) -> Vec<PathBuf> {
        if command.as_bytes().contains(&b'/') {
            return vec![PathBuf::from(command)];
        }
        let path = self.env("PATH").unwrap_or(OsStr::new(DEFAULT_PATH));
        let directories = path.as_bytes().split(|byte| *byte == b':').filter(|directory| !directory.is_empty());
        directories.map(|directory| Path::new(OsStr::from_bytes(directory)).join(command)).collect()
    }
}

fn c_strings(strings: &[OsString]) -> Result<Vec<CString>, std::ffi::NulError> {
    strings.iter().map(|string| CString::new(string.clone().into_vec())).collect()
}

/// Whether nothing at all has this name.
fn is_missing(path: &Path) -> bool {
    matches!(path.symlink_metadata(), Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
}

/// Every descriptor but 0, 1 and 2 closes at `execve(2)`, whoever opened it and however.
fn close_descriptors() -> Result<()> {
    // SAFETY: takes no pointers. The flag only marks the descriptors; those in use go on working until execve.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    nix::Error::result(result).map(drop).context("close_range")
}

/// Undoes what the caller's own scheduling would do to the payload: a pinning to some processors, which are the cgroup's
/// to choose (`taskset`, or systemd's `CPUAffinity=` of whatever started us), and timers that go off late.
///
/// Errors are of no consequence, and a seccomp filter may forbid it.
fn reset_scheduling() {
    const DEFAULT_SLACK: libc::c_ulong = 50_000; // nanoseconds, as `init` has it
    let mut all = CpuSet::new();
    for processor in 0..CpuSet::count() {
        let _ = all.set(processor);
    }
    let _ = sched_setaffinity(Pid::from_raw(0), &all);
    let _ = prctl::set_timerslack(DEFAULT_SLACK);
}
