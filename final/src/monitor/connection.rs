//! A client's connection with a container's monitor, which may be hung: stopped by somebody, frozen with its cgroup, at work
//! on a disk that does not answer. Nobody waits for it longer than it may reasonably take.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use super::address;
use super::packet::{Packet, Request, receive_packet, send_packet};
use crate::alive;
use crate::container::Container;
use crate::readable::readable;
use crate::state;

/// How long an answer may take: as long as two `exec`s that a process inside holds up, which the monitor gives up after ten
/// seconds each.
const ANSWER: Duration = Duration::from_secs(25);

/// Asks the monitor of a running container for something and waits for its answer. Gives the connection, for what comes
/// after that.
///
/// # Errors
/// What the request was refused with; [`Silent`] if the monitor does not answer, or so many are waiting for it already that
/// no further one can.
pub fn ask(container: &Container, request: Request) -> Result<OwnedFd> {
    let monitor = connected(container)?;
    send_packet(monitor.as_fd(), &Packet::Request(request))?;
    if !readable(&monitor, Some(ANSWER)).context("wait for the monitor")? {
        return Err(silent(container));
    }
    started(&monitor).map(|()| monitor)
}

fn connected(container: &Container) -> Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let directory = File::open(container.directory()).context("open the container's directory")?;
    if let Some(pid) = alive::holder(&container.directory()).filter(|pid| state::is_stopped(*pid)) {
        return Err(Silent { pid }.into());
    }
    set_socket_timeout(&socket, Timeout::Send, Some(ANSWER)).context("limit the wait")?;
    match connect(&socket, &address(&directory)?) {
        Err(Errno::AGAIN) => Err(silent(container)),
        connected => connected.context("connect with the container's monitor").map(|()| socket),
    }
}

fn silent(container: &Container) -> anyhow::Error {
    match alive::holder(&container.directory()) {
        Some(pid) => Silent { pid }.into(),
        None => anyhow::anyhow!("the monitor was killed"),
    }
}

/// Waits for the first answer of a monitor: that the process runs, or the error that kept it from that.
pub fn started(monitor: &OwnedFd) -> Result<()> {
    match receive_packet(monitor.as_fd()).context("listen to the monitor")? {
        Some(Packet::Started(_)) => Ok(()),
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
