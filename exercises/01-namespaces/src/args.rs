//! The flags of chapter 1, which every later program takes as well.

use anyhow::{Result, bail, ensure};
use clap::{ArgAction, Args};

use crate::user::IdMap;
use crate::{Birth, HostName, Isolation, Kind, UserNamespace, rootless};

/// Which namespaces, and the names inside. Spelled as `docker run` spells them; what Docker has no flag for is `--new`
/// and `--share`.
///
/// The command that flattens this needs `disable_help_flag = true`: `-h` is the host name, as in Docker.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Namespaces")]
pub struct NamespaceArgs {
    /// Host name inside
    #[arg(short = 'h', long, value_name = "NAME")]
    pub hostname: Option<String>,

    /// NIS domain name inside
    #[arg(long, value_name = "NAME")]
    pub domainname: Option<String>,

    /// Make these namespaces as well: user, time
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub new: Vec<Kind>,

    /// Share these with the host: mnt, pid, net, ipc, uts, cgroup
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub share: Vec<Kind>,

    /// Process ids: private or host
    #[arg(long, value_name = "MODE")]
    pub pid: Option<Mode>,

    /// IPC objects: private or host
    #[arg(long, value_name = "MODE")]
    pub ipc: Option<Mode>,

    /// Host name: private or host
    #[arg(long, value_name = "MODE")]
    pub uts: Option<Mode>,

    /// User ids of a user namespace, INSIDE:OUTSIDE:COUNT
    #[arg(long, value_name = "MAP")]
    pub uid_map: Vec<IdMap>,

    /// Group ids of a user namespace, INSIDE:OUTSIDE:COUNT
    #[arg(long, value_name = "MAP")]
    pub gid_map: Vec<IdMap>,

    /// Run an init as pid 1 that reaps processes and forwards signals
    #[arg(long)]
    pub init: bool,

    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// Whose namespace: one of the container's own or the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// A new one.
    Private,
    /// The host's.
    Host,
}

/// What a container has unless it is told otherwise. Not the user namespace, which changes what root may do, nor the
/// time namespace.
const DEFAULT: [Kind; 6] = [Kind::Mount, Kind::Pid, Kind::Net, Kind::Ipc, Kind::Uts, Kind::Cgroup];

impl NamespaceArgs {
    /// The kinds that will be new.
    pub fn kinds(&self) -> Vec<Kind> {
        let host = [(Kind::Pid, self.pid), (Kind::Ipc, self.ipc), (Kind::Uts, self.uts)];
        let of_host = |kind: &Kind| host.contains(&(*kind, Some(Mode::Host)));
        let mut kinds: Vec<Kind> = DEFAULT.into_iter().filter(|k| !self.share.contains(k) && !of_host(k)).collect();
        let maps = !self.uid_map.is_empty() || !self.gid_map.is_empty();
        if rootless() || maps {
            kinds.push(Kind::User);
        }
        kinds.extend(&self.new);
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// The isolations of chapter 1, in the order of a start.
    pub fn isolations(&self) -> Result<Vec<Box<dyn Isolation>>> {
        for kind in &self.new {
            ensure!(!self.share.contains(kind), "--new {kind} and --share {kind} contradict each other");
        }
        let kinds = self.kinds();
        let mut isolations: Vec<Box<dyn Isolation>> = Vec::new();
        if kinds.contains(&Kind::User) {
            isolations.push(Box::new(self.user_namespace()?));
        }
        let name = HostName { hostname: self.hostname.clone(), domainname: self.domainname.clone() };
        isolations.push(Box::new(Fresh(kinds.iter().copied().filter(|kind| *kind != Kind::User).collect())));
        if name.hostname.is_some() || name.domainname.is_some() {
            ensure!(kinds.contains(&Kind::Uts), "a host name of its own needs a UTS namespace of its own");
            isolations.push(Box::new(name));
        }
        Ok(isolations)
    }

    fn user_namespace(&self) -> Result<UserNamespace> {
        if self.uid_map.is_empty() && self.gid_map.is_empty() {
            return Ok(UserNamespace::for_caller());
        }
        if self.uid_map.is_empty() || self.gid_map.is_empty() {
            bail!("--uid-map and --gid-map are given together");
        }
        Ok(UserNamespace { uids: self.uid_map.clone(), gids: self.gid_map.clone() })
    }
}

/// New namespaces with nothing done in them.
#[derive(Clone, Debug)]
pub struct Fresh(pub Vec<Kind>);

impl Isolation for Fresh {
    fn births(&self) -> Vec<Birth> {
        self.0.iter().copied().map(Birth::New).collect()
    }
}
