//! The flags, spelled as Docker spells them.

use anyhow::Result;
use clap::Args;
use namespaces::{Isolation, Kind, NamespaceArgs};

use crate::limits::Machine;
use crate::{Cgroup, DeviceRule, DeviceRules, Limits, parse_bytes, parse_cpus};

/// The flags that limit what a container may take. Later chapters and the engine flatten them into their own.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Limits")]
pub struct CgroupArgs {
    /// CPU time, in processors: 0.5 is half of one, 2 is two
    #[arg(long, value_name = "N", value_parser = parse_cpus)]
    pub cpus: Option<u64>,

    /// Weight against others when all processors are busy [usual: 1024]
    #[arg(short = 'c', long, value_name = "WEIGHT", allow_negative_numbers = true)]
    pub cpu_shares: Option<u64>,

    /// Period over which --cpu-quota counts, in microseconds
    #[arg(long, value_name = "US")]
    pub cpu_period: Option<u64>,

    /// CPU time per period, in microseconds
    #[arg(long, value_name = "US", allow_negative_numbers = true)]
    pub cpu_quota: Option<i64>,

    /// Processors to run on, as in 0-2,7
    #[arg(long, visible_alias = "cpuset", value_name = "LIST")]
    pub cpuset_cpus: Option<String>,

    /// Memory nodes to allocate from, as in 0-1
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,

    /// Memory, as in 64m or 1.5g; who takes more is killed
    #[arg(short, long, value_name = "BYTES", value_parser = parse_bytes)]
    pub memory: Option<u64>,

    /// Memory and swap together; -1 for any amount of swap [default: twice the memory]
    #[arg(long, value_name = "BYTES", value_parser = parse_swap, allow_negative_numbers = true)]
    pub memory_swap: Option<i64>,

    /// Memory that is left alone while others have some to spare
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub memory_reservation: Option<u64>,

    /// Processes and threads; -1 for any number
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,

    /// Make the cgroup below this one, which may have limits of its own
    #[arg(long, value_name = "PATH")]
    pub cgroup_parent: Option<String>,

    /// Allow a device besides the usual ones, as in 'c 10:229 rwm' (may be repeated)
    #[arg(long, value_name = "RULE")]
    pub device_cgroup_rule: Vec<DeviceRule>,
}

impl CgroupArgs {
    /// The limits that the flags ask for, checked against each other and against this machine.
    pub fn limits(&self) -> Result<Limits> {
        // Docker's spellings of "no limit".
        let positive = |number: Option<i64>| number.filter(|number| *number > 0).map(|number| number as u64);
        let limits = Limits {
            nano_cpus: self.cpus.filter(|nanos| *nanos > 0),
            cpu_period: self.cpu_period.filter(|period| *period > 0),
            cpu_quota: positive(self.cpu_quota),
            cpu_shares: self.cpu_shares.filter(|shares| *shares > 0),
            cpuset_cpus: self.cpuset_cpus.clone().filter(|list| !list.is_empty()),
            cpuset_mems: self.cpuset_mems.clone().filter(|list| !list.is_empty()),
            memory: self.memory.filter(|bytes| *bytes > 0),
            memory_swap: self.memory_swap.filter(|bytes| *bytes != 0),
            memory_reservation: self.memory_reservation.filter(|bytes| *bytes > 0),
            pids: positive(self.pids_limit),
        };
        if !limits.is_empty() {
            limits.check(&Machine::this())?;
        }
        Ok(limits)
    }

    /// The path of the cgroup for a container `id`: below `--cgroup-parent`, else below `parent`, the caller's own.
    ///
    /// One that begins with `/` has a parent of the user's making, which stays when the container goes; see
    /// [`Group::remove`](crate::Group::remove).
    pub fn path(&self, parent: &str, id: &str) -> String {
        match &self.cgroup_parent {
            Some(parent) => format!("/{}/{id}", parent.trim_matches('/')),
            None => format!("{parent}/{id}"),
        }
    }

    /// The devices that the container may use: Docker's list, and what the flags add.
    pub fn devices(&self) -> DeviceRules {
        DeviceRules::usual().and(self.device_cgroup_rule.iter().copied())
    }

    /// The cgroup that the flags describe, for a container `id` of the program `parent`.
    pub fn cgroup(&self, parent: &str, id: &str) -> Result<Cgroup> {
        Ok(Cgroup::new(&self.path(parent, id), self.limits()?).devices(self.devices()))
    }

    /// The isolations of chapters 1 and 2, in the order of a start.
    pub fn isolations(&self, namespaces: &NamespaceArgs, parent: &str, id: &str) -> Result<Vec<Box<dyn Isolation>>> {
        let mut isolations = namespaces.isolations()?;
        let cgroup = self.cgroup(parent, id)?;
        let own_namespace = namespaces.kinds().contains(&Kind::Cgroup);
        isolations.push(Box::new(if own_namespace { cgroup } else { cgroup.in_host_namespace() }));
        Ok(isolations)
    }
}

/// `--memory-swap` is a size, or -1.
fn parse_swap(text: &str) -> Result<i64> {
    // parse_bytes gives no more than i64::MAX.
    if text == "-1" { Ok(-1) } else { parse_bytes(text).map(|bytes| bytes as i64) }
}
