//! Killed at any moment: what lives goes on, what is half made is gone, and nothing is left behind.

use suite::container::{detached, first_process, inspect, monitor, stopped_at, wait_for_log};
use suite::process::kill9;
use suite::{Host, eventually, host};

use crate::expect::text;

#[test]
fn the_client_may_die() {
    host(|host| {
        host.load_image();
        let mut client =
            host.start("minidocker", ["run", "--name", "on", "--network", "none", "suite", "payload", "wait"]);
        client.wait_for("ready");
        kill9(client.pid());
        client.wait();
        assert_eq!(inspect(host, "on")["State"]["Running"], true);
        host.minidocker(["exec", "on", "true"]).assert().success();
        host.minidocker(["stop", "on"]).assert().success();
        host.minidocker(["rm", "on"]).assert().success();
    });
}

#[test]
fn a_detached_container_has_no_client() {
    host(|host| {
        detached(host, "on", &[], &["payload", "wait"]);
        wait_for_log(host, "on", "ready");
        assert_eq!(text(&host.minidocker(["ps", "-q"]).assert().success()).lines().count(), 1);
        host.minidocker(["rm", "-f", "on"]).assert().success();
    });
}

#[test]
fn without_its_monitor_a_container_is_shown_honestly_and_removed() {
    host(|host| {
        detached(host, "alone", &[], &["payload", "wait"]);
        wait_for_log(host, "alone", "ready");
        let pid = first_process(host, "alone");
        kill9(monitor(host, "alone"));
        eventually("ps says that nobody watches it", || {
            text(&host.minidocker(["ps"]).assert().success()).contains("unmonitored")
        });
        assert!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "the payload goes on");
        host.minidocker(["rm", "-f", "alone"]).assert().success();
        host.minidocker(["ps", "-aq"]).assert().success().stdout("");
    });
}

#[test]
fn without_its_monitor_a_container_is_stopped() {
    host(|host| {
        let run = ["run", "-d", "--name", "alone", "-p", "8080:80", "suite", "payload", "wait"];
        host.with_image(run).assert().success();
        wait_for_log(host, "alone", "ready");
        kill9(monitor(host, "alone"));
        host.minidocker(["stop", "-t", "2", "alone"]).assert().success();
        assert_eq!(inspect(host, "alone")["State"]["Running"], false);
        host.minidocker(["rm", "alone"]).assert().success();
        // Its port and address are free again.
        host.minidocker(["run", "--rm", "-p", "8080:80", "suite", "true"]).assert().success();
    });
}

#[test]
fn both_die_at_once() {
    host(|host| {
        detached(host, "dead", &[], &["payload", "wait"]);
        wait_for_log(host, "dead", "ready");
        let pid = first_process(host, "dead");
        kill9(monitor(host, "dead"));
        kill9(pid);
        eventually("it does not run", || inspect(host, "dead")["State"]["Running"] == false);
        host.minidocker(["start", "dead"]).assert().success();
        host.minidocker(["rm", "-f", "dead"]).assert().success();
    });
}

/// The engine stops at a step of a start, is killed there, and the next command finds everything in order.
fn killed_at(host: &Host, step: &str) {
    host.load_image();
    let run = ["run", "--name", "half", "-p", "8080:80", "-m", "64m", "suite", "payload", "wait"];
    let (running, pid) = stopped_at(host, step, run);
    kill9(pid);
    kill9(running.pid());
    running.wait();
    host.minidocker(["ps", "-a"]).assert().success();
    // Wholly there or not at all: either way its name can be had again.
    host.minidocker(["rm", "-f", "half"]).assert().success();
    let again = ["run", "--rm", "--name", "half", "-p", "8080:80", "-m", "64m", "suite", "true"];
    host.minidocker(again).assert().success();
    host.minidocker(["ps", "-aq"]).assert().success().stdout("");
}

#[test]
fn killed_when_the_records_are_written() {
    host(|host| killed_at(host, "records"));
}

#[test]
fn killed_when_the_container_is_created() {
    host(|host| killed_at(host, "created"));
}

#[test]
fn killed_when_the_container_is_started() {
    host(|host| killed_at(host, "started"));
}
