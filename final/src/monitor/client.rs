//! A program that is connected with a monitor: the `run` that started the container, an `attach`, an `exec`, a `wait`.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Result;
use rustix::net::{SendFlags, send};

use super::packet::Packet;
use super::session::set_nonblocking;

/// How much may wait for a client that does not read, in packets. Above it the process's output is left where it is, so
/// that the process waits, as if it wrote to that client directly.
const QUEUE_MAX: usize = 32;

/// One connection.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    queue: VecDeque<Vec<u8>>,
    gone: bool,
    /// What it has said so far of a request that comes in parts.
    pub parts: Vec<u8>,
    /// The process that it is connected with.
    pub session: Option<u32>,
    /// Whether it gives that process its input.
    pub gives_input: bool,
    /// How much of its input it has not been told yet to be taken, bytes.
    pub untold: usize,
    /// Whether it gets that process's output.
    pub takes_output: bool,
    /// Whether it has been told how the process ended, and is only there to read what waits for it.
    pub finished: bool,
}

impl Client {
    /// A new connection, which has not said yet what it wants.
    pub fn new(socket: OwnedFd) -> Result<Client> {
        set_nonblocking(&socket)?;
        Ok(Client {
            socket,
            queue: VecDeque::new(),
            gone: false,
            parts: Vec::new(),
            session: None,
            gives_input: false,
            untold: 0,
            takes_output: false,
            finished: false,
        })
    }

    /// Sends it a packet, now or when it reads again.
    pub fn tell(&mut self, packet: &Packet) {
        match packet.encode() {
            Ok(bytes) => self.queue.push_back(bytes),
            Err(_) => self.gone = true,
        }
        self.flush();
    }

    /// Sends what waits for it, as far as it takes it.
    pub fn flush(&mut self) {
        while let Some(bytes) = self.queue.front() {
            match send(&self.socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(_) => drop(self.queue.pop_front()),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS) => return,
                Err(_) => {
                    self.queue.clear();
                    self.gone = true;
                }
            }
        }
    }

    /// Whether something waits for it.
    pub fn is_behind(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether too much does.
    pub fn is_full(&self) -> bool {
        self.queue.len() >= QUEUE_MAX
    }

    /// Whether it can be forgotten.
    pub fn is_done(&self) -> bool {
        self.gone || (self.finished && self.queue.is_empty())
    }

    /// Its side of the connection was closed.
    pub fn hang_up(&mut self) {
        self.gone = true;
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
