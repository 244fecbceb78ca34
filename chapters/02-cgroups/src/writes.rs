//! Which limit is written to which file, in v2 and in v1.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{Controller, DeviceRules, Group, Limits, Step};

/// Collects the writes, each into the tree where its controller lives.
pub(crate) struct Writes<'a> {
    group: &'a Group,
    /// What has been planned so far.
    pub(crate) steps: Vec<Step>,
}

impl<'a> Writes<'a> {
    /// Goes on where the directories end.
    pub(crate) fn new(group: &'a Group, steps: Vec<Step>) -> Writes<'a> {
        Writes { group, steps }
    }

    pub(crate) fn limits(&mut self, limits: &Limits) {
        if let Some(shares) = limits.cpu_shares {
            self.either(
                "--cpu-shares",
                Controller::Cpu,
                ("cpu.weight", weight(shares)),
                ("cpu.shares", shares.to_string()),
            );
        }
        if let Some((quota, period)) = limits.cpu_quota() {
            let flag = if limits.nano_cpus.is_some() { "--cpus" } else { "--cpu-quota" };
            if self.legacy(Controller::Cpu).is_some() {
                self.both(flag, Controller::Cpu, "cpu.cfs_period_us", period);
                self.both(flag, Controller::Cpu, "cpu.cfs_quota_us", quota);
            } else {
                self.both(flag, Controller::Cpu, "cpu.max", format!("{quota} {period}"));
            }
        }
        for (flag, file, list) in [
            ("--cpuset-cpus", "cpuset.cpus", &limits.cpuset_cpus),
            ("--cpuset-mems", "cpuset.mems", &limits.cpuset_mems),
        ] {
            if let Some(list) = list {
                self.both(flag, Controller::Cpuset, file, list);
            }
        }
        self.memory(limits);
        if let Some(pids) = limits.pids {
            self.both("--pids-limit", Controller::Pids, "pids.max", pids);
        }
    }

    fn memory(&mut self, limits: &Limits) {
        const MEMORY: Controller = Controller::Memory;
        if let Some(bytes) = limits.memory {
            let bytes = bytes.to_string();
            self.either("--memory", MEMORY, ("memory.max", bytes.clone()), ("memory.limit_in_bytes", bytes));
        }
        if let Some(bytes) = limits.memory_reservation {
            let bytes = bytes.to_string();
            let v1 = ("memory.soft_limit_in_bytes", bytes.clone());
            self.either("--memory-reservation", MEMORY, ("memory.low", bytes), v1);
        }
        // As much swap as memory, unless something else is asked for. v1 limits the sum, and never below the memory's
        // own limit, so it comes after that one; v2 limits swap itself. -1 is what a new cgroup has.
        let Some(memory) = limits.memory else { return };
        let sum = match limits.memory_swap {
            None => memory.saturating_mul(2).min(i64::MAX as u64),
            Some(sum) if sum >= 0 => sum as u64,
            Some(_) => return,
        };
        let v2 = ("memory.swap.max", (sum - memory.min(sum)).to_string());
        self.either("--memory-swap", MEMORY, v2, ("memory.memsw.limit_in_bytes", sum.to_string()));
        if let Some(Step::Write { optional, .. }) = self.steps.last_mut() {
            *optional = limits.memory_swap.is_none();
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

    /// A file of the same name and meaning in both versions, or of the only version that there is here.
    fn both(&mut self, flag: &'static str, controller: Controller, file: &'static str, value: impl ToString) {
        let entry = (file, value.to_string());
        self.either(flag, controller, entry.clone(), entry);
    }

    fn either(
        &mut self,
        flag: &'static str,
        controller: Controller,
        v2: (&'static str, String),
        v1: (&'static str, String),
    ) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_meet_shares_at_the_ends_and_at_the_usual_value() {
        for (shares, expected) in [(2, "1"), (512, "59"), (1024, "100"), (2048, "174"), (262_144, "10000")] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }
}
