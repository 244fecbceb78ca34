//! The server behind a published port, for whom the firewall's rules do not reach.
//!
//! Address translation serves whoever calls from outside or by one of the host's addresses. It cannot serve 127.0.0.1
//! (see [`crate::ruleset`]) and ::1 at all, nor anybody when somebody flushed the rules. These calls arrive at the
//! sockets that reserve the ports, and are passed on here.
//!
//! One thread, no call that waits: everything hangs on one epoll instance, whose own descriptor becomes readable when
//! there is something to do, so that whoever waits for the container can wait for it as well (epoll(7) nests).
//! Descriptors are watched edge-triggered: each is worked on until it would block, and woken again only by news. So
//! there is nothing to switch on and off, and a full buffer cannot spin.

mod datagram;
mod stream;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::reserve::{Reservation, Reserved};
use datagram::Conversation;
use stream::{Progress, Relay};

/// Connections served at once; more wait in the kernel's queue until one ends.
const RELAYS: usize = 512;
/// Senders of datagrams remembered at once; one more makes the one that was silent longest forgotten.
const CONVERSATIONS: usize = 512;
/// The largest datagram there is, and as much as one read of a stream takes.
const BUFFER: usize = 64 * 1024;
/// Datagrams handled before others get their turn.
const DATAGRAMS: usize = 64;

/// Serves published ports; owns their sockets, which also reserves them.
pub struct Proxy {
    epoll: OwnedFd,
    target: Ipv4Addr,
    slots: Vec<Slot>,
    relays: usize,
    /// Connections wait to be accepted, for want of room.
    waiting: bool,
    /// By socket and sender, the slot of the conversation.
    senders: HashMap<(usize, SocketAddr), usize>,
    buffer: Vec<u8>,
}

/// What an event's number means.
enum Slot {
    Free,
    /// Being worked on.
    Busy,
    Listener(TcpListener, u16),
    Relay(Relay),
    Receiver(UdpSocket, u16),
    Conversation(Conversation),
}

impl Proxy {
    /// Takes over the sockets of `ports`, to pass on what comes to the container at `target`.
    pub fn new(ports: Vec<Reservation>, target: Ipv4Addr) -> Result<Proxy> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).context("make an epoll instance for the published ports")?;
        let mut proxy = Proxy {
            epoll,
            target,
            slots: Vec::new(),
            relays: 0,
            waiting: false,
            senders: HashMap::new(),
            buffer: Vec::new(),
        };
        for Reservation { port, sockets } in ports {
            for socket in sockets {
                let place = proxy.place();
                match &socket {
                    Reserved::Tcp(socket) => proxy.watch(socket.as_fd(), place),
                    Reserved::Udp(socket) => proxy.watch(socket.as_fd(), place),
                }
                .with_context(|| format!("watch the published port {port}"))?;
                proxy.slots[place] = match socket {
                    Reserved::Tcp(socket) => Slot::Listener(socket, port.container_port),
                    Reserved::Udp(socket) => Slot::Receiver(socket, port.container_port),
                };
            }
        }
        Ok(proxy)
    }

    /// Handles what is ready and returns; never waits. Call it when [`as_fd`](AsFd::as_fd) is readable.
    ///
    /// # Errors
    /// Only of the epoll instance itself. What goes wrong with a connection ends that connection.
    pub fn turn(&mut self) -> Result<()> {
        let none = Event { flags: EventFlags::empty(), data: EventData::new_u64(0) };
        let mut events = [none; 64];
        let count = match epoll::wait(&self.epoll, &mut events[..], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(error).context("wait for the published ports"),
        };
        // Made for the first call that comes: a container that nobody calls costs no memory.
        self.buffer.resize(BUFFER, 0);
        for event in &events[..count] {
            self.serve(event.data.u64() as usize);
        }
        if self.waiting && self.relays < RELAYS {
            self.waiting = false;
            for place in 0..self.slots.len() {
                if matches!(self.slots[place], Slot::Listener(..)) {
                    self.serve(place);
                }
            }
        }
        Ok(())
    }

    /// Does what there is to do for one descriptor. An event may come late, for a slot that has been filled anew in the
    /// meantime: then there is nothing to do yet, and that does no harm.
    fn serve(&mut self, place: usize) {
        let Some(slot) = self.slots.get_mut(place) else { return };
        match mem::replace(slot, Slot::Busy) {
            Slot::Free | Slot::Busy => self.slots[place] = Slot::Free,
            Slot::Listener(socket, port) => {
                self.accept(&socket, port);
                self.slots[place] = Slot::Listener(socket, port);
            }
            Slot::Relay(mut relay) => match relay.pump(&mut self.buffer) {
                Progress::Blocked => self.slots[place] = Slot::Relay(relay),
                Progress::Unfinished => {
                    self.rearm(relay.client(), place);
                    self.slots[place] = Slot::Relay(relay);
                }
                Progress::Ended => {
                    self.relays -= 1;
                    self.slots[place] = Slot::Free;
                }
            },
            Slot::Receiver(socket, port) => {
                self.receive(&socket, port, place);
                self.slots[place] = Slot::Receiver(socket, port);
            }
            Slot::Conversation(conversation) => {
                if let Some(Slot::Receiver(socket, _)) = self.slots.get(conversation.receiver)
                    && conversation.answer(socket, &mut self.buffer, DATAGRAMS)
                {
                    self.rearm(conversation.fd(), place);
                }
                self.slots[place] = Slot::Conversation(conversation);
            }
        }
    }

    fn accept(&mut self, socket: &TcpListener, port: u16) {
        while self.relays < RELAYS {
            match socket.accept() {
                Ok((client, _)) => self.relay(client, port),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Out of descriptors or memory: the caller waits in the queue until a connection of ours has ended.
                Err(error) if exhausted(&error) => break,
                // This caller has gone again (accept(2) reports that of the network, too); the next one may be there.
                Err(_) => {}
            }
        }
        self.waiting = true;
    }

    fn relay(&mut self, client: std::net::TcpStream, port: u16) {
        let Ok(relay) = Relay::new(client, (self.target, port).into()) else { return };
        let place = self.place();
        if self.watch(relay.client(), place).is_ok() && self.watch(relay.server(), place).is_ok() {
            self.slots[place] = Slot::Relay(relay);
            self.relays += 1;
        }
    }

    fn receive(&mut self, socket: &UdpSocket, port: u16, place: usize) {
        let now = Instant::now();
        for _ in 0..DATAGRAMS {
            let (length, sender) = match socket.recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // An answer of ours that could not be delivered is reported here (udp(7)).
                Err(_) => continue,
            };
            let conversation = match self.senders.get(&(place, sender)) {
                Some(known) => *known,
                None => match self.converse(place, sender, port, now) {
                    Some(new) => new,
                    None => continue,
                },
            };
            if let Slot::Conversation(conversation) = &mut self.slots[conversation] {
                conversation.pass(&self.buffer[..length], now);
            }
        }
        self.rearm(socket.as_fd(), place);
    }

    /// Begins a conversation with a new sender.
    fn converse(&mut self, receiver: usize, sender: SocketAddr, port: u16, now: Instant) -> Option<usize> {
        self.forget_silent(now);
        let conversation = Conversation::new(receiver, sender, (self.target, port).into(), now).ok()?;
        let place = self.place();
        self.watch(conversation.fd(), place).ok()?;
        self.slots[place] = Slot::Conversation(conversation);
        self.senders.insert((receiver, sender), place);
        Some(place)
    }

    fn forget_silent(&mut self, now: Instant) {
        let crowded = self.senders.len() >= CONVERSATIONS;
        let mut oldest: Option<(Instant, (usize, SocketAddr))> = None;
        let slots = &mut self.slots;
        self.senders.retain(|key, place| {
            let Slot::Conversation(conversation) = &slots[*place] else { return false };
            if conversation.is_silent(now) {
                slots[*place] = Slot::Free;
                return false;
            }
            if oldest.is_none_or(|(last, _)| conversation.last < last) {
                oldest = Some((conversation.last, *key));
            }
            true
        });
        if let (true, Some((_, key))) = (crowded, oldest)
            && let Some(place) = self.senders.remove(&key)
        {
            self.slots[place] = Slot::Free;
        }
    }

    /// A slot to be filled.
    fn place(&mut self) -> usize {
        match self.slots.iter().position(|slot| matches!(slot, Slot::Free)) {
            Some(free) => free,
            None => {
                self.slots.push(Slot::Free);
                self.slots.len() - 1
            }
        }
    }

    fn watch(&self, fd: BorrowedFd<'_>, place: usize) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, fd, EventData::new_u64(place as u64), NEWS)
    }

    /// Asks for an event at once if there is still something to do: as if it were news.
    fn rearm(&self, fd: BorrowedFd<'_>, place: usize) {
        let _ = epoll::modify(&self.epoll, fd, EventData::new_u64(place as u64), NEWS);
    }
}

impl AsFd for Proxy {
    /// The epoll instance: readable when a [`turn`](Proxy::turn) is due.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

const NEWS: EventFlags = EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);

fn exhausted(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

#[cfg(test)]
mod tests;
