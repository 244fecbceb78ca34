//! What every container is, whoever makes it: chapters, the engine, and peers, which show that the test is right.

use predicates::prelude::*;
use suite::subject::Wish;
use suite::{Host, Subject, host};

use crate::expect::{fact, refused, text};

/// The same tests for one more subject.
macro_rules! world {
    ($name:ident, $subject:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn gives_back_the_exit_status() {
                host(|host| super::exit_status(host, $subject));
            }

            #[test]
            fn is_process_one() {
                host(|host| super::process_one(host, $subject));
            }

            #[test]
            fn has_its_own_host_name() {
                host(|host| super::host_name(host, $subject));
            }

            #[test]
            fn kill_all_reaches_nobody() {
                host(|host| super::kill_all(host, $subject));
            }

            #[test]
            fn inherits_no_descriptor() {
                host(|host| super::descriptors(host, $subject));
            }

            #[test]
            fn starts_with_default_signals() {
                host(|host| super::signals(host, $subject));
            }

            #[test]
            fn a_missing_command_is_127() {
                host(|host| super::missing(host, $subject));
            }

            #[test]
            fn forwards_sigterm() {
                host(|host| super::forwards(host, $subject));
            }

            #[test]
            fn shows_an_interface_of_its_own() {
                host(|host| super::interfaces(host, $subject));
            }
        }
    };
}

/// And what is true from the first root of its own on.
macro_rules! rooted {
    ($name:ident, $subject:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn sees_its_own_files_only() {
                host(|host| super::own_files(host, $subject));
            }

            #[test]
            fn sees_its_own_processes_only() {
                host(|host| super::own_processes(host, $subject));
            }

            #[test]
            fn cannot_climb_out() {
                host(|host| super::climb(host, $subject));
            }

            #[test]
            fn cannot_read_kernel_memory_or_set_kernel_parameters() {
                host(|host| super::masks(host, $subject));
            }

            #[test]
            fn has_the_usual_devices() {
                host(|host| super::devices(host, $subject));
            }

            #[test]
            fn what_cannot_be_executed_is_126() {
                host(|host| super::not_executable(host, $subject));
            }
        }
    };
}

world!(ch01, Subject::Chapter(1));
world!(ch02, Subject::Chapter(2));
world!(ch03, Subject::Chapter(3));
world!(ch04, Subject::Chapter(4));
world!(ch05, Subject::Chapter(5));
world!(ch06, Subject::Chapter(6));
world!(engine, Subject::Engine);
world!(runc, Subject::Runc);

rooted!(ch03_root, Subject::Chapter(3));
rooted!(ch04_root, Subject::Chapter(4));
rooted!(ch05_root, Subject::Chapter(5));
rooted!(ch06_root, Subject::Chapter(6));
rooted!(engine_root, Subject::Engine);
rooted!(runc_root, Subject::Runc);

fn exit_status(host: &Host, subject: Subject) {
    subject.run(host, &["payload", "exit", "0"]).code(0);
    subject.run(host, &["payload", "exit", "42"]).code(42);
}

fn process_one(host: &Host, subject: Subject) {
    let facts = text(&subject.run(host, &["payload", "facts"]).success());
    assert_eq!(fact(&facts, "pid"), "1");
    assert_eq!(fact(&facts, "uid"), "0");
    assert_eq!(fact(&facts, "groups").split(',').filter(|group| !matches!(*group, "" | "0" | "10")).count(), 0);
}

fn host_name(host: &Host, subject: Subject) {
    let wish = Wish { hostname: Some("a-box"), ..Wish::default() };
    let inside = assert_cmd::Command::from_std(subject.command(host, wish, &["hostname"]));
    { inside }.assert().success().stdout("a-box\n");
    host.tool("hostname", [""; 0]).assert().success().stdout("virtual-host\n");
}

fn kill_all(host: &Host, subject: Subject) {
    // The canary says whether it is true.
    subject.run(host, &["payload", "kill-all"]).success().stdout("nobody else here\n");
}

fn descriptors(host: &Host, subject: Subject) {
    let open = text(&subject.run(host, &["payload", "fds"]).success());
    let numbers: Vec<&str> = open.lines().filter_map(|line| line.split(' ').next()).collect();
    // Where /proc is another PID namespace's, /proc/self names nobody.
    if subject.has_root() {
        assert_eq!(numbers, ["0", "1", "2"], "{open}");
    }
}

fn signals(host: &Host, subject: Subject) {
    // Without a shell where that is possible: busybox's ignores SIGQUIT by itself.
    let words = ["grep", "-E", "SigBlk|SigIgn", "/proc/self/status"];
    let script = "mount -t proc proc /proc; exec grep -E 'SigBlk|SigIgn' /proc/self/status";
    let words = if subject.has_root() { &words[..] } else { &["sh", "-c", script] };
    let said = text(&subject.run(host, words).success());
    assert_eq!(said.lines().count(), 2, "{said}");
    for line in said.lines() {
        let mask = line.split_whitespace().last().and_then(|hex| u64::from_str_radix(hex, 16).ok());
        // Signals 32 and 33 are the C library's own and cannot be set through it.
        assert_eq!(mask.map(|mask| mask & !(3 << 31)), Some(0), "{said}");
    }
}

fn missing(host: &Host, subject: Subject) {
    let assert = subject.run(host, &["no-such-command"]);
    match subject {
        Subject::Runc | Subject::Crun => drop(assert.failure().stderr(predicate::str::contains("no-such-command"))),
        _ => refused(assert, 127, &["no-such-command"]),
    }
}

fn not_executable(host: &Host, subject: Subject) {
    let cases = [
        ("/bin/not-executable", "not-executable"),
        ("/etc", "/etc"),
        ("/bin/carriage-return", "carriage"),
        ("/bin/no-interpreter", "/no/such/shell"),
    ];
    for (path, word) in cases {
        let assert = subject.run(host, &[path]);
        match subject {
            Subject::Runc | Subject::Crun => drop(assert.failure()),
            // The file is there; what is missing is named. 126 or, as for a missing file, 127: the kernel says ENOENT.
            _ => {
                let code = assert.get_output().status.code();
                assert!(matches!(code, Some(126 | 127)), "{path}: {code:?}");
                refused(assert, code.unwrap_or(126), &[word]);
            }
        }
    }
}

fn forwards(host: &Host, subject: Subject) {
    let mut running = subject.start(host, &["payload", "trap", "INT", "TERM"]);
    running.wait_for("ready");
    running.signal(nix::sys::signal::Signal::SIGTERM);
    let (status, said) = running.wait();
    assert_eq!(status.code(), Some(11), "{said}");
}

fn interfaces(host: &Host, subject: Subject) {
    // /proc/net is the reader's network namespace's.
    let said = text(&subject.run(host, &["cat", "/proc/self/net/dev"]));
    if subject.has_root() {
        let names: Vec<&str> = said.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
        assert_eq!(names, ["lo"], "{said}");
    }
}

fn own_files(host: &Host, subject: Subject) {
    subject.run(host, &["cat", "/etc/suite-release"]).success().stdout("a system for tests\n");
    subject.run(host, &["ls", "/tmp/suite"]).failure();
    let mounts = text(&subject.run(host, &["cat", "/proc/self/mountinfo"]).success());
    assert!(mounts.lines().all(|line| !line.contains(" /tmp/suite")), "{mounts}");
}

fn own_processes(host: &Host, subject: Subject) {
    let said = text(&subject.run(host, &["sh", "-c", "ls /proc | grep -c '^[0-9]'"]).success());
    // The shell, ls and grep.
    assert!(matches!(said.parse(), Ok(1..=3)), "{said}");
}

fn climb(host: &Host, subject: Subject) {
    let said = text(&subject.run(host, &["payload", "escape-chroot"]).success());
    assert!(!said.contains("lib64") && !said.contains("home root run"), "{said}");
}

fn masks(host: &Host, subject: Subject) {
    let said = text(&subject.run(host, &["head", "-c", "1", "/proc/kcore"]));
    assert_eq!(said, "");
    for target in ["/proc/sysrq-trigger", "/proc/sys/kernel/panic"] {
        subject.run(host, &["sh", "-c", &format!("echo 0 > {target}")]).failure();
    }
}

fn devices(host: &Host, subject: Subject) {
    let script = "for d in null zero full random urandom tty; do test -c /dev/$d || echo no $d; done; \
                  echo gone > /dev/null && head -c 2 /dev/zero | wc -c && test -d /dev/pts && test -d /dev/shm && readlink /dev/fd";
    subject.run(host, &["sh", "-c", script]).success().stdout("2\n/proc/self/fd\n");
}
