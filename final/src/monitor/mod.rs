//! The monitor: one small process for each running container.
//!
//! It is this program, executed once more from where no container can write to it. It makes the container, is the parent
//! of its main process and of every `exec`, carries their streams to clients and the log, and when the end comes writes
//! down the exit status and undoes what has to be undone. It alone writes the container's state. Killed, it takes nothing
//! with it: the container goes on, and any command can tell, stop and remove it.
//!
//! | file | idea |
//! |---|---|
//! | [`packet`] | what it and its clients say to each other |
//! | [`client`] | one who is connected |
//! | [`session`] | a process that it looks after |
//! | [`log`] | the container's log |
//! | [`serve`] | the loop |
//! | [`connection`] | the other side: a client's connection with it |

pub mod client;
pub mod connection;
pub mod log;
pub mod packet;
pub mod serve;
pub mod session;

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use namespaces::{Exit, Kind, StartError};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::unistd::setsid;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with, socketpair};
use rustix::stdio::stdin;
use rustix::thread::set_name;

use self::client::Client;
use self::packet::{Packet, Request, Start, Wishes, receive_packet, send_packet};
use self::serve::Monitor;
use self::session::Session;
use crate::alive::AliveLock;
use crate::assembly::{Assembly, assemble};
use crate::container::Container;
use crate::description::Description;
use crate::discard::Discarded;
use crate::exec;
use crate::life;
use crate::privileges::capabilities::Capabilities;
use crate::privileges::own_binary;
use crate::privileges::seccomp::Choice;
use crate::root::Root;
use crate::sharing::Sharing;
use crate::state::{State, process_started};
use crate::streams;

/// The name of the monitor's socket in a container's directory.
const SOCKET: &str = "attach.sock";

/// What a monitor is called as: by this name the program knows that it is one.
pub const NAME: &str = "minidocker-monitor";

/// A monitor that waits to be told what to start. Dropped, it ends.
///
/// It takes half a millisecond to begin, which passes while the command finds out what is to be started.
pub struct Summoned(OwnedFd);

/// Summons a monitor.
pub fn summon() -> Result<Summoned> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .context("make a connection to the monitor")?;
    own_binary::start_as(NAME, theirs).context("start the monitor")?;
    Ok(Summoned(ours))
}

impl Summoned {
    /// Has a container started, and gives the connection to its monitor: it will say `Started` or `Failed`.
    pub fn start(self, container: &Container, wishes: Wishes) -> Result<OwnedFd> {
        let root = container.root().path().to_path_buf();
        let start = Start { root, id: container.id().to_string(), wishes };
        // One that is gone already is heard of by listening.
        let _ = send_packet(self.0.as_fd(), &Packet::Request(Request::Start(Box::new(start))));
        Ok(self.0)
    }
}

/// The monitor's `main`. Its standard input is the connection to whoever summoned it.
pub fn main() -> ExitCode {
    // Executed by descriptor we would be called by its number. The kernel keeps 15 bytes.
    let _ = set_name(c"minidocker-mon");
    match obey() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE, // told to the client where there is one
    }
}

fn obey() -> Result<()> {
    let client = fcntl_dupfd_cloexec(stdin(), 3).context("take the connection")?;
    get_ready();
    let Some(Packet::Request(Request::Start(start))) = receive_packet(client.as_fd())? else {
        return Ok(()); // whoever summoned us has thought better of it
    };
    let found = Root::open(Some(start.root)).and_then(|root| {
        let container = Container::with_id(&root, &start.id);
        let description = container.description()?;
        Ok((container, description))
    });
    match found {
        Ok((container, description)) => monitor(&container, &description, start.wishes, client),
        Err(error) => send_packet(client.as_fd(), &Packet::Failed(StartError::from(&error))),
    }
}

/// Finds out what nearly every container needs to be known, while the command finds out which one is to be started. Each
/// of these is remembered; what goes wrong does so again where it is needed, and is told there.
fn get_ready() {
    let _ = cgroups::Hierarchies::detect();
    let _ = Choice::Default.filter(Capabilities::DEFAULT);
}

/// The address of the socket in a directory: by its descriptor, since a path in `sockaddr_un` has no more than 107 bytes.
fn address(directory: &File) -> Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))?)
}

fn monitor(container: &Container, description: &Description, wishes: Wishes, client: OwnedFd) -> Result<()> {
    setsid().context("begin a session")?;
    settle_down()?;
    let mut client = Client::new(client)?;
    // Who does not get the lock has no say in the container's state: another monitor looks after it.
    let lock = AliveLock::take(&container.directory())
        .and_then(|lock| lock.ok_or_else(|| anyhow!("it is running or being started already")));
    let lock = match lock {
        Ok(lock) => lock,
        Err(error) => {
            client.tell(&Packet::Failed(StartError::from(&error)));
            return Ok(());
        }
    };
    match make(container, description, wishes) {
        Ok((mut monitor, pid)) => {
            monitor.lock = Some(lock);
            client.session = Some(0);
            client.gives_input = wishes.input;
            client.takes_output = wishes.output;
            client.tell(&Packet::Started(pid));
            monitor.add(client);
            container.settle();
            let served = monitor.serve();
            // Everybody has been told; from here on nobody waits for us.
            if !description.auto_remove {
                container.flush();
            }
            life::sweep_at_times(container.root());
            served
        }
        Err(error) => {
            // First the tidying, then the news: whoever hears it finds nothing left.
            let error = StartError::from(&error);
            let tidied = clear(container, description, &error);
            client.tell(&Packet::Failed(error));
            tidied
        }
    }
}

/// Makes the container and starts its process.
fn make(container: &Container, description: &Description, wishes: Wishes) -> Result<(Monitor, i32)> {
    let directory = container.directory();
    let Assembly { process, isolations, ends, network } = assemble(container, description, wishes.size)?;
    let mut new = namespaces::Container::new(process, isolations, network::undo);
    if matches!(description.namespaces.pid, Sharing::Container(_)) {
        new = new.patience(exec::PATIENCE); // those who are there already can stop it
    }
    container.write_records(&new.records())?;
    stop_at("records");
    let mut state = State { running: true, ..State::default() };
    let mut open = None;
    let mut mounts = None;
    // The state is written before the payload runs: were we killed right after, nobody would know of it. All this while
    // the child makes its mounts, which takes longer.
    let running = new.start_while(|child| {
        stop_at("created");
        state.pid = child.pid().as_raw();
        state.pid_started = process_started(state.pid).unwrap_or_default();
        state.started = Timestamp::now().to_string();
        state.endpoint = network.endpoint();
        if !description.auto_remove {
            container.reserve_the_end()?; // what is thrown away has no end to be written down
        }
        container.write_state(&state)?;
        open = Some((listener(&directory)?, log::Log::open(&directory)?));
        // Nobody will mount the layers again: so their mounts may outlive the process, until everybody has been told. To
        // take mounts down makes the kernel wait for all processors, for up to a millisecond.
        mounts = child.namespace(Kind::Mount).ok().filter(|_| description.auto_remove);
        stop_at("written");
        Ok(())
    })?;
    let (listener, log) = open.expect("made while the child was");
    let pid = state.pid;
    let child = running.release();
    stop_at("started");
    streams::close_own_streams()?;
    let session = Session::new(0, child, &ends)?;
    let monitor = Monitor {
        container: container.clone(),
        description: description.clone(),
        state,
        lock: None, // whoever called us has it
        listener,
        log,
        sessions: vec![session],
        clients: Vec::new(),
        proxy: network.take_proxy(),
        mounts,
        next_session: 1,
        over: false,
        full: false,
    };
    Ok((monitor, pid))
}

/// Writes down that a start has failed, or removes what is to be removed.
fn clear(container: &Container, description: &Description, error: &StartError) -> Result<()> {
    if description.auto_remove {
        return container.delete();
    }
    let state = State {
        running: false,
        pid: 0,
        exit_code: error.code.into(),
        error: error.to_string(),
        finished: Timestamp::now().to_string(),
        ..container.state()?
    };
    container.write_state(&state)?;
    container.settle();
    Ok(())
}

/// Ends a container in the books: its state, its records, and with `--rm` the container itself, whose files are still to
/// be deleted then.
pub(crate) fn finish(
    container: &Container,
    description: &Description,
    state: &mut State,
    exit: Exit,
) -> Result<Option<Discarded>> {
    let oom_killed = !description.auto_remove && cgroups::oom_killed(&description.cgroup).unwrap_or(false);
    if !description.namespaces.pid.is_own() {
        // Without a pid 1 of its own, its end was not that of its other processes.
        let _ = cgroups::kill_all(&description.cgroup);
    }
    let undone = container.undo_records();
    if description.auto_remove {
        return container.discard().and_then(|discarded| undone.map(|()| Some(discarded)));
    }
    state.running = false;
    state.pid = 0;
    state.exit_code = exit.code();
    state.oom_killed = oom_killed;
    state.finished = Timestamp::now().to_string();
    container.write_state(state).and(undone).map(|()| None)
}

fn listener(directory: &Path) -> Result<OwnedFd> {
    let _ = fs::remove_file(directory.join(SOCKET)); // of an earlier start
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).context("make a socket")?;
    let directory = File::open(directory).context("open the container's directory")?;
    bind(socket.as_fd(), &address(&directory)?).context("bind the monitor's socket")?;
    listen(&socket, 16).context("listen on the monitor's socket")?;
    Ok(socket)
}

/// Leaves what ties us to whoever started us: the directory, which could not be unmounted, and its signals.
fn settle_down() -> Result<()> {
    nix::unistd::chdir("/").context("chdir to /")?;
    SigSet::empty().thread_set_mask().context("unblock the signals")?;
    for ignored in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGPIPE] {
        // SAFETY: to ignore a signal runs no code of ours.
        unsafe { signal(ignored, SigHandler::SigIgn) }.with_context(|| format!("ignore {ignored}"))?;
    }
    Ok(())
}

/// For the tests of what a kill at this step leaves: says so and waits to be killed, if `MINIDOCKER_STOP_AT` names it.
pub(crate) fn stop_at(step: &str) {
    if std::env::var_os("MINIDOCKER_STOP_AT").is_some_and(|at| at == step) {
        // By the number that it has for the host: a container's first process is number 1 to itself.
        let pid = fs::read_link("/proc/self").map(|pid| pid.display().to_string());
        let pid = pid.unwrap_or_else(|_| std::process::id().to_string());
        namespaces::program::tell(format!("stopped at {step}: {pid}"));
        loop {
            std::thread::park();
        }
    }
}
