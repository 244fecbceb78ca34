//! Containers that go on: ps, logs, start, stop, kill, rm, inspect.

use std::fs;

use predicates::prelude::*;
use serde_json::Value;
use suite::{Host, eventually, host};

use crate::expect::{complaint, text};

/// `minidocker run -d --network none --name NAME suite WORDS…`; the id.
pub fn detached(host: &Host, name: &str, args: &[&str], words: &[&str]) -> String {
    if !host.work().join("loaded").exists() {
        host.load_image();
        fs::write(host.work().join("loaded"), "").expect("write a file");
    }
    let mut command = host.minidocker(["run", "-d", "--network", "none", "--name", name]);
    let id = text(&command.args(args).arg("suite").args(words).assert().success());
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "not an id: {id}");
    id
}

/// One container's `inspect`.
pub fn inspect(host: &Host, name: &str) -> Value {
    let text = text(&host.minidocker(["inspect", name]).assert().success());
    let all: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    all[0].clone()
}

pub fn wait_for_log(host: &Host, name: &str, word: &str) {
    eventually(&format!("{word} is in the log of {name}"), || {
        text(&host.minidocker(["logs", name]).assert().success()).contains(word)
    });
}

fn wait_for_status(host: &Host, name: &str, status: &str) {
    eventually(&format!("{name} is {status}"), || inspect(host, name)["State"]["Status"] == status);
}

#[test]
fn a_detached_container_is_seen_and_stopped() {
    host(|host| {
        let id = detached(host, "web", &[], &["payload", "trap", "INT", "TERM"]);
        wait_for_log(host, "web", "ready");
        let row = text(&host.minidocker(["ps"]).assert().success());
        assert!(row.starts_with("CONTAINER ID"), "{row}");
        let line = row.lines().nth(1).expect("one container");
        for word in [&id[..12], "suite", "payload trap", "Up ", "web"] {
            assert!(line.contains(word), "{word} is not in {line}");
        }
        host.minidocker(["ps", "-q"]).assert().success().stdout(format!("{}\n", &id[..12]));
        host.minidocker(["ps", "-q", "--no-trunc"]).assert().success().stdout(format!("{id}\n"));
        assert_eq!(inspect(host, &id[..6])["State"]["Running"], true);
        host.minidocker(["stop", "web"]).assert().success().stdout("web\n");
        let state = inspect(host, "web")["State"].clone();
        assert_eq!((state["Status"].as_str(), state["ExitCode"].as_i64()), (Some("exited"), Some(11)));
        host.minidocker(["ps", "-q"]).assert().success().stdout("");
        host.minidocker(["ps", "-a"]).assert().success().stdout(predicate::str::contains("Exited (11)"));
        host.minidocker(["logs", "web"]).assert().success().stdout(predicate::str::contains("got SIGTERM"));
        host.minidocker(["rm", "web"]).assert().success().stdout("web\n");
        host.minidocker(["ps", "-aq"]).assert().success().stdout("");
    });
}

#[test]
fn logs_keep_both_streams_and_follow() {
    host(|host| {
        detached(host, "talk", &[], &["sh", "-c", "echo one; echo two >&2; sleep 1; echo three"]);
        let (status, said) = host.start("minidocker", ["logs", "-f", "talk"]).wait();
        assert!(status.success());
        let mut lines: Vec<&str> = said.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["one", "three", "two"]);
        host.minidocker(["logs", "talk"]).assert().success().stdout("one\nthree\n").stderr("two\n");
        host.minidocker(["logs", "--tail", "1", "talk"]).assert().success().stdout("three\n");
        host.minidocker(["logs", "-t", "--tail", "1", "talk"])
            .assert()
            .success()
            .stdout(predicate::str::is_match(r"^\d{4}-\d\d-\d\dT[0-9:.]+Z three\n$").expect("a pattern"));
        host.minidocker(["rm", "talk"]).assert().success();
    });
}

#[test]
fn a_stopped_one_starts_again_with_its_files() {
    host(|host| {
        detached(host, "again", &[], &["sh", "-c", "cat /kept; echo kept > /kept"]);
        wait_for_status(host, "again", "exited");
        host.minidocker(["start", "again"]).assert().success().stdout("again\n");
        wait_for_log(host, "again", "kept");
        wait_for_status(host, "again", "exited");
        host.minidocker(["rm", "again"]).assert().success();
    });
}

#[test]
fn who_ignores_sigterm_is_killed() {
    host(|host| {
        detached(host, "deaf", &["--stop-timeout", "1"], &["payload", "ignore", "TERM"]);
        wait_for_log(host, "deaf", "ready");
        host.minidocker(["stop", "deaf"]).assert().success();
        assert_eq!(inspect(host, "deaf")["State"]["ExitCode"], 137);
        host.minidocker(["rm", "deaf"]).assert().success();
    });
}

#[test]
fn kill_sends_what_is_asked() {
    host(|host| {
        detached(host, "one", &[], &["payload", "trap", "USR1", "TERM"]);
        wait_for_log(host, "one", "ready");
        host.minidocker(["kill", "-s", "USR1", "one"]).assert().success();
        wait_for_status(host, "one", "exited");
        assert_eq!(inspect(host, "one")["State"]["ExitCode"], 10);
        host.minidocker(["start", "one"]).assert().success();
        host.minidocker(["kill", "one"]).assert().success();
        wait_for_status(host, "one", "exited");
        assert_eq!(inspect(host, "one")["State"]["ExitCode"], 137);
        host.minidocker(["kill", "one"]).assert().code(1);
        host.minidocker(["rm", "one"]).assert().success();
    });
}

#[test]
fn what_runs_is_removed_only_by_force() {
    host(|host| {
        detached(host, "live", &[], &["payload", "wait"]);
        wait_for_log(host, "live", "ready");
        let said = complaint(&host.minidocker(["rm", "live"]).assert().code(1));
        assert!(said.contains("live") && said.contains("running"), "{said}");
        host.minidocker(["rm", "-f", "live"]).assert().success();
        host.minidocker(["ps", "-aq"]).assert().success().stdout("");
    });
}

#[test]
fn rm_after_the_end_is_done_by_the_monitor() {
    host(|host| {
        detached(host, "gone", &["--rm"], &["true"]);
        eventually("it is gone", || text(&host.minidocker(["ps", "-aq"]).assert().success()).is_empty());
    });
}

#[test]
fn a_name_is_taken_once() {
    host(|host| {
        detached(host, "same", &[], &["true"]);
        let again = host.minidocker(["run", "-d", "--name", "same", "suite", "true"]).assert().code(125);
        assert!(complaint(&again).contains("same"), "{}", complaint(&again));
        host.minidocker(["rm", "-f", "same"]).assert().success();
        detached(host, "same", &[], &["true"]);
        host.minidocker(["rm", "-f", "same"]).assert().success();
    });
}

#[test]
fn inspect_says_what_was_asked() {
    host(|host| {
        let args = ["-e", "A=b", "-w", "/tmp", "-h", "box", "-m", "64m", "--pids-limit", "50", "--cpus", "0.5"];
        detached(host, "all", &args, &["payload", "wait"]);
        let all = inspect(host, "all");
        assert_eq!(all["Name"], "/all");
        assert_eq!(all["Path"], "payload");
        assert_eq!(all["Args"], serde_json::json!(["wait"]));
        assert_eq!(all["Config"]["Hostname"], "box");
        assert_eq!(all["Config"]["WorkingDir"], "/tmp");
        assert!(all["Config"]["Env"].as_array().expect("a list").contains(&"A=b".into()));
        assert_eq!(all["HostConfig"]["Memory"], 64 << 20);
        assert_eq!(all["HostConfig"]["PidsLimit"], 50);
        assert_eq!(all["HostConfig"]["NanoCpus"], 500_000_000);
        host.minidocker(["rm", "-f", "all"]).assert().success();
    });
}

#[test]
fn a_damaged_container_hides_nothing_else() {
    host(|host| {
        let id = detached(host, "broken", &[], &["true"]);
        wait_for_status(host, "broken", "exited");
        detached(host, "whole", &[], &["true"]);
        let directory = host.root().join("containers").join(&id);
        for entry in fs::read_dir(&directory).expect("its directory").flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "json") {
                fs::write(entry.path(), "{ not json").expect("damage it");
            }
        }
        let list = text(&host.minidocker(["ps", "-a"]).assert().success());
        assert!(list.contains("whole"), "{list}");
        assert!(list.contains(&id[..12]), "{list}");
        host.minidocker(["rm", "-f", &id]).assert().success();
        host.minidocker(["rm", "-f", "whole"]).assert().success();
    });
}
