//! Which limit is written to which file, in v2 and in v1.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{Controller, DeviceRules, DeviceValue, Group, Limits, Step};

/// When limits are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// To a cgroup that is new and limits nothing.
    Birth,
    /// To one that is in use.
    Change {
        /// Whether the sum of memory and swap grows.
        swap_first: bool,
    },
}

/// Collects the writes, each into the tree where its controller lives.
pub(crate) struct Writes<'a> {
    group: &'a Group,
    occasion: Occasion,
    /// What has been planned so far.
    pub(crate) steps: Vec<Step>,
}

impl<'a> Writes<'a> {
    /// Goes on where the directories end.
    pub(crate) fn new(group: &'a Group, steps: Vec<Step>, occasion: Occasion) -> Writes<'a> {
        Writes { group, occasion, steps }
    }

    pub(crate) fn limits(&mut self, limits: &Limits) {
        self.cpu(limits);
        for (flag, file, list) in [
            ("--cpuset-cpus", "cpuset.cpus", &limits.cpuset_cpus),
            ("--cpuset-mems", "cpuset.mems", &limits.cpuset_mems),
        ] {
            if let Some(list) = list {
                self.both(flag, Controller::Cpuset, file, list);
            }
        }
        self.memory(limits);
        self.block_io(limits);
        self.hugepages(limits);
        if let Some(pids) = limits.pids {
            self.both("--pids-limit", Controller::Pids, "pids.max", or_max(u64::try_from(pids).ok()));
            self.last_is_optional(pids < 0);
        }
    }

    fn cpu(&mut self, limits: &Limits) {
        const CPU: Controller = Controller::Cpu;
        if let Some(shares) = limits.cpu_shares {
            self.either("--cpu-shares", CPU, ("cpu.weight", weight(shares)), ("cpu.shares", shares.to_string()));
        }
        if let Some((quota, period)) = limits.cpu_time() {
            let flag = match limits {
                Limits { nano_cpus: Some(_), .. } => "--cpus",
                Limits { cpu_quota: Some(_), .. } => "--cpu-quota",
                _ => "--cpu-period",
            };
            let lifted = quota.is_none() && limits.cpu_period.is_none();
            if self.legacy(CPU).is_some() {
                let none = "-1".to_owned();
                // Each of the two writes is held against the cgroup above together with what the other file still has.
                if self.occasion != Occasion::Birth {
                    self.both(flag, CPU, "cpu.cfs_quota_us", &none);
                }
                self.both(flag, CPU, "cpu.cfs_period_us", period);
                self.both(flag, CPU, "cpu.cfs_quota_us", quota.map_or(none, |quota| quota.to_string()));
            } else {
                self.both(flag, CPU, "cpu.max", format!("{} {period}", or_max(quota)));
                self.last_is_optional(lifted);
            }
        }
        for (flag, file, micros) in [
            ("--cpu-rt-period", "cpu.rt_period_us", limits.cpu_rt_period),
            ("--cpu-rt-runtime", "cpu.rt_runtime_us", limits.cpu_rt_runtime),
        ] {
            if let Some(micros) = micros {
                self.both(flag, CPU, file, micros);
            }
        }
    }

    /// v1 limits memory and the sum of memory and swap, the sum never below the memory: when it grows it goes first. v2
    /// limits swap itself.
    fn memory(&mut self, limits: &Limits) {
        const MEMORY: Controller = Controller::Memory;
        let swap_first = self.legacy(MEMORY).is_some() && self.occasion == Occasion::Change { swap_first: true };
        if swap_first {
            self.swap(limits);
        }
        if let Some(bytes) = limits.memory {
            if self.occasion != Occasion::Birth
                && self.legacy(MEMORY).is_none()
                && let Some(directory) = self.group.unified.clone()
            {
                self.steps.push(Step::Squeeze { directory, bytes });
            }
            let bytes = bytes.to_string();
            self.either("--memory", MEMORY, ("memory.max", bytes.clone()), ("memory.limit_in_bytes", bytes));
        }
        if !swap_first {
            self.swap(limits);
        }
        if let Some(bytes) = limits.memory_reservation {
            let bytes = bytes.to_string();
            let v1 = ("memory.soft_limit_in_bytes", bytes.clone());
            self.either("--memory-reservation", MEMORY, ("memory.low", bytes), v1);
        }
        if let Some(percent) = limits.memory_swappiness {
            self.both("--memory-swappiness", MEMORY, "memory.swappiness", percent);
        }
        if limits.oom_kill_disable {
            self.both("--oom-kill-disable", MEMORY, "memory.oom_control", 1);
        }
    }

    fn swap(&mut self, limits: &Limits) {
        let Some(memory) = limits.memory else { return };
        let sum = limits.memory_and_swap();
        if sum.is_none() && self.occasion == Occasion::Birth {
            return; // a new cgroup has no limit of swap
        }
        let v2 = ("memory.swap.max", or_max(sum.map(|sum| sum - memory)));
        let v1 = ("memory.memsw.limit_in_bytes", sum.map_or("-1".into(), |sum| sum.to_string()));
        self.either("--memory-swap", Controller::Memory, v2, v1);
        self.last_is_optional(limits.memory_swap.is_none_or(|sum| sum < 0));
    }

    /// Pages are charged when they are touched, which kills whoever goes too far (SIGBUS), and, since Linux 5.7, already
    /// when they are asked for, which is then refused. Both are limited, as by runc.
    fn hugepages(&mut self, limits: &Limits) {
        for (page, bytes) in &limits.hugepages {
            for (reserved, is_optional) in [("", false), ("rsvd.", true)] {
                let (v2, v1) =
                    (format!("hugetlb.{page}.{reserved}max"), format!("hugetlb.{page}.{reserved}limit_in_bytes"));
                self.either(
                    "--hugepages-limit",
                    Controller::Hugetlb,
                    (&v2, bytes.to_string()),
                    (&v1, bytes.to_string()),
                );
                self.last_is_optional(is_optional);
            }
        }
    }

    /// A weight is of the scheduler that deals with the disk. BFQ takes it as it is, io.cost in its own scale; v1 has had
    /// it under two names.
    fn block_io(&mut self, limits: &Limits) {
        if let Some(weight) = limits.blkio_weight {
            let write = |file: &PathBuf, value: String| Step::Write {
                file: file.clone(),
                value,
                flag: "--blkio-weight",
                optional: false,
            };
            let v2 = [("io.bfq.weight", weight.to_string()), ("io.weight", format!("default {}", cost(weight.into())))];
            let v1 = ["blkio.weight", "blkio.bfq.weight"].map(|file| (file, weight.to_string()));
            self.first_of(v2, v1, write);
        }
        for DeviceValue { path, value } in &limits.blkio_weight_device {
            let write = |file: &PathBuf, value: String| Step::OneDevice {
                file: file.clone(),
                device: path.clone(),
                value,
                flag: "--blkio-weight-device",
            };
            let v2 = [("io.bfq.weight", value.to_string()), ("io.weight", cost(*value).to_string())];
            let v1 = ["blkio.weight_device", "blkio.bfq.weight_device"].map(|file| (file, value.to_string()));
            self.first_of(v2, v1, write);
        }
        for ((flag, devices), (key, v1)) in limits.devices().into_iter().skip(1).zip([
            ("rbps", "blkio.throttle.read_bps_device"),
            ("wbps", "blkio.throttle.write_bps_device"),
            ("riops", "blkio.throttle.read_iops_device"),
            ("wiops", "blkio.throttle.write_iops_device"),
        ]) {
            for DeviceValue { path, value } in devices {
                let step = match (self.legacy(Controller::Blkio), &self.group.unified) {
                    (Some(directory), _) => (directory.join(v1), value.to_string()),
                    (None, Some(directory)) => (directory.join("io.max"), format!("{key}={value}")),
                    (None, None) => continue,
                };
                let (file, value) = step;
                self.steps.push(Step::OneDevice { file, device: path.clone(), value, flag });
            }
        }
    }

    pub(crate) fn devices(&mut self, rules: &DeviceRules) -> Result<()> {
        const DEVICES: Controller = Controller::Devices;
        if self.legacy(DEVICES).is_some() {
            for (file, line) in rules.lines() {
                self.both("the list of devices", DEVICES, file, line);
            }
        } else if let Some(directory) = self.group.unified.clone() {
            self.steps.push(Step::Devices { directory, rules: rules.clone() });
        } else {
            bail!(
                "the list of devices cannot be enforced: there is no devices controller (mount -t cgroup -o devices …)"
            );
        }
        Ok(())
    }

    fn legacy(&self, controller: Controller) -> Option<&PathBuf> {
        self.group.legacy.get(&controller)
    }

    /// What was not asked for in so many words is not missed where the kernel does not have it.
    fn last_is_optional(&mut self, is: bool) {
        if let Some(Step::Write { optional, .. }) = self.steps.last_mut() {
            *optional = is;
        }
    }

    fn first_of(
        &mut self,
        v2: [(&'static str, String); 2],
        v1: [(&'static str, String); 2],
        write: impl Fn(&PathBuf, String) -> Step,
    ) {
        let (directory, files) = match (self.legacy(Controller::Blkio), &self.group.unified) {
            (Some(directory), _) => (directory, v1),
            (None, Some(directory)) => (directory, v2),
            (None, None) => return,
        };
        let steps = files.into_iter().map(|(file, value)| write(&directory.join(file), value)).collect();
        self.steps.push(Step::FirstOf(steps));
    }

    /// A file of the same name and meaning in both versions, or of the only version that there is here.
    fn both(&mut self, flag: &'static str, controller: Controller, file: &'static str, value: impl ToString) {
        let entry = (file, value.to_string());
        self.either(flag, controller, entry.clone(), entry);
    }

    fn either(&mut self, flag: &'static str, controller: Controller, v2: (&str, String), v1: (&str, String)) {
        let (directory, (file, value)) = match (self.legacy(controller), &self.group.unified) {
            (Some(directory), _) => (directory, v1),
            (None, Some(directory)) => (directory, v2),
            (None, None) => return, // Plan::new has refused what nothing can enforce
        };
        self.steps.push(Step::Write { file: directory.join(file), value, flag, optional: false });
    }
}

/// v2's weight (1 to 10000, usually 100) for v1's shares (2 to 262144, usually 1024).
///
/// The curve is that of runc and crun since 2025: it maps the ends and the usual values of both onto each other, which
/// the straight line that was in use before did not (1024 became 39, so that containers lost against everybody else).
fn weight(shares: u64) -> String {
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    // A hair less, so that what is 100 but for rounding does not become 101.
    let weight = (10f64.powf(exponent) - 1e-6).ceil();
    (weight as u64).clamp(1, 10_000).to_string()
}

/// io.cost's weight (1 to 10000, usually 100) for Docker's (10 to 1000), on the straight line that runc takes.
fn cost(weight: u64) -> u64 {
    1 + weight.saturating_sub(10) * 9999 / 990
}

/// A number as v2 takes it where there may be none.
fn or_max(limit: Option<u64>) -> String {
    limit.map_or("max".into(), |limit| limit.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_meet_shares_at_the_ends_and_at_the_usual_value() {
        for (shares, expected) in [(2, "1"), (512, "59"), (1024, "100"), (2048, "174"), (262_144, "10000")] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }

    #[test]
    fn weights_of_disks_meet_at_the_ends() {
        assert_eq!([10, 750, 1000].map(cost), [1, 7475, 10_000]);
    }
}
