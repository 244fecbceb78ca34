//! The harness itself: a leak check that finds nothing proves nothing.

use std::process::Command;

use predicates::prelude::*;
use suite::{Subject, host};

use crate::expect::complaint;

/// Runs a shell line in a virtual host of its own, within this test's one.
fn nested(host: &suite::Host, script: &str) -> assert_cmd::assert::Assert {
    let mut command = Command::new(host.bin("virtual-host"));
    command.args(["--timeout", "60", "--grace", "0", "--", "sh", "-c", script]);
    assert_cmd::Command::from_std(command).assert()
}

#[test]
fn a_clean_program_passes() {
    host(|host| {
        nested(host, "exit 7").code(7);
        nested(host, "true").success();
    });
}

#[test]
fn a_process_left_behind_is_found() {
    host(|host| {
        // Its name comes with its execve, which may not have happened yet.
        nested(host, "sleep 1000 & true").code(97).stderr(predicate::str::contains("process "));
    });
}

#[test]
fn a_mount_a_file_and_a_cgroup_left_behind_are_found() {
    host(|host| {
        let script = "mount -t tmpfs x /tmp/suite/home; echo > /tmp/mine; \
                      mkdir $(find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs | head -1 | xargs dirname)/mine";
        nested(host, script)
            .code(97)
            .stderr(predicate::str::contains("mount / /tmp/suite/home"))
            .stderr(predicate::str::contains("file /tmp/mine"))
            .stderr(predicate::str::contains("cgroup /sys/fs/cgroup"));
    });
}

#[test]
fn a_link_and_a_table_left_behind_are_found() {
    host(|host| {
        host.needs("ip");
        host.needs("nft");
        nested(host, "ip link add here type veth peer there; nft add table ip mine")
            .code(97)
            .stderr(predicate::str::contains("link here"))
            .stderr(predicate::str::contains("nft table 2 mine"));
    });
}

#[test]
fn kill_all_hits_the_canary() {
    host(|host| {
        nested(host, "kill -9 -1; true").stderr(predicate::str::contains("the canary is dead"));
    });
}

#[test]
fn the_machines_files_cannot_be_written() {
    host(|host| {
        nested(host, "echo > /etc/mine").code(2).stderr(predicate::str::contains("Read-only file system"));
    });
}

#[test]
fn a_hung_program_is_killed() {
    host(|host| {
        // On a busy machine the first second may be over before the program has begun.
        let listed = ["1", "4", "16"].into_iter().any(|seconds| {
            let mut command = Command::new(host.bin("virtual-host"));
            command.args(["--timeout", seconds, "--", "sleep", "1000"]);
            let ended = assert_cmd::Command::from_std(command).assert().code(98);
            complaint(&ended).contains("sleep 1000")
        });
        assert!(listed, "who hangs is not told");
    });
}

#[test]
fn a_program_without_a_container_does_not_pass_for_one() {
    host(|host| {
        // The suites ask for process 1; a plain process has another number.
        let output = host.payload(["facts"]).output().expect("start it");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("pid 1\n"));
    });
}

#[test]
fn a_peer_runs_in_its_bundle() {
    host(|host| {
        Subject::Runc.run(host, &["payload", "exit", "5"]).code(5);
    });
}
