//! Processors: who gets how much, relative to others and to the clock.

use nix::sys::signal::Signal;
use suite::host;
use suite::process::children;

use super::payload;
use crate::expect::{refused, text};

/// Processor time of `used N of M`, milliseconds.
fn used(said: &str) -> u64 {
    let number = said.lines().find_map(|line| line.strip_prefix("used ")?.split(' ').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("how much? {said}"))
}

/// Processor time of a process, in ticks of 10 ms: `proc_pid_stat(5)`.
fn ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("its times");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name").1.split(' ').collect();
    // The state is field 3; the times in user and kernel mode are 14 and 15.
    [11, 12].iter().map(|place| fields[*place].parse::<u64>().expect("a number")).sum()
}

#[test]
fn who_has_more_shares_gets_more() {
    host(|host| {
        // Both on one processor, eight to one. The one with more burns before, while and after the other does, however long
        // that takes to start; what else runs there takes from both.
        let script = "echo ready; exec /tmp/suite/bin/payload burn 600000";
        let args = ["run", "--init", "--cpuset-cpus", "0", "--cpu-shares", "4096", "sh", "-c", script];
        let mut more = host.start("ch02", args);
        more.wait_for("ready");
        let burning = children(children(more.pid())[0])[0];
        let before = ticks(burning);
        let less = ["--cpuset-cpus", "0", "--cpu-shares", "512"];
        let less = used(&text(&payload(host, &less, &["burn", "4000"]).assert().success()));
        let more_used = (ticks(burning) - before) * 10;
        more.signal(Signal::SIGTERM);
        assert_eq!(more.wait().0.code(), Some(143));
        assert!(more_used >= 3 * less, "{more_used} ms and {less} ms");
    });
}

#[test]
fn a_quota_counts_over_its_period() {
    host(|host| {
        let said = text(
            &payload(host, &["--cpu-period", "40000", "--cpu-quota", "10000"], &["burn", "2000"]).assert().success(),
        );
        let wall: u64 = said.rsplit(' ').next().and_then(|ms| ms.parse().ok()).expect("a number");
        assert!(used(&said) * 100 <= wall * 50, "a quarter, and what the clock gives away: {said}");
    });
}

#[test]
fn a_processor_is_the_only_one_there_is() {
    host(|host| {
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online").expect("read the processors");
        let last = online.trim().rsplit([',', '-']).next().expect("a processor").to_owned();
        let allowed = ["grep", "Cpus_allowed_list", "/proc/self/status"];
        for flag in ["--cpuset-cpus", "--cpuset"] {
            let words = [&["run", "--share", "pid", flag, &last][..], &allowed].concat();
            let said = text(&host.chapter(2, words).assert().success());
            assert!(said.ends_with(&format!("\t{last}")), "{said}");
        }
    });
}

#[test]
fn contradictions_are_refused_and_nothing_is_made() {
    host(|host| {
        let both = &["--cpus", "1", "--cpu-period", "50000"][..];
        for (args, words) in [
            (both, &["--cpus", "--cpu-period"][..]),
            (&["--cpus", "1", "--cpu-quota", "50000"], &["--cpus", "--cpu-quota"]),
            (&["--cpus", "0.001"], &["0.01"]),
            (&["--cpu-shares", "1"], &["--cpu-shares 1", "2 to 262144"]),
            (&["--cpu-shares", "300000"], &["--cpu-shares 300000"]),
            (&["--cpu-period", "10"], &["--cpu-period 10"]),
            (&["--cpu-quota", "10"], &["--cpu-quota 10"]),
            (&["--cpu-rt-runtime", "5000000"], &["--cpu-rt-runtime"]),
            (&["--cpuset-cpus", "1-0"], &["--cpuset-cpus", "1-0"]),
            (&["--cpuset-mems", "300"], &["--cpuset-mems", "300"]),
            (&["-m", "64m", "--memory-swap", "32m"], &["--memory-swap", "--memory"]),
            (&["--memory-swap", "64m"], &["--memory-swap needs --memory"]),
            (&["-m", "64m", "--memory-reservation", "128m"], &["--memory-reservation"]),
            (&["--memory-swappiness", "200"], &["--memory-swappiness 200"]),
        ] {
            let command = [&["run", "--name", "none"][..], args, &["touch", "made"]].concat();
            refused(host.chapter(2, command).assert(), 125, words);
            assert!(!host.work().join("made").exists(), "{args:?} ran");
        }
        let left = text(&host.chapter(2, ["stats"]).assert().success());
        assert_eq!(left.lines().count(), 1, "{left}");
    });
}

#[test]
fn what_only_one_version_has_is_refused_by_the_other() {
    host(|host| {
        let flags: [&[&str]; 4] = [
            &["--memory-swappiness", "10"],
            &["--oom-kill-disable"],
            &["--cpu-rt-runtime", "1000"],
            &["--cpu-rt-period", "500000"],
        ];
        for args in flags {
            let assert = host.chapter(2, [&["run"][..], args, &["true"]].concat()).assert();
            if host.cgroup2() {
                refused(assert, 125, &[args[0], "cgroup v2 has no"]);
            } else if args[0] == "--cpu-rt-runtime" {
                // Real-time is handed out from above, and a virtual host has none.
                refused(assert, 125, &["--cpu-rt-runtime"]);
            } else if args[0] != "--cpu-rt-period" {
                assert.success();
            }
        }
    });
}
