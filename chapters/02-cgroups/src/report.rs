//! Accounting as people read it.

use std::fmt::Write;

use crate::accounting::Pressure;
use crate::{Stats, format_bytes};

/// The heads of the columns of [`row`].
pub const HEADER: &str =
    "NAME         CPU TIME   THROTTLED  MEM USAGE / LIMIT    MEM PEAK   PIDS / LIMIT   OOM KILLS  STATE";

/// One cgroup in one line.
pub fn row(name: &str, stats: &Stats) -> String {
    format!(
        "{name:<12} {:<10} {:<10} {:<20} {:<10} {:<14} {:<10} {}",
        seconds(stats.cpu_usage_usec),
        seconds(stats.cpu_throttled_usec),
        format!("{} / {}", size(stats.memory_used()), size(stats.memory_max)),
        size(stats.memory_peak),
        format!("{} / {}", count(stats.pids_current), count(stats.pids_max)),
        count(stats.oom_kills),
        if stats.frozen { "paused" } else { "running" },
    )
}

/// All there is to know of one cgroup. What nobody counts here is left out.
pub fn details(stats: &Stats) -> String {
    let lines = [
        ("CPU, user mode", stats.cpu_user_usec.map(|usec| seconds(Some(usec)))),
        ("CPU, kernel", stats.cpu_system_usec.map(|usec| seconds(Some(usec)))),
        (
            "CPU, quota periods",
            stats.cpu_periods.map(|all| format!("{all}, held back in {}", count(stats.cpu_throttled_periods))),
        ),
        (
            "memory, with cache",
            stats
                .memory_current
                .map(|bytes| format!("{}, of it idle {}", format_bytes(bytes), size(stats.memory_inactive_file))),
        ),
        ("memory, limit met", stats.memory_at_limit.map(|times| format!("{times} times"))),
        ("swap", stats.memory_swap.map(format_bytes)),
        ("disks, read", stats.io_read_bytes.map(format_bytes)),
        ("disks, written", stats.io_write_bytes.map(format_bytes)),
        ("forks refused", stats.pids_refused.map(|times| times.to_string())),
        ("waited for a CPU", stats.cpu_pressure.map(pressure)),
        ("waited for memory", stats.memory_pressure.map(pressure)),
        ("waited for a disk", stats.io_pressure.map(pressure)),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        if let Some(value) = value {
            let _ = writeln!(text, "{name:<20} {value}"); // a String takes everything
        }
    }
    text
}

fn pressure(pressure: Pressure) -> String {
    let Pressure { some_avg10, some_usec, full_usec } = pressure;
    let (whole, hundredths) = (some_avg10 / 100, some_avg10 % 100);
    format!("{}, all at once {}; lately {whole}.{hundredths:02}%", seconds(Some(some_usec)), seconds(Some(full_usec)))
}

fn size(bytes: Option<u64>) -> String {
    bytes.map_or("-".into(), format_bytes)
}

fn count(count: Option<u64>) -> String {
    count.map_or("-".into(), |count| count.to_string())
}

fn seconds(usec: Option<u64>) -> String {
    usec.map_or("-".into(), |usec| format!("{:.3}s", usec as f64 / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_counts_is_a_dash_or_nothing() {
        assert_eq!(
            row("one", &Stats::default()).split_whitespace().collect::<Vec<_>>().join(" "),
            "one - - - / - - - / - - running"
        );
        assert_eq!(details(&Stats::default()), "");
        let some = Pressure { some_avg10: 1205, some_usec: 2_500_000, full_usec: 0 };
        let stats = Stats { cpu_pressure: Some(some), io_read_bytes: Some(1 << 20), ..Stats::default() };
        assert_eq!(
            details(&stats),
            "disks, read          1MiB\nwaited for a CPU     2.500s, all at once 0.000s; lately 12.05%\n"
        );
    }
}
