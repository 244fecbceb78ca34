//! Standard input, output and error of a process in a container, when it has no terminal.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;

use anyhow::{Context, Result};
use namespaces::{Gate, Isolation, Process};
use nix::unistd::setsid;
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_setfl, fstat, major, minor, openat};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Which stream some output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Output,
    /// Standard error.
    Error,
}

/// The monitor's ends of a process's streams.
#[derive(Debug, Default)]
pub struct Ends {
    /// Where its input is written, if anybody gives it any.
    pub input: Option<OwnedFd>,
    /// Where its output is read.
    pub outputs: Vec<(Stream, OwnedFd)>,
    /// The process's own end, where the two are one terminal rather than pipes. Held so that the terminal does not hang up
    /// when the process closes it, to open it again later.
    pub terminal: Option<OwnedFd>,
}

/// Shared between an isolation in a container's list and whoever takes the ends when the container stands.
pub type EndsHandle = Rc<RefCell<Ends>>;

/// Pipes as standard output and error; as standard input a pipe or `/dev/null`.
#[derive(Default)]
pub struct Pipes {
    interactive: bool,
    input: Option<OwnedFd>,
    outputs: Option<[OwnedFd; 2]>,
    ends: EndsHandle,
}

impl Pipes {
    /// With an input that somebody writes to, or without.
    pub fn new(interactive: bool) -> Pipes {
        Pipes { interactive, ..Pipes::default() }
    }

    /// Our ends, once the container stands.
    pub fn ends(&self) -> EndsHandle {
        Rc::clone(&self.ends)
    }
}

impl Isolation for Pipes {
    fn prepare(&mut self) -> Result<()> {
        let mut ends = self.ends.borrow_mut();
        if self.interactive {
            let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC).context("make a pipe")?;
            ends.input = Some(ours);
            self.input = Some(theirs);
        }
        let (output, ours) = output_pipe()?;
        ends.outputs.push((Stream::Output, ours));
        let (error, ours) = output_pipe()?;
        ends.outputs.push((Stream::Error, ours));
        self.outputs = Some([output, error]);
        Ok(())
    }

    fn inside(&mut self, _: &Gate, _: &mut Process) -> Result<()> {
        setsid().context("begin a session")?;
        let [output, error] = self.outputs.as_ref().context("the pipes were not prepared")?;
        let input = self.input.take().map_or_else(empty_input, Ok)?;
        dup2_stdin(&input).context("set standard input")?;
        dup2_stdout(output).context("set standard output")?;
        dup2_stderr(error).context("set standard error")
    }

    fn adopt(&mut self, _: &Gate) -> Result<()> {
        (self.input, self.outputs) = (None, None); // so that the end of the last writer inside is the end of file outside
        Ok(())
    }
}

/// An input with nothing in it: `/dev/null`, the container's own. Of the host's, root inside could change mode and owner
/// through the descriptor.
///
/// In a container that runs the file may be anything by now; then it is a pipe that nobody writes to. Opened without
/// waiting, since it may be a FIFO.
fn empty_input() -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if let Ok(null) = openat(CWD, "/dev/null", flags, Mode::empty())
        && is_null(&null)?
    {
        fcntl_setfl(&null, OFlags::empty()).context("F_SETFL")?;
        return Ok(null);
    }
    let (reader, _) = pipe_with(PipeFlags::CLOEXEC).context("make a pipe")?;
    Ok(reader)
}

/// Whether this is the device 1:3 (the kernel's devices.txt).
fn is_null(file: &OwnedFd) -> Result<bool> {
    let stat = fstat(file).context("look at /dev/null")?;
    let device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    Ok(device && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3))
}

/// A pipe for output: the end for the process, and ours.
///
/// The process's end is open for reading as well. So it has a reader as long as it lives, and a process whose monitor
/// was killed goes on, until the pipe is full, where it would otherwise die of SIGPIPE.
fn output_pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).context("make a pipe")?;
    let path = format!("/proc/self/fd/{}", theirs.as_raw_fd());
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(both) => Ok((both.into(), ours)),
        Err(_) => Ok((theirs, ours)), // no /proc here
    }
}

/// Gives the streams of the current process to a user, who may want to open `/dev/stdout` again, as web servers do for
/// their logs. What is not ours alone, such as `/dev/null`, is left.
pub fn give_streams_to(uid: u32) -> Result<()> {
    for fd in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let status = fstat(fd).context("look at a standard stream")?;
        let device = matches!(FileType::from_raw_mode(status.st_mode), FileType::CharacterDevice);
        let terminal = device && rustix::termios::isatty(fd);
        if status.st_uid == uid || (device && !terminal) {
            continue;
        }
        match rustix::fs::fchown(fd, Some(rustix::fs::Uid::from_raw(uid)), None) {
            // An id that is not mapped in this user namespace, or a file system that knows no owners.
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::PERM | rustix::io::Errno::ROFS) => {}
            Err(error) => return Err(error).context("give a standard stream to the user"),
        }
    }
    Ok(())
}

/// Replaces the standard streams of the current process, the monitor, by `/dev/null`.
pub fn close_own_streams() -> Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").context("open /dev/null")?;
    let null = fcntl_dupfd_cloexec(null.as_fd(), 3).context("open /dev/null")?;
    dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).and_then(|()| dup2_stderr(&null)).context("close the streams")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_input_is_at_its_end() {
        let mut buffer = [0; 8];
        assert_eq!(rustix::io::read(empty_input().unwrap(), &mut buffer).unwrap(), 0);
    }
}
