//! A terminal for a process in a container, `pty(7)`.
//!
//! The pair is made from the container's own devpts, by the child; the host's terminal never goes inside, where a process
//! could type into it (TIOCSTI, CVE-2017-5226).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use namespaces::{Gate, Isolation, Process};
use nix::unistd::setsid;
use rustix::fs::{CWD, Mode, OFlags, fstat, fstatfs, openat};
use rustix::pty::unlockpt;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{Winsize, tcsetwinsize};
use serde::{Deserialize, Serialize};

use crate::streams::{EndsHandle, Pipes, Stream};

/// What `fstatfs(2)` says of a devpts, `linux/magic.h`.
const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
/// The major number of every terminal of a devpts (`UNIX98_PTY_SLAVE_MAJOR`).
const UNIX98_PTY_SLAVE_MAJOR: u32 = 136;

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// A terminal as standard input, output and error, and as the controlling terminal of a new session.
pub struct Terminal {
    size: WindowSize,
    console: bool,
    ends: EndsHandle,
}

impl Terminal {
    /// A terminal of this size.
    pub fn new(size: WindowSize) -> Terminal {
        Terminal { size, console: false, ends: EndsHandle::default() }
    }

    /// The same, also as the container's `/dev/console`: the one that the container is started with is.
    pub fn with_console(self) -> Terminal {
        Terminal { console: true, ..self }
    }

    /// Our end, once the container stands.
    pub fn ends(&self) -> EndsHandle {
        Rc::clone(&self.ends)
    }
}

/// The isolation that gives a process its streams, a terminal or else pipes, and where our ends of them will be found.
pub fn streams(terminal: Option<Terminal>, interactive: bool) -> (Box<dyn Isolation>, EndsHandle) {
    match terminal {
        Some(terminal) => {
            let ends = terminal.ends();
            (Box::new(terminal), ends)
        }
        None => {
            let pipes = Pipes::new(interactive);
            let ends = pipes.ends();
            (Box::new(pipes), ends)
        }
    }
}

impl Isolation for Terminal {
    fn inside(&mut self, gate: &Gate, process: &mut Process) -> Result<()> {
        // An image could have put anything there, so we look at what we got (CVE-2025-52565).
        let master = openat(CWD, "/dev/pts/ptmx", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
            .context("open the container's /dev/pts/ptmx")?;
        let kind = fstatfs(&master).context("look at /dev/pts/ptmx")?.f_type;
        ensure!(kind == DEVPTS_SUPER_MAGIC, "the container's /dev/pts/ptmx is not a terminal multiplexer");
        unlockpt(&master).context("unlock the terminal")?;
        let terminal = peer(master.as_fd()).context("open the terminal")?;
        let device = fstat(&terminal).context("look at the terminal")?.st_rdev;
        ensure!(rustix::fs::major(device) == UNIX98_PTY_SLAVE_MAJOR, "the container's terminal is none");
        resize(master.as_fd(), self.size)?;
        if self.console {
            rootfs::bind_console(terminal.as_fd()).context("make the terminal the console")?;
        }
        setsid().context("begin a session")?;
        rustix::process::ioctl_tiocsctty(&terminal).context("take the terminal as the controlling one")?;
        dup2_stdin(&terminal)?;
        dup2_stdout(&terminal)?;
        dup2_stderr(&terminal)?;
        process.set_env_default("TERM", "xterm");
        gate.send_fd("multiplexer", master.as_fd())?;
        gate.send_fd("terminal", terminal.as_fd())
    }

    fn adopt(&mut self, gate: &Gate) -> Result<()> {
        let master = gate.take_fd("multiplexer").context("the child sent no terminal")?;
        let copy = master.try_clone().context("duplicate the terminal")?;
        let mut ends = self.ends.borrow_mut();
        ends.input = Some(copy);
        ends.outputs = vec![(Stream::Output, master)];
        ends.terminal = gate.take_fd("terminal");
        Ok(())
    }
}

/// The other end of a pty, straight from the multiplexer: no path is looked up (`TIOCGPTPEER`, `ioctl_tty(2)`).
fn peer(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the request takes open flags as its argument and no pointer.
    let fd = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    nix::Error::result(fd)?;
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Tells a terminal its size; whoever runs in it gets SIGWINCH.
pub fn resize(terminal: BorrowedFd<'_>, size: WindowSize) -> Result<()> {
    if size.rows == 0 || size.columns == 0 {
        return Ok(()); // not known
    }
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).context("set the terminal's size")
}
