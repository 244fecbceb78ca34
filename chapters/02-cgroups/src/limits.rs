//! What is asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::DeviceValue;
use crate::quantity::ONE_CPU;

/// The period over which a CPU quota is counted unless one is given, microseconds.
pub const CPU_PERIOD: u64 = 100_000;

/// What a container may take. `None` everywhere is no limit, and accounting only.
///
/// The names and units are those of Docker's API (`HostConfig`), and so is -1 where a number may be signed: no limit, in
/// so many words. To a new cgroup that says nothing; from one that has a limit it takes it away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// CPU time in billionths of a processor. Excludes `cpu_period` and `cpu_quota`.
    pub nano_cpus: Option<u64>,
    /// The period over which `cpu_quota` is counted, microseconds.
    pub cpu_period: Option<u64>,
    /// CPU time per period, microseconds; -1 is any.
    pub cpu_quota: Option<i64>,
    /// The period over which `cpu_rt_runtime` is counted, microseconds (v1 only).
    pub cpu_rt_period: Option<u64>,
    /// CPU time per period of what runs with a real-time priority, microseconds (v1 only).
    pub cpu_rt_runtime: Option<u64>,
    /// Weight against other cgroups when the processors are all busy; 1024 is the usual one, 2 to 262144.
    pub cpu_shares: Option<u64>,
    /// The processors to run on, as in `0-2,7`.
    pub cpuset_cpus: Option<String>,
    /// The memory nodes to allocate from, as in `0-1`.
    pub cpuset_mems: Option<String>,
    /// Memory, bytes.
    pub memory: Option<u64>,
    /// Memory and swap together, bytes; -1 is any amount of swap. Without it: as much swap as memory.
    pub memory_swap: Option<i64>,
    /// Memory that is not taken away while others have some to spare, bytes.
    pub memory_reservation: Option<u64>,
    /// How readily its memory is swapped out, 0 to 100 (v1 only).
    pub memory_swappiness: Option<i64>,
    /// Whether a process that finds no memory waits for some, instead of one being killed (v1 only).
    pub oom_kill_disable: bool,
    /// Memory in huge pages of one size each, as the kernel names sizes (`2MB`), bytes.
    pub hugepages: BTreeMap<String, u64>,
    /// Processes and threads; -1 is any number.
    pub pids: Option<i64>,
    /// Weight against other cgroups that use the same disk, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// The same for one disk each.
    pub blkio_weight_device: Vec<DeviceValue>,
    /// Bytes read per second.
    pub device_read_bps: Vec<DeviceValue>,
    /// Bytes written per second.
    pub device_write_bps: Vec<DeviceValue>,
    /// Reads per second.
    pub device_read_iops: Vec<DeviceValue>,
    /// Writes per second.
    pub device_write_iops: Vec<DeviceValue>,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }

    /// CPU time as the kernel wants it: microseconds, if there is a limit, per period of so many microseconds.
    pub fn cpu_time(&self) -> Option<(Option<u64>, u64)> {
        let period = self.cpu_period.unwrap_or(CPU_PERIOD);
        if let Some(nanos) = self.nano_cpus {
            // In 128 bits, as the product of the largest numbers would overflow.
            let quota = u128::from(nanos) * u128::from(period) / u128::from(ONE_CPU);
            return Some((Some(quota as u64), period));
        }
        let limited = self.cpu_quota.is_some() || self.cpu_period.is_some();
        limited.then(|| (self.cpu_quota.and_then(|quota| quota.try_into().ok()), period))
    }

    /// Memory and swap together, bytes, as it is to be limited: `None` is any amount, or nothing was said of memory.
    pub fn memory_and_swap(&self) -> Option<u64> {
        let memory = self.memory?;
        match self.memory_swap {
            None => Some(memory.saturating_mul(2).min(i64::MAX as u64)),
            Some(sum) => u64::try_from(sum).ok().map(|sum| sum.max(memory)),
        }
    }

    /// The device limits, each with its flag.
    pub(crate) fn devices(&self) -> [(&'static str, &[DeviceValue]); 5] {
        [
            ("--blkio-weight-device", &self.blkio_weight_device),
            ("--device-read-bps", &self.device_read_bps),
            ("--device-write-bps", &self.device_write_bps),
            ("--device-read-iops", &self.device_read_iops),
            ("--device-write-iops", &self.device_write_iops),
        ]
    }

    /// What of these must be written to a cgroup that has the limits `old`.
    ///
    /// Three things are of one piece each and written as that: CPU time and its period; memory and swap, of which one
    /// may bound the other; real-time and its period.
    pub fn changed_from(&self, old: &Limits) -> Limits {
        fn new<T: PartialEq + Clone>(new: &Option<T>, old: &Option<T>) -> Option<T> {
            new.clone().filter(|_| new != old)
        }
        let cpu = (self.nano_cpus, self.cpu_period, self.cpu_quota) != (old.nano_cpus, old.cpu_period, old.cpu_quota);
        let real = (self.cpu_rt_period, self.cpu_rt_runtime) != (old.cpu_rt_period, old.cpu_rt_runtime);
        let memory = (self.memory, self.memory_swap) != (old.memory, old.memory_swap);
        let devices = |new: &Vec<DeviceValue>, old: &Vec<DeviceValue>| {
            new.iter().filter(|device| !old.contains(device)).cloned().collect()
        };
        Limits {
            nano_cpus: self.nano_cpus.filter(|_| cpu),
            cpu_period: self.cpu_period.filter(|_| cpu),
            cpu_quota: self.cpu_quota.filter(|_| cpu),
            cpu_rt_period: self.cpu_rt_period.filter(|_| real),
            cpu_rt_runtime: self.cpu_rt_runtime.filter(|_| real),
            cpu_shares: new(&self.cpu_shares, &old.cpu_shares),
            cpuset_cpus: new(&self.cpuset_cpus, &old.cpuset_cpus),
            cpuset_mems: new(&self.cpuset_mems, &old.cpuset_mems),
            memory: self.memory.filter(|_| memory),
            memory_swap: self.memory_swap.filter(|_| memory),
            memory_reservation: new(&self.memory_reservation, &old.memory_reservation),
            memory_swappiness: new(&self.memory_swappiness, &old.memory_swappiness),
            oom_kill_disable: self.oom_kill_disable && !old.oom_kill_disable,
            hugepages: (self.hugepages.iter())
                .filter(|(size, limit)| old.hugepages.get(*size) != Some(limit))
                .map(|(size, limit)| (size.clone(), *limit))
                .collect(),
            pids: new(&self.pids, &old.pids),
            blkio_weight: new(&self.blkio_weight, &old.blkio_weight),
            blkio_weight_device: devices(&self.blkio_weight_device, &old.blkio_weight_device),
            device_read_bps: devices(&self.device_read_bps, &old.device_read_bps),
            device_write_bps: devices(&self.device_write_bps, &old.device_write_bps),
            device_read_iops: devices(&self.device_read_iops, &old.device_read_iops),
            device_write_iops: devices(&self.device_write_iops, &old.device_write_iops),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_processor_is_half_of_every_period() {
        let limits = Limits { nano_cpus: Some(ONE_CPU / 2), ..Limits::default() };
        assert_eq!(limits.cpu_time(), Some((Some(50_000), 100_000)));
        let limits = Limits { cpu_quota: Some(5_000), ..Limits::default() };
        assert_eq!(limits.cpu_time(), Some((Some(5_000), 100_000)));
        let limits = Limits { cpu_quota: Some(-1), cpu_period: Some(20_000), ..Limits::default() };
        assert_eq!(limits.cpu_time(), Some((None, 20_000)));
        assert_eq!(Limits::default().cpu_time(), None);
    }

    #[test]
    fn swap_is_as_much_as_memory_unless_said_otherwise() {
        let sum = |memory_swap| Limits { memory: Some(64), memory_swap, ..Limits::default() }.memory_and_swap();
        assert_eq!((sum(None), sum(Some(100)), sum(Some(-1))), (Some(128), Some(100), None));
        assert_eq!(Limits { memory_swap: Some(-1), ..Limits::default() }.memory_and_swap(), None);
    }

    #[test]
    fn only_what_changes_is_written_and_what_belongs_together_is_whole() {
        let old = Limits { memory: Some(64), memory_swap: Some(100), pids: Some(5), ..Limits::default() };
        let new = Limits { memory: Some(80), cpu_shares: Some(512), ..old.clone() };
        let expected = Limits { memory: Some(80), memory_swap: Some(100), cpu_shares: Some(512), ..Limits::default() };
        assert_eq!(new.changed_from(&old), expected);
        assert!(old.changed_from(&old).is_empty());
    }

    #[test]
    fn limits_survive_being_written_down() {
        let disk = DeviceValue { path: "/dev/sda".into(), value: 7 };
        let limits = Limits { pids: Some(-1), device_read_bps: vec![disk], ..Limits::default() };
        let text = serde_json::to_string(&limits).unwrap();
        assert!(text.contains(r#"{"Path":"/dev/sda","Rate":7}"#), "{text}");
        assert_eq!(serde_json::from_str::<Limits>(&text).unwrap(), limits);
    }
}
