//! A TCP connection passed on: two sockets, and what has been read from one and not yet written to the other.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt};

/// Bytes passed on before other connections get their turn.
const SHARE: usize = 1024 * 1024;

/// How far a [`Relay`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// As far as it goes until there is news.
    Blocked,
    /// There is more to do, and it is the turn of others.
    Unfinished,
    /// Both sides have said all, or one has failed.
    Ended,
}

/// A caller and the container.
pub struct Relay {
    client: TcpStream,
    server: TcpStream,
    request: Flow,
    response: Flow,
}

impl Relay {
    /// Begins to connect to `target`. Until that is done, and if it fails, writing and reading say so.
    pub fn new(client: TcpStream, target: SocketAddr) -> io::Result<Relay> {
        client.set_nonblocking(true)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let server: OwnedFd = socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        match connect(&server, &target) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => {
                reset(&client);
                return Err(error.into());
            }
        }
        let server = TcpStream::from(server);
        // Small pieces go on at once, as they came.
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        Ok(Relay { client, server, request: Flow::default(), response: Flow::default() })
    }

    /// The caller's socket.
    pub fn client(&self) -> BorrowedFd<'_> {
        self.client.as_fd()
    }

    /// The container's.
    pub fn server(&self) -> BorrowedFd<'_> {
        self.server.as_fd()
    }

    /// Passes on what can be, both ways.
    pub fn pump(&mut self, buffer: &mut [u8]) -> Progress {
        let request = self.request.pump(&self.client, &self.server, buffer);
        let response = self.response.pump(&self.server, &self.client, buffer);
        match (request, response) {
            (Ok(Progress::Ended), Ok(Progress::Ended)) => Progress::Ended,
            (Ok(Progress::Unfinished), Ok(_)) | (Ok(_), Ok(Progress::Unfinished)) => Progress::Unfinished,
            (Ok(_), Ok(_)) => Progress::Blocked,
            _ => {
                // One side has failed (or nobody listens in the container): the other hears of it as a reset, not as an
                // orderly end.
                reset(&self.client);
                reset(&self.server);
                Progress::Ended
            }
        }
    }
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// Read and not yet written; nothing more is read before it is empty, so it is never longer than one read.
    rest: Vec<u8>,
    finished: bool,
}

impl Flow {
    fn pump(&mut self, mut from: &TcpStream, mut to: &TcpStream, buffer: &mut [u8]) -> io::Result<Progress> {
        let mut share = SHARE;
        while !self.finished {
            if !self.rest.is_empty() {
                match to.write(&self.rest) {
                    Ok(written) => drop(self.rest.drain(..written)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Blocked),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
                continue;
            }
            if share == 0 {
                return Ok(Progress::Unfinished);
            }
            match from.read(buffer) {
                Ok(0) => {
                    // This side has said all; the other may go on (tcp(7), a half-closed connection).
                    self.finished = true;
                    let _ = to.shutdown(Shutdown::Write);
                }
                Ok(length) => {
                    share = share.saturating_sub(length);
                    let written = match to.write(&buffer[..length]) {
                        Ok(written) => written,
                        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
                        Err(error) => return Err(error),
                    };
                    self.rest.extend_from_slice(&buffer[written..length]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Blocked),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // Given back: an idle connection holds no memory.
        self.rest = Vec::new();
        Ok(Progress::Ended)
    }
}

/// Makes closing the socket send a reset (socket(7), SO_LINGER of zero).
fn reset(socket: &TcpStream) {
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}
