//! Chapter 1: a process in its own world. What is true of all chapters is in `world`.

mod processes;
mod users;

use nix::sys::signal::Signal;
use predicates::prelude::*;
use suite::{Background, Host, host};

use crate::expect::{fact, refused, text};

/// `ch01 run ARGS… payload WORDS…`
fn payload(host: &Host, args: &[&str], words: &[&str]) -> assert_cmd::Command {
    let mut command = host.chapter(1, ["run"]);
    command.args(args).arg(host.bin("payload")).args(words);
    command
}

/// The only child of a running `ch01`.
fn child_of(running: &Background) -> i32 {
    suite::process::children(running.pid())[0]
}

#[test]
fn help_explains() {
    host(|host| {
        for args in [&["--help"][..], &["run", "--help"]] {
            let help = text(&host.chapter(1, args).assert().success());
            assert!(help.contains("Usage:"), "{help}");
        }
        host.chapter(1, ["--help"])
            .assert()
            .stdout(predicate::str::contains("run").and(predicate::str::contains("Examples")));
    });
}

#[test]
fn both_names_are_set_and_the_hosts_stay() {
    host(|host| {
        let command = payload(host, &["--hostname", "box", "--domainname", "example"], &["facts"]).assert().success();
        let facts = text(&command);
        assert_eq!(fact(&facts, "hostname"), "box");
        assert_eq!(fact(&facts, "domainname"), "example");
        let facts = text(&host.payload(["facts"]).assert().success());
        assert_eq!(fact(&facts, "hostname"), "virtual-host");
        assert_eq!(fact(&facts, "domainname"), "(none)");
    });
}

#[test]
fn a_signals_death_is_128_and_its_number() {
    host(|host| {
        payload(host, &["--init"], &["raise", "KILL"]).assert().code(137);
        let mut running = host.start("ch01", ["run", "/tmp/suite/bin/payload", "wait"]);
        running.wait_for("ready");
        let child = nix::unistd::Pid::from_raw(child_of(&running));
        nix::sys::signal::kill(child, Signal::SIGKILL).expect("kill the container");
        assert_eq!(running.wait().0.code(), Some(137));
    });
}

#[test]
fn what_is_not_executable_is_126() {
    host(|host| {
        refused(host.chapter(1, ["run", "/etc/passwd"]).assert(), 126, &["/etc/passwd"]);
        refused(host.chapter(1, ["run", "/etc"]).assert(), 126, &["/etc"]);
    });
}

#[test]
fn init_reaps_what_falls_to_it() {
    host(|host| {
        let script = "mount -t proc proc /proc && /tmp/suite/bin/payload zombies 4";
        host.chapter(1, ["run", "--init", "sh", "-c", script]).assert().success().stdout("0 zombies\n");
    });
}

#[test]
fn init_forwards_signals() {
    host(|host| {
        let mut running = host.start("ch01", ["run", "--init", "/tmp/suite/bin/payload", "trap", "TERM", "USR1"]);
        running.wait_for("ready");
        running.signal(Signal::SIGUSR1);
        let (status, said) = running.wait();
        assert_eq!(status.code(), Some(11), "{said}");
    });
}

#[test]
fn namespaces_can_be_shared() {
    host(|host| {
        let facts = text(&payload(host, &["--share", "uts,pid"], &["facts"]).assert().success());
        assert_eq!(fact(&facts, "hostname"), "virtual-host");
        assert_ne!(fact(&facts, "pid"), "1");
        let outside = std::fs::read_link("/proc/self/ns/net").expect("our network namespace");
        let show = host.chapter(1, ["run", "--share", "net,pid", "readlink", "/proc/self/ns/net"]).assert().success();
        assert_eq!(text(&show), outside.display().to_string());
    });
}

#[test]
fn a_user_namespace_maps_ids() {
    host(|host| {
        let args = ["--new", "user", "--uid-map", "0:100000:10", "--gid-map", "0:100000:10", "--share", "pid"];
        let facts = text(&payload(host, &args, &["facts"]).assert().success());
        assert_eq!(fact(&facts, "uid"), "0");
        let mut command = host.chapter(1, ["run"]);
        let map = command.args(args).args(["cat", "/proc/self/uid_map"]).assert().success();
        assert_eq!(text(&map).split_whitespace().collect::<Vec<_>>(), ["0", "100000", "10"]);
    });
}

#[test]
fn a_time_namespace_can_be_had() {
    host(|host| {
        let outside = std::fs::read_link("/proc/self/ns/time").expect("our time namespace").display().to_string();
        let show = host.chapter(1, ["run", "--new", "time", "--share", "pid", "readlink", "/proc/self/ns/time"]);
        let inside = text(&{ show }.assert().success());
        assert!(inside.starts_with("time:["), "{inside}");
        assert_ne!(inside, outside);
    });
}

#[test]
fn enter_joins_a_running_one() {
    host(|host| {
        let mut running = host.start("ch01", ["run", "--hostname", "deep", "/tmp/suite/bin/payload", "wait"]);
        running.wait_for("ready");
        let pid = child_of(&running).to_string();
        host.chapter(1, ["enter", &pid, "hostname"]).assert().success().stdout("deep\n");
        host.chapter(1, ["enter", &pid, "--only", "net", "hostname"]).assert().success().stdout("virtual-host\n");
        host.chapter(1, ["enter", &pid, "/tmp/suite/bin/payload", "exit", "9"]).assert().code(9);
        running.signal(Signal::SIGTERM);
        assert_eq!(running.wait().0.code(), Some(10));
        refused(host.chapter(1, ["enter", "4194304", "true"]).assert(), 125, &["4194304"]);
    });
}

#[test]
fn list_shows_who_is_where() {
    host(|host| {
        let mut running = host.start("ch01", ["run", "--share", "ipc", "/tmp/suite/bin/payload", "wait"]);
        running.wait_for("ready");
        let pid = child_of(&running).to_string();
        let rows = text(&host.chapter(1, ["list", &pid]).assert().success());
        let row = |kind: &str| {
            let of_kind = |line: &&str| line.trim_start_matches(['*', ' ']).split_whitespace().nth(1) == Some(kind);
            rows.lines().find(of_kind).unwrap_or_else(|| panic!("{kind} is not in\n{rows}"))
        };
        for kind in ["mnt", "pid", "net", "uts", "cgroup"] {
            let told: Vec<&str> = row(kind).split_whitespace().collect();
            assert_eq!(told[2..5], ["1", &pid, "root"], "alone in its {kind} namespace:\n{rows}");
        }
        for kind in ["ipc", "user", "time"] {
            assert!(row(kind).starts_with('*'), "the {kind} namespace is ours:\n{rows}");
        }
        assert!(row("net").contains("payload wait"), "{rows}");
        let rows = text(&host.chapter(1, ["list", "--type", "uts"]).assert().success());
        assert!(rows.lines().skip(1).all(|line| line.contains(" uts ")), "{rows}");
        assert_eq!(rows.lines().count(), 3, "the host's, and the container's:\n{rows}");
        running.signal(Signal::SIGTERM);
        running.wait();
    });
}

#[test]
fn an_ordinary_user_is_root_inside() {
    host(|host| {
        user_namespaces_or_skip(host);
        let run =
            host.as_user("ch01", ["run", "--hostname", "mine", "/tmp/suite/bin/payload", "facts"]).assert().success();
        let facts = text(&run);
        assert_eq!(fact(&facts, "uid"), "0");
        assert_eq!(fact(&facts, "hostname"), "mine");
        assert_eq!(fact(&facts, "pid"), "1");
        host.as_user("ch01", ["run", "/tmp/suite/bin/payload", "exit", "33"]).assert().code(33);
    });
}

#[test]
fn without_user_namespaces_it_says_so() {
    host(|host| {
        user_namespaces_or_skip(host);
        let words = ["without-user-namespaces", "/tmp/suite/bin/ch01", "run", "true"];
        refused(host.as_user("payload", words).assert(), 125, &["user namespace"]);
    });
}

#[test]
fn bad_words_are_refused() {
    host(|host| {
        let cases: &[(&[&str], &str)] = &[
            (&["run"], "command"),
            (&["run", "--no-such-flag", "true"], "--no-such-flag"),
            (&["run", "--share", "nothing", "true"], "nothing"),
            (&["run", "--share", "uts", "--hostname", "x", "true"], "uts"),
            (&["run", "--hostname", &"x".repeat(65), "true"], "host"),
            (&["enter", "0", "true"], "0"),
            (&["unknown"], "unknown"),
        ];
        for (args, word) in cases {
            let assert = host.chapter(1, *args).assert().code(125).stdout("");
            let said = crate::expect::complaint(&assert);
            assert!(said.to_lowercase().contains(word), "{args:?}: {said}");
        }
    });
}

/// Skips where the kernel does not let ordinary users make user namespaces.
pub fn user_namespaces_or_skip(host: &Host) {
    if !host.as_user("payload", ["without-user-namespaces", "true"]).output().is_ok_and(|o| o.status.success()) {
        suite::skip("ordinary users may not make user namespaces here (cargo x doctor says what to do)");
    }
}
