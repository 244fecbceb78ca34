//! From a description to a list of isolations: the whole course on one screen.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use cgroups::{Cgroup, DeviceRule, DeviceRules};
use layers::{Layers, Upper};
use namespaces::{Enter, Fresh, HostName, Isolation, Kind, Process, rootless};
use network::{Handle, Mode, Network};
use rootfs::{Device, DeviceWish, Mount, Root as RootSource, Rootfs};

use crate::container::Container;
use crate::description::Description;
use crate::privileges::sysctl::Sysctls;
use crate::shared_memory::SharedMemory;
use crate::sharing::{self, Sharing};
use crate::streams::EndsHandle;
use crate::terminal::{self, Terminal, WindowSize};
use crate::user;
use crate::volumes::{CopyUp, VolumeStore};

/// A container ready to be created, and what its monitor will want of it.
pub struct Assembly {
    /// What is executed.
    pub process: Process,
    /// What sets it apart, in the order of a start.
    pub isolations: Vec<Box<dyn Isolation>>,
    /// Where its streams will be found.
    pub ends: EndsHandle,
    /// Where its network will be found.
    pub network: Handle,
}

/// Puts a container together. Reads what it needs to; makes nothing yet.
pub fn assemble(container: &Container, description: &Description, size: WindowSize) -> Result<Assembly> {
    let directory = container.directory();
    let mut isolations: Vec<Box<dyn Isolation>> = Vec::new();

    // ANCHOR: outside-in
    // Chapter 1: the namespaces of others; a user namespace where we are not root or one is asked for; and those in which
    // nothing is done.
    let joins = joins(container, description)?;
    let joins_user = joins.iter().any(|enter| enter.kinds().contains(&Kind::User));
    isolations.extend(joins.into_iter().map(|enter| Box::new(enter) as Box<dyn Isolation>));
    if let Some(user) = description.namespaces.user_namespace()?.filter(|_| !joins_user) {
        isolations.push(Box::new(user));
    }
    isolations.push(Box::new(Fresh(description.namespaces.fresh())));

    // Chapter 2: the cgroup, joined before anything is spent.
    let devices = devices(description)?;
    isolations.push(Box::new(cgroup(description, &devices)?));

    // Chapter 5: the address is claimed and the files are written that chapter 3 binds.
    let network = network(container, description, &directory)?;
    let handle = network.handle();
    isolations.push(Box::new(network));
    isolations.push(Box::new(Sysctls(description.privileges.sysctls.clone())));
    // ANCHOR_END: outside-in

    // ANCHOR: root
    // Chapter 4: the layers of the image, and a writable one on top.
    let upper = Upper {
        upper: directory.join("upper"),
        work: directory.join("work"),
        volatile: description.auto_remove, // what is thrown away need never reach the disk
    };
    isolations.push(Box::new(Layers {
        lower: description.layers.clone(),
        upper,
        mountpoint: directory.join("rootfs"),
    }));

    // What the image has where an empty volume goes, before that covers it. Docker does it when the container is made.
    let first = container.state()?.started.is_empty();
    let mapped = description.namespaces.user_map.is_some();
    if let Some(copy_up) =
        CopyUp::new(&VolumeStore::of(container.root()), &description.mounts, directory.join("rootfs"), mapped)
        && first
    {
        isolations.push(Box::new(copy_up));
    }

    // Chapter 3: a root of its own.
    isolations.push(Box::new(root_filesystem(description, &directory.join("rootfs"), devices)?));

    if let Some(shared) = shared_memory(container, description)? {
        isolations.push(Box::new(shared));
    }

    // Chapter 1 again: the host name.
    if description.namespaces.uts.is_own() {
        let name =
            HostName { hostname: Some(description.hostname.clone()), domainname: description.domainname.clone() };
        isolations.push(Box::new(name));
    }
    // ANCHOR_END: root

    // ANCHOR: engine
    // The engine's own: streams or a terminal, and privileges last.
    let terminal = description.terminal.then(|| Terminal::new(size).with_console());
    let (streams, ends) = terminal::streams(terminal, description.interactive);
    isolations.push(streams);
    isolations.push(Box::new(user::privileges(description.privileges.clone(), &description.user)));
    // ANCHOR_END: engine

    Ok(Assembly { process: process(description), isolations, ends, network: handle })
}

fn process(description: &Description) -> Process {
    let mut process = Process::new(description.argv.iter().map(Into::into).collect());
    process.env = description.env.iter().map(Into::into).collect();
    process.cwd = description.cwd.clone();
    process.create_cwd = true;
    process.init = description.init;
    process
}

/// The namespaces of other containers that it is born in.
fn joins(container: &Container, description: &Description) -> Result<Vec<Enter>> {
    let network = match &description.network.mode {
        Mode::Container(target) => Some(target.as_str()),
        _ => None,
    };
    description.namespaces.joins(container.root(), network)
}

/// The `/dev/shm` that comes with another container's IPC namespace, unless the user mounts something there.
fn shared_memory(container: &Container, description: &Description) -> Result<Option<SharedMemory>> {
    let Sharing::Container(id) = &description.namespaces.ipc else { return Ok(None) };
    if description.mounts.iter().any(|mount| mount.destination == Path::new("/dev/shm")) {
        return Ok(None);
    }
    let owner = Container::with_id(container.root(), id);
    sharing::main_process(&owner).map(SharedMemory::of).map(Some)
}

/// The devices that it has besides the usual ones, as the host has them today. A privileged container has all.
fn devices(description: &Description) -> Result<Vec<Device>> {
    let mut wishes: Vec<DeviceWish> =
        description.devices.iter().map(|wish| wish.parse()).collect::<Result<_>>().context("its devices")?;
    if description.privileges.privileged && !rootless() {
        wishes.push(DeviceWish::all());
    }
    rootfs::find_devices(&wishes)
}

fn cgroup(description: &Description, devices: &[Device]) -> Result<Cgroup> {
    let mut cgroup = Cgroup::new(&description.cgroup, description.limits.clone());
    if description.namespaces.cgroup == Sharing::Host {
        cgroup = cgroup.in_host_namespace();
    }
    // No list of devices: every one is allowed. In a user namespace of an ordinary user none can be opened anyway.
    if description.privileges.privileged || rootless() {
        return Ok(cgroup);
    }
    let rules: Vec<DeviceRule> = description.device_rules.iter().map(|rule| rule.parse()).collect::<Result<_>>()?;
    let rules = rules.into_iter().chain(devices.iter().map(Device::rule));
    Ok(cgroup.devices(DeviceRules::usual().and(rules)))
}

fn network(container: &Container, description: &Description, files: &Path) -> Result<Network> {
    let bridge = container.root().bridge();
    let options = description.network.clone();
    let network =
        Network::new(options.clone(), bridge, container.id(), &description.hostname, Some(files.to_path_buf()));
    match &options.mode {
        Mode::Container(target) => Ok(network.joining(namespace_of(container, target)?)),
        _ => Ok(network),
    }
}

/// The network namespace of another container.
fn namespace_of(container: &Container, target: &str) -> Result<OwnedFd> {
    let target = Container::find(container.root(), target)?;
    let pid = sharing::main_process(&target).context("share its network")?;
    let path = format!("/proc/{pid}/ns/net");
    Ok(fs::File::open(&path).with_context(|| format!("open {path}"))?.into())
}

fn root_filesystem(description: &Description, at: &Path, devices: Vec<Device>) -> Result<Rootfs> {
    let mut root = Rootfs::new(RootSource::Mounted(at.to_path_buf()));
    root.devices = devices;
    root.read_only = description.read_only;
    for mount in &description.mounts {
        if let (Some(volume), Some(source)) = (&mount.volume, &mount.source) {
            ensure!(
                source.exists(),
                "the volume {volume} is gone: there is no {} (was it removed by hand?)",
                source.display()
            );
        }
    }
    root.mounts = description.mounts.iter().map(Mount::try_from).collect::<Result<_>>()?;
    if description.privileges.unmasked {
        root.masked_paths.clear();
        root.readonly_paths.clear();
    }
    Ok(root)
}
