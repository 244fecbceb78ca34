//! The client's side of a connection with a monitor: what the user types goes in, what the process prints comes out.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use namespaces::StartError;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};

use crate::monitor::packet::{CHUNK, Packet, WINDOW, receive_packet, send_packet};
use crate::raw_mode::{RawMode, window_size};

/// What connects a client with a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attachment {
    /// Standard input goes to the process.
    pub input: bool,
    /// The process has a terminal.
    pub terminal: bool,
    /// Signals that reach us go to the process (`--sig-proxy`), if it has no terminal: one that hangs up takes us and not,
    /// with a SIGHUP, the shell inside. So Docker does.
    pub forward_signals: bool,
}

/// Waits for the end of the process, whose output is not wanted.
pub fn wait(monitor: &OwnedFd) -> Result<i32> {
    loop {
        match receive_packet(monitor.as_fd()).context("listen to the monitor")? {
            Some(Packet::Exited(code)) => return Ok(code),
            Some(_) => {}
            None => bail!("the monitor was killed: how the container ends nobody will see"),
        }
    }
}

/// Signals are held back from here on, for a process that will be started: made before the monitor is, so that none is
/// lost.
pub struct HeldSignals(SignalFd);

/// Begins to hold signals back.
pub fn hold_signals() -> Result<HeldSignals> {
    namespaces::wait::hold_signals().map(HeldSignals)
}

/// Carries input, output and signals until the process ends, and gives its exit status; 0 if the user left it with Ctrl-P
/// Ctrl-Q, and it goes on.
pub fn attach(monitor: &OwnedFd, signals: &HeldSignals, attachment: Attachment) -> Result<i32> {
    let raw = if attachment.terminal && attachment.input { RawMode::enter()? } else { None };
    let connection = Connection {
        monitor,
        attachment,
        input: attachment.input,
        // Asked now: a terminal that is gone is none any more.
        at_keyboard: attachment.terminal && io::stdin().is_terminal(),
        ahead: 0,
        unread: false,
        keys: Keys::default(),
        interrupts: 0,
    };
    let status = connection.serve(signals);
    drop(raw);
    status
}

struct Connection<'a> {
    monitor: &'a OwnedFd,
    attachment: Attachment,
    input: bool,
    /// Whether input is what somebody types at a terminal, for a process at another.
    at_keyboard: bool,
    /// How much input has been sent and not been taken yet, bytes.
    ahead: usize,
    unread: bool,
    keys: Keys,
    interrupts: u32,
}

/// After how many interrupts that did not end it a process is left to itself.
const PATIENCE: u32 = 3;

/// The exit status of a command that was ended by SIGPIPE.
const BROKEN_PIPE: i32 = 128 + Signal::SIGPIPE as i32;

impl Connection<'_> {
    fn serve(mut self, signals: &HeldSignals) -> Result<i32> {
        let stdin = io::stdin();
        loop {
            let mut fds = vec![
                PollFd::new(self.monitor, PollFlags::IN), //
                PollFd::new(&signals.0, PollFlags::IN),
            ];
            if self.input && self.ahead < WINDOW {
                fds.push(PollFd::new(&stdin, PollFlags::IN));
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("wait for the container"),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ready[1] {
                self.pass_signals(signals)?;
            }
            if ready.get(2) == Some(&true) && self.pass_input(&stdin)? {
                return Ok(0);
            }
            if ready[0] {
                match receive_packet(self.monitor.as_fd()).context("listen to the monitor")? {
                    Some(Packet::Taken(bytes)) => self.ahead = self.ahead.saturating_sub(bytes),
                    Some(Packet::Output(bytes)) => self.print(&mut io::stdout(), &bytes)?,
                    Some(Packet::ErrorOutput(bytes)) => self.print(&mut io::stderr(), &bytes)?,
                    Some(Packet::Exited(_)) if self.unread => return Ok(BROKEN_PIPE),
                    Some(Packet::Exited(code)) => return Ok(code),
                    Some(_) => {}
                    None => bail!("the container's monitor was killed: the container may go on (minidocker ps)"),
                }
            }
        }
    }

    /// Sends what was typed. Gives true when the user leaves.
    fn pass_input(&mut self, stdin: &io::Stdin) -> Result<bool> {
        let mut bytes = [0; CHUNK];
        let length = match rustix::io::read(stdin, &mut bytes) {
            Ok(length) => length,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Ok(false),
            Err(_) => 0, // EIO: a terminal that is gone, or not ours to read from in the background
        };
        if length == 0 && self.at_keyboard {
            // Nobody has typed that: a raw terminal sends ^D as any other key.
            let message = "the terminal is gone: the container goes on without us (minidocker ps)";
            return Err(StartError::new(128 + Signal::SIGHUP as u8, None, message).into());
        }
        if length == 0 {
            self.input = false;
            self.send_input(&Packet::InputEnd);
            return Ok(false);
        }
        let typed = bytes[..length].to_vec();
        let (typed, leave) = if self.at_keyboard { self.keys.filter(&typed) } else { (typed, false) };
        if !typed.is_empty() {
            self.ahead += typed.len();
            self.send_input(&Packet::Input(typed));
        }
        Ok(leave)
    }

    /// The process may be gone, and the monitor with it: that is heard of by reading.
    fn send_input(&self, packet: &Packet) {
        let _ = send_packet(self.monitor.as_fd(), packet);
    }

    /// Writes output on, at once. Once nobody reads it, the process is ended, as SIGPIPE would end it in a plain pipeline:
    /// `run … yes | head -1` returns.
    fn print(&mut self, to: &mut impl Write, bytes: &[u8]) -> Result<()> {
        match to.write_all(bytes).and_then(|()| to.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.unread = true;
                // Not with SIGPIPE itself, which a pid 1 without a handler does not get.
                let _ = send_packet(self.monitor.as_fd(), &Packet::Signal(Signal::SIGKILL as i32));
                Ok(())
            }
            written => written.context("write output"),
        }
    }

    /// Passes signals on. A pid 1 without a handler does not get SIGINT and SIGTERM from outside either, so that nothing but
    /// kill(1) from another terminal would end `run … sleep 1000`: as with Docker, the third one ends us.
    fn pass_signals(&mut self, signals: &HeldSignals) -> Result<()> {
        while let Some(info) = signals.0.read_signal().context("read a signal")? {
            let number = info.ssi_signo as i32;
            let packet = match Signal::try_from(number) {
                Ok(Signal::SIGWINCH) => Packet::Resize(window_size()),
                _ if self.attachment.forward_signals && !self.attachment.terminal => Packet::Signal(number),
                // Not forwarded: it means us, as an interrupted `attach`. Job control does not: we cannot stop as a shell can.
                Ok(Signal::SIGCONT | Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU | Signal::SIGURG) => continue,
                _ => return Err(StartError::new(128 + number as u8, None, format!("ended by signal {number}")).into()),
            };
            let _ = send_packet(self.monitor.as_fd(), &packet);
            if matches!(Signal::try_from(number), Ok(Signal::SIGINT | Signal::SIGTERM)) {
                self.interrupts += 1;
                if self.interrupts == PATIENCE {
                    let message = "interrupted three times: the container goes on without us (minidocker ps)";
                    return Err(StartError::new(1, None, message).into());
                }
            }
        }
        Ok(())
    }
}

/// Watches the keys for Ctrl-P Ctrl-Q, which leave the container running.
#[derive(Debug, Default)]
struct Keys {
    began: bool,
}

impl Keys {
    const BEGIN: u8 = 0x10; // ^P
    const LEAVE: u8 = 0x11; // ^Q

    /// What of the typed bytes goes to the process, and whether the user leaves. A ^P waits for the next key.
    fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len() + 1);
        for byte in typed {
            match (self.began, *byte) {
                (true, Keys::LEAVE) => return (passed, true),
                (true, Keys::BEGIN) => passed.push(Keys::BEGIN),
                (true, other) => {
                    passed.extend([Keys::BEGIN, other]);
                    self.began = false;
                }
                (false, Keys::BEGIN) => self.began = true,
                (false, other) => passed.push(other),
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_keys_in_a_row_leave() {
        let mut keys = Keys::default();
        assert_eq!(keys.filter(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(keys.filter(b"c"), (b"\x10c".to_vec(), false));
        assert_eq!(keys.filter(b"x\x10\x11y"), (b"x".to_vec(), true));
        let mut keys = Keys::default();
        assert_eq!(keys.filter(b"\x10\x10\x11"), (b"\x10".to_vec(), true));
    }
}
