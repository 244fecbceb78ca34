//! UDP passed on: for every sender a socket of its own, so that the container's answer finds its way back.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// After this long without a datagram a sender is forgotten, as the kernel's connection tracking would do.
const SILENCE: Duration = Duration::from_secs(90);

/// What is exchanged with one sender.
pub struct Conversation {
    /// The slot of the published port's socket: answers leave from there.
    pub receiver: usize,
    /// When the sender was last heard.
    pub last: Instant,
    sender: SocketAddr,
    socket: UdpSocket,
}

impl Conversation {
    /// Opens a socket of its own towards `target`.
    pub fn new(receiver: usize, sender: SocketAddr, target: SocketAddr, now: Instant) -> io::Result<Conversation> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(target)?;
        Ok(Conversation { receiver, last: now, sender, socket })
    }

    /// The socket towards the container.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether nothing has been heard of the sender for long.
    pub fn is_silent(&self, now: Instant) -> bool {
        now.duration_since(self.last) > SILENCE
    }

    /// Passes a datagram on. One that cannot be sent is lost, as datagrams are.
    pub fn pass(&mut self, datagram: &[u8], now: Instant) {
        self.last = now;
        let _ = self.socket.send(datagram);
    }

    /// Passes the container's answers back, at most `count`. True if there may be more.
    pub fn answer(&self, receiver: &UdpSocket, buffer: &mut [u8], count: usize) -> bool {
        for _ in 0..count {
            match self.socket.recv(buffer) {
                Ok(length) => drop(receiver.send_to(&buffer[..length], self.sender)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                // Nobody listens in the container: an earlier datagram of ours came back (udp(7), ECONNREFUSED).
                Err(_) => {}
            }
        }
        true
    }
}
