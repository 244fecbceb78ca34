//! Containers of which the books are damaged, or were closed by two at once.

use std::fs;
use std::path::Path;

use predicates::prelude::*;
use suite::container::{detached, first_process, inspect, wait_for_log};
use suite::process::{kill9, parent};
use suite::{Host, eventually, host};

use crate::expect::{complaint, text};

/// A container that runs; its id and the process in it.
fn running(host: &Host, name: &str) -> (String, i32) {
    let id = detached(host, name, &[], &["payload", "wait"]);
    wait_for_log(host, name, "ready");
    (id, first_process(host, name))
}

/// The directories of a container's cgroup.
fn cgroups(id: &str) -> Vec<String> {
    let output = std::process::Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-name", id]).output();
    let found = String::from_utf8(output.expect("find").stdout).expect("paths");
    found.lines().map(str::to_owned).collect()
}

/// Its process, its monitor, its cgroup and its name are gone.
#[track_caller]
fn is_gone(host: &Host, name: &str, id: &str, processes: &[i32]) {
    for pid in processes {
        eventually("its processes end", || !Path::new(&format!("/proc/{pid}")).exists());
    }
    assert_eq!(cgroups(id), Vec::<String>::new());
    host.minidocker(["ps", "-aq"]).assert().success().stdout("");
    assert!(fs::symlink_metadata(host.root().join("names").join(name)).is_err(), "its name is left");
}

fn damage(host: &Host, id: &str, file: &str, content: &str) {
    let path = host.root().join("containers").join(id).join(file);
    assert!(path.exists(), "there is no {file}");
    fs::write(path, content).expect("damage it");
}

#[test]
fn what_runs_is_removed_whichever_file_is_damaged() {
    host(|host| {
        for file in ["state.json", "records.json", "container.json"] {
            for content in ["", "{ not json"] {
                let (id, pid) = running(host, "broken");
                let monitor = parent(pid);
                damage(host, &id, file, content);
                host.minidocker(["rm", "-f", "broken"]).assert().success();
                is_gone(host, "broken", &id, &[pid, monitor]);
            }
        }
    });
}

#[test]
fn without_a_monitor_too() {
    host(|host| {
        for file in ["state.json", "records.json", "container.json"] {
            let (id, pid) = running(host, "broken");
            kill9(parent(pid));
            damage(host, &id, file, "");
            host.minidocker(["rm", "-f", "broken"]).assert().success();
            is_gone(host, "broken", &id, &[pid]);
        }
    });
}

#[test]
fn its_address_is_given_back() {
    host(|host| {
        host.load_image();
        let run = ["run", "-d", "--name", "broken", "-p", "8080:80", "suite", "payload", "wait"];
        let id = text(&host.minidocker(run).assert().success());
        wait_for_log(host, "broken", "ready");
        damage(host, &id, "records.json", "");
        host.minidocker(["rm", "-f", "broken"]).assert().success();
        let leases = fs::read_to_string(host.root().join("networks/bridge/leases.json")).expect("the leases");
        assert!(!leases.contains(&id), "{leases}");
        host.minidocker(["run", "--rm", "-p", "8080:80", "suite", "true"]).assert().success();
    });
}

#[test]
fn it_is_said_how_it_can_be_removed() {
    host(|host| {
        let (id, _) = running(host, "broken");
        damage(host, &id, "state.json", "");
        for words in [&["stop", "broken"][..], &["rm", "broken"]] {
            let said = complaint(&host.minidocker(words).assert().code(1));
            assert!(said.contains("damaged") && said.contains("rm -f"), "{words:?}: {said}");
        }
        host.minidocker(["rm", "-f", "broken"]).assert().success();
    });
}

#[test]
fn a_reset_goes_on_past_it() {
    host(|host| {
        let (broken, pid) = running(host, "broken");
        let (whole, other) = running(host, "whole");
        damage(host, &broken, "state.json", "");
        host.minidocker(["system", "reset", "-f"]).assert().success();
        for pid in [pid, other] {
            eventually("both end", || !Path::new(&format!("/proc/{pid}")).exists());
        }
        assert_eq!((cgroups(&broken), cgroups(&whole)), (Vec::new(), Vec::new()));
        assert!(!host.root().join("containers").exists());
    });
}

/// Each name has a thread of its own, and POSIX gives a lock to all threads of the process that has it.
#[test]
fn named_three_times_it_is_stopped_once() {
    host(|host| {
        for _ in 0..10 {
            let (id, pid) = running(host, "alone");
            kill9(parent(pid));
            host.minidocker(["stop", "-t", "0", "alone", &id[..12], "alone"]).assert().success().stdout("alone\n");
            assert_eq!(inspect(host, "alone")["State"]["ExitCode"], 137);
            host.minidocker(["ps", "-a"]).assert().success().stdout(predicate::str::contains("Exited (137)"));
            host.minidocker(["rm", "alone"]).assert().success();
        }
    });
}
