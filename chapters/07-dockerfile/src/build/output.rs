//! Where the streams of a RUN lead: nothing to read, and what it prints to our standard error, as progress, or into a
//! memory of it that is shown if it fails.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use namespaces::{Gate, Isolation, Process};
use nix::unistd::setsid;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::ioctl_fionbio;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::isatty;

/// The most that is remembered, bytes: the end of it, where errors stand.
const KEPT_MAX: usize = 1 << 20;

/// The streams of one RUN.
pub(super) struct Output {
    input: OwnedFd,
    output: Option<OwnedFd>,
}

impl Output {
    /// To our standard error.
    pub(super) fn shown() -> Result<Output> {
        Output::to(progress_output()?)
    }

    /// Into a memory, which somebody has to [listen](Kept::listen) for as long as the command runs.
    pub(super) fn kept() -> Result<(Output, Kept)> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).context("make a pipe")?;
        ioctl_fionbio(&ours, true).context("FIONBIO")?;
        Ok((Output::to(theirs)?, Kept { pipe: File::from(ours), text: VecDeque::new(), over: false }))
    }

    fn to(output: OwnedFd) -> Result<Output> {
        // Not the host's /dev/null, whose mode and owner root inside could change: a pipe that nobody writes to.
        let (input, _) = pipe_with(PipeFlags::CLOEXEC).context("make a pipe")?;
        Ok(Output { input, output: Some(output) })
    }
}

impl Isolation for Output {
    fn inside(&mut self, _: &Gate, _: &mut Process) -> Result<()> {
        // A session of its own has no controlling terminal: ours, which it prints to, it could type into (TIOCSTI,
        // CVE-2017-5226), and read as /dev/tty what is typed here.
        setsid().context("begin a session")?;
        let output = self.output.as_ref().context("the output was given away")?;
        dup2_stdin(&self.input)?;
        dup2_stdout(output)?;
        dup2_stderr(output)?;
        Ok(())
    }

    fn adopt(&mut self, _: &Gate) -> Result<()> {
        self.output = None; // so that the end of the last writer inside is the end of file outside
        Ok(())
    }
}

/// Our standard error, as something to write to only: a descriptor of a terminal reads what is typed there, too.
fn progress_output() -> Result<OwnedFd> {
    let error = rustix::stdio::stderr();
    if isatty(error) {
        let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
        return openat(CWD, "/proc/self/fd/2", flags, Mode::empty()).context("open the terminal for writing");
    }
    error.try_clone_to_owned().context("duplicate standard error")
}

/// What a command has printed, or the end of it.
pub(super) struct Kept {
    pipe: File,
    text: VecDeque<u8>,
    over: bool,
}

impl Kept {
    /// Where to wait for more; `None` once there will be none.
    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        (!self.over).then(|| self.pipe.as_fd())
    }

    /// Takes what is there. At most as much as is remembered: who prints without end must not keep us from all else.
    pub(super) fn listen(&mut self) {
        let mut buffer = [0; 64 * 1024];
        for _ in 0..KEPT_MAX / buffer.len() {
            match self.pipe.read(&mut buffer) {
                Ok(0) => self.over = true,
                Ok(length) => self.keep(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => self.over |= error.kind() != ErrorKind::WouldBlock,
            }
            if self.over || self.text.is_empty() {
                return;
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.text.extend(bytes);
        self.text.drain(..self.text.len().saturating_sub(KEPT_MAX));
    }

    /// Shows it, once the command has ended.
    pub(super) fn show(mut self) -> Result<()> {
        self.listen();
        std::io::stderr().write_all(self.text.make_contiguous()).context("show what the command printed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept() {
        let (mut output, mut kept) = Output::kept().unwrap();
        let mut writer = File::from(output.output.take().unwrap());
        let line = [b'x'; 4096];
        for _ in 0..3 * KEPT_MAX / line.len() {
            writer.write_all(&line).unwrap();
            kept.listen();
        }
        writer.write_all(b"the end").unwrap();
        drop(writer);
        kept.listen();
        kept.listen();
        assert_eq!(kept.text.len(), KEPT_MAX);
        assert!(kept.text.make_contiguous().ends_with(b"the end"));
        assert!(kept.source().is_none());
    }
}
