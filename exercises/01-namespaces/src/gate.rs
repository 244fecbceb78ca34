//! The gate between the outside and the child.
//!
//! A pair of `SOCK_SEQPACKET` sockets (`unix(7)`): messages keep their boundaries, can carry descriptors, and the end
//! of one side is the end of file of the other. So a child whose engine was killed finds out, and so does an engine
//! whose child was.
//!
//! ```text
//! outside                            inside
//!   ── Born ─────────────────────────▶  (uid maps are written, the veth is there)
//!   ◀───────────────────────── Fd ──    (any number: a pty master, a listener …)
//!   ◀────────────────────── Ready ──    (all that a container is, but for the payload)
//!   ── Start ────────────────────────▶
//!   ◀──────────────── end of file ──    (execve has closed it), or Failed at any time
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

use crate::StartError;

/// The longest message: a failure with its causes. Longer ones are cut before they are sent.
const MESSAGE_MAX: usize = 16 * 1024;

/// What is said through the gate, as JSON: `{"Fd":"pty"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// To the child: what had to be done outside is done.
    Born,
    /// From whoever was sent to join namespaces: the child's pid; its pidfd comes with it.
    Child(i32),
    /// From either side: a descriptor, and what it is.
    Fd(String),
    /// From the child: everything stands, the payload can be executed.
    Ready,
    /// To the child: execute it.
    Start,
    /// From the child: it cannot go on.
    Failed(StartError),
}

/// One side of the gate.
#[derive(Debug)]
pub struct Gate {
    socket: OwnedFd,
    taken: RefCell<HashMap<String, OwnedFd>>,
}

impl Gate {
    /// Both sides: the outside's, which waits for a message no longer than its patience lasts, and the child's.
    pub(crate) fn pair(patience: Option<Duration>) -> Result<(Gate, Gate)> {
        let (outer, inner) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .context("make the gate (socketpair)")?;
        set_socket_timeout(&outer, Timeout::Recv, patience).context("limit the wait at the gate")?;
        let gate = |socket| Gate { socket, taken: RefCell::default() };
        Ok((gate(outer), gate(inner)))
    }

    /// Sends a descriptor out, in [`Isolation::inside`](crate::Isolation::inside).
    pub fn send_fd(&self, name: &str, fd: BorrowedFd<'_>) -> Result<()> {
        self.send(&Message::Fd(name.into()), Some(fd))
    }

    /// Takes a descriptor that the other side sent: outside in [`Isolation::adopt`](crate::Isolation::adopt), inside what
    /// was [given](crate::Child::give) before.
    pub fn take_fd(&self, name: &str) -> Option<OwnedFd> {
        self.taken.borrow_mut().remove(name)
    }

    pub(crate) fn send(&self, message: &Message, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let mut text = serde_json::to_vec(message).context("encode a message")?;
        if let (Message::Failed(error), true) = (message, text.len() > MESSAGE_MAX) {
            text = serde_json::to_vec(&Message::Failed(error.shortened())).context("encode a message")?;
        }
        let fds = fd.map(|fd| [fd]);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if let Some(fds) = &fds {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        // NOSIGNAL: that the other side is gone is an error to be told, not a death by SIGPIPE.
        sendmsg(&self.socket, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL).context("send to the gate")?;
        Ok(())
    }

    /// The next message, and the descriptor that came with it; `None` once the other side has closed.
    pub(crate) fn receive(&self) -> Result<Option<(Message, Option<OwnedFd>)>> {
        let mut text = [0; MESSAGE_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match recvmsg(&self.socket, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC) {
                // The other side has closed without taking what we had sent, as a child that fails before `Start`. The
                // kernel tells that once, and before it hands out what that side has said last.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                received => break received,
            }
        };
        let length = match received {
            Ok(received) if received.bytes > 0 => received.bytes,
            Ok(_) => return Ok(None),
            Err(Errno::AGAIN) => {
                bail!("the child does not answer (was it stopped, or is the container frozen?)")
            }
            Err(error) => return Err(error).context("receive from the gate"),
        };
        let fd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let message = serde_json::from_slice(&text[..length]).context("an unreadable message came through the gate")?;
        Ok(Some((message, fd)))
    }

    /// Waits for one message. Descriptors that come before it are kept for [`Gate::take_fd`]; a failure is returned as
    /// the error that it is.
    pub(crate) fn expect(&self, expected: &Message) -> Result<()> {
        loop {
            match self.receive()? {
                Some((Message::Fd(name), Some(fd))) => drop(self.taken.borrow_mut().insert(name, fd)),
                Some((Message::Failed(error), _)) => return Err(error.into()),
                Some((message, _)) if message == *expected => return Ok(()),
                Some((message, _)) => {
                    bail!("{message:?} came through the gate where {expected:?} was expected")
                }
                None => bail!("the other side of the gate was killed before it said {expected:?}"),
            }
        }
    }
}

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
