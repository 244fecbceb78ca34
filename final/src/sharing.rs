//! Whose namespaces a container has: its own, the host's, or those of another container.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use clap::{ArgAction, Args, ValueEnum};
use namespaces::id_map::IdMap;
use namespaces::{Enter, Kind, Mode, UserNamespace, rootless};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::container::Container;
use crate::root::Root;
use crate::state::process_started;
use crate::status;

/// The flags, as Docker has them.
///
/// Not chapter 1's, most of which mean something else here or nothing: a container is named, not the number of a process;
/// which namespaces there are is the engine's to choose; and IPC knows two modes more.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Namespaces")]
pub struct SharingArgs {
    /// Host name inside [default: the beginning of the container's id]
    #[arg(short = 'h', long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// NIS domain name inside
    #[arg(long, value_name = "NAME")]
    pub domainname: Option<String>,
    /// Process ids: private, host or container:NAME
    #[arg(long, value_name = "MODE")]
    pub pid: Option<Mode>,
    /// IPC objects: private, shareable, none (without /dev/shm), host or container:NAME
    #[arg(long, value_name = "MODE")]
    pub ipc: Option<Sharing>,
    /// Host name: private, host or container:NAME
    #[arg(long, value_name = "MODE")]
    pub uts: Option<Mode>,
    /// The view of cgroups
    #[arg(long, value_name = "MODE")]
    pub cgroupns: Option<Owner>,
    /// Users and rights: with private, root inside is nobody in particular outside
    #[arg(long, value_name = "MODE")]
    pub userns: Option<Owner>,
    /// Run an init as pid 1 that reaps processes and forwards signals
    #[arg(long)]
    pub init: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// Whose namespace, of a kind that containers do not share with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Owner {
    /// The container's own.
    Private,
    /// The host's.
    Host,
}

/// Whose namespace of one kind. As data a word: `private`, `host`, `container:ID`; of IPC also `shareable` and `none`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Sharing {
    /// Its own.
    #[default]
    Private,
    /// Its own, which others may join (`--ipc shareable`).
    Shareable,
    /// Its own, without shared memory in the file system (`--ipc none`).
    WithoutMemory,
    /// The host's.
    Host,
    /// That of another container, by its id.
    Container(String),
}

impl Sharing {
    /// Whether it is one of its own.
    pub fn is_own(&self) -> bool {
        !matches!(self, Sharing::Host | Sharing::Container(_))
    }

    /// What `--pid`, `--ipc` and so on say; a container by its name.
    fn of_mode(mode: Option<&Mode>, root: &Root) -> Result<Sharing> {
        match mode {
            None | Some(Mode::Private) => Ok(Sharing::Private),
            Some(Mode::Host) => Ok(Sharing::Host),
            Some(Mode::Of(target)) => Sharing::of_container(target.as_str(), root),
        }
    }

    fn of_container(name: &str, root: &Root) -> Result<Sharing> {
        Ok(Sharing::Container(Container::find(root, name)?.id().to_string()))
    }
}

impl FromStr for Sharing {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Sharing> {
        match text {
            "private" => Ok(Sharing::Private),
            "shareable" => Ok(Sharing::Shareable),
            "none" => Ok(Sharing::WithoutMemory),
            "host" => Ok(Sharing::Host),
            _ => match text.strip_prefix("container:") {
                Some(id) if !id.is_empty() => Ok(Sharing::Container(id.to_string())),
                _ => bail!("there is no mode {text:?} (there are: private, shareable, none, host, container:NAME)"),
            },
        }
    }
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sharing::Private => f.write_str("private"),
            Sharing::Shareable => f.write_str("shareable"),
            Sharing::WithoutMemory => f.write_str("none"),
            Sharing::Host => f.write_str("host"),
            Sharing::Container(id) => write!(f, "container:{id}"),
        }
    }
}

impl TryFrom<String> for Sharing {
    type Error = anyhow::Error;
    fn try_from(text: String) -> Result<Sharing> {
        text.parse()
    }
}

impl From<Sharing> for String {
    fn from(sharing: Sharing) -> String {
        sharing.to_string()
    }
}

/// Whose namespaces a container has, for each kind that one can choose. The network's is chosen by `--network`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespaces {
    /// Process ids.
    pub pid: Sharing,
    /// IPC objects.
    pub ipc: Sharing,
    /// Host name.
    pub uts: Sharing,
    /// The view of cgroups.
    pub cgroup: Sharing,
    /// Of a user namespace of root's container: its map, the same for users and groups, as `0:100000:65536`. Kept since the
    /// files that the container writes belong to these ids, also at its next start.
    pub user_map: Option<String>,
}

impl Namespaces {
    /// What the flags say.
    ///
    /// # Errors
    /// Where flags contradict each other, or name a container that is not there.
    pub fn new(args: &SharingArgs, root: &Root) -> Result<Namespaces> {
        ensure!(
            !(rootless() && args.userns == Some(Owner::Host)),
            "--userns host: without root a container cannot do without a user namespace of its own"
        );
        let namespaces = Namespaces {
            pid: Sharing::of_mode(args.pid.as_ref(), root).context("--pid")?,
            ipc: match &args.ipc {
                Some(Sharing::Container(name)) => Sharing::of_container(name, root).context("--ipc")?,
                other => other.clone().unwrap_or_default(),
            },
            uts: Sharing::of_mode(args.uts.as_ref(), root).context("--uts")?,
            cgroup: match args.cgroupns {
                Some(Owner::Host) => Sharing::Host,
                _ => Sharing::Private,
            },
            user_map: match args.userns {
                Some(Owner::Private) if !rootless() => Some(range_of_root().to_string()),
                _ => None,
            },
        };
        let named = args.hostname.is_some() || args.domainname.is_some();
        ensure!(
            !named || namespaces.uts.is_own(),
            "conflicting options: --hostname or --domainname, and a host name that is not the container's own (--uts)"
        );
        if namespaces.user_map.is_some() {
            ensure!(
                namespaces.pid != Sharing::Host,
                "conflicting options: --userns private and --pid host (its rights do not reach the host's processes)"
            );
        }
        Ok(namespaces)
    }

    /// The kinds that are new ones of its own, of those that chapter 1 makes without further ado.
    pub fn fresh(&self) -> Vec<Kind> {
        let own = [(Kind::Pid, &self.pid), (Kind::Ipc, &self.ipc), (Kind::Uts, &self.uts)];
        let own = own.into_iter().filter(|(_, sharing)| sharing.is_own()).map(|(kind, _)| kind);
        [Kind::Mount].into_iter().chain(own).collect()
    }

    /// The user namespace that it gets of its own, unless it joins that of another container.
    pub fn user_namespace(&self) -> Result<Option<UserNamespace>> {
        let Some(map) = &self.user_map else {
            return Ok(rootless().then(UserNamespace::for_caller));
        };
        let map = vec![map.parse::<IdMap>()?];
        Ok(Some(UserNamespace { uids: map.clone(), gids: map }))
    }

    /// The namespaces of other containers that it is born in; `network` names the one whose network it shares.
    ///
    /// Namespaces belong to a user namespace, and only who has power there may join them or mount what they show. So the
    /// other's user namespace is joined with them where it has one of its own.
    pub fn joins(&self, root: &Root, network: Option<&str>) -> Result<Vec<Enter>> {
        let wished = [(Kind::Pid, &self.pid), (Kind::Ipc, &self.ipc), (Kind::Uts, &self.uts)];
        let network = network.map(|name| Container::find(root, name)).transpose()?;
        let network = network.as_ref().map(Container::id);
        let mut targets: Vec<(&str, Vec<Kind>)> = Vec::new();
        let named = wished.into_iter().filter_map(|(kind, sharing)| match sharing {
            Sharing::Container(id) => Some((kind, id.as_str())),
            _ => None,
        });
        // Of the network chapter 5 has a descriptor of its own, to be joined after these.
        for (kind, id) in named.map(|(kind, id)| (Some(kind), id)).chain(network.map(|id| (None, id))) {
            match targets.iter_mut().find(|(target, _)| *target == id) {
                Some((_, kinds)) => kinds.extend(kind),
                None => targets.push((id, kind.into_iter().collect())),
            }
        }
        let mut joins: Vec<Enter> = Vec::new();
        for (id, mut kinds) in targets {
            let target = Container::find(root, id)?;
            let description = target.description()?;
            if kinds.contains(&Kind::Ipc) {
                ensure!(
                    description.namespaces.ipc != Sharing::Private || !description.namespaces.ipc.is_own(),
                    "container {} does not share its IPC namespace (start it with --ipc shareable)",
                    description.name
                );
            }
            kinds.push(Kind::User);
            let enter = Enter::only(main_process(&target)?, &kinds)
                .with_context(|| format!("join the namespaces of {}", description.name))?;
            if !enter.kinds().is_empty() {
                joins.push(enter);
            }
        }
        let foreign = joins.iter().filter(|enter| enter.kinds().contains(&Kind::User)).count();
        ensure!(
            foreign == 0 || self.user_map.is_none(),
            "--userns private and sharing with a container that has a user namespace of its own contradict each other"
        );
        ensure!(foreign < 2, "containers with user namespaces of their own cannot share with a third one together");
        // Its user namespace first: from there on the others are no strangers.
        joins.sort_by_key(|enter| !enter.kinds().contains(&Kind::User));
        Ok(joins)
    }
}

/// The main process of a container that runs.
///
/// Whoever joins it holds a pidfd that is opened after this, and so looks once more ([`Enter`] does) that it is still there.
pub fn main_process(container: &Container) -> Result<Pid> {
    let (status, state) = status::of(container)?;
    let name = || container.description().map_or_else(|_| container.id().to_string(), |description| description.name);
    ensure!(
        status.is_running() && process_started(state.pid) == Some(state.pid_started),
        "container {} is not running: start it first",
        name()
    );
    Ok(Pid::from_raw(state.pid))
}

/// The range of ids that root's containers get for theirs: what `/etc/subuid` grants to us, to containers in general or to
/// root (`subuid(5)`), where `/etc/subgid` grants the same; else the range that distributions grant first.
fn range_of_root() -> IdMap {
    const USUAL: IdMap = IdMap { inside: 0, outside: 100_000, count: 65_536 };
    let granted = |file: &str| {
        let text = std::fs::read_to_string(Path::new(file)).unwrap_or_default();
        ["minidocker", "containers", "root"].iter().find_map(|owner| grant(&text, owner))
    };
    match (granted("/etc/subuid"), granted("/etc/subgid")) {
        (Some(users), Some(groups)) if users == groups => users,
        _ => USUAL,
    }
}

/// The first range of an owner, of at least the 65536 ids that images count on.
fn grant(text: &str, owner: &str) -> Option<IdMap> {
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let (Some(name), Some(first), Some(count), None) = (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return None;
        };
        let (outside, count) = (first.parse::<u32>().ok()?, count.parse::<u32>().ok()?);
        let whole = count >= 65_536 && outside > 0 && outside.checked_add(65_536).is_some();
        (name == owner && whole).then_some(IdMap { inside: 0, outside, count: 65_536 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in ["private", "shareable", "none", "host", "container:4f1c"] {
            assert_eq!(text.parse::<Sharing>().unwrap().to_string(), text);
        }
        for text in ["", "container:", "Host", "hostt"] {
            assert!(text.parse::<Sharing>().is_err());
        }
    }

    #[test]
    fn grants_are_found_and_small_ones_are_not_taken() {
        let text = "somebody:100000:65536\nroot:5:10\nroot:200000:70000\n\nbroken\nminidocker:x:1\n";
        let map = |outside| Some(IdMap { inside: 0, outside, count: 65_536 });
        assert_eq!(grant(text, "root"), map(200_000));
        assert_eq!(grant(text, "somebody"), map(100_000));
        assert_eq!(grant(text, "minidocker"), None);
        assert_eq!(grant("root:4294967290:65536", "root"), None);
        assert_eq!(grant("root:0:65536", "root"), None);
    }

    #[test]
    fn what_is_shared_is_not_made() {
        let shared = Namespaces { ipc: Sharing::Host, uts: Sharing::Container("x".into()), ..Namespaces::default() };
        assert_eq!(shared.fresh(), [Kind::Mount, Kind::Pid]);
        assert_eq!(Namespaces { ipc: Sharing::Shareable, ..Namespaces::default() }.fresh().len(), 4);
    }
}
