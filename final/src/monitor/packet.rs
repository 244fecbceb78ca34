//! What the monitor and its clients say to each other.
//!
//! One packet of a `SOCK_SEQPACKET` socket each: a byte that says what it is, and its content.
//!
//! ```text
//! client → monitor   R {"Exec":{…}}   a request, once, first (JSON)
//!                    r bytes          so much of a long one, any number of times, and then   T bytes   the rest
//!                    i bytes          standard input        I   its end
//!                    w {"rows":…}     the terminal's size
//!                    k 15             a signal for the process (decimal)
//! monitor → client   S 4711           the process runs, and its pid
//!                    a 32768          so much of the input, bytes, has been taken: as much more may be sent
//!                    F {"code":…}     it does not, and why (a StartError as JSON); or the request failed
//!                    o bytes          standard output       e   standard error
//!                    X 0              it has ended, and its exit status
//! ```

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use namespaces::StartError;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde::{Deserialize, Serialize};

use crate::exec::ExecDescription;
use crate::terminal::WindowSize;

/// The most bytes of a stream that one packet carries.
pub const CHUNK: usize = 32 * 1024;
/// The most bytes of input that a client sends ahead of their being taken (`a`).
///
/// So the monitor always reads what its clients say, and a signal never queues behind input that the process does not read.
/// The alternative, to leave input in the socket while the process does not read, blocks a client that must go on taking the
/// process's output before the process reads again. It fits in a socket's buffer, so that sending does not block either.
pub const WINDOW: usize = 4 * CHUNK;
/// The longest packet, below the default limit of a socket's buffer. A request with a big environment goes in parts.
pub const PACKET_MAX: usize = 160 * 1024;
/// The longest request. `execve(2)` takes 6 MiB of arguments and environment at most, usually 2; as JSON they grow a little.
pub const REQUEST_MAX: usize = 16 * 1024 * 1024;

/// One packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    /// What the client wants.
    Request(Request),
    /// A part of a request, as JSON, that is too long for one packet.
    Part(Vec<u8>),
    /// Its last part.
    LastPart(Vec<u8>),
    /// Bytes for the process's standard input.
    Input(Vec<u8>),
    /// No more of them.
    InputEnd,
    /// The client's terminal has this size.
    Resize(WindowSize),
    /// Send the process a signal.
    Signal(i32),
    /// The process runs; its pid on the host.
    Started(i32),
    /// It could not be started, or the request could not be carried out.
    Failed(StartError),
    /// So many bytes of its input were taken.
    Taken(usize),
    /// Bytes of the process's standard output, or of its terminal.
    Output(Vec<u8>),
    /// Bytes of its standard error.
    ErrorOutput(Vec<u8>),
    /// It has ended with this status.
    Exited(i32),
}

/// What a client asks a monitor for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// To make a container and start its main process, and to look after it from then on: what a new monitor waits for.
    Start(Box<Start>),
    /// To be connected with the container's main process.
    Attach {
        /// Send it this client's input.
        input: bool,
        /// Get its output.
        output: bool,
    },
    /// To run another process in the container.
    Exec(Box<ExecDescription>),
    /// To send the main process a signal; answered by `Started` once it is sent.
    Signal(i32),
    /// To be told the exit status when the container has ended.
    Wait,
}

/// What a new monitor is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The state directory.
    pub root: PathBuf,
    /// The container, which is described there.
    pub id: String,
    /// What whoever tells it wants.
    pub wishes: Wishes,
}

/// What the client that has a container started wants of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// To give its main process input.
    pub input: bool,
    /// To get its output.
    pub output: bool,
    /// The size of its terminal.
    pub size: WindowSize,
}

impl Packet {
    /// Its bytes.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let with = |tag: u8, content: &[u8]| [&[tag], content].concat();
        let number = |tag, number: i32| with(tag, number.to_string().as_bytes());
        Ok(match self {
            Packet::Request(request) => with(b'R', &serde_json::to_vec(request)?),
            Packet::Part(bytes) => with(b'r', bytes),
            Packet::LastPart(bytes) => with(b'T', bytes),
            Packet::Input(bytes) => with(b'i', bytes),
            Packet::InputEnd => with(b'I', &[]),
            Packet::Resize(size) => with(b'w', &serde_json::to_vec(size)?),
            Packet::Signal(signal) => number(b'k', *signal),
            Packet::Started(pid) => number(b'S', *pid),
            Packet::Failed(error) => with(b'F', &serde_json::to_vec(error)?),
            Packet::Taken(bytes) => with(b'a', bytes.to_string().as_bytes()),
            Packet::Output(bytes) => with(b'o', bytes),
            Packet::ErrorOutput(bytes) => with(b'e', bytes),
            Packet::Exited(code) => number(b'X', *code),
        })
    }

    /// Reads its bytes back.
    pub fn decode(bytes: &[u8]) -> Result<Packet> {
        let Some((tag, content)) = bytes.split_first() else { bail!("an empty packet") };
        let text = || std::str::from_utf8(content).context("a packet without its number");
        let number = || text()?.parse::<i32>().context("a packet without its number");
        Ok(match tag {
            b'R' => Packet::Request(serde_json::from_slice(content).context("an unknown request")?),
            b'r' => Packet::Part(content.to_vec()),
            b'T' => Packet::LastPart(content.to_vec()),
            b'i' => Packet::Input(content.to_vec()),
            b'I' => Packet::InputEnd,
            b'w' => Packet::Resize(serde_json::from_slice(content).context("a malformed window size")?),
            b'k' => Packet::Signal(number()?),
            b'S' => Packet::Started(number()?),
            b'F' => Packet::Failed(serde_json::from_slice(content).context("a malformed error")?),
            b'a' => Packet::Taken(text()?.parse().context("a packet without its number")?),
            b'o' => Packet::Output(content.to_vec()),
            b'e' => Packet::ErrorOutput(content.to_vec()),
            b'X' => Packet::Exited(number()?),
            _ => bail!("a packet of an unknown kind"),
        })
    }
}

/// Sends a packet, waiting until the other side has room for it.
pub fn send_packet(socket: BorrowedFd<'_>, packet: &Packet) -> Result<()> {
    let bytes = packet.encode()?;
    if bytes.len() <= PACKET_MAX {
        return send_bytes(socket, &bytes);
    }
    let (Packet::Request(_), 0..=REQUEST_MAX) = (packet, bytes.len()) else {
        bail!("the request is too long: {} bytes of at most {REQUEST_MAX} (a smaller environment?)", bytes.len());
    };
    let mut parts = bytes[1..].chunks(CHUNK).peekable();
    while let Some(part) = parts.next() {
        let part = part.to_vec();
        let packet = if parts.peek().is_some() { Packet::Part(part) } else { Packet::LastPart(part) };
        send_bytes(socket, &packet.encode()?)?;
    }
    Ok(())
}

fn send_bytes(socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<()> {
    rustix::io::retry_on_intr(|| send(socket, bytes, SendFlags::NOSIGNAL)).context("talk to the monitor")?;
    Ok(())
}

/// Puts the parts of a request together: `None` until the last has come.
///
/// # Errors
/// Where they become longer than [`REQUEST_MAX`], or are no request.
pub fn assemble(parts: &mut Vec<u8>, packet: Packet) -> Result<Option<Packet>> {
    let (bytes, last) = match packet {
        Packet::Part(bytes) => (bytes, false),
        Packet::LastPart(bytes) => (bytes, true),
        whole => return Ok(Some(whole)),
    };
    if parts.len() + bytes.len() > REQUEST_MAX {
        bail!("a request that is too long");
    }
    parts.extend(bytes);
    if !last {
        return Ok(None);
    }
    let request = serde_json::from_slice(parts).context("an unknown request")?;
    *parts = Vec::new();
    Ok(Some(Packet::Request(request)))
}

/// Receives the next packet: `None` when the other side has closed, an error of kind `WouldBlock` when there is none yet
/// on a non-blocking socket.
///
/// Its length is asked first (`MSG_TRUNC`, `recv(2)`): to have room for the longest each time would cost more.
pub fn receive_packet(socket: BorrowedFd<'_>) -> io::Result<Option<Packet>> {
    let mut first = [0; 1];
    let peeked = loop {
        match recv(socket, &mut first, RecvFlags::PEEK | RecvFlags::TRUNC) {
            // The other side has closed without reading all of ours, as a monitor whose process has ended before its input.
            // The kernel tells that once, and before it hands out what that side has said last.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            peeked => break peeked,
        }
    };
    match peeked {
        Ok((_, 0)) => Ok(None),
        Ok((_, length)) if length <= PACKET_MAX => {
            let mut packet = vec![0; length];
            rustix::io::retry_on_intr(|| recv(socket, packet.as_mut_slice(), RecvFlags::empty()))?;
            Packet::decode(&packet).map(Some).map_err(io::Error::other)
        }
        Ok(_) => Err(io::Error::other("a packet that is too long")),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[test]
    fn what_is_encoded_can_be_decoded() {
        let packets = [
            Packet::Request(Request::Attach { input: true, output: false }),
            Packet::Request(Request::Signal(15)),
            Packet::Part(b"{".to_vec()),
            Packet::LastPart(b"}".to_vec()),
            Packet::Input(b"x\0y".to_vec()),
            Packet::InputEnd,
            Packet::Resize(WindowSize { rows: 24, columns: 80 }),
            Packet::Signal(9),
            Packet::Started(4711),
            Packet::Failed(StartError::new(127, Some(2), "no such command")),
            Packet::Taken(CHUNK),
            Packet::Output(vec![0xff; 10]),
            Packet::ErrorOutput(vec![]),
            Packet::Exited(137),
        ];
        for packet in packets {
            assert_eq!(Packet::decode(&packet.encode().unwrap()).unwrap(), packet);
        }
    }

    #[test]
    fn the_last_word_arrives_though_something_was_left_unread() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        send_packet(ours.as_fd(), &Packet::Input(b"unread".to_vec())).unwrap();
        send_packet(theirs.as_fd(), &Packet::Exited(3)).unwrap();
        drop(theirs);
        assert_eq!(receive_packet(ours.as_fd()).unwrap(), Some(Packet::Exited(3)));
        assert_eq!(receive_packet(ours.as_fd()).unwrap(), None);
    }

    #[test]
    fn a_long_request_arrives_in_parts() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let start = |length| Start { root: "/".into(), id: "x".repeat(length), wishes: Wishes::default() };
        let long = Packet::Request(Request::Start(Box::new(start(2_000_000))));
        let sent = long.clone();
        let sender = std::thread::spawn(move || send_packet(ours.as_fd(), &sent));
        let mut parts = Vec::new();
        let whole = loop {
            let packet = receive_packet(theirs.as_fd()).unwrap().expect("a packet");
            if let Some(whole) = assemble(&mut parts, packet).unwrap() {
                break whole;
            }
        };
        assert!(whole == long && parts.is_empty());
        sender.join().unwrap().unwrap();
        let endless = Packet::Request(Request::Start(Box::new(start(REQUEST_MAX))));
        assert!(send_packet(theirs.as_fd(), &endless).unwrap_err().to_string().contains("too long"));
        assert!(assemble(&mut vec![0; REQUEST_MAX], Packet::Part(vec![0])).is_err());
        assert!(assemble(&mut Vec::new(), Packet::LastPart(b"{}".to_vec())).is_err());
    }

    #[test]
    fn nonsense_is_an_error() {
        for bytes in [&b""[..], b"?", b"X", b"Xyz", b"R{}", b"Rnull", b"w[]", b"k99999999999", b"a-1"] {
            assert!(Packet::decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
