//! Limits that change while a container runs, and what a container leaves.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use predicates::prelude::*;
use suite::{Background, Host, eventually, host, skip};

use super::disk::Disk;
use crate::expect::{refused, text};

/// `ch02 run --name NAME ARGS… payload WORDS…`, up to its first line.
fn running(host: &Host, name: &str, args: &[&str], words: &[&str], first: &str) -> Background {
    let mut running = host.start("ch02", [&["run", "--name", name], args, &["/tmp/suite/bin/payload"], words].concat());
    running.wait_for(first);
    running
}

fn update(host: &Host, args: &[&str]) -> assert_cmd::Command {
    host.chapter(2, [&["update"], args].concat())
}

/// The directories of a container's cgroup; an ordinary user's is below the one that was delegated to them.
fn directories(name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for tree in ["", "user", "memory", "pids", "cpu", "cpuset", "blkio", "unified"] {
        let directory = PathBuf::from("/sys/fs/cgroup").join(tree).join("ch02").join(name);
        if directory.is_dir() {
            found.push(directory);
        }
    }
    found
}

/// The container's first process, on the virtual host.
fn payload_of(name: &str) -> i32 {
    let procs = directories(name)[0].join("cgroup.procs");
    let list = fs::read_to_string(procs).expect("list the processes");
    list.lines().next().and_then(|pid| pid.parse().ok()).expect("a process")
}

/// Ends it by a signal that pid 1 cannot ignore.
fn end(name: &str, running: Background) {
    kill(Pid::from_raw(payload_of(name)), Signal::SIGKILL).expect("kill it");
    assert_eq!(running.wait().0.code(), Some(137));
}

#[test]
fn memory_can_be_raised_and_lowered_but_not_below_what_is_held() {
    host(|host| {
        let held = running(host, "held", &["-m", "100m", "--memory-swap", "100m"], &["hold", "60000000"], "ready");
        let assert = update(host, &["-m", "32m", "held"]).assert();
        refused(assert, 125, &["--memory", "holds more than that"]);
        // Up and down again, which v1 takes in one order each.
        for memory in ["200m", "80m", "300m"] {
            update(host, &["-m", memory, "held"]).assert().success();
            let stats = text(&host.chapter(2, ["stats", "held"]).assert().success());
            assert!(stats.contains(&format!("/ {}MiB", memory.trim_end_matches('m'))), "{stats}");
        }
        update(host, &["-m", "100m", "--memory-swap", "-1", "held"]).assert().success();
        assert!(!directories("held").is_empty(), "it lives");
        end("held", held);
    });
}

#[test]
fn a_processor_and_a_quota_come_and_go() {
    host(|host| {
        let burning = running(host, "burning", &[], &["trap", "TERM"], "ready");
        let pid = payload_of("burning");
        let allowed = || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("read its status");
            let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            list.expect("its processors").trim().to_owned()
        };
        update(host, &["--cpuset-cpus", "0", "burning"]).assert().success();
        assert_eq!(allowed(), "0");
        refused(update(host, &["--cpuset-cpus", "4000", "burning"]).assert(), 125, &["4000"]);
        refused(update(host, &["--cpus", "1000", "burning"]).assert(), 125, &["CPUs"]);
        refused(update(host, &["burning"]).assert(), 125, &["which limit"]);
        refused(update(host, &["-m", "1g", "nobody"]).assert(), 125, &["nobody"]);
        burning.signal(Signal::SIGTERM);
        burning.wait();
    });
}

#[test]
fn a_disk_is_slowed_down_only_where_it_is_said() {
    host(|host| {
        // A change must not need what only the start had: the disk is gone by then.
        let disk = Disk::new(host, "disk", 4 << 20);
        let rate = format!("{}:1mb", disk.path);
        let one = running(host, "one", &["--device-read-bps", &rate], &["trap", "TERM"], "ready");
        drop(disk);
        update(host, &["--pids-limit", "5", "one"]).assert().success();
        one.signal(Signal::SIGTERM);
        one.wait();
    });
}

#[test]
fn cgroups_below_its_own_go_with_a_container() {
    host(|host| {
        let nest = running(host, "nest", &[], &["trap", "TERM"], "ready");
        // Deeper than any path reaches, and a process at the bottom.
        let mut below = Vec::new();
        for directory in directories("nest") {
            let mut nested = host.start("payload", ["nest", directory.to_str().expect("a path"), "40"]);
            nested.wait_for("there");
            below.push(nested);
        }
        assert!(!below.is_empty());
        nest.signal(Signal::SIGTERM);
        nest.wait();
        // Those at the bottom were killed too; else this would wait for them in vain.
        for nested in below {
            nested.wait();
        }
        assert_eq!(directories("nest"), Vec::<PathBuf>::new());
    });
}

#[test]
fn what_a_killed_runner_leaves_goes_with_the_next_run() {
    host(|host| {
        let mut doomed = host.start("ch02", ["run", "/tmp/suite/bin/payload", "trap", "TERM"]);
        doomed.wait_for("ready");
        let name = doomed.pid().to_string();
        let payload = payload_of(&name);
        doomed.signal(Signal::SIGKILL);
        // It dies with its parent, and then nobody is there to tidy up.
        doomed.wait();
        eventually("it is gone", || !PathBuf::from(format!("/proc/{payload}")).exists());
        assert!(!directories(&name).is_empty(), "who has removed it?");
        host.chapter(2, ["run", "true"]).assert().success();
        assert_eq!(directories(&name), Vec::<PathBuf>::new());
    });
}

#[test]
fn a_process_waits_for_memory_where_nobody_is_killed() {
    host(|host| {
        if host.cgroup2() {
            skip("cgroup v2 has no --oom-kill-disable; that it is refused is another test");
        }
        let args = ["-m", "32m", "--memory-swap", "32m", "--oom-kill-disable"];
        let hog = running(host, "hog", &args, &["hog", "200000000"], "20 MiB");
        let waits = || {
            let control = fs::read_to_string("/sys/fs/cgroup/memory/ch02/hog/memory.oom_control").unwrap_or_default();
            control.contains("under_oom 1")
        };
        eventually("it has run into its limit", waits);
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(waits(), "it was killed, or went on");
        // More memory is what it waits for; but there is never enough, and it is killed like any other.
        update(host, &["-m", "48m", "--memory-swap", "48m", "hog"]).assert().success();
        eventually("it has run into the new one", waits);
        kill(Pid::from_raw(payload_of("hog")), Signal::SIGKILL).expect("kill it");
        assert_eq!(hog.wait().0.code(), Some(137));
    });
}

#[test]
fn one_container_in_every_detail() {
    host(|host| {
        let disk = Disk::new(host, "disk", 8 << 20);
        let rule = disk.rule();
        let args = ["--device-cgroup-rule", rule.as_str(), "--cpus", "0.5", "-m", "64m"];
        let one = running(host, "one", &args, &["cache", &disk.path, "8000000"], "ready");
        let stats = host.chapter(2, ["stats", "one"]).assert().success();
        let stats = stats.stdout(predicate::str::contains("CPU, quota periods"));
        let read =
            text(&stats).lines().find_map(|line| line.strip_prefix("disks, read")).map(str::trim).map(String::from);
        assert!(
            read.as_deref().is_some_and(|read| read.starts_with(['7', '8']) && read.ends_with("MiB")),
            "{}",
            text(&stats)
        );
        end("one", one);
    });
}
