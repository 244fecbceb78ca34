//! What a cgroup used, and whether it ran out of memory.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::{Controller, Group, freezer};

/// What a cgroup uses and may use. `None` is what nobody counts here, and in a limit: there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// CPU time of all its processes, ended ones included, microseconds.
    pub cpu_usage_usec: Option<u64>,
    /// CPU time in user mode, microseconds.
    pub cpu_user_usec: Option<u64>,
    /// CPU time in the kernel, microseconds.
    pub cpu_system_usec: Option<u64>,
    /// Periods of the CPU quota that have passed.
    pub cpu_periods: Option<u64>,
    /// Periods in which it had to wait for the next.
    pub cpu_throttled_periods: Option<u64>,
    /// How long its processors waited in all, microseconds.
    pub cpu_throttled_usec: Option<u64>,
    /// Memory, page cache included, bytes.
    pub memory_current: Option<u64>,
    /// The part of it that is page cache nobody has asked for lately, and that Docker does not show as used, bytes.
    pub memory_inactive_file: Option<u64>,
    /// The most that it ever was, bytes (v2: Linux 5.19).
    pub memory_peak: Option<u64>,
    /// Its limit, bytes.
    pub memory_max: Option<u64>,
    /// Processes and threads.
    pub pids_current: Option<u64>,
    /// Their limit.
    pub pids_max: Option<u64>,
    /// How often a fork was refused for that limit.
    pub pids_refused: Option<u64>,
    /// Processes that the kernel killed because the memory ran out.
    pub oom_kills: Option<u64>,
    /// Whether its processes stand still.
    pub frozen: bool,
}

/// What a cgroup uses and may use, now.
pub fn stats(group: &Group) -> Stats {
    let files = Files(group);
    let cpu = files.read(Controller::Cpu, "cpu.stat", "cpu.stat");
    let cpu = cpu.as_deref().unwrap_or_default();
    let mut stats = Stats {
        cpu_periods: field(cpu, "nr_periods"),
        cpu_throttled_periods: field(cpu, "nr_throttled"),
        // v1 counts it in nanoseconds.
        cpu_throttled_usec: field(cpu, "throttled_usec").or(field(cpu, "throttled_time").map(|nanos| nanos / 1000)),
        memory_current: files.number(Controller::Memory, "memory.current", "memory.usage_in_bytes"),
        memory_inactive_file: files
            .read(Controller::Memory, "memory.stat", "memory.stat")
            .and_then(|text| field(&text, "total_inactive_file").or(field(&text, "inactive_file"))),
        memory_peak: files.number(Controller::Memory, "memory.peak", "memory.max_usage_in_bytes"),
        memory_max: files.limit(Controller::Memory, "memory.max", "memory.limit_in_bytes"),
        pids_current: files.number(Controller::Pids, "pids.current", "pids.current"),
        pids_max: files.limit(Controller::Pids, "pids.max", "pids.max"),
        pids_refused: files.read(Controller::Pids, "pids.events", "pids.events").and_then(|text| field(&text, "max")),
        oom_kills: oom_kills(group),
        frozen: freezer::is_frozen(group),
        ..Stats::default()
    };
    files.cpu_time(&mut stats);
    stats
}

/// Processes of the cgroup that the kernel killed because its memory ran out. `None` if nobody counts.
pub fn oom_kills(group: &Group) -> Option<u64> {
    // v1's oom_control has the count since Linux 4.13.
    let text = Files(group).read(Controller::Memory, "memory.events", "memory.oom_control")?;
    field(&text, "oom_kill")
}

/// The files of a cgroup, by what they are called in either version.
struct Files<'a>(&'a Group);

impl Files<'_> {
    fn read(&self, controller: Controller, v2: &str, v1: &str) -> Option<String> {
        let path = match (self.0.legacy.get(&controller), &self.0.unified) {
            (Some(directory), _) => directory.join(v1),
            (None, Some(directory)) => directory.join(v2),
            (None, None) => return None,
        };
        fs::read_to_string(path).ok()
    }

    fn number(&self, controller: Controller, v2: &str, v1: &str) -> Option<u64> {
        self.read(controller, v2, v1)?.trim().parse().ok()
    }

    /// A number, where no limit is "max" in v2 and a number beyond any memory in v1.
    fn limit(&self, controller: Controller, v2: &str, v1: &str) -> Option<u64> {
        const NONE: u64 = i64::MAX as u64 & !0xFFFF; // LONG_MAX, rounded down to pages of any size
        self.number(controller, v2, v1).filter(|limit| *limit < NONE)
    }

    /// v2 counts CPU time in every cgroup, also where it has no controllers; v1 in its own controller.
    fn cpu_time(&self, stats: &mut Stats) {
        if let Some(text) =
            self.0.unified.as_ref().and_then(|unified| fs::read_to_string(unified.join("cpu.stat")).ok())
        {
            stats.cpu_usage_usec = field(&text, "usage_usec");
            stats.cpu_user_usec = field(&text, "user_usec");
            stats.cpu_system_usec = field(&text, "system_usec");
        } else if let Some(directory) = self.0.legacy.get(&Controller::Cpuacct) {
            let micros = |file: &str| {
                let nanos: u64 = fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()?;
                Some(nanos / 1000)
            };
            stats.cpu_usage_usec = micros("cpuacct.usage");
            stats.cpu_user_usec = micros("cpuacct.usage_user");
            stats.cpu_system_usec = micros("cpuacct.usage_sys");
        }
    }
}

/// A number in a "flat keyed" file, where every line is `key number`.
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 1\noom_kill 3\n";
        assert_eq!(field(text, "oom_kill"), Some(3));
        assert_eq!(field(text, "oom"), None);
        assert_eq!(field("low 0\noom 1\noom_kill 1\noom_group_kill 0\n", "oom_kill"), Some(1));
        assert_eq!(field("oom_kill x\n", "oom_kill"), None);
    }
}
