//! One terminal: a shell, what is typed into it, and what comes out.

use std::fs::File;
use std::io::{ErrorKind, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, OutputFlags, SetArg, tcgetattr, tcsetattr};
use suite::{Host, quiet};

use crate::session::User;

/// A command that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A shell. It is killed when dropped.
pub struct Shell {
    child: Child,
    keyboard: File,
    screen: PipeReader,
    seen: String,
    typed: usize,
}

impl Shell {
    /// Starts one in the scratch directory of its user.
    pub fn start(user: User) -> Result<Shell> {
        let pty = openpty(None, None).context("open a terminal")?;
        let mut settings = tcgetattr(&pty.slave).context("ask for the terminal's settings")?;
        settings.local_flags.remove(LocalFlags::ECHO);
        settings.output_flags.remove(OutputFlags::OPOST);
        tcsetattr(&pty.slave, SetArg::TCSANOW, &settings).context("set the terminal")?;
        let (out, into) = std::io::pipe().context("make a pipe")?;
        let host = Host::inside();
        let mut command = Command::new("sh");
        if user == User::Learner {
            command = host.by_user(command);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("/tmp/suite/bin:{path}")).env_remove("SUITE_SESSION");
        command.stdin(pty.slave).stdout(into.try_clone().context("duplicate a pipe")?).stderr(into);
        let child = command.spawn().context("start sh")?;
        drop(command); // it holds the other ends
        fcntl(&out, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("set up a pipe")?;
        Ok(Shell { child, keyboard: File::from(pty.master), screen: out, seen: String::new(), typed: 0 })
    }

    /// Types a line, and behind it one that tells when it is done and leaves the status as it was.
    pub fn type_line(&mut self, line: &str) -> Result<()> {
        self.typed += 1;
        let done = format!("__s=$?; echo {}; __r() {{ return $__s; }}; __r", self.mark());
        self.keyboard.write_all(format!("{line}\n{done}\n").as_bytes()).context("type")
    }

    /// Repeats a line until it succeeds, and shows nothing of it.
    pub fn repeat(&mut self, line: &str) -> Result<()> {
        self.type_line(&format!("until {line}; do sleep 0.05; done"))?;
        self.output().map(drop)
    }

    fn mark(&self) -> String {
        format!("@@done-{}", self.typed)
    }

    /// What the last line has printed since the last look, once it is done and what it has left running is at rest.
    pub fn output(&mut self) -> Result<String> {
        let mark = self.mark() + "\n";
        // The shell itself may have ended, by an attack perhaps.
        if !self.wait_for(&mark).context("the command does not return (@holds?)")? {
            return Ok(std::mem::take(&mut self.seen));
        }
        Ok(self.output_at_rest()?.replacen(&mark, "", 1))
    }

    /// What the last line, which does not return, prints until `text` has come, or anything, and until it is at rest.
    pub fn output_up_to(&mut self, text: &str) -> Result<String> {
        self.wait_for(text)?;
        self.output_at_rest()
    }

    /// Reads until `text` has come; false if the screen has gone dark before.
    fn wait_for(&mut self, text: &str) -> Result<bool> {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("waited for {text:?} in vain, saw {:?}", self.seen);
            }
            let millis = PollTimeout::try_from(left).context("so long one cannot wait")?;
            poll(&mut [PollFd::new(self.screen.as_fd(), PollFlags::POLLIN)], millis).context("wait for the screen")?;
            if !self.look()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All that has been printed, once nothing moves any more.
    fn output_at_rest(&mut self) -> Result<String> {
        loop {
            quiet::all_asleep()?;
            let before = self.seen.len();
            // Whoever waits for room in a full pipe is asleep too.
            if !self.look()? || self.seen.len() == before {
                return Ok(std::mem::take(&mut self.seen));
            }
        }
    }

    /// Takes what is on the screen; false if it has gone dark.
    fn look(&mut self) -> Result<bool> {
        let mut buffer = [0; 4096];
        loop {
            match self.screen.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(length) => self.seen.push_str(&String::from_utf8_lossy(&buffer[..length])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error).context("read the screen"),
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
