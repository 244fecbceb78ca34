//! `ch05`: run a command with an address of its own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use cgroups::CgroupArgs;
use clap::{Args, Parser, Subcommand};
use layers::args::{LayerArgs, Scratch};
use namespaces::program::{say, tell};
use namespaces::{Kind, NamespaceArgs, Process, rootless};
use network::run::{collect_dead, passing_id, run_to_end};
use network::{Bridge, Endpoint, Mode, Network, NetworkArgs, file_mounts, leases};
use rootfs::{Device, Root, RootfsArgs};

/// A process with an address of its own: a bridge, NAT, published ports, names.
///
/// The root is made of layers (chapter 4). The bridge and its rules stay on the host for the next container; `reset`
/// takes them away.
#[derive(Parser)]
#[command(name = "ch05", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  mkdir -p box/bin box/www && cp /bin/busybox box/bin && chroot box /bin/busybox --install -s /bin
  ch05 run --layer box ip addr                         an address on the bridge
  ch05 run --layer box -p 8080:80 httpd -f -h /www     then: curl http://127.0.0.1:8080/
  ch05 run --layer box --network none ip addr          only lo
  ch05 run --layer box --network host ip addr          the host's own
  ch05 run --layer box --network container:4711 ip addr
  ch05 info                                            what is left on the host, and who has which address
  ch05 reset                                           take it away

The bridge needs root; an ordinary user has --network none and host.";

#[derive(Subcommand)]
enum Command {
    /// Run a command with a network
    #[command(disable_help_flag = true)]
    Run(Box<Run>),
    /// Show what the bridge has on the host, and its addresses
    Info(State),
    /// Take the bridge and its rules away
    Reset(State),
}

#[derive(Args)]
struct State {
    /// Where addresses are noted; the bridge's name comes from it
    #[arg(long, value_name = "DIR", default_value = "/run/ch05")]
    state: PathBuf,
}

#[derive(Args)]
#[command(args_override_self = true)]
struct Run {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    layers: LayerArgs,
    #[command(flatten)]
    files: RootfsArgs,
    #[command(flatten)]
    limits: CgroupArgs,
    #[command(flatten)]
    namespaces: NamespaceArgs,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    namespaces::main(|cli: Cli| match cli.command {
        Command::Run(args) => run(*args),
        Command::Info(args) => info(&Bridge::derive(&args.state)),
        Command::Reset(args) => network::reset(&Bridge::derive(&args.state)).map(|()| 0),
    })
}

fn run(mut args: Run) -> Result<i32> {
    let mut process = Process::new(args.command);
    process.init = args.namespaces.init;
    args.files.set_cwd(&mut process)?;

    // Chapter 1 leaves the network namespace to this one.
    let shared = args.namespaces.share.contains(&Kind::Net);
    let default = if shared {
        Mode::Host
    } else if rootless() {
        Mode::None
    } else {
        Mode::Bridge
    };
    let options = args.network.options(default)?;
    ensure!(!shared || options.mode == Mode::Host, "--share net and --network {} contradict each other", options.mode);
    args.namespaces.share.push(Kind::Net);

    let bridge = Bridge::derive(&args.state.state);
    let id = passing_id();
    let hostname = hostname(&mut args.namespaces, &options.mode, &id);
    if options.mode == Mode::Bridge && !rootless() {
        collect_dead(&bridge)?;
    }

    let scratch = Scratch::new()?;
    let files = scratch.directory("files")?;
    // Only what the caller cannot know.
    let announce = options.ports.iter().any(|port| port.host_port != port.host_port_end || port.host_port == 0);
    let network = Network::new(options, bridge, &id, &hostname, Some(files.clone()));
    let handle = network.handle();
    let layers = args.layers.isolation(&scratch)?;
    let mut rootfs = args.files.rootfs(Root::Mounted(layers.mountpoint.clone()))?;
    rootfs.mounts.extend(file_mounts(&files, &rootfs.mounts));
    args.limits.device_cgroup_rule.extend(rootfs.devices.iter().map(Device::rule));
    let mut isolations = args.limits.isolations(&args.namespaces, "ch05", &id)?;
    isolations.push(Box::new(network));
    isolations.push(Box::new(layers));
    isolations.push(Box::new(rootfs));
    let ready = |endpoint: &Endpoint| {
        if announce {
            endpoint.ports.iter().for_each(|port| tell(format!("ch05: published {port}")));
        }
    };
    Ok(run_to_end(process, isolations, &handle, ready)?.code())
}

/// The name by which the container knows itself: what was asked for, else its id; on the host's network the host's.
fn hostname(namespaces: &mut NamespaceArgs, mode: &Mode, id: &str) -> String {
    if namespaces.hostname.is_none() && (*mode == Mode::Host || !namespaces.kinds().contains(&Kind::Uts)) {
        return rustix::system::uname().nodename().to_string_lossy().into_owned();
    }
    namespaces.hostname.get_or_insert_with(|| id.to_owned()).clone()
}

fn info(bridge: &Bridge) -> Result<i32> {
    for line in network::host_objects(bridge)? {
        say(line)?;
    }
    for (address, id) in leases(bridge)? {
        say(format!("address {address} of {id}"))?;
    }
    Ok(0)
}
