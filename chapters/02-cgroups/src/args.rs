//! The flags, spelled as Docker spells them.

use anyhow::{Context, Result};
use clap::Args;
use namespaces::{Isolation, Kind, NamespaceArgs};

use crate::{Cgroup, DeviceRule, DeviceRules, DeviceValue, Limits, parse_bytes, parse_cpus};

/// The limits that can be changed while the container runs, as `docker update` takes them.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// CPU time, in processors: 0.5 is half of one, 2 is two
    #[arg(long, value_name = "N", value_parser = parse_cpus)]
    pub cpus: Option<u64>,

    /// Weight against others when all processors are busy [usual: 1024]
    #[arg(short = 'c', long, value_name = "WEIGHT", allow_negative_numbers = true)]
    pub cpu_shares: Option<u64>,

    /// Period over which --cpu-quota counts, in microseconds [default: 100000]
    #[arg(long, value_name = "US")]
    pub cpu_period: Option<u64>,

    /// CPU time per period, in microseconds; -1 for any
    #[arg(long, value_name = "US", allow_negative_numbers = true)]
    pub cpu_quota: Option<i64>,

    /// Period over which --cpu-rt-runtime counts, in microseconds (cgroup v1)
    #[arg(long, value_name = "US")]
    pub cpu_rt_period: Option<u64>,

    /// CPU time per period of what runs with a real-time priority, in microseconds (cgroup v1)
    #[arg(long, value_name = "US")]
    pub cpu_rt_runtime: Option<u64>,

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

    /// Weight against others who use the same disk, from 10 to 1000 [usual: 500 in v1, 100 in v2]
    #[arg(long, value_name = "WEIGHT")]
    pub blkio_weight: Option<u16>,
}

impl LimitArgs {
    /// `old` with what the flags say in its place. What the flags leave out, or give as 0, stays as it is.
    pub fn applied_to(&self, old: &Limits) -> Limits {
        let count = |new: Option<u64>, old: Option<u64>| new.filter(|number| *number > 0).or(old);
        // -1, "no limit", is kept as such: it lifts one that is there.
        let signed = |new: Option<i64>, old| new.filter(|n| *n != 0).map(|n| n.max(-1)).or(old);
        let list = |new: &Option<String>, old: &Option<String>| {
            new.clone().filter(|list| !list.is_empty()).or_else(|| old.clone())
        };
        Limits {
            nano_cpus: count(self.cpus, old.nano_cpus),
            cpu_period: count(self.cpu_period, old.cpu_period),
            cpu_quota: signed(self.cpu_quota, old.cpu_quota),
            cpu_rt_period: count(self.cpu_rt_period, old.cpu_rt_period),
            cpu_rt_runtime: count(self.cpu_rt_runtime, old.cpu_rt_runtime),
            cpu_shares: count(self.cpu_shares, old.cpu_shares),
            cpuset_cpus: list(&self.cpuset_cpus, &old.cpuset_cpus),
            cpuset_mems: list(&self.cpuset_mems, &old.cpuset_mems),
            memory: count(self.memory, old.memory),
            memory_swap: signed(self.memory_swap, old.memory_swap),
            memory_reservation: count(self.memory_reservation, old.memory_reservation),
            pids: signed(self.pids_limit, old.pids),
            blkio_weight: self.blkio_weight.filter(|weight| *weight > 0).or(old.blkio_weight),
            ..old.clone()
        }
    }
}

/// The flags that limit what a container may take. Later chapters and the engine flatten them into their own.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Limits")]
pub struct CgroupArgs {
    #[command(flatten)]
    limits: LimitArgs,

    /// How readily the kernel swaps the container's memory out, from 0 to 100 (cgroup v1)
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true)]
    pub memory_swappiness: Option<i64>,

    /// Let who takes too much memory wait instead of killing it (cgroup v1)
    #[arg(long)]
    pub oom_kill_disable: bool,

    /// Weight at one disk, as in /dev/sda:200 (may be repeated)
    #[arg(long, value_name = "PATH:WEIGHT", value_parser = DeviceValue::weight)]
    pub blkio_weight_device: Vec<DeviceValue>,

    /// Bytes read from a disk per second, as in /dev/sda:1mb (may be repeated)
    #[arg(long, value_name = "PATH:BYTES", value_parser = DeviceValue::bytes)]
    pub device_read_bps: Vec<DeviceValue>,

    /// Bytes written to a disk per second (may be repeated)
    #[arg(long, value_name = "PATH:BYTES", value_parser = DeviceValue::bytes)]
    pub device_write_bps: Vec<DeviceValue>,

    /// Reads from a disk per second, as in /dev/sda:100 (may be repeated)
    #[arg(long, value_name = "PATH:N", value_parser = DeviceValue::count)]
    pub device_read_iops: Vec<DeviceValue>,

    /// Writes to a disk per second (may be repeated)
    #[arg(long, value_name = "PATH:N", value_parser = DeviceValue::count)]
    pub device_write_iops: Vec<DeviceValue>,

    /// Memory in huge pages of a size, as in 2MB:64m (may be repeated; runtime-spec's hugepageLimits, not Docker's)
    #[arg(long, value_name = "PAGE:BYTES", value_parser = parse_hugepages)]
    pub hugepages_limit: Vec<(String, u64)>,

    /// Make the cgroup below this one, which may have limits of its own; if it is missing, it comes and goes
    #[arg(long, value_name = "PATH")]
    pub cgroup_parent: Option<String>,

    /// Allow a device besides the usual ones, as in 'c 10:229 rwm' (may be repeated)
    #[arg(long, value_name = "RULE")]
    pub device_cgroup_rule: Vec<DeviceRule>,
}

impl CgroupArgs {
    /// The limits that the flags ask for, checked against each other and against this machine: what cannot be meant, or
    /// cannot be enforced here, is refused before anything is made.
    pub fn limits(&self) -> Result<Limits> {
        let limits = self.limits.applied_to(&Limits {
            memory_swappiness: self.memory_swappiness.filter(|percent| *percent != -1),
            oom_kill_disable: self.oom_kill_disable,
            hugepages: self.hugepages_limit.iter().cloned().collect(),
            blkio_weight_device: self.blkio_weight_device.clone(),
            device_read_bps: self.device_read_bps.clone(),
            device_write_bps: self.device_write_bps.clone(),
            device_read_iops: self.device_read_iops.clone(),
            device_write_iops: self.device_write_iops.clone(),
            ..Limits::default()
        });
        limits.check_here(&self.path("PARENT", "ID"))?;
        Ok(limits)
    }

    /// The path of the cgroup for a container `id`: below `--cgroup-parent`, else below `parent`, the caller's own.
    ///
    /// One that begins with `/` has a parent of the user's, which stays when the container goes unless it had to be made;
    /// see [`Group::remove`](crate::Group::remove).
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

/// `2MB:64m`.
fn parse_hugepages(text: &str) -> Result<(String, u64)> {
    let (page, bytes) =
        text.split_once(':').with_context(|| format!("bad format: {text:?} (write it like 2MB:64m)"))?;
    Ok((page.to_owned(), parse_bytes(bytes)?))
}
