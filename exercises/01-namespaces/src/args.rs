//! The flags of chapter 1, which every later program takes as well.

use anyhow::{Result, bail, ensure};
use clap::{ArgAction, Args};
use nix::unistd::Pid;

use crate::clock::{Clocks, Offsets};
use crate::id_map::IdMap;
use crate::pid::PidNamespace;
use crate::share::Mode;
use crate::{Birth, Enter, HostName, Isolation, Kind, UserNamespace, rootless};

/// Which namespaces, and the names inside. Spelled as `docker run` spells them; what Docker has no flag for is `--new`
/// and `--share`, and what they make possible.
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

    /// Process ids: private, host or container:X
    #[arg(long, value_name = "MODE")]
    pub pid: Option<Mode>,

    /// IPC objects: private, host or container:X
    #[arg(long, value_name = "MODE")]
    pub ipc: Option<Mode>,

    /// Host name: private, host or container:X
    #[arg(long, value_name = "MODE")]
    pub uts: Option<Mode>,

    /// The view of cgroups: private, host or container:X
    #[arg(long, value_name = "MODE")]
    pub cgroupns: Option<Mode>,

    /// Users and rights: private, host or container:X
    #[arg(long, value_name = "MODE")]
    pub userns: Option<Mode>,

    /// User ids of a user namespace, INSIDE:OUTSIDE:COUNT
    #[arg(long, value_name = "MAP")]
    pub uid_map: Vec<IdMap>,

    /// Group ids of a user namespace, INSIDE:OUTSIDE:COUNT
    #[arg(long, value_name = "MAP")]
    pub gid_map: Vec<IdMap>,

    /// Clocks of a time namespace, as in boottime=86400,monotonic=-3.5
    #[arg(long, value_name = "CLOCK=SECONDS", allow_hyphen_values = true)]
    pub time_offset: Option<Offsets>,

    /// Run an init as pid 1 that reaps processes and forwards signals
    #[arg(long)]
    pub init: bool,

    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// What a container has unless it is told otherwise. Not the user namespace, which changes what root may do, nor the
/// time namespace.
const DEFAULT: [Kind; 6] = [Kind::Mount, Kind::Pid, Kind::Net, Kind::Ipc, Kind::Uts, Kind::Cgroup];

impl NamespaceArgs {
    /// What was asked for a kind by a flag of its own.
    fn mode(&self, kind: Kind) -> Option<&Mode> {
        match kind {
            Kind::Pid => self.pid.as_ref(),
            Kind::Ipc => self.ipc.as_ref(),
            Kind::Uts => self.uts.as_ref(),
            Kind::Cgroup => self.cgroupns.as_ref(),
            Kind::User => self.userns.as_ref(),
            Kind::Mount | Kind::Net | Kind::Time => None,
        }
    }

    fn has_maps(&self) -> bool {
        !self.uid_map.is_empty() || !self.gid_map.is_empty()
    }

    /// The kinds that will be new.
    pub fn kinds(&self) -> Vec<Kind> {
        let asked = |kind: Kind| self.new.contains(&kind) || self.mode(kind) == Some(&Mode::Private);
        let usual = |kind: Kind| match kind {
            // Who shares with somebody in another user namespace has to be in that one.
            Kind::User => self.has_maps() || rootless() && self.user_target().is_none(),
            Kind::Time => self.time_offset.is_some(),
            kind => DEFAULT.contains(&kind),
        };
        let shared =
            |kind: Kind| self.share.contains(&kind) || matches!(self.mode(kind), Some(Mode::Host | Mode::Of(_)));
        Kind::ALL.into_iter().filter(|kind| asked(*kind) || usual(*kind) && !shared(*kind)).collect()
    }

    /// The isolations of chapter 1, in the order of a start.
    pub fn isolations(&self) -> Result<Vec<Box<dyn Isolation>>> {
        self.check()?;
        let kinds = self.kinds();
        let mut isolations: Vec<Box<dyn Isolation>> = Vec::new();
        for enter in self.joins()? {
            isolations.push(Box::new(enter));
        }
        if kinds.contains(&Kind::User) {
            isolations.push(Box::new(self.user_namespace()?));
        }
        if kinds.contains(&Kind::Pid) {
            isolations.push(Box::new(PidNamespace));
        }
        if let Some(offsets) = self.time_offset {
            isolations.push(Box::new(Clocks(offsets)));
        }
        let at_work = |kind: Kind| match kind {
            Kind::User | Kind::Pid => true,
            Kind::Time => self.time_offset.is_some(),
            _ => false,
        };
        isolations.push(Box::new(Fresh(kinds.iter().copied().filter(|kind| !at_work(*kind)).collect())));
        if self.hostname.is_some() || self.domainname.is_some() {
            ensure!(kinds.contains(&Kind::Uts), "a host name of its own needs a UTS namespace of its own");
            let name = HostName { hostname: self.hostname.clone(), domainname: self.domainname.clone() };
            isolations.push(Box::new(name));
        }
        Ok(isolations)
    }

    /// Refuses what contradicts itself.
    fn check(&self) -> Result<()> {
        for kind in Kind::ALL {
            let (new, shared) = (self.new.contains(&kind), self.share.contains(&kind));
            ensure!(!(new && shared), "--new {kind} and --share {kind} contradict each other");
            match self.mode(kind) {
                Some(mode @ (Mode::Host | Mode::Of(_))) if new => {
                    bail!("--new {kind} and {} {mode} contradict each other", flag(kind))
                }
                Some(mode @ (Mode::Private | Mode::Of(_))) if shared => {
                    bail!("--share {kind} and {} {mode} contradict each other", flag(kind))
                }
                _ => {}
            }
        }
        let user_shared = self.share.contains(&Kind::User) || self.userns == Some(Mode::Host);
        ensure!(!(user_shared && rootless()), "without root's rights a container needs a user namespace of its own");
        let user_joined = user_shared || matches!(self.userns, Some(Mode::Of(_)));
        ensure!(!(user_joined && self.has_maps()), "--uid-map and --gid-map need a user namespace of its own");
        let time_shared = self.share.contains(&Kind::Time) && self.time_offset.is_some();
        ensure!(!time_shared, "--time-offset needs a time namespace of its own");
        Ok(())
    }

    /// The processes whose namespaces are to be joined, each with the kinds.
    fn targets(&self) -> Result<Vec<(Pid, Vec<Kind>)>> {
        let mut targets: Vec<(Pid, Vec<Kind>)> = Vec::new();
        for kind in Kind::ALL {
            let Some(Mode::Of(target)) = self.mode(kind) else { continue };
            let pid = target.pid()?;
            match targets.iter_mut().find(|(other, _)| *other == pid) {
                Some((_, kinds)) => kinds.push(kind),
                None => targets.push((pid, vec![kind])),
            }
        }
        Ok(targets)
    }

    /// The process in another user namespace whose namespaces are to be joined: they are that one's property, and nobody
    /// else's to join (`setns(2)`: CAP_SYS_ADMIN in the user namespace that owns them).
    fn user_target(&self) -> Option<Pid> {
        let other = |pid: &Pid| Enter::only(*pid, &[Kind::User]).is_ok_and(|enter| !enter.kinds().is_empty());
        self.targets().ok()?.into_iter().map(|(pid, _)| pid).find(other)
    }

    fn joins(&self) -> Result<Vec<Enter>> {
        let user_target = self.user_target();
        if user_target.is_some() && (self.new.contains(&Kind::User) || self.has_maps()) {
            bail!("who shares with a container in a user namespace is in that one: leave --new user and the maps out");
        }
        let mut joins = Vec::new();
        for (pid, mut kinds) in self.targets()? {
            if user_target == Some(pid) && !kinds.contains(&Kind::User) {
                kinds.push(Kind::User);
            }
            let enter = Enter::only(pid, &kinds)?;
            // The user namespace first: it gives the right to join the others.
            let place = if enter.kinds().contains(&Kind::User) { 0 } else { joins.len() };
            joins.insert(place, enter);
        }
        Ok(joins)
    }

    fn user_namespace(&self) -> Result<UserNamespace> {
        if !self.has_maps() {
            return Ok(UserNamespace::for_caller());
        }
        if self.uid_map.is_empty() || self.gid_map.is_empty() {
            bail!("--uid-map and --gid-map are given together");
        }
        Ok(UserNamespace { uids: self.uid_map.clone(), gids: self.gid_map.clone() })
    }
}

/// The flag that says whose namespace of a kind.
fn flag(kind: Kind) -> String {
    match kind {
        Kind::Cgroup => "--cgroupns".into(),
        Kind::User => "--userns".into(),
        kind => format!("--{kind}"),
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
