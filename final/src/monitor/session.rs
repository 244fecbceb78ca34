//! A process that a monitor looks after: the container's main one, or one that `exec` started.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use namespaces::{Child, Exit};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::packet::CHUNK;
use crate::streams::{Ends, EndsHandle, Stream};
use crate::terminal::{self, WindowSize};

/// With so much input waiting for a process that does not read it, bytes, its clients are not asked for more.
const INPUT_MAX: usize = 256 * 1024;

/// A process, and our ends of its streams.
pub struct Session {
    /// What its clients name it by: 0 is the main process.
    pub number: u32,
    /// The process.
    pub child: Child,
    ends: Ends,
    input: VecDeque<u8>,
    input_ended: bool,
}

impl Session {
    /// Looks after a process that has just been started.
    pub fn new(number: u32, child: Child, ends: &EndsHandle) -> Result<Session> {
        let ends = std::mem::take(&mut *ends.borrow_mut());
        for fd in ends.input.iter().chain(ends.outputs.iter().map(|(_, fd)| fd)) {
            set_nonblocking(fd)?;
        }
        Ok(Session { number, child, ends, input: VecDeque::new(), input_ended: false })
    }

    /// Where its output can be read.
    pub fn outputs(&self) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        self.ends.outputs.iter().map(|(stream, fd)| (*stream, fd.as_fd()))
    }

    /// Where it takes input, if there is some waiting for it.
    pub fn wants_write(&self) -> Option<BorrowedFd<'_>> {
        self.ends.input.as_ref().filter(|_| !self.input.is_empty()).map(|fd| fd.as_fd())
    }

    /// Whether its clients may send more input.
    pub fn has_room(&self) -> bool {
        self.input.len() < INPUT_MAX
    }

    /// Takes input for it.
    pub fn push_input(&mut self, bytes: &[u8]) {
        if self.ends.input.is_some() && !self.input_ended {
            self.input.extend(bytes);
            self.write_input();
        }
    }

    /// There is no more input. A terminal has no end of its own to close: it is typed, as ^D.
    pub fn end_input(&mut self) {
        if self.has_terminal() {
            self.push_input(&[0x04]);
        }
        self.input_ended = true;
        self.write_input();
    }

    /// Writes as much of the waiting input as the process takes now.
    pub fn write_input(&mut self) {
        let Some(fd) = &self.ends.input else { return };
        while !self.input.is_empty() {
            let (front, _) = self.input.as_slices();
            match rustix::io::write(fd, front) {
                Ok(written) => drop(self.input.drain(..written)),
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => {
                    // Nobody reads it any more.
                    self.input.clear();
                    self.ends.input = None;
                    return;
                }
            }
        }
        if self.input_ended && !self.has_terminal() {
            self.ends.input = None;
        }
    }

    /// Reads some output of a stream: empty when there is none just now. A stream at its end is closed.
    pub fn read_output(&mut self, stream: Stream, buffer: &mut [u8; CHUNK]) -> usize {
        let Some(at) = self.ends.outputs.iter().position(|(each, _)| *each == stream) else { return 0 };
        let fd: &OwnedFd = &self.ends.outputs[at].1;
        match rustix::io::retry_on_intr(|| rustix::io::read(fd, buffer.as_mut_slice())) {
            Ok(length) if length > 0 => length,
            Err(rustix::io::Errno::AGAIN) => 0,
            Ok(_) | Err(_) => {
                self.ends.outputs.remove(at);
                0
            }
        }
    }

    /// Reaps it.
    pub fn reap(&self) -> Result<Exit> {
        self.child.wait()
    }

    /// Sends it a signal by number.
    pub fn signal(&self, number: i32) -> Result<()> {
        let signal = namespaces::signals::by_number(number)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
            .with_context(|| format!("there is no signal {number}"))?;
        self.child.signal(signal)
    }

    /// Tells its terminal a new size.
    pub fn resize(&self, size: WindowSize) {
        if let (true, Some(input)) = (self.has_terminal(), &self.ends.input) {
            let _ = terminal::resize(input.as_fd(), size);
        }
    }

    /// Whether it has a terminal.
    pub fn has_terminal(&self) -> bool {
        self.ends.terminal.is_some()
    }
}

/// Makes reading and writing return at once, with EAGAIN where they would wait.
pub fn set_nonblocking(fd: &impl AsFd) -> Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).context("F_GETFL")?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).context("F_SETFL")?;
    Ok(())
}
