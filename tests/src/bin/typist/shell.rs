//! One terminal: a shell, what is typed into it, and what comes out.

use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::spawn;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, OutputFlags, SetArg, tcgetattr, tcsetattr};
use suite::Host;

use crate::session::User;

/// A command that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// A command left running that has said what it says is silent for so long.
const SILENCE: Duration = Duration::from_millis(400);

/// A shell. It is killed when dropped.
pub struct Shell {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
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
        Ok(Shell { child, keyboard: File::from(pty.master), screen: listen(out), seen: String::new(), typed: 0 })
    }

    /// Types a line, and behind it one that tells when it is done and leaves the status as it was.
    pub fn type_line(&mut self, line: &str) -> Result<()> {
        self.typed += 1;
        let done = format!("__s=$?; echo {}; __r() {{ return $__s; }}; __r", self.mark());
        self.keyboard.write_all(format!("{line}\n{done}\n").as_bytes()).context("type")
    }

    fn mark(&self) -> String {
        format!("@@done-{}", self.typed)
    }

    /// What the last line has printed since the last look, once it is done.
    pub fn output(&mut self) -> Result<String> {
        let mark = self.mark() + "\n";
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(place) = self.seen.find(&mark) {
                let text = self.seen[..place].to_owned();
                self.seen.drain(..place + mark.len());
                return Ok(text);
            }
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the command does not return (@holds?); it said {:?}", self.seen)
                }
                // The shell itself has ended, by an attack perhaps.
                Err(RecvTimeoutError::Disconnected) => return Ok(std::mem::take(&mut self.seen)),
            }
        }
    }

    /// What the last line prints until `text` has come, or, where that is empty, until it is silent.
    pub fn output_up_to(&mut self, text: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if !text.is_empty() && self.seen.contains(text) && self.seen.ends_with('\n') {
                return Ok(std::mem::take(&mut self.seen));
            }
            match self.screen.recv_timeout(SILENCE) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) if text.is_empty() => return Ok(std::mem::take(&mut self.seen)),
                Err(_) if Instant::now() < deadline => {}
                Err(_) => bail!("waited for {text:?} in vain, saw {:?}", self.seen),
            }
        }
    }
}

fn listen(mut out: PipeReader) -> Receiver<Vec<u8>> {
    let (send, screen) = channel();
    spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = out.read(&mut buffer) {
            if send.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    screen
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
