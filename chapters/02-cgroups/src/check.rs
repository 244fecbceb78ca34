//! Whether what is asked for can be meant: the contradictions that Docker refuses, each in one sentence.

use anyhow::{Result, bail, ensure};

use crate::hierarchy::{may_write, relative};
use crate::machine::{Machine, parse_list};
use crate::quantity::ONE_CPU;
use crate::{Hierarchies, Limits, Plan, block_io};

/// The least that Docker takes for `--memory`: below it the container's own start-up may not fit, bytes.
pub const MEMORY_MIN: u64 = 6 << 20;

/// The kernel's period for real-time, microseconds.
const RT_PERIOD: u64 = 1_000_000;

impl Limits {
    /// Refuses what contradicts itself, and what cannot be enforced on this machine in a cgroup `path`. Nothing is made.
    pub fn check_here(&self, path: &str) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        self.check(&Machine::this())?;
        Plan::new(&Hierarchies::holding(&relative(path)?)?, path, self, None, may_write)?;
        Ok(())
    }

    /// Refuses, in one sentence each, what contradicts itself and what `machine` does not have. The rules are Docker's.
    pub fn check(&self, machine: &Machine) -> Result<()> {
        self.check_cpu(machine)?;
        self.check_memory()?;
        self.check_block_io()?;
        for (page, bytes) in &self.hugepages {
            let sizes = &machine.hugepages;
            ensure!(
                sizes.contains(page),
                "--hugepages-limit: this machine has no huge pages of size {page:?} (it has: {})",
                if sizes.is_empty() { "none".into() } else { sizes.join(", ") }
            );
            ensure!(i64::try_from(*bytes).is_ok(), "--hugepages-limit {bytes}: it is more than the kernel can count");
        }
        if let Some(pids) = self.pids {
            ensure!(pids > 0 || pids == -1, "--pids-limit {pids}: it must be 1 at least, or -1 for any number");
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
        if let Some(quota) = self.cpu_quota.filter(|quota| *quota != -1) {
            ensure!(quota >= 1_000, "--cpu-quota {quota}: it must be 1000 microseconds at least");
        }
        if let (Some(runtime), period) = (self.cpu_rt_runtime, self.cpu_rt_period.unwrap_or(RT_PERIOD)) {
            ensure!(
                runtime <= period,
                "--cpu-rt-runtime {runtime} is more than its period of {period} microseconds (--cpu-rt-period)"
            );
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
        if let Some(percent) = self.memory_swappiness {
            ensure!((0..=100).contains(&percent), "--memory-swappiness {percent}: it must be from 0 to 100");
        }
        if let (Some(memory), Some(reservation)) = (self.memory, self.memory_reservation) {
            ensure!(reservation <= memory, "--memory-reservation {reservation} is more than --memory {memory}");
        }
        Ok(())
    }

    fn check_block_io(&self) -> Result<()> {
        if let Some(weight) = self.blkio_weight {
            ensure!((10..=1000).contains(&weight), "--blkio-weight {weight}: it must be from 10 to 1000");
        }
        self.devices().into_iter().try_for_each(|(flag, devices)| block_io::check(flag, devices))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_cpus() -> Machine {
        Machine { online: Some("0-1".into()), nodes: Some("0".into()), hugepages: vec!["2MB".into()] }
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
        let reservation = Limits { memory_reservation: Some(128 << 20), ..memory(64 << 20, -1) };
        assert!(refusal(reservation).contains("more than --memory"));
        let pages = Limits { hugepages: [("3MB".to_owned(), 0)].into(), ..Limits::default() };
        assert!(refusal(pages).contains("it has: 2MB"));
        let runtime = Limits { cpu_rt_runtime: Some(5000), cpu_rt_period: Some(4000), ..Limits::default() };
        assert!(refusal(runtime).contains("more than its period"));
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let none = Limits::default;
        for (limits, range) in [
            (Limits { cpu_shares: Some(1), ..none() }, "from 2 to 262144"),
            (Limits { cpu_shares: Some(262_145), ..none() }, "from 2 to 262144"),
            (Limits { cpu_period: Some(999), ..none() }, "from 1000 to 1000000"),
            (Limits { cpu_quota: Some(999), ..none() }, "1000 microseconds at least"),
            (Limits { cpu_quota: Some(-2), ..none() }, "1000 microseconds at least"),
            (Limits { blkio_weight: Some(9), ..none() }, "from 10 to 1000"),
            (Limits { blkio_weight: Some(1001), ..none() }, "from 10 to 1000"),
            (Limits { memory_swappiness: Some(101), ..none() }, "from 0 to 100"),
            (Limits { memory_swappiness: Some(-2), ..none() }, "from 0 to 100"),
            (Limits { pids: Some(0), ..none() }, "1 at least"),
        ] {
            let said = refusal(limits);
            assert!(said.contains(range), "{said}");
        }
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
}
