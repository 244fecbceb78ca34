//! Process 1 and its signals, what an exec leaves behind, sharing, clocks.

use std::fs;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use suite::process::{children, state};
use suite::{Background, Host, eventually, host};

use super::{child_of, user_namespaces_or_skip};
use crate::expect::{fact, refused, text};

/// Sends a signal by number.
fn send(pid: i32, number: i32) {
    // SAFETY: kill(2) takes numbers.
    assert_eq!(unsafe { libc::kill(pid, number) }, 0, "signal {number} to {pid}");
}

/// `ch01 run ARGS… payload wait`, ready.
fn waiting(host: &Host, args: &[&str]) -> Background {
    let mut words = vec!["run"];
    words.extend(args);
    words.extend(["/tmp/suite/bin/payload", "wait"]);
    let mut running = host.start("ch01", words);
    running.wait_for("ready");
    running
}

/// Ends what `waiting` has started.
fn end(running: Background) {
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().0.code(), Some(10));
}

#[test]
fn init_forwards_real_time_signals() {
    host(|host| {
        let running = waiting(host, &["--init"]);
        send(running.pid(), 40);
        assert_eq!(running.wait().0.code(), Some(128 + 40), "the payload is killed by it, and init ends as it has");
    });
}

#[test]
fn the_status_of_a_real_time_death_is_told() {
    host(|host| {
        let running = waiting(host, &["--share", "pid"]);
        send(running.pid(), 63);
        assert_eq!(running.wait().0.code(), Some(128 + 63));
    });
}

#[test]
fn init_stops_and_continues_the_payload() {
    host(|host| {
        let running = waiting(host, &["--init"]);
        let payload = children(child_of(&running))[0];
        running.signal(Signal::SIGTSTP);
        eventually("the payload stops", || state(payload) == 'T');
        running.signal(Signal::SIGCONT);
        eventually("the payload goes on", || state(payload) == 'S');
        end(running);
    });
}

#[test]
fn who_waits_stops_and_continues_with_the_child() {
    host(|host| {
        let running = waiting(host, &[]);
        let child = child_of(&running);
        send(child, libc::SIGSTOP);
        eventually("ch01 stops as well, for its shell to see", || state(running.pid()) == 'T');
        running.signal(Signal::SIGCONT);
        eventually("the child goes on", || state(child) == 'S');
        end(running);
    });
}

/// From the payload's first instruction on: what init says of itself only afterwards, a quick payload gets to see before.
#[test]
fn init_goes_by_its_own_name_and_the_payloads_environment() {
    host(|host| {
        let root = host.rootfs("rootfs");
        for _ in 0..30 {
            let mut command = host.chapter(3, ["run", "--init", "--rootfs"]);
            command.arg(&root).args(["cat", "/proc/1/comm", "/proc/1/environ", "/proc/1/cmdline"]);
            let said = text(&command.env("SECRET", "of-the-caller").assert().success()).replace('\0', " ");
            assert!(!said.contains("of-the-caller"), "{said}");
            assert!(said.starts_with("init\nPATH=") && said.contains("init -- cat /proc/1/comm "), "{said}");
        }
    });
}

#[test]
fn a_payload_does_not_outlive_its_init() {
    host(|host| {
        let running = waiting(host, &["--init", "--share", "pid"]);
        let init = child_of(&running);
        let payload = children(init)[0];
        send(init, libc::SIGKILL);
        assert_eq!(running.wait().0.code(), Some(137));
        eventually("the payload is gone", || matches!(state(payload), '?' | 'Z'));
    });
}

#[test]
fn what_the_caller_had_set_is_reset() {
    host(|host| {
        host.needs("taskset");
        // Ignored by the shell, and inherited over every exec.
        let script = "trap '' 40 USR1; exec taskset -c 0 /tmp/suite/bin/ch01 run \
                      grep -E 'SigIgn|SigBlk|Cpus_allowed_list' /proc/self/status";
        let inside = text(&host.tool("sh", ["-c", script]).assert().success());
        let field = |text: &str, name: &str| fact(&text.replace(":\t", " "), name);
        assert_eq!(field(&inside, "SigIgn"), "0000000000000000", "{inside}");
        assert_eq!(field(&inside, "SigBlk"), "0000000000000000", "{inside}");
        // All that our cgroup has, whatever our own caller was pinned to.
        let mut all = CpuSet::new();
        (0..CpuSet::count()).for_each(|processor| all.set(processor).expect("one of them"));
        sched_setaffinity(Pid::from_raw(0), &all).expect("let go of our own");
        let status = fs::read_to_string("/proc/thread-self/status").expect("our status");
        assert_eq!(field(&inside, "Cpus_allowed_list"), field(&status, "Cpus_allowed_list"));
        let slack = "echo 999999 > /proc/self/timerslack_ns; exec /tmp/suite/bin/ch01 run --share pid \
                     sh -c 'cat /proc/$$/timerslack_ns'";
        assert_eq!(text(&host.tool("sh", ["-c", slack]).assert().success()), "50000");
    });
}

#[test]
fn clocks_are_set_for_the_container_alone() {
    host(|host| {
        let uptime = |text: &str| text.split('.').next().and_then(|n| n.parse::<i64>().ok()).expect("a number");
        let outside = || uptime(&fs::read_to_string("/proc/uptime").expect("read it"));
        // However long it takes: inside it was some time between the two looks outside, and 86400.5 seconds more.
        let is_ahead = |run: assert_cmd::Command| {
            let before = outside();
            let inside = uptime(&text(&{ run }.assert().success()));
            (before + 86_400..=outside() + 86_401).contains(&inside)
        };
        let show = |options: &[&str]| {
            let mut words = vec!["run", "--time-offset", "boottime=86400.5,monotonic=-1"];
            words.extend(options);
            words.extend(["cat", "/proc/uptime"]);
            words.into_iter().map(String::from).collect::<Vec<_>>()
        };
        assert!(is_ahead(host.chapter(1, show(&[]))), "as root");
        let namespace = ["--new", "user"];
        assert!(is_ahead(host.chapter(1, show(&namespace))), "in a user namespace");
        user_namespaces_or_skip(host);
        assert!(is_ahead(host.as_user("ch01", show(&[]))), "as an ordinary user");
    });
}

#[test]
fn clocks_cannot_be_set_to_before_the_start() {
    host(|host| {
        let run = |offset: &str| host.chapter(1, ["run", "--time-offset", offset, "true"]).assert();
        refused(run("boottime=-99999999999"), 125, &["set a clock", "further than to 0"]);
        refused(run("boottime=1,realtime=5"), 125, &["realtime", "monotonic, boottime"]);
        refused(run("boottime=soon"), 125, &["soon", "seconds"]);
        let shared = ["run", "--share", "time", "--time-offset", "boottime=1", "true"];
        refused(host.chapter(1, shared).assert(), 125, &["--time-offset"]);
    });
}

#[test]
fn namespaces_of_another_container_are_shared() {
    host(|host| {
        let other = waiting(host, &["--hostname", "theirs"]);
        let pid = child_of(&other);
        let of = format!("container:{pid}");
        let words = ["run", "--uts", &of, "--pid", &of, "--ipc", &of, "/tmp/suite/bin/payload", "facts"];
        let facts = text(&host.chapter(1, words).assert().success());
        assert_eq!(fact(&facts, "hostname"), "theirs");
        assert_ne!(fact(&facts, "pid"), "1", "theirs is pid 1");
        let link = |kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a link").display().to_string();
        let script = "for kind in uts ipc net; do readlink /proc/self/ns/$kind; done";
        let shown = text(&host.chapter(1, ["run", "--uts", &of, "--ipc", &of, "sh", "-c", script]).assert().success());
        let shown: Vec<&str> = shown.lines().collect();
        assert_eq!(shown[..2], [link("uts"), link("ipc")]);
        assert_ne!(shown[2], link("net"), "what was not asked for is its own");
        end(other);
    });
}

#[test]
fn a_user_shares_with_his_own_container() {
    host(|host| {
        user_namespaces_or_skip(host);
        let words = ["run", "--hostname", "theirs", "/tmp/suite/bin/payload", "wait"];
        let mut other = Background::start(host.user_command("ch01", words));
        other.wait_for("ready");
        let of = format!("container:{}", child_of(&other));
        // It is in the user namespace that owns the other's: nobody else may join them.
        let words = ["run", "--uts", &of, "--ipc", &of, "/tmp/suite/bin/payload", "facts"];
        let facts = text(&host.as_user("ch01", words).assert().success());
        let told = ["hostname", "uid", "pid"].map(|key| fact(&facts, key));
        assert_eq!(told, ["theirs", "0", "1"].map(String::from));
        let contradiction = ["run", "--uts", &of, "--new", "user", "true"];
        refused(host.as_user("ch01", contradiction).assert(), 125, &["--new user"]);
        end(other);
    });
}

#[test]
fn the_view_of_cgroups_is_private_or_the_hosts() {
    host(|host| {
        let outside = fs::read_link("/proc/self/ns/cgroup").expect("our own").display().to_string();
        let show = |mode: &str| {
            text(&host.chapter(1, ["run", "--cgroupns", mode, "readlink", "/proc/self/ns/cgroup"]).assert().success())
        };
        assert_eq!(show("host"), outside);
        assert_ne!(show("private"), outside);
    });
}

#[test]
fn nobody_to_share_with_is_said() {
    host(|host| {
        let cases: &[(&[&str], &[&str])] = &[
            (&["--pid", "container:web"], &["container:web", "pid"]),
            (&["--pid", "container:"], &["container:"]),
            (&["--ipc", "container:4194304"], &["no process 4194304"]),
            (&["--uts", "friend"], &["friend", "private, host, container:X"]),
            (&["--pid", "host", "--new", "pid"], &["contradict"]),
            (&["--share", "uts", "--uts", "private"], &["contradict"]),
        ];
        for (args, told) in cases {
            let mut words = vec!["run"];
            words.extend(*args);
            words.push("true");
            refused(host.chapter(1, words).assert(), 125, told);
        }
    });
}

#[test]
fn enter_says_who_cannot_be_entered() {
    host(|host| {
        let enter = |pid: &str| host.chapter(1, ["enter", pid, "true"]).assert();
        refused(enter("4194304"), 125, &["there is no process 4194304"]);
        refused(enter("0"), 125, &["0 is not the number of a process"]);
        refused(enter("99999999999"), 125, &["99999999999"]);
        refused(host.chapter(1, ["enter", "--", "-7", "true"]).assert(), 125, &["-7 is not the number"]);
        // Not reaped: its number is still there, its namespaces are not.
        let mut dead = std::process::Command::new("true").spawn().expect("start it");
        eventually("it is a zombie", || state(dead.id() as i32) == 'Z');
        refused(enter(&dead.id().to_string()), 125, &["ending"]);
        dead.wait().expect("reap it");
        user_namespaces_or_skip(host);
        let of_root = std::process::id().to_string();
        refused(host.as_user("ch01", ["enter", &of_root, "true"]).assert(), 125, &["another user's", "run as root"]);
    });
}

#[test]
fn a_pid_namespace_that_has_ended_takes_nobody_in() {
    host(|host| {
        // Somebody in the uts namespace of a container whose pid 1 is dead: the pid namespace cannot be joined.
        let words = ["run", "--init", "--share", "mnt", "/tmp/suite/bin/payload", "wait"];
        let mut running = host.start("ch01", words);
        running.wait_for("ready");
        let init = child_of(&running);
        send(init, libc::SIGSTOP);
        eventually("init stands still", || state(init) == 'T');
        running.signal(Signal::SIGKILL);
        eventually("the container ends with ch01", || matches!(state(init), '?' | 'Z'));
        refused(host.chapter(1, ["enter", &init.to_string(), "true"]).assert(), 125, &[]);
        drop(running);
    });
}

#[test]
fn an_ordinary_user_lists_what_is_his() {
    host(|host| {
        let listed = host.as_user("ch01", ["list", "--type", "pid"]).assert().success();
        let rows = text(&listed);
        assert!(rows.lines().nth(1).is_some_and(|row| row.starts_with('*') && row.contains(" pid ")), "{rows}");
        let told = crate::expect::complaint(&listed);
        assert!(told.contains("processes are not ours to look at"), "{told}");
        let all = host.chapter(1, ["list"]).assert().success();
        assert_eq!(crate::expect::complaint(&all), "", "root may look at all");
    });
}
