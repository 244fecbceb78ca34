//! Containers that go on: ps, logs, start, stop, kill, rm, inspect.

mod damaged;
mod left_behind;

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket as socket_of};
use predicates::prelude::*;
use suite::container::{PLENTY, detached, inspect, monitor, stopped_at, wait_for_log, wait_for_status};
use suite::image::Image;
use suite::process::{go_on, listens, stop};
use suite::{eventually, host};

use crate::expect::{complaint, refused, text};

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
        host.minidocker(["stop", "-t", PLENTY, "web"]).assert().success().stdout("web\n");
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

#[test]
fn nobody_waits_for_ever_for_a_monitor_that_is_stopped() {
    host(|host| {
        detached(host, "hung", &[], &["payload", "wait"]);
        wait_for_log(host, "hung", "ready");
        let monitor = monitor(host, "hung");
        stop(monitor);
        host.minidocker(["ps"]).assert().success().stdout(predicate::str::contains("hung"));
        host.minidocker(["logs", "hung"]).assert().success().stdout("ready\n");
        assert_eq!(inspect(host, "hung")["State"]["Running"], true);
        for words in [&["stop", "hung"][..], &["kill", "hung"], &["exec", "hung", "true"]] {
            let said = complaint(&host.minidocker(words).assert().failure());
            assert!(said.lines().count() == 1 && said.contains(&format!("kill -CONT {monitor}")), "{words:?}: {said}");
        }
        go_on(monitor);
        host.minidocker(["exec", "hung", "echo", "back"]).assert().success().stdout("back\n");
        stop(monitor);
        host.minidocker(["rm", "-f", "hung"]).assert().success();
        host.minidocker(["ps", "-aq"]).assert().success().stdout("");
        detached(host, "hung", &[], &["true"]);
        host.minidocker(["rm", "-f", "hung"]).assert().success();
    });
}

#[test]
fn a_start_that_hangs_is_removed_by_force() {
    host(|host| {
        host.load_image();
        let run = ["run", "--name", "half", "--network", "none", "suite", "true"];
        let (running, _) = stopped_at(host, "records", run);
        let said = complaint(&host.minidocker(["rm", "half"]).assert().code(1));
        assert!(said.contains("half"), "{said}");
        host.minidocker(["rm", "-f", "half"]).assert().success();
        assert!(!running.wait().0.success());
        host.minidocker(["ps", "-aq"]).assert().success().stdout("");
    });
}

/// More callers than it may have descriptors: it lets in whom it can, and waits without working.
#[test]
fn a_monitor_without_descriptors_left_rests() {
    host(|host| {
        let id = detached(host, "full", &[], &["payload", "wait"]);
        wait_for_log(host, "full", "ready");
        let monitor = monitor(host, "full");
        let open = fs::read_dir(format!("/proc/{monitor}/fd")).expect("its descriptors").count() as u64;
        let limit = libc::rlimit { rlim_cur: open + 3, rlim_max: open + 3 };
        // SAFETY: reads one structure of ours and writes none.
        let set = unsafe { libc::prlimit(monitor, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()) };
        assert_eq!(set, 0);
        let socket = host.root().join("containers").join(&id).join("attach.sock");
        std::env::set_current_dir(socket.parent().expect("a directory")).expect("go there");
        let address = UnixAddr::new("attach.sock").expect("an address");
        let callers: Vec<OwnedFd> = (0..8)
            .map(|_| {
                let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
                let caller = socket_of(AddressFamily::Unix, SockType::SeqPacket, flags, None).expect("a socket");
                connect(caller.as_raw_fd(), &address).expect("connect");
                caller
            })
            .collect();
        let used = || {
            let stat = fs::read_to_string(format!("/proc/{monitor}/stat")).expect("its times");
            let mut fields = stat.rsplit_once(')').expect("a name").1.split_whitespace().skip(11);
            let mut next = || fields.next().and_then(|field| field.parse::<u64>().ok()).expect("a number");
            next() + next() // ticks of user and of system time
        };
        let before = used();
        std::thread::sleep(std::time::Duration::from_secs(2));
        assert!(used() - before < 20, "it works though there is nothing to do");
        drop(callers);
        host.minidocker(["stop", "-t", PLENTY, "full"]).assert().success();
        assert_eq!(inspect(host, "full")["State"]["ExitCode"], 10);
        host.minidocker(["rm", "full"]).assert().success();
    });
}

#[test]
fn waited_for_renamed_and_restarted() {
    host(|host| {
        detached(host, "first", &[], &["payload", "trap", "USR1", "TERM"]);
        wait_for_log(host, "first", "ready");
        let waiting = host.start("minidocker", ["wait", "first"]);
        // By then it has found the container by this name, which will be another's, and told the monitor what it wants.
        eventually("it listens to the monitor", || {
            let open = fs::read_dir(format!("/proc/{}/fd", waiting.pid())).expect("its descriptors").flatten();
            let connected = open
                .filter_map(|entry| fs::read_link(entry.path()).ok())
                .any(|link| link.to_string_lossy().starts_with("socket:"));
            connected && listens(waiting.pid())
        });
        detached(host, "taken", &[], &["sh", "-c", "exit 3"]);
        wait_for_status(host, "taken", "exited");
        let said = complaint(&host.minidocker(["rename", "first", "taken"]).assert().code(1));
        assert!(said.contains("taken") && said.contains("in use"), "{said}");
        host.minidocker(["rename", "first", "../up"]).assert().code(1);
        host.minidocker(["rename", "first", "second"]).assert().success().stdout("");
        host.minidocker(["inspect", "first"]).assert().code(1);
        assert_eq!(inspect(host, "second")["Name"], "/second");
        // The former name is free, and the new one is taken.
        detached(host, "first", &[], &["true"]);
        host.minidocker(["restart", "-t", PLENTY, "second"]).assert().success().stdout("second\n");
        assert_eq!(waiting.wait().1, "11");
        wait_for_log(host, "second", "ready\ngot SIGTERM\nready");
        host.minidocker(["kill", "-s", "USR1", "second"]).assert().success();
        host.minidocker(["wait", "second", "taken"]).assert().success().stdout("10\n3\n");
        host.minidocker(["wait", "never-heard-of"]).assert().code(1);
        host.minidocker(["create", "--name", "made", "suite", "true"]).assert().success();
        host.minidocker(["wait", "made"]).assert().success().stdout("0\n");
        host.minidocker(["rm", "first", "second", "taken", "made"]).assert().success();
        assert!(fs::read_dir(host.root().join("names")).expect("the names").next().is_none());
    });
}

/// With --rm it is the monitor that gives the name back: the one that it has by then.
#[test]
fn renamed_while_it_runs() {
    host(|host| {
        detached(host, "before", &["--rm"], &["payload", "wait"]);
        wait_for_log(host, "before", "ready");
        host.minidocker(["rename", "before", "after"]).assert().success();
        host.minidocker(["stop", "after"]).assert().success();
        eventually("it is gone", || text(&host.minidocker(["ps", "-aq"]).assert().success()).is_empty());
        assert!(fs::read_dir(host.root().join("names")).expect("the names").next().is_none());
    });
}

#[test]
fn attached_to_from_anywhere() {
    host(|host| {
        detached(host, "talk", &["-i"], &["sh", "-c", "while read line; do echo \"heard $line\"; done; exit 7"]);
        host.minidocker(["attach", "talk"]).write_stdin("one\ntwo\n").assert().code(7).stdout("heard one\nheard two\n");
        let said = complaint(&host.minidocker(["attach", "talk"]).assert().code(1));
        assert!(said.contains("not running"), "{said}");
        host.minidocker(["rm", "talk"]).assert().success();
    });
}

#[test]
fn made_first_and_started_later() {
    host(|host| {
        host.load_image();
        let id = text(&host.minidocker(["create", "--name", "later", "suite", "echo", "hello"]).assert().success());
        assert_eq!(id.len(), 64);
        assert_eq!(inspect(host, "later")["State"]["Status"], "created");
        host.minidocker(["start", "-a", "later"]).assert().success().stdout("hello\n");
        host.minidocker(["rm", "later"]).assert().success();
        host.minidocker(["create", "--cap-add", "NONSENSE", "suite", "true"]).assert().code(125);
        host.minidocker(["ps", "-aq"]).assert().success().stdout("");
    });
}

#[test]
fn ports_are_listed() {
    host(|host| {
        host.load_image();
        let run =
            ["run", "-d", "--name", "web", "-p", "127.0.0.1:8080:80", "-p", "8053:53/udp", "suite", "payload", "wait"];
        host.minidocker(run).assert().success();
        let all = text(&host.minidocker(["port", "web"]).assert().success());
        assert_eq!(all, "80/tcp -> 127.0.0.1:8080\n53/udp -> 0.0.0.0:8053");
        host.minidocker(["port", "web", "80"]).assert().success().stdout("127.0.0.1:8080\n");
        host.minidocker(["port", "web", "53/udp"]).assert().success().stdout("0.0.0.0:8053\n");
        host.minidocker(["port", "web", "81"]).assert().code(1);
        host.minidocker(["port", "web", "http"]).assert().code(1);
        host.minidocker(["rm", "-f", "web"]).assert().success();
    });
}

/// systemd's images say STOPSIGNAL SIGRTMIN+3.
#[test]
fn real_time_signals_stop_and_kill() {
    host(|host| {
        let archive = host.work().join("systemd.tar");
        Image::system(host).set("StopSignal", "SIGRTMIN+3".into()).archive(&archive, "systemd:latest");
        host.minidocker(["load", "-i"]).arg(archive).assert().success();
        let trap = |number: u8| format!("trap 'exit 7' {number}; echo ready; while :; do sleep 0.05; done");
        let run = |name: &str, args: &[&str], line: &str| {
            let mut command = host.minidocker(["run", "-d", "--network", "none", "--name", name]);
            command.args(args).args(["systemd", "sh", "-c", line]).assert().success();
            wait_for_log(host, name, "ready");
        };
        run("its-own", &[], &trap(37));
        host.minidocker(["stop", "its-own"]).assert().success();
        assert_eq!(inspect(host, "its-own")["State"]["ExitCode"], 7);
        run("mine", &["--stop-signal", "64"], &trap(64));
        host.minidocker(["stop", "mine"]).assert().success();
        assert_eq!(inspect(host, "mine")["State"]["ExitCode"], 7);
        run("killed", &["--init"], "echo ready; exec sleep 1000");
        host.minidocker(["kill", "-s", "rtmax-1", "killed"]).assert().success();
        host.minidocker(["wait", "killed"]).assert().success().stdout("191\n"); // 128 + 63
        for signal in ["RTMIN+31", "RTMIN-1", "65", "0", "NOSUCH"] {
            let killed = host.minidocker(["kill", "-s", signal, "killed"]).assert();
            refused(killed, 1, &["invalid signal", signal]);
        }
    });
}
