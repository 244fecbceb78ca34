//! The monitor's loop: everything that can happen to a running container, one thing after another.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, bail};
use namespaces::{Exit, StartError};
use network::Proxy;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use super::client::Client;
use super::finish;
use super::log::Log;
use super::packet::{CHUNK, Packet, Request, assemble, receive_packet};
use super::session::Session;
use crate::alive::AliveLock;
use crate::container::Container;
use crate::description::Description;
use crate::discard::Discarded;
use crate::exec::{self, ExecDescription};
use crate::state::State;
use crate::streams::Stream;

/// The number of the main process's session.
const MAIN: u32 = 0;

/// The most that an ordinary process can make a pipe hold, bytes (`/proc/sys/fs/pipe-max-size`).
const PIPE_MAX: usize = 1024 * 1024;

/// How long those who cannot be let in wait until it is tried again.
const RETRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// A running container's monitor.
pub struct Monitor {
    /// The container.
    pub(super) container: Container,
    /// What it was when it was started: it may have other limits and another name by now.
    pub(super) description: Description,
    /// What has happened to it.
    pub(super) state: State,
    /// Tells others that we live.
    pub(super) lock: Option<AliveLock>,
    /// Where clients connect.
    pub(super) listener: OwnedFd,
    /// Where the main process's output is kept.
    pub(super) log: Log,
    /// The processes looked after; the main one is number 0.
    pub(super) sessions: Vec<Session>,
    /// Who is connected.
    pub(super) clients: Vec<Client>,
    /// Carries local connections to published ports.
    pub(super) proxy: Option<Proxy>,
    /// The mount namespace, where it is to outlive the main process.
    pub(super) mounts: Option<OwnedFd>,
    /// The number of the next session.
    pub(super) next_session: u32,
    /// Whether the main process has ended.
    pub(super) over: bool,
    /// Whether nobody else can be let in just now: every descriptor that we may have is in use.
    pub(super) full: bool,
}

/// Whose descriptor is ready.
#[derive(Clone, Copy, Debug)]
enum Source {
    Listener,
    Proxy,
    Client(usize),
    End(u32),
    Output(u32, Stream),
    Input(u32),
}

impl Monitor {
    /// Somebody who is connected from the start.
    pub fn add(&mut self, client: Client) {
        self.clients.push(client);
    }

    /// Serves until the container has ended and everybody has been told.
    pub fn serve(&mut self) -> Result<()> {
        while !(self.over && self.clients.is_empty()) {
            let ready = self.wait()?;
            self.full = false;
            for source in ready {
                self.handle(source)?;
            }
            self.make_room();
            self.clients.retain(|client| !client.is_done());
        }
        Ok(())
    }

    /// Waits until something is ready.
    fn wait(&self) -> Result<Vec<Source>> {
        let mut waiting = Waiting::default();
        if !self.full {
            waiting.add(Source::Listener, self.listener.as_fd(), PollFlags::IN);
        }
        if let Some(proxy) = &self.proxy {
            waiting.add(Source::Proxy, proxy.as_fd(), PollFlags::IN);
        }
        for (index, client) in self.clients.iter().enumerate() {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, client.is_behind());
            waiting.add(Source::Client(index), client.as_fd(), flags);
        }
        for session in &self.sessions {
            waiting.add(Source::End(session.number), session.child.pidfd(), PollFlags::IN);
            if !self.clients.iter().any(|client| client.session == Some(session.number) && client.is_full()) {
                for (stream, fd) in session.outputs() {
                    waiting.add(Source::Output(session.number, stream), fd, PollFlags::IN);
                }
            }
            if let Some(fd) = session.wants_write() {
                waiting.add(Source::Input(session.number), fd, PollFlags::OUT);
            }
        }
        waiting.wait(self.full.then_some(RETRY))
    }

    fn handle(&mut self, source: Source) -> Result<()> {
        match source {
            Source::Listener => self.accept(),
            Source::Proxy => self.proxy.as_mut().map_or(Ok(()), Proxy::turn),
            Source::Client(index) => {
                self.clients[index].flush();
                self.listen_to(index);
                Ok(())
            }
            Source::End(number) => self.end(number),
            Source::Output(number, stream) => {
                self.pass_output(number, stream);
                Ok(())
            }
            Source::Input(number) => {
                if let Some(session) = self.session_mut(number) {
                    session.write_input();
                }
                Ok(())
            }
        }
    }

    fn session(&self, number: u32) -> Option<&Session> {
        self.sessions.iter().find(|session| session.number == number)
    }

    fn session_mut(&mut self, number: u32) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.number == number)
    }

    fn accept(&mut self) -> Result<()> {
        // The socket lies in a directory of mode 0700: whoever can reach it is the owner of the state directory.
        match accept_with(&self.listener, SocketFlags::CLOEXEC) {
            Ok(socket) => self.clients.push(Client::new(socket)?),
            // Who waits at the door would wake us again and again.
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => self.full = true,
            Err(_) => {} // gone again
        }
        Ok(())
    }

    /// Takes the packets that a client has sent.
    fn listen_to(&mut self, index: usize) {
        loop {
            let client = &mut self.clients[index];
            match receive_packet(client.as_fd()) {
                Ok(Some(packet)) => match assemble(&mut client.parts, packet) {
                    Ok(Some(packet)) => self.obey(index, packet),
                    Ok(None) => {}
                    Err(_) => return client.hang_up(),
                },
                Ok(None) => return self.lose(index),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => return client.hang_up(), // it speaks another language
            }
        }
    }

    /// Asks clients for more input where the process has taken what they sent, or will: what they have beyond it stays with
    /// them, so that they notice as well.
    fn make_room(&mut self) {
        for client in self.clients.iter_mut().filter(|client| client.untold > 0) {
            let session = self.sessions.iter().find(|session| Some(session.number) == client.session);
            if session.is_none_or(Session::has_room) {
                client.tell(&Packet::Taken(client.untold));
                client.untold = 0;
            }
        }
    }

    /// A client is gone. The input that it gave ends; a terminal's does not, somebody else may attach to it.
    fn lose(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.hang_up();
        if let (true, Some(number)) = (client.gives_input, client.session)
            && let Some(session) = self.session_mut(number)
            && !session.has_terminal()
        {
            session.end_input();
        }
    }

    fn obey(&mut self, index: usize, packet: Packet) {
        if let Packet::Request(request) = packet {
            return self.answer(index, request);
        }
        let client = &self.clients[index];
        let Some(number) = client.session else { return };
        let gives_input = client.gives_input;
        let Some(session) = self.session_mut(number) else { return };
        match packet {
            Packet::Input(bytes) => {
                if gives_input {
                    session.push_input(&bytes);
                }
                self.clients[index].untold += bytes.len();
            }
            Packet::InputEnd if gives_input => session.end_input(),
            Packet::Resize(size) => session.resize(size),
            Packet::Signal(signal) => drop(session.signal(signal)), // it may just have ended
            _ => {}
        }
    }

    fn answer(&mut self, index: usize, request: Request) {
        if self.clients[index].session.is_some() {
            return; // a second request on one connection
        }
        let result = self.carry_out(index, request);
        let client = &mut self.clients[index];
        match result {
            Ok(pid) => client.tell(&Packet::Started(pid)),
            Err(error) => {
                client.tell(&Packet::Failed(StartError::from(&error)));
                client.finished = true;
            }
        }
    }

    /// Carries a request out, and gives the pid of the process that it is about.
    fn carry_out(&mut self, index: usize, request: Request) -> Result<i32> {
        let main = self.sessions.iter().find(|session| session.number == MAIN);
        let main = main.context("the container is not running")?;
        let pid = main.child.pid().as_raw();
        let client = &mut self.clients[index];
        match request {
            Request::Attach { input, output } => {
                client.session = Some(MAIN);
                client.gives_input = input;
                client.takes_output = output;
                Ok(pid)
            }
            Request::Wait => {
                client.session = Some(MAIN);
                Ok(pid)
            }
            Request::Signal(signal) => {
                client.finished = true;
                main.signal(signal)?;
                Ok(pid)
            }
            Request::Exec(exec) => self.exec(index, &exec),
            Request::Start(_) => bail!("this monitor has its container already"),
        }
    }

    fn exec(&mut self, index: usize, exec: &ExecDescription) -> Result<i32> {
        let main = self.session(MAIN).context("the container is not running")?;
        let (joining, ends) = exec::assemble(exec, &self.description, main.child.pid())?;
        let child = joining.start_while(|_| Ok(()))?.release();
        let pid = child.pid().as_raw();
        let number = self.next_session;
        self.next_session += 1;
        self.sessions.push(Session::new(number, child, &ends)?);
        let client = &mut self.clients[index];
        client.session = Some(number);
        client.gives_input = exec.interactive;
        client.takes_output = true;
        Ok(pid)
    }

    /// Carries some output of a process to its clients and, if it is the main one, to the log. Tells how much.
    fn pass_output(&mut self, number: u32, stream: Stream) -> usize {
        let mut buffer = [0; CHUNK];
        let Some(session) = self.session_mut(number) else { return 0 };
        let length = session.read_output(stream, &mut buffer);
        let bytes = &buffer[..length];
        if bytes.is_empty() {
            return 0;
        }
        if number == MAIN {
            self.log.write(stream, bytes);
        }
        let packet = match stream {
            Stream::Output => Packet::Output(bytes.to_vec()),
            Stream::Error => Packet::ErrorOutput(bytes.to_vec()),
        };
        for client in self.clients.iter_mut().filter(|client| client.session == Some(number) && client.takes_output) {
            client.tell(&packet);
        }
        length
    }

    /// A process has ended.
    fn end(&mut self, number: u32) -> Result<()> {
        // All that it has written is in the pipes by now; who else may hold their other ends is not waited for.
        // One of those may go on writing, as fast as we read: no more is taken than a pipe holds.
        for stream in [Stream::Output, Stream::Error] {
            let mut taken = 0;
            while taken < PIPE_MAX {
                match self.pass_output(number, stream) {
                    0 => break,
                    length => taken += length,
                }
            }
        }
        let Some(at) = self.sessions.iter().position(|session| session.number == number) else { return Ok(()) };
        let exit = self.sessions.remove(at).reap()?;
        // Should something fail here (a full disk), that is no reason to keep the exit status from those who wait for it.
        let (mounts, discarded) = match number {
            MAIN => (self.mounts.take(), self.end_container(exit)),
            _ => (None, Ok(None)),
        };
        for client in self.clients.iter_mut().filter(|client| client.session == Some(number)) {
            client.tell(&Packet::Exited(exit.code()));
            client.finished = true;
        }
        // There is no such container any more; that its files are deleted need not be waited for.
        drop(mounts);
        discarded?.map_or(Ok(()), Discarded::delete)
    }

    fn end_container(&mut self, exit: Exit) -> Result<Option<Discarded>> {
        self.over = true;
        self.proxy = None;
        self.log.finish();
        // What else was executed in the container has ended with its pid 1, unless it shares the host's pids.
        let result = finish(&self.container, &self.description, &mut self.state, exit);
        self.lock = None;
        // Those who have not asked for anything come too late.
        self.clients.iter_mut().filter(|client| client.session.is_none()).for_each(Client::hang_up);
        result
    }
}

/// What is waited for.
#[derive(Default)]
struct Waiting<'a> {
    sources: Vec<Source>,
    fds: Vec<PollFd<'a>>,
}

impl<'a> Waiting<'a> {
    fn add(&mut self, source: Source, fd: BorrowedFd<'a>, flags: PollFlags) {
        self.sources.push(source);
        self.fds.push(PollFd::from_borrowed_fd(fd, flags));
    }

    fn wait(mut self, limit: Option<Timespec>) -> Result<Vec<Source>> {
        match poll(&mut self.fds, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("wait for the container"),
        }
        let ready = self.fds.iter().map(|fd| !fd.revents().is_empty());
        Ok(self.sources.iter().zip(ready).filter(|(_, ready)| *ready).map(|(source, _)| *source).collect())
    }
}
