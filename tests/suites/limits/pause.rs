//! Containers that stand still.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use predicates::prelude::*;
use suite::container::{PLENTY, detached, inspect, monitor, wait_for_log, wait_for_status};
use suite::process::kill9;
use suite::{Host, eventually, host};

use super::{remove, waiting};
use crate::expect::refused;

/// A container that writes a line every few milliseconds, into a file of the host: on its way to a log it would still be read
/// by the monitor when the container stands still.
fn ticking(host: &Host, name: &str) {
    let volume = format!("{}:/ticks", host.work().display());
    detached(host, name, &["-v", &volume], &["sh", "-c", "while :; do echo tick >> /ticks/log; sleep 0.02; done"]);
    eventually("it ticks", || ticks(host) > 0);
}

fn ticks(host: &Host) -> u64 {
    fs::metadata(host.work().join("log")).map_or(0, |log| log.len())
}

#[test]
fn a_paused_container_does_nothing_and_goes_on_where_it_was() {
    host(|host| {
        ticking(host, "clock");
        host.minidocker(["pause", "clock"]).assert().success().stdout("clock\n");
        let before = ticks(host);
        sleep(Duration::from_millis(500));
        assert_eq!(ticks(host), before);
        let state = inspect(host, "clock")["State"].clone();
        assert_eq!(
            (state["Status"].as_str(), state["Paused"].as_bool(), state["Running"].as_bool()),
            (Some("paused"), Some(true), Some(true))
        );
        host.minidocker(["ps"]).assert().success().stdout(predicate::str::contains("(Paused)"));
        refused(host.minidocker(["exec", "clock", "true"]).assert(), 1, &["clock is paused", "unpause"]);
        refused(host.minidocker(["pause", "clock"]).assert(), 1, &["already paused"]);
        refused(host.minidocker(["start", "clock"]).assert(), 1, &["paused"]);
        refused(host.minidocker(["rm", "clock"]).assert(), 1, &["it is paused"]);
        host.minidocker(["top", "clock"]).assert().success().stdout(predicate::str::contains("tick"));
        host.minidocker(["update", "--pids-limit", "50", "clock"]).assert().success();
        assert_eq!(inspect(host, "clock")["State"]["Paused"], true, "a change of limits is no reason to go on");
        host.minidocker(["unpause", "clock"]).assert().success().stdout("clock\n");
        eventually("it goes on", || ticks(host) > before);
        assert_eq!(inspect(host, "clock")["State"]["Status"], "running");
        refused(host.minidocker(["unpause", "clock"]).assert(), 1, &["not paused"]);
        host.minidocker(["exec", "clock", "true"]).assert().success();
        remove(host, "clock");
        refused(host.minidocker(["pause", "clock"]).assert(), 1, &["clock"]);
    });
}

#[test]
fn a_paused_container_can_be_ended_in_every_way() {
    host(|host| {
        for (end, code) in [
            (&["stop", "-t", PLENTY][..], 11),
            (&["kill"], 137),
            (&["kill", "-s", "TERM"], 11),
            (&["stop", "-t", "0"], 0),
        ] {
            detached(host, "one", &[], &["payload", "trap", "INT", "TERM"]);
            wait_for_log(host, "one", "ready");
            host.minidocker(["pause", "one"]).assert().success();
            host.minidocker([end, &["one"]].concat()).assert().success();
            wait_for_status(host, "one", "exited");
            let state = inspect(host, "one")["State"].clone();
            assert!(code == 0 || state["ExitCode"] == code, "{end:?}: {state}");
            host.minidocker(["rm", "one"]).assert().success();
        }
        waiting(host, "one", &[]);
        host.minidocker(["pause", "one"]).assert().success();
        host.minidocker(["rm", "-f", "one"]).assert().success();
        host.minidocker(["ps", "-aq"]).assert().success().stdout("");
    });
}

#[test]
fn another_signal_waits_until_it_goes_on() {
    host(|host| {
        detached(host, "one", &[], &["payload", "trap", "USR1", "TERM"]);
        wait_for_log(host, "one", "ready");
        host.minidocker(["pause", "one"]).assert().success();
        host.minidocker(["kill", "-s", "USR1", "one"]).assert().success();
        sleep(Duration::from_millis(200));
        assert_eq!(inspect(host, "one")["State"]["Status"], "paused");
        host.minidocker(["unpause", "one"]).assert().success();
        // It takes it then.
        wait_for_status(host, "one", "exited");
        remove(host, "one");
    });
}

#[test]
fn a_paused_container_whose_monitor_was_killed_can_still_be_removed() {
    host(|host| {
        waiting(host, "one", &[]);
        host.minidocker(["pause", "one"]).assert().success();
        kill9(monitor(host, "one"));
        eventually("nobody looks after it", || inspect(host, "one")["State"]["Monitored"] == false);
        assert_eq!(inspect(host, "one")["State"]["Paused"], true);
        remove(host, "one");
    });
}
