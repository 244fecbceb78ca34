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
    /// Swap, bytes.
    pub memory_swap: Option<u64>,
    /// How often it wanted more than its limit, and the kernel looked for something to take back.
    pub memory_at_limit: Option<u64>,
    /// Read from disks, bytes.
    pub io_read_bytes: Option<u64>,
    /// Written to disks, bytes.
    pub io_write_bytes: Option<u64>,
    /// Processes and threads.
    pub pids_current: Option<u64>,
    /// Their limit.
    pub pids_max: Option<u64>,
    /// How often a fork was refused for that limit.
    pub pids_refused: Option<u64>,
    /// Processes that the kernel killed because the memory ran out.
    pub oom_kills: Option<u64>,
    /// How long its processes have waited for a processor (v2, and a kernel with PSI).
    pub cpu_pressure: Option<Pressure>,
    /// How long for memory.
    pub memory_pressure: Option<Pressure>,
    /// How long for a disk.
    pub io_pressure: Option<Pressure>,
    /// Whether its processes stand still.
    pub frozen: bool,
}

/// Time lost for want of something (PSI: the kernel's `accounting/psi.rst`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pressure {
    /// During which at least one process waited, of the last ten seconds, hundredths of a per cent.
    pub some_avg10: u64,
    /// The same since the cgroup was made, microseconds.
    pub some_usec: u64,
    /// During which all waited, so that nothing was done, microseconds.
    pub full_usec: u64,
}

impl Stats {
    /// Memory that is really in use, as `docker stats` shows it: without the page cache that nobody has asked for lately.
    pub fn memory_used(&self) -> Option<u64> {
        Some(self.memory_current?.saturating_sub(self.memory_inactive_file.unwrap_or(0)))
    }
}

/// What a cgroup uses and may use, now.
pub fn stats(group: &Group) -> Stats {
    let files = Files(group);
    let cpu = files.read(Controller::Cpu, "cpu.stat", "cpu.stat");
    let cpu = cpu.as_deref().unwrap_or_default();
    let memory = files.read(Controller::Memory, "memory.stat", "memory.stat").unwrap_or_default();
    let io = files.read(Controller::Blkio, "io.stat", "blkio.throttle.io_service_bytes_recursive");
    let (io_read_bytes, io_write_bytes) =
        io.map(|text| (transferred(&text, Direction::Read), transferred(&text, Direction::Write))).unzip();
    let mut stats = Stats {
        cpu_periods: field(cpu, "nr_periods"),
        cpu_throttled_periods: field(cpu, "nr_throttled"),
        // v1 counts it in nanoseconds.
        cpu_throttled_usec: field(cpu, "throttled_usec").or(field(cpu, "throttled_time").map(|nanos| nanos / 1000)),
        memory_current: files.number(Controller::Memory, "memory.current", "memory.usage_in_bytes"),
        memory_inactive_file: field(&memory, "total_inactive_file").or(field(&memory, "inactive_file")),
        memory_peak: files.number(Controller::Memory, "memory.peak", "memory.max_usage_in_bytes"),
        memory_max: files.limit(Controller::Memory, "memory.max", "memory.limit_in_bytes"),
        // v1 has it beside the rest, v2 in a file of its own.
        memory_swap: field(&memory, "total_swap").or(files.number(Controller::Memory, "memory.swap.current", "")),
        memory_at_limit: match files.read(Controller::Memory, "memory.events", "memory.failcnt") {
            Some(text) => field(&text, "max").or(text.trim().parse().ok()),
            None => None,
        },
        io_read_bytes,
        io_write_bytes,
        pids_current: files.number(Controller::Pids, "pids.current", "pids.current"),
        pids_max: files.limit(Controller::Pids, "pids.max", "pids.max"),
        pids_refused: files.read(Controller::Pids, "pids.events", "pids.events").and_then(|text| field(&text, "max")),
        oom_kills: oom_kills(group),
        cpu_pressure: files.pressure("cpu.pressure"),
        memory_pressure: files.pressure("memory.pressure"),
        io_pressure: files.pressure("io.pressure"),
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

/// v1: the limit of memory and swap together, if there is one.
pub(crate) fn swap_limit(group: &Group) -> Option<u64> {
    group.legacy.get(&Controller::Memory)?;
    Files(group).limit(Controller::Memory, "", "memory.memsw.limit_in_bytes")
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

    /// v2 has it in every cgroup, also where it has no controllers.
    fn pressure(&self, file: &str) -> Option<Pressure> {
        parse_pressure(&fs::read_to_string(self.0.unified.as_ref()?.join(file)).ok()?)
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

/// Which way bytes went.
#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
}

/// The sum over all disks of `8:0 rbytes=4096 wbytes=0 …` (v2) or of `8:0 Read 4096` (v1).
fn transferred(text: &str, direction: Direction) -> u64 {
    let (v2, v1) = match direction {
        Direction::Read => ("rbytes=", "Read "),
        Direction::Write => ("wbytes=", "Write "),
    };
    let of_line = |line: &str| -> Option<u64> {
        let (_, numbers) = line.split_once(' ')?;
        match numbers.strip_prefix(v1) {
            Some(bytes) => bytes.parse().ok(),
            None => numbers.split(' ').find_map(|pair| pair.strip_prefix(v2)?.parse().ok()),
        }
    };
    text.lines().filter_map(of_line).fold(0, u64::saturating_add)
}

/// `some avg10=0.22 avg60=0.17 avg300=1.11 total=58761459`, and the same for `full`.
fn parse_pressure(text: &str) -> Option<Pressure> {
    let value = |kind: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        line.split(' ').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
    };
    let percent = value("some", "avg10")?.replace('.', ""); // always two decimals
    Some(Pressure {
        some_avg10: percent.parse().ok()?,
        some_usec: value("some", "total")?.parse().ok()?,
        full_usec: value("full", "total").and_then(|total| total.parse().ok()).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_all_disks_are_added_up() {
        let v2 = "8:0 rbytes=4096 wbytes=10 rios=1 wios=2 dbytes=0 dios=0\n7:1 rbytes=1 wbytes=2 rios=0 wios=0\n";
        assert_eq!((transferred(v2, Direction::Read), transferred(v2, Direction::Write)), (4097, 12));
        let v1 = "7:0 Read 5\n7:0 Write 6\n7:0 Total 11\n8:0 Read 1\nTotal 12\n";
        assert_eq!((transferred(v1, Direction::Read), transferred(v1, Direction::Write)), (6, 6));
        assert_eq!(transferred("", Direction::Read), 0);
    }

    #[test]
    fn pressure_is_read_as_the_kernel_writes_it() {
        let text =
            "some avg10=1.05 avg60=0.17 avg300=1.11 total=58761459\nfull avg10=0.00 avg60=0.13 avg300=0.96 total=7\n";
        let expected = Pressure { some_avg10: 105, some_usec: 58_761_459, full_usec: 7 };
        assert_eq!(parse_pressure(text), Some(expected));
        assert_eq!(parse_pressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n").unwrap().full_usec, 0);
        assert_eq!(parse_pressure("nonsense\n"), None);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 1\noom_kill 3\n";
        assert_eq!(field(text, "oom_kill"), Some(3));
        assert_eq!(field(text, "oom"), None);
        assert_eq!(field("low 0\noom 1\noom_kill 1\noom_group_kill 0\n", "oom_kill"), Some(1));
        assert_eq!(field("oom_kill x\n", "oom_kill"), None);
    }
}
