//! Chapter 2: limits and accounting. What the engine makes of them is in `limits`.

mod change;
mod delegated;
mod devices;
pub mod disk;
mod memory;
mod share;

use nix::sys::signal::Signal;
use predicates::prelude::*;
use suite::{Host, eventually, host};

use crate::expect::{refused, text};

/// `ch02 run ARGS… payload WORDS…`
fn payload(host: &Host, args: &[&str], words: &[&str]) -> assert_cmd::Command {
    let mut command = host.chapter(2, ["run"]);
    command.args(args).arg(host.bin("payload")).args(words);
    command
}

#[test]
fn help_explains() {
    host(|host| {
        let help = text(&host.chapter(2, ["run", "--help"]).assert().success());
        for flag in [
            "--cpus",
            "--cpu-period",
            "--cpu-quota",
            "--cpu-rt-period",
            "--cpu-rt-runtime",
            "--cpu-shares",
            "--cpuset-cpus",
            "--cpuset-mems",
            "--memory",
            "--memory-swap",
            "--memory-reservation",
            "--memory-swappiness",
            "--oom-kill-disable",
            "--pids-limit",
            "--blkio-weight",
            "--blkio-weight-device",
            "--device-read-bps",
            "--device-write-bps",
            "--device-read-iops",
            "--device-write-iops",
            "--device-cgroup-rule",
            "--cgroup-parent",
        ] {
            assert!(help.contains(flag), "{flag} is not in\n{help}");
        }
    });
}

#[test]
fn a_hog_is_killed_and_a_modest_one_is_not() {
    host(|host| {
        payload(host, &["--memory", "64m"], &["hog", "200000000"])
            .assert()
            .code(137)
            .stdout(predicate::str::contains("30 MiB"))
            .stderr(predicate::str::contains("memory"));
        payload(host, &["--memory", "64m"], &["hog", "20000000"]).assert().success();
    });
}

#[test]
fn swap_is_no_way_around_the_limit() {
    host(|host| {
        payload(host, &["--memory", "32m", "--memory-swap", "32m"], &["hog", "100000000"]).assert().code(137);
    });
}

#[test]
fn a_fork_bomb_stops_at_the_limit() {
    host(|host| {
        payload(host, &["--pids-limit", "20"], &["bomb", "200"]).assert().success().stdout("forked 19, then EAGAIN\n");
        payload(host, &[], &["bomb", "30"]).assert().success().stdout("forked 30, nobody stopped it\n");
    });
}

#[test]
fn half_a_processor_is_half_a_processor() {
    host(|host| {
        // Half of it, and what the kernel's clock gives away on a machine that is itself waiting.
        let said = text(&payload(host, &["--cpus", "0.5"], &["burn", "2000"]).assert().success());
        let numbers: Vec<u64> = said.split(' ').filter_map(|word| word.parse().ok()).collect();
        assert!(numbers[0] * 100 <= numbers[1] * 75, "{said}");
    });
}

#[test]
fn a_processor_can_be_chosen() {
    host(|host| {
        host.chapter(
            2,
            ["run", "--share", "pid", "--cpuset-cpus", "0", "grep", "Cpus_allowed_list", "/proc/self/status"],
        )
        .assert()
        .success()
        .stdout(predicate::str::ends_with("\t0\n"));
    });
}

#[test]
fn the_container_sees_its_cgroup_as_the_root() {
    host(|host| {
        let said = text(
            &host
                .chapter(2, ["run", "--share", "pid", "--pids-limit", "10", "cat", "/proc/self/cgroup"])
                .assert()
                .success(),
        );
        assert!(said.lines().all(|line| line.ends_with(":/")), "{said}");
    });
}

#[test]
fn stats_pause_and_resume() {
    host(|host| {
        let args = ["run", "--name", "one", "--pids-limit", "7", "/tmp/suite/bin/payload", "trap", "TERM"];
        let mut running = host.start("ch02", args);
        running.wait_for("ready");
        host.chapter(2, ["stats", "one"]).assert().success().stdout(predicate::str::contains("one"));
        host.chapter(2, ["pause", "one"]).assert().success();
        // A frozen process takes a signal only when it is thawed.
        running.signal(Signal::SIGTERM);
        let children = format!("/proc/{0}/task/{0}/children", running.pid());
        let alive = || std::fs::read_to_string(&children).is_ok_and(|list| !list.trim().is_empty());
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert!(alive(), "it ended while paused");
        host.chapter(2, ["resume", "one"]).assert().success();
        eventually("it ends when it goes on", || !alive());
        assert_eq!(running.wait().0.code(), Some(10));
    });
}

#[test]
fn what_cannot_be_enforced_is_refused() {
    host(|host| {
        refused(host.chapter(2, ["run", "--cpus", "1000", "true"]).assert(), 125, &["cpus"]);
        refused(host.chapter(2, ["run", "--memory", "1", "true"]).assert(), 125, &["memory"]);
        refused(host.chapter(2, ["run", "--cpuset-cpus", "4000", "true"]).assert(), 125, &["4000"]);
        for bad in [["--memory", "lots"], ["--cpus", "many"], ["--pids-limit", "few"]] {
            let said = crate::expect::complaint(&host.chapter(2, ["run"]).args(bad).arg("true").assert().code(125));
            assert!(said.contains(bad[1]), "{said}");
        }
    });
}

#[test]
fn a_missing_controller_is_named() {
    host(|host| {
        // A machine whose pids controller is not mounted; on v2 one whose parent does not hand it on.
        if host.cgroup2() {
            std::fs::write("/sys/fs/cgroup/cgroup.subtree_control", "-pids").expect("take the controller away");
            // Whoever is root may hand it on again: then the limit holds after all, and that is right too.
            let assert = payload(host, &["--pids-limit", "20"], &["bomb", "200"]).assert();
            if assert.get_output().status.success() {
                assert.stdout("forked 19, then EAGAIN\n");
            } else {
                refused(assert, 125, &["pids"]);
            }
        } else {
            host.tool("umount", ["/sys/fs/cgroup/pids"]).assert().success();
            refused(payload(host, &["--pids-limit", "20"], &["bomb", "200"]).assert(), 125, &["pids"]);
            let mut back = host.tool("mount", ["-t", "cgroup", "-o", "nosuid,nodev,noexec,pids", "cgroup"]);
            back.arg("/sys/fs/cgroup/pids").assert().success();
        }
    });
}

#[test]
fn an_ordinary_user_runs_without_limits_and_is_refused_with() {
    host(|host| {
        crate::ch01::user_namespaces_or_skip(host);
        host.as_user("ch02", ["run", "/tmp/suite/bin/payload", "exit", "4"]).assert().code(4);
        refused(host.as_user("ch02", ["run", "--memory", "64m", "true"]).assert(), 125, &["cgroup"]);
    });
}
