//! What containers use, and what runs in them.

use predicates::prelude::*;
use suite::container::{detached, first_process, wait_for_log};
use suite::{eventually, host};

use super::{remove, waiting};
use crate::expect::{refused, text};

/// The cells of a table with three spaces between columns.
fn cells(line: &str) -> Vec<String> {
    line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).map(String::from).collect()
}

#[test]
fn stats_show_what_is_used() {
    host(|host| {
        detached(host, "busy", &["--cpus", "0.5", "-m", "64m"], &["sh", "-c", "payload burn 600000; true"]);
        detached(host, "large", &[], &["payload", "hold", "50000000"]);
        wait_for_log(host, "large", "ready");
        // Its shell, and what that has started.
        eventually("it is busy", || {
            text(&host.minidocker(["top", "busy"]).assert().success()).lines().skip(1).count() == 2
        });
        let percent = |cell: &str| cell.trim_end_matches('%').parse::<f64>().expect("a percentage");
        let row = |said: &str, name: &str| {
            let line = said.lines().find(|line| cells(line).get(1).is_some_and(|cell| cell == name));
            cells(line.unwrap_or_else(|| panic!("no {name} in {said}")))
        };
        let mut said = String::new();
        // Between two looks a busy machine may have had no time for it.
        eventually("it is seen to be busy", || {
            said = text(&host.minidocker(["stats", "--no-stream"]).assert().success());
            percent(&row(&said, "busy")[2]) >= 1.0
        });
        let mut lines = said.lines();
        let heads = ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"];
        assert_eq!(cells(lines.next().expect("a header")), heads);
        let busy = row(&said, "busy");
        // Half a processor; less on a machine that has something else to do.
        assert!(percent(&busy[2]) <= 75.0, "{busy:?}");
        assert!(busy[3].ends_with("/ 64MiB"), "{busy:?}");
        assert_eq!(busy[7], "2", "{busy:?}");
        let large = row(&said, "large");
        assert!(percent(&large[2]) <= 20.0, "{large:?}");
        // 50 MB are 47.7 MiB.
        let used: f64 = large[3].split("MiB").next().and_then(|size| size.parse().ok()).expect("a size");
        assert!((47.0..80.0).contains(&used), "{large:?}");
        assert_eq!(large[5], "0B / 0B", "it has no network");
        let one = text(&host.minidocker(["stats", "--no-stream", "large"]).assert().success());
        assert!(one.lines().count() == 2 && one.contains("large"), "{one}");
        host.minidocker(["kill", "busy"]).assert().success();
        let running = text(&host.minidocker(["stats", "--no-stream"]).assert().success());
        assert!(!running.contains("busy"), "{running}");
        host.minidocker(["stats", "--no-stream", "-a"]).assert().success().stdout(predicate::str::contains("busy"));
        refused(host.minidocker(["stats", "nobody"]).assert(), 1, &["nobody"]);
        remove(host, "busy");
        remove(host, "large");
    });
}

#[test]
fn stats_go_on_until_they_are_stopped() {
    host(|host| {
        waiting(host, "one", &[]);
        let mut live = host.start("minidocker", ["stats"]);
        // One picture after the other, and what is removed drops out.
        live.wait_for("one");
        live.wait_for("one");
        remove(host, "one");
        waiting(host, "two", &[]);
        live.wait_for("two");
        live.signal(nix::sys::signal::Signal::SIGINT);
        let (_, said) = live.wait();
        assert!(said.matches("CONTAINER ID").count() >= 3, "{said}");
        remove(host, "two");
    });
}

#[test]
fn top_shows_the_containers_processes_and_no_others() {
    host(|host| {
        detached(host, "one", &[], &["sh", "-c", "sleep 1000 & exec payload trap TERM"]);
        wait_for_log(host, "one", "ready");
        let said = text(&host.minidocker(["top", "one"]).assert().success());
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(
            lines[0].split_whitespace().collect::<Vec<_>>(),
            ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
        );
        assert_eq!(lines.len(), 3, "{said}");
        assert!(lines[1..].iter().all(|line| line.starts_with("root")), "{said}");
        assert!(said.contains("payload trap TERM") && said.contains("sleep 1000"), "{said}");
        let pid = first_process(host, "one").to_string();
        let chosen = text(&host.minidocker(["top", "one", "-o", "pid,comm"]).assert().success());
        assert!(
            chosen.lines().any(|line| line.split_whitespace().collect::<Vec<_>>() == [&pid, "payload"]),
            "{chosen}"
        );
        let aux = text(&host.minidocker(["top", "one", "aux"]).assert().success());
        assert!(aux.starts_with("USER") && aux.contains("RSS"), "{aux}");
        refused(host.minidocker(["top", "one", "-o", "shoesize"]).assert(), 1, &["shoesize"]);
        host.minidocker(["stop", "one"]).assert().success();
        refused(host.minidocker(["top", "one"]).assert(), 1, &["one is not running"]);
        remove(host, "one");
    });
}
