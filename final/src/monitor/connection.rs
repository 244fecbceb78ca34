//! A client's connection with a container's monitor, which may be hung: stopped by somebody, frozen with its cgroup, at work
//! on a disk that does not answer. Nobody waits for it longer than it may reasonably take.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use super::address;
use super::packet::{Packet, Request, receive_packet, send_packet};
use crate::alive;
use crate::container::Container;
use crate::state;

/// How long an answer may take: as long as two `exec`s that a process inside holds up, which the monitor gives up after ten
/// seconds each.
const ANSWER: Duration = Duration::from_secs(25);

/// A connection with the monitor of a running container, over which one request is made.
pub struct Connection {
    socket: OwnedFd,
    container: Container,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`Silent`] if the monitor is stopped, or so many are waiting for it already that no further one can.
    pub fn with(container: &Container) -> Result<Connection> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let directory = File::open(container.directory()).context("open the container's directory")?;
        let connection = Connection { socket, container: container.clone() };
        if let Some(pid) = alive::holder(&container.directory()).filter(|pid| state::is_stopped(*pid)) {
            return Err(Silent { pid }.into());
        }
        set_socket_timeout(&connection.socket, Timeout::Send, Some(ANSWER)).context("limit the wait")?;
        match connect(&connection.socket, &address(&directory)?) {
            Err(Errno::AGAIN) => Err(connection.silent()),
            connected => connected.context("connect with the container's monitor").map(|()| connection),
        }
    }

    /// Makes the request and waits for the answer: the pid that it is about, or the error that it was refused with.
    pub fn request(&self, request: Request) -> Result<i32> {
        send_packet(self.socket.as_fd(), &Packet::Request(request))?;
        let patience = Timespec { tv_sec: ANSWER.as_secs() as i64, tv_nsec: 0 };
        loop {
            match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&patience)) {
                Ok(0) => return Err(self.silent()),
                Ok(_) => return started(&self.socket),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("wait for the monitor"),
            }
        }
    }

    /// The socket, for what comes after the answer.
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }

    fn silent(&self) -> anyhow::Error {
        match alive::holder(&self.container.directory()) {
            Some(pid) => Silent { pid }.into(),
            None => anyhow::anyhow!("the monitor was killed"),
        }
    }
}

/// Waits for the first answer of a monitor: the pid of the process, or the error that kept it from running.
pub fn started(monitor: &OwnedFd) -> Result<i32> {
    match receive_packet(monitor.as_fd()).context("listen to the monitor")? {
        Some(Packet::Started(pid)) => Ok(pid),
        Some(Packet::Failed(error)) => Err(error.into()),
        Some(_) => bail!("the monitor answered something else"),
        None => bail!("the monitor was killed"),
    }
}

/// A monitor that lives and does not answer.
#[derive(Clone, Copy, Debug)]
pub struct Silent {
    /// The monitor.
    pub pid: i32,
}

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.pid;
        match state::is_stopped(pid) {
            true => write!(f, "its monitor (process {pid}) is stopped (kill -CONT {pid} lets it go on")?,
            false => write!(f, "its monitor (process {pid}) does not answer (it may be frozen, or waiting for a disk")?,
        }
        f.write_str("; minidocker rm -f removes the container all the same)")
    }
}

impl std::error::Error for Silent {}
