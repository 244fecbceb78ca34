//! `minidocker exec`: another process beside the first.

use std::process::Command;

use suite::container::{detached, wait_for_log};
use suite::{Terminal, host};

use crate::expect::{complaint, fact, text};

#[test]
fn it_is_in_the_same_world() {
    host(|host| {
        detached(host, "base", &["-h", "box", "-e", "A=b", "-m", "64m"], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        let facts = text(&host.minidocker(["exec", "base", "payload", "facts"]).assert().success());
        assert_eq!(fact(&facts, "hostname"), "box");
        assert!(facts.contains("env A=b"), "{facts}");
        for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
            let link = format!("/proc/self/ns/{kind}");
            let own = text(&host.minidocker(["exec", "base", "readlink", &link]).assert().success());
            let first =
                text(&host.minidocker(["exec", "base", "readlink", &format!("/proc/1/ns/{kind}")]).assert().success());
            assert_eq!(own, first, "{kind}");
        }
        let cgroup = text(&host.minidocker(["exec", "base", "cat", "/proc/self/cgroup"]).assert().success());
        assert!(cgroup.lines().all(|line| line.ends_with(":/")), "{cgroup}");
        host.minidocker(["exec", "base", "sh", "-c", "echo made > /made"]).assert().success();
        host.minidocker(["exec", "base", "cat", "/made"]).assert().success().stdout("made\n");
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}

#[test]
fn streams_status_and_options() {
    host(|host| {
        detached(host, "base", &[], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        host.minidocker(["exec", "base", "sh", "-c", "echo out; echo err >&2; exit 3"])
            .assert()
            .code(3)
            .stdout("out\n")
            .stderr("err\n");
        host.minidocker(["exec", "-i", "base", "cat"]).write_stdin("in\n").assert().success().stdout("in\n");
        let args = ["exec", "-u", "user", "-w", "/var/www", "-e", "A=b", "base", "payload", "facts"];
        let facts = text(&host.minidocker(args).assert().success());
        assert_eq!(fact(&facts, "uid"), "1234");
        assert_eq!(fact(&facts, "cwd"), "/var/www");
        assert!(facts.contains("env A=b"), "{facts}");
        host.minidocker(["exec", "-d", "base", "sh", "-c", "echo later > /later"]).assert().success().stdout("");
        suite::eventually("it has run", || {
            host.minidocker(["exec", "base", "cat", "/later"]).output().is_ok_and(|output| output.stdout == b"later\n")
        });
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}

#[test]
fn its_privileges_are_the_containers() {
    host(|host| {
        detached(host, "base", &[], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        let said = text(&host.minidocker(["exec", "base", "payload", "privileges"]).assert().success());
        assert!(said.contains("CapEff: 00000000a80425fb") && said.contains("Seccomp: 2"), "{said}");
        let open = text(&host.minidocker(["exec", "base", "payload", "fds"]).assert().success());
        assert_eq!(open.lines().count(), 3, "{open}");
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}

#[test]
fn a_terminal_is_a_terminal() {
    host(|host| {
        detached(host, "base", &[], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        let mut command = Command::new(host.bin("minidocker"));
        command.args(["exec", "-it", "base", "sh"]);
        let mut terminal = Terminal::start(command);
        terminal.send("payload tty\n");
        terminal.wait_for("stdin terminal");
        terminal.wait_for("controlling terminal");
        terminal.send("exit 9\n");
        assert_eq!(terminal.wait().0.code(), Some(9));
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}

#[test]
fn what_cannot_be_executed() {
    host(|host| {
        detached(host, "base", &[], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        for (words, code) in [(["exec", "base", "no-such"], 127), (["exec", "base", "/etc"], 126)] {
            let said = complaint(&host.minidocker(words).assert().code(code));
            assert!(said.contains(words[2]), "{said}");
        }
        let said = complaint(&host.minidocker(["exec", "-u", "nobody-here", "base", "true"]).assert().failure());
        assert!(said.contains("nobody-here"), "{said}");
        host.minidocker(["stop", "-t", "1", "base"]).assert().success();
        let said = complaint(&host.minidocker(["exec", "base", "true"]).assert().code(1));
        assert!(said.contains("not running"), "{said}");
        host.minidocker(["rm", "base"]).assert().success();
        let said = complaint(&host.minidocker(["exec", "base", "true"]).assert().code(1));
        assert!(said.to_lowercase().contains("no such container"), "{said}");
    });
}

#[test]
fn who_is_left_when_the_first_ends_ends_too() {
    host(|host| {
        detached(host, "base", &[], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        let mut beside = host.start("minidocker", ["exec", "base", "payload", "ignore", "TERM"]);
        beside.wait_for("ready");
        host.minidocker(["stop", "base"]).assert().success();
        assert_eq!(beside.wait().0.code(), Some(137));
        host.minidocker(["rm", "base"]).assert().success();
    });
}

/// The kernel takes 128 KiB for one variable and 2 MiB in all.
#[test]
fn a_big_environment_is_the_kernels_to_refuse() {
    host(|host| {
        detached(host, "box", &[], &["payload", "wait"]);
        let big = "x".repeat(100_000);
        let with = |count: usize| {
            let mut command = host.minidocker(["exec"]);
            for number in 0..count {
                command.args(["-e".to_owned(), format!("BIG{number}={big}")]);
            }
            command.args(["box", "sh", "-c", "env | grep -c ^BIG; echo ${#BIG14}"]).assert()
        };
        with(15).success().stdout("15\n100000\n");
        host.minidocker(["exec", "box", "true"]).assert().success();
    });
}
