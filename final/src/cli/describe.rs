//! From an image and options to a [`Description`]: everything is looked up here that the container will need.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use images::{Image, Store};
use jiff::Timestamp;
use namespaces::program::tell;
use namespaces::{Kind, rootless, signals};
use network::Mode;
use nix::sys::signal::Signal;
use rootfs::{Mount, MountSource};
use rustix::mount::MountAttrFlags;

use super::options::Options;
use crate::container::Container;
use crate::description::Description;
use crate::id;
use crate::privileges::sysctl::Sysctl;
use crate::root::Root;
use crate::sharing::{Namespaces, Sharing};
use crate::volumes::{VolumeStore, Wished};

/// Makes the container, with everything looked up that it will need.
pub fn describe(root: &Root, store: &Store, image: &Image, args: &Options) -> Result<(Container, Description)> {
    let config = &image.config.config;
    let workdir = args.rootfs.workdir.clone();
    let overrides = args.image_args.overrides(args.command(), workdir)?;
    let mut process = images::process(&image.config, &overrides)?;
    let default_network = if rootless() { Mode::None } else { Mode::Bridge };
    if rootless() && args.network.network.is_none() && args.network.publish.is_empty() {
        tell("minidocker: an ordinary user cannot make a bridge: using --network none (--network host shares ours)");
    }
    let network = args.network.options(default_network)?;
    let limits = args.cgroup.limits()?;
    let namespaces = Namespaces::new(&args.sharing, root)?;
    let privileges = args.privileges.settings()?;
    check_sysctls(&privileges.sysctls, &network.mode, &namespaces)?;
    if namespaces.user_map.is_some() {
        ensure!(!privileges.privileged, "conflicting options: --userns private and --privileged");
        ensure!(network.mode != Mode::Host, "conflicting options: --userns private and --network host");
    }
    let of_image = config.stop_signal.as_ref().filter(|text| !text.is_empty());
    let stop_signal = args.stop_signal.as_ref().or(of_image);
    let stop_signal = stop_signal.map_or(Ok(Signal::SIGTERM as i32), |text| signal_number(text))?;
    let layers = store.layer_dirs(image)?;
    let _volumes = VolumeStore::of(root).lease()?; // until it is written down which ones the container has
    let mut wished = Wished::gather(root, &args.rootfs, &args.volumes_from, config.volumes.keys())?;
    if namespaces.user_map.is_some() {
        // Volumes belong to containers, and so to whoever is root inside; directories of the host do not.
        wished.map_volumes();
    }
    let annotations = labels(&BTreeMap::new(), &args.annotations)?;
    let labels = labels(&config.labels, &args.labels)?;
    let mut exposed: Vec<String> = config.exposed_ports.keys().cloned().collect();
    exposed.sort();
    let text = |words: &[std::ffi::OsString]| words.iter().map(|word| word.to_string_lossy().into_owned()).collect();

    rootfs::find_devices(&args.rootfs.devices)?; // they are looked up again at each start
    let mut default_mounts = default_mounts(args, &namespaces.ipc);
    let other_name = other_host_name(root, &namespaces.uts, &network.mode)?;
    // An empty name is none, as in scripts that pass `--name "$NAME"`.
    let name = args.name.as_deref().filter(|name| !name.is_empty());
    let (container, description) = Container::create(root, name, |id, name| {
        let hostname = args.sharing.hostname.clone().or(other_name);
        let hostname = hostname.unwrap_or_else(|| id::short(id).to_string());
        process.set_env_default("HOSTNAME", &hostname);
        if args.tty {
            process.set_env_default("TERM", "xterm");
        }
        let files = Container::with_id(root, id).directory();
        default_mounts.extend(network::file_mounts(&files, &wished.mounts).into_iter().map(|mut mount| {
            mount.idmap = namespaces.user_map.is_some(); // they are to be root's inside as well
            // As Docker has it: where the root is read-only, so are the files in it that the engine provides.
            if args.rootfs.read_only { mount.read_only() } else { mount }
        }));
        let mounts = rootfs::plan::plan(default_mounts, wished.mounts.clone())?;
        Ok(Description {
            id: id.to_string(),
            name: name.to_string(),
            created: Timestamp::now().to_string(),
            image: args.image().to_string(),
            image_id: image.id.to_string(),
            argv: text(&process.argv),
            env: text(&process.env),
            cwd: process.cwd.clone(),
            user: overrides.user.unwrap_or_else(|| config.user.clone()),
            terminal: args.tty,
            interactive: args.interactive,
            init: args.sharing.init,
            hostname,
            domainname: args.sharing.domainname.clone(),
            namespaces,
            limits,
            cgroup: args.cgroup.path(&root.cgroup(), id),
            device_rules: args.cgroup.device_cgroup_rule.iter().map(ToString::to_string).collect(),
            devices: args.rootfs.devices.iter().map(ToString::to_string).collect(),
            layers,
            diff_ids: image.diff_ids().to_vec(),
            mounts: mounts.iter().map(|mount| wished.save(mount)).collect(),
            read_only: args.rootfs.read_only,
            network,
            privileges,
            labels,
            annotations,
            exposed_ports: exposed,
            stop_signal,
            stop_timeout: args.stop_timeout.or(config.stop_timeout).unwrap_or(10),
            auto_remove: args.rm,
        })
    })?;
    wished.make_volumes(root).inspect_err(|_| drop(container.delete_with_volumes()))?;
    Ok((container, description))
}

/// The mounts that every container has. With `--privileged` root inside may write to `/sys` and to its cgroups, as Docker
/// has it; and who shares IPC objects shares the file systems that show them.
fn default_mounts(args: &Options, ipc: &Sharing) -> Vec<Mount> {
    let mut mounts = args.rootfs.default_mounts();
    if args.privileges.privileged {
        let kernels = |mount: &&mut Mount| matches!(mount.source, MountSource::Sysfs | MountSource::Cgroup);
        for mount in mounts.iter_mut().filter(kernels) {
            mount.attributes -= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
    }
    let shared_memory = Path::new("/dev/shm");
    match ipc {
        Sharing::Private | Sharing::Shareable => {}
        // Another container's is fetched at the start.
        Sharing::WithoutMemory | Sharing::Container(_) => mounts.retain(|mount| mount.destination != shared_memory),
        Sharing::Host => {
            for mount in &mut mounts {
                let of_ipc = mount.destination == shared_memory || mount.source == MountSource::Mqueue;
                if of_ipc && mount.destination.is_dir() {
                    let bind = Mount::bind(&mount.destination, &mount.destination);
                    *mount = Mount { attributes: mount.attributes, ..bind };
                }
            }
        }
    }
    mounts
}

/// The host name, where it is not the container's own.
fn other_host_name(root: &Root, uts: &Sharing, network: &Mode) -> Result<Option<String>> {
    match (uts, network) {
        (Sharing::Container(id), _) => Ok(Some(Container::with_id(root, id).description()?.hostname)),
        (Sharing::Host, _) | (_, Mode::Host) => Ok(Some(host_name())),
        _ => Ok(None),
    }
}

/// A setting is refused where it would not be the container's own but that of those with whom it shares the namespace.
fn check_sysctls(sysctls: &[Sysctl], network: &Mode, namespaces: &Namespaces) -> Result<()> {
    for sysctl in sysctls {
        let owner = match (sysctl.kind(), network) {
            (Kind::Net, Mode::Host) => Some("--network host"),
            (Kind::Net, Mode::Container(_)) => Some("--network container:"),
            (Kind::Ipc, _) if !namespaces.ipc.is_own() => Some("a shared IPC namespace"),
            _ => None,
        };
        if let Some(owner) = owner {
            bail!("--sysctl {} is not possible with {owner}: it would be set for others as well", sysctl.key());
        }
    }
    Ok(())
}

fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |name| name.to_string_lossy().into_owned())
}

fn labels(of_image: &BTreeMap<String, String>, given: &[String]) -> Result<BTreeMap<String, String>> {
    let mut labels = of_image.clone();
    for label in given {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        ensure!(!key.is_empty(), "the label {label:?} has no name (write KEY=VALUE)");
        labels.insert(key.to_string(), value.to_string());
    }
    Ok(labels)
}

/// A signal by name, with or without SIG, or by number.
pub fn signal_number(text: &str) -> Result<i32> {
    signals::parse(text)
        .with_context(|| format!("invalid signal: {text} (write it as in TERM, SIGTERM, 15 or RTMIN+3)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_the_command_line_win() {
        let of_image = BTreeMap::from([("a".to_string(), "1".to_string())]);
        let all = labels(&of_image, &["a=2".into(), "b".into()]).unwrap();
        assert_eq!((all["a"].as_str(), all["b"].as_str()), ("2", ""));
        assert!(labels(&of_image, &["=x".into()]).is_err());
    }
}
