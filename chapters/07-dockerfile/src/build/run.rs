//! RUN: a container of the image so far, whose writable layer is kept.
//!
//! Its list of isolations is that of every container: there is no second way to run a command.

use std::ffi::OsString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cgroups::{Cgroup, DeviceRules, Limits};
use images::User;
use layers::{Layers, Upper};
use namespaces::{Container, Exit, Fresh, HostName, Isolation, Kind, Process, Running};
use network::network::file_mounts;
use network::{Bridge, Mode, Network, NetworkArgs};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rootfs::{Mount, Root, Rootfs};

use crate::syntax::Heredoc;

use super::output::{Kept, Output};
use super::stubs;
use super::workspace::Workspace;

/// One RUN, with everything replaced and resolved.
#[derive(Debug, Clone)]
pub struct RunStep {
    /// The command, shell included.
    pub argv: Vec<String>,
    /// Its environment, `KEY=value`.
    pub env: Vec<String>,
    /// The user, `name|uid[:group|gid]`.
    pub user: String,
    /// The working directory.
    pub workdir: String,
    /// How it is connected.
    pub network: Mode,
    /// A script to be executed itself (a heredoc that begins with `#!`).
    pub script: Option<Heredoc>,
}

/// Gives the last isolations of a RUN's container, for the step that it will run.
pub type Extra<'a> = &'a dyn Fn(&RunStep) -> Result<Vec<Box<dyn Isolation>>>;

/// Where RUN's containers live.
pub struct Surroundings<'a> {
    /// The engine's directory, from which the bridge has its name.
    pub root: &'a Path,
    /// The build's place.
    pub workspace: &'a Workspace,
    /// The directory there for this container's own.
    pub scratch: PathBuf,
    /// The cgroup below which the container has its own.
    pub cgroup_parent: &'a str,
    /// The layers below, base first.
    pub lower: &'a [PathBuf],
    /// What the last isolations are: the user and its rights.
    pub extra: Extra<'a>,
    /// Keep the output back unless the command fails.
    pub keep_output: bool,
}

/// The user alone: what RUN has where no engine adds its privileges.
pub fn plain_user(step: &RunStep) -> Result<Vec<Box<dyn Isolation>>> {
    Ok(vec![Box::new(User::new(step.user.clone()))])
}

/// Runs the step with `upper` as its writable layer. An error if it does not end with 0.
pub fn run(step: &RunStep, around: &Surroundings<'_>, upper: &Path) -> Result<()> {
    let make = |name: &str| -> Result<PathBuf> {
        let path = around.scratch.join(name);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(path)
    };
    let files = make("files")?;
    let layers = Layers {
        lower: around.lower.to_vec(),
        // Should the machine crash, the build is begun again: no need to wait for the disk.
        upper: Upper { upper: upper.to_owned(), work: make("work")?, volatile: true },
        mountpoint: make("merged")?,
    };
    let mut rootfs = Rootfs::new(Root::Mounted(layers.mountpoint.clone()));
    rootfs.mounts.extend(file_mounts(&files, &rootfs.mounts));
    if let Some(script) = &step.script {
        rootfs.mounts.push(script_mount(script, &around.scratch)?);
    }
    let mountpoints: Vec<PathBuf> = rootfs.mounts.iter().map(|mount| mount.destination.clone()).collect();

    let id = container_id();
    let hostname = "buildkitsandbox"; // the name that scripts in the wild know
    let network = NetworkArgs { network: Some(step.network.clone()), ..NetworkArgs::default() };
    let network = network.options(Mode::None)?;
    let cgroup = Cgroup::new(&format!("{}/{id}", around.cgroup_parent), Limits::default());
    let (output, mut kept) = match around.keep_output {
        true => Output::kept().map(|(output, kept)| (output, Some(kept)))?,
        false => (Output::shown()?, None),
    };

    // All but the network namespace, which is the network's business.
    let fresh = Fresh(vec![Kind::Mount, Kind::Pid, Kind::Ipc, Kind::Uts]);
    let mut isolations: Vec<Box<dyn Isolation>> = vec![Box::new(fresh), Box::new(HostName::new(hostname))];
    isolations.push(Box::new(cgroup.devices(DeviceRules::usual())));
    isolations.push(Box::new(Network::new(network, Bridge::derive(around.root), &id, hostname, Some(files))));
    isolations.push(Box::new(layers));
    isolations.push(Box::new(rootfs));
    isolations.push(Box::new(output));
    isolations.extend((around.extra)(step)?);

    let container = Container::new(process(step), isolations, network::undo);
    around.workspace.note_records(&container.records())?;
    let exit = start_and_wait(container, kept.as_mut())?;
    if exit != Exit::Code(0) {
        if let Some(kept) = kept {
            kept.show()?;
        }
        return Err(Failed { command: step.argv.join(" "), exit }.into());
    }
    stubs::remove(upper, around.lower, &mountpoints)
}

/// A command that ran and failed.
#[derive(Debug)]
pub struct Failed {
    command: String,
    /// How it ended.
    pub exit: Exit,
}

impl std::error::Error for Failed {}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Failed { command, exit } = self;
        write!(f, "the command {} did not succeed: ", super::progress::one_line(command))?;
        match exit {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(number) => write!(f, "killed by signal {number}"),
        }
    }
}

fn process(step: &RunStep) -> Process {
    let argv = match &step.script {
        Some(script) => vec![OsString::from(script_path(script))],
        None => step.argv.iter().map(OsString::from).collect(),
    };
    let mut process = Process::new(argv);
    process.env = step.env.iter().map(OsString::from).collect();
    process.set_env_default("PATH", namespaces::process::DEFAULT_PATH);
    process.cwd = Path::new("/").join(&step.workdir);
    // The command ends with the build, even if that is killed.
    process.die_with_parent = true;
    process
}

/// Runs to the end, or until somebody wants the build to stop.
///
/// The container's first process has signals like ^C ignored for it by the kernel (`pid_namespaces(7)`), so it is killed
/// with its container; all that it had is taken back on the way out.
fn start_and_wait(container: Container, kept: Option<&mut Kept>) -> Result<Exit> {
    let mut stop = SigSet::empty();
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().for_each(|signal| stop.add(signal));
    let before = stop.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK).context("hold signals back")?;
    let signals = SignalFd::with_flags(&stop, SfdFlags::SFD_CLOEXEC).context("signalfd")?;
    let result = container.create().and_then(|created| created.start());
    let result = result.and_then(|running| wait_or_stop(running, &signals, kept));
    before.thread_set_mask().context("let signals through again")?;
    result
}

fn wait_or_stop(running: Running, signals: &SignalFd, mut kept: Option<&mut Kept>) -> Result<Exit> {
    loop {
        let mut fds = vec![
            PollFd::new(running.child().pidfd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(kept.as_ref().and_then(|kept| kept.source()).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait for the command"),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        drop(fds);
        if ready[0] {
            return running.wait();
        }
        if let (Some(true), Some(kept)) = (ready.get(2), &mut kept) {
            kept.listen();
        }
        if ready[1] {
            signals.read_signal().context("read a signal")?;
            bail!("interrupted");
        }
    }
}

/// A name for a cgroup and a lease, unlike any other's.
fn container_id() -> String {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("build-{}-{:06x}", std::process::id(), clock.as_micros() & 0xff_ffff)
}

fn script_path(script: &Heredoc) -> String {
    format!("/dev/pipes/{}", script.name)
}

fn script_mount(script: &Heredoc, scratch: &Path) -> Result<Mount> {
    let file = scratch.join("script");
    fs::write(&file, &script.content).with_context(|| format!("write {}", file.display()))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    Ok(Mount::bind(file, script_path(script)).read_only())
}
