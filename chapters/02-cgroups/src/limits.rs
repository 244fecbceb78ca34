//! What is asked for, and whether it can be meant.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::quantity::ONE_CPU;

/// The least that Docker takes for `--memory`: below it the container's own start-up may not fit, bytes.
pub const MEMORY_MIN: u64 = 6 << 20;

/// The period over which a CPU quota is counted unless one is given, microseconds.
pub const CPU_PERIOD: u64 = 100_000;

/// What a container may take. `None` everywhere is no limit, and accounting only.
///
/// The names and units are those of Docker's API (`HostConfig`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// CPU time in billionths of a processor. Excludes `cpu_period` and `cpu_quota`.
    pub nano_cpus: Option<u64>,
    /// The period over which `cpu_quota` is counted, microseconds.
    pub cpu_period: Option<u64>,
    /// CPU time per period, microseconds.
    pub cpu_quota: Option<u64>,
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
    /// Processes and threads.
    pub pids: Option<u64>,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }

    /// CPU time as the kernel wants it: microseconds per period of so many microseconds.
    pub fn cpu_quota(&self) -> Option<(u64, u64)> {
        let period = self.cpu_period.unwrap_or(CPU_PERIOD);
        match self.nano_cpus {
            // In 128 bits, as the product of the largest numbers would overflow.
            Some(nanos) => Some(((u128::from(nanos) * u128::from(period) / u128::from(ONE_CPU)) as u64, period)),
            None => self.cpu_quota.map(|quota| (quota, period)),
        }
    }

    /// Refuses, in one sentence each, what contradicts itself and what `machine` does not have. The rules are Docker's.
    pub fn check(&self, machine: &Machine) -> Result<()> {
        self.check_cpu(machine)?;
        self.check_memory()?;
        if self.pids == Some(0) {
            bail!("a limit of 0 processes lets nothing start (for no limit, leave it out)");
        }
        Ok(())
    }

    fn check_cpu(&self, machine: &Machine) -> Result<()> {
        if let Some(nanos) = self.nano_cpus {
            ensure!(
                self.cpu_period.is_none() && self.cpu_quota.is_none(),
                "conflicting options: --cpus cannot be used with --cpu-period or --cpu-quota (it sets both)"
            );
            if let Some(count) = machine.cpus() {
                ensure!(
                    (ONE_CPU / 100..=count * ONE_CPU).contains(&nanos),
                    "range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
                );
            }
        }
        if let Some(period) = self.cpu_period {
            ensure!(
                (1_000..=1_000_000).contains(&period),
                "--cpu-period {period}: it must be from 1000 to 1000000 microseconds"
            );
        }
        if let Some(quota) = self.cpu_quota {
            ensure!(quota >= 1_000, "--cpu-quota {quota}: it must be 1000 microseconds at least");
        }
        if let Some(shares) = self.cpu_shares {
            ensure!((2..=262_144).contains(&shares), "--cpu-shares {shares}: it must be from 2 to 262144");
        }
        for (flag, wanted, present) in [
            ("--cpuset-cpus", &self.cpuset_cpus, &machine.online),
            ("--cpuset-mems", &self.cpuset_mems, &machine.nodes),
        ] {
            let Some(wanted) = wanted else { continue };
            let Some(numbers) = parse_list(wanted) else {
                bail!("invalid value {wanted:?} for {flag} (write it like 0-2,7)");
            };
            if let Some(available) = present.as_deref().and_then(parse_list) {
                ensure!(
                    numbers.is_subset(&available),
                    "{flag}: requested {wanted}, available: {}",
                    present.as_deref().unwrap_or_default()
                );
            }
        }
        Ok(())
    }

    fn check_memory(&self) -> Result<()> {
        for (flag, bytes) in [("--memory", self.memory), ("--memory-reservation", self.memory_reservation)] {
            if let Some(bytes) = bytes {
                ensure!(bytes >= MEMORY_MIN, "{flag} {bytes}: the minimum is 6m (6291456 bytes)");
            }
        }
        match (self.memory, self.memory_swap) {
            (None, Some(swap)) if swap != -1 => {
                bail!("--memory-swap needs --memory: it is the sum of memory and swap")
            }
            (Some(memory), Some(swap)) if swap != -1 && swap < memory as i64 => {
                bail!("--memory-swap {swap} is less than --memory {memory}: it is the sum of memory and swap")
            }
            _ => {}
        }
        if let (Some(memory), Some(reservation)) = (self.memory, self.memory_reservation) {
            ensure!(reservation <= memory, "--memory-reservation {reservation} is more than --memory {memory}");
        }
        Ok(())
    }
}

/// The processors and memory nodes of a machine, as lists such as `0-3`; `None` where the kernel does not tell.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Processors that are switched on.
    pub online: Option<String>,
    /// Memory nodes (NUMA).
    pub nodes: Option<String>,
}

impl Machine {
    /// This machine, by what sysfs says. Not by our own affinity: a pinned engine may start what is not pinned.
    pub fn this() -> Machine {
        let list = |path| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        Machine { online: list("/sys/devices/system/cpu/online"), nodes: list("/sys/devices/system/node/has_memory") }
    }

    fn cpus(&self) -> Option<u64> {
        self.online.as_deref().and_then(parse_list).map(|list| list.len() as u64)
    }
}

/// The numbers of a list such as `0-2,7` (`cpuset(7)`, "List format"). `None` if it is none or if it is absurd.
fn parse_list(text: &str) -> Option<BTreeSet<u32>> {
    // More processors than any kernel is built for (NR_CPUS), so that 0-4000000000 costs nothing.
    const MAX: u32 = 65_536;
    let mut numbers = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last >= MAX {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_cpus() -> Machine {
        Machine { online: Some("0-1".into()), nodes: Some("0".into()) }
    }

    fn refusal(limits: Limits) -> String {
        limits.check(&two_cpus()).expect_err("this should be refused").to_string()
    }

    #[test]
    fn contradictions_are_refused_in_one_sentence() {
        let memory = |memory, swap| Limits { memory: Some(memory), memory_swap: Some(swap), ..Limits::default() };
        assert!(refusal(memory(64 << 20, 32 << 20)).contains("less than --memory"));
        assert!(refusal(Limits { memory_swap: Some(1 << 30), ..Limits::default() }).contains("needs --memory"));
        assert!(refusal(Limits { memory: Some(1 << 20), ..Limits::default() }).contains("minimum is 6m"));
        let both = Limits { nano_cpus: Some(ONE_CPU), cpu_quota: Some(5000), ..Limits::default() };
        assert!(refusal(both).contains("conflicting"));
        memory(64 << 20, -1).check(&two_cpus()).unwrap();
        memory(64 << 20, 64 << 20).check(&two_cpus()).unwrap();
    }

    #[test]
    fn more_than_the_machine_has_is_refused() {
        let cpus = |nanos| Limits { nano_cpus: Some(nanos), ..Limits::default() };
        assert_eq!(
            refusal(cpus(3 * ONE_CPU)),
            "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"
        );
        refusal(cpus(0));
        cpus(2 * ONE_CPU).check(&two_cpus()).unwrap();
        let set = |list: &str| Limits { cpuset_cpus: Some(list.into()), ..Limits::default() };
        assert_eq!(refusal(set("0-2")), "--cpuset-cpus: requested 0-2, available: 0-1");
        for list in ["", "a", "1-0", "0,", "0-4000000000", "+1", "0-1-2", "-1"] {
            assert!(refusal(set(list)).contains("invalid value"), "{list}");
        }
        set("0,1").check(&two_cpus()).unwrap();
    }

    #[test]
    fn half_a_processor_is_half_of_every_period() {
        let limits = Limits { nano_cpus: Some(ONE_CPU / 2), ..Limits::default() };
        assert_eq!(limits.cpu_quota(), Some((50_000, 100_000)));
        let limits = Limits { cpu_quota: Some(5_000), ..Limits::default() };
        assert_eq!(limits.cpu_quota(), Some((5_000, 100_000)));
    }
}
