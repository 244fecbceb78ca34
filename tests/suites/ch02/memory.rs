//! Memory: what is set aside for a container, and swap.

use std::fs;
use std::process::Command;

use suite::{Host, host, skip};

use super::disk::Disk;
use super::payload;
use crate::expect::refused;

/// Half of what the two containers want: one of them has to give way.
const BOTH: &str = "67108864";

/// How much of what the first container has read is still in memory after the second has read twice as much as both may
/// have, MiB.
fn kept(host: &Host, name: &str, reservation: &[&str]) -> u64 {
    let disks = [Disk::new(host, &format!("{name}-1"), 32 << 20), Disk::new(host, &format!("{name}-2"), 128 << 20)];
    let rules = disks.each_ref().map(Disk::rule);
    let parent = format!("/sys/fs/cgroup/{name}");
    fs::create_dir(&parent).expect("make a parent");
    fs::write(format!("{parent}/memory.max"), BOTH).expect("limit it");
    let start = |number: usize, args: &[&str], bytes: &str| {
        let own = ["run", "--cgroup-parent", name, "--name", if number == 0 { "first" } else { "second" }];
        let words =
            ["--device-cgroup-rule", &rules[number], "/tmp/suite/bin/payload", "cache", &disks[number].path, bytes];
        let mut running = host.start("ch02", [&own, args, &words].concat());
        running.wait_for("ready");
        running
    };
    let first = start(0, reservation, "33554432");
    let second = start(1, &[], "134217728");
    let current = fs::read_to_string(format!("{parent}/first/memory.current")).expect("read its memory");
    for (running, name) in [(first, "first"), (second, "second")] {
        let kill = fs::write(format!("{parent}/{name}/cgroup.kill"), "1");
        kill.expect("kill it");
        running.wait();
    }
    fs::remove_dir(&parent).expect("remove the parent");
    current.trim().parse::<u64>().expect("a number") >> 20
}

/// Proved for v2, where a reservation (`memory.low`) holds against others below the same limit. v1's soft limit has an
/// effect only when the whole machine runs out of memory, which no test may make it do; there it is set as runc sets it.
#[test]
fn what_is_reserved_stays_while_others_have_some_to_spare() {
    host(|host| {
        if !host.cgroup2() {
            skip("v1's soft limit holds only against a machine that is out of memory");
        }
        let without = kept(host, "without", &[]);
        let with = kept(host, "with", &["--memory-reservation", "33m"]);
        assert!(with >= 24 && with >= 2 * without, "{with} MiB with a reservation, {without} MiB without");
    });
}

#[test]
fn swap_is_counted_apart_from_memory() {
    host(|host| {
        let disk = swap(host);
        // Enough swap for all of it, or too little.
        payload(host, &["-m", "32m", "--memory-swap", "160m"], &["hog", "80000000"]).assert().success();
        payload(host, &["-m", "32m", "--memory-swap", "-1"], &["hog", "80000000"]).assert().success();
        payload(host, &["-m", "32m", "--memory-swap", "48m"], &["hog", "80000000"]).assert().code(137);
        payload(host, &["-m", "32m", "--memory-swap", "32m"], &["hog", "80000000"]).assert().code(137);
        // As much again as memory, where nothing is said.
        payload(host, &["-m", "64m"], &["hog", "100000000"]).assert().success();
        payload(host, &["-m", "32m"], &["hog", "80000000"]).assert().code(137);
        assert!(Command::new("swapoff").arg(&disk).status().expect("start swapoff").success());
    });
}

/// Gives the machine some swap: a compressed disk in memory. Only the virtual machine is ours to do that to.
fn swap(host: &Host) -> String {
    if !host.cgroup2() {
        skip("swap is the whole machine's, and this one is not ours alone");
    }
    let _ = Command::new("modprobe").arg("zram").status();
    if fs::write("/sys/block/zram0/disksize", "268435456").is_err() {
        skip("needs a disk to swap to, and this kernel has no zram");
    }
    let disk = "/dev/zram0".to_owned();
    for program in ["mkswap", "swapon"] {
        assert!(Command::new(program).arg(&disk).status().expect("start it").success(), "{program}");
    }
    disk
}

#[test]
fn huge_pages_are_limited_by_size() {
    host(|host| {
        let run = |args: &[&str], pages| payload(host, args, &["huge", pages]).assert();
        refused(run(&["--hugepages-limit", "3MB:9m"], "1"), 125, &["3MB", "no huge pages of size"]);
        run(&["--hugepages-limit", "2MB"], "1").code(125);
        if !host.cgroup2() {
            skip("huge pages are taken from the whole machine, and this one is not ours alone");
        }
        let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").expect("list the controllers");
        if !controllers.contains("hugetlb") || fs::write("/proc/sys/vm/nr_hugepages", "8").is_err() {
            skip("needs huge pages and their controller, and this kernel has none");
        }
        run(&[], "4").success().stdout("had 4\n");
        run(&["--hugepages-limit", "2MB:8m"], "4").success().stdout("had 4\n");
        run(&["--hugepages-limit", "2MB:6m"], "4").success().stdout("ENOMEM\n");
        fs::write("/proc/sys/vm/nr_hugepages", "0").expect("give them back");
    });
}
