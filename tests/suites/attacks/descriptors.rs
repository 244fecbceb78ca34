//! Descriptors and directories of the engine that a container could get hold of.

use std::process::Command;

use suite::canary::SECRET;
use suite::container::{detached, wait_for_log};
use suite::{Host, Subject, host};

use super::trap::{ROOTED, Trap, link};
use crate::expect::text;

/// Reads what it can reach from where it stands.
const LOOK_AROUND: &str = "for up in . .. ../.. ../../.. ../../../.. ../../../../../..; do \
                           cat $up/outside/secret $up/tmp/suite/work/outside/secret; done 2>/dev/null; true";

/// CVE-2024-21626: the working directory is a descriptor that the engine has forgotten to close, and leads out.
#[test]
fn the_working_directory_is_a_leaked_descriptor() {
    host(|host| {
        let canary = host.canary();
        // It would: somebody who holds a directory open and changes only the root.
        let root = host.rootfs("naive");
        let naive = format!(
            "exec 7</tmp/suite/work; exec chroot {} sh -c 'cat /proc/self/fd/7/outside/secret'",
            root.display()
        );
        let naive = format!("mount -t proc proc {}/proc; {naive}", root.display());
        let said = text(&host.tool("unshare", ["-m", "sh", "-c", &naive]).assert().success());
        assert_eq!(said, SECRET);
        for subject in ROOTED {
            let trap = Trap::set(host, subject, |_| {});
            for number in 0..24 {
                for of in ["self", "1"] {
                    let directory = format!("/proc/{of}/fd/{number}");
                    let said = trap.run(&["-w", &directory], &["sh", "-c", LOOK_AROUND]).assert();
                    assert!(!text(&said).contains(SECRET), "{subject:?} {directory}");
                }
            }
        }
        detached(host, "base", &[], &["payload", "wait"]);
        for number in 0..24 {
            let directory = format!("/proc/self/fd/{number}");
            let said = host.minidocker(["exec", "-w", &directory, "base", "sh", "-c", LOOK_AROUND]).assert();
            assert!(!text(&said).contains(SECRET), "exec {directory}");
        }
        host.minidocker(["rm", "-f", "base"]).assert().success();
        canary.is_unharmed();
    });
}

/// CVE-2024-21626, the other way: the image's `WorkingDir` is harmless, and a link in the image makes it a descriptor.
#[test]
fn the_working_directory_is_a_link_to_a_leaked_descriptor() {
    host(|host| {
        let canary = host.canary();
        for subject in ROOTED {
            let trap = Trap::with_config(host, subject, &[("WorkingDir", "/links/3/outside".into())], |root| {
                for number in 3..20 {
                    link(root, &format!("links/{number}"), format!("/proc/self/fd/{number}"));
                }
            });
            for number in 3..20 {
                for below in ["", "/outside", "/new"] {
                    let directory = format!("/links/{number}{below}");
                    let said = trap.run(&["-w", &directory], &["sh", "-c", LOOK_AROUND]).assert();
                    assert!(!text(&said).contains(SECRET), "{subject:?} {directory}");
                }
            }
            assert!(!text(&trap.run(&[], &["sh", "-c", LOOK_AROUND]).assert()).contains(SECRET));
        }
        canary.is_unharmed();
    });
}

/// CVE-2024-21626, the root of it: a caller that leaves directories open hands none of them on.
#[test]
fn descriptors_of_the_caller_go_no_further() {
    host(|host| {
        let canary = host.canary();
        host.needs("bash");
        let leak = "exec 3</ 5</tmp/suite/work 9</etc/passwd 11</tmp/suite/work/outside; exec \"$@\"";
        let leaking = |command: Command| {
            let mut leaking = Command::new("bash");
            leaking.args(["-c", leak, "leak"]).arg(command.get_program()).args(command.get_args());
            assert_cmd::Command::from_std(leaking)
        };
        let numbers =
            |fds: &str| fds.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect::<Vec<_>>();
        // They do go on where nobody closes them.
        let mut naive = Command::new(host.bin("payload"));
        naive.arg("fds");
        assert!(numbers(&text(&leaking(naive).assert().success())).contains(&"11".to_owned()));
        for subject in ROOTED {
            let trap = Trap::set(host, subject, |_| {});
            let said = text(&leaking(trap.command(&[], &["payload", "fds"])).assert().success());
            assert_eq!(numbers(&said), ["0", "1", "2"], "{subject:?}: {said}");
        }
        detached(host, "base", &[], &["payload", "wait"]);
        let mut exec = Command::new(host.bin("minidocker"));
        exec.args(["exec", "base", "payload", "fds"]);
        let said = text(&leaking(exec).assert().success());
        assert_eq!(numbers(&said), ["0", "1", "2"], "exec: {said}");
        host.minidocker(["rm", "-f", "base"]).assert().success();
        let context = crate::ch07::context(host, "context", &[("Dockerfile", "FROM suite\nRUN payload fds > /fds\n")]);
        let mut build = Command::new(host.bin("minidocker"));
        build.args(["build", "-t", "built"]).arg(&context);
        leaking(build).assert().success();
        let said =
            text(&host.minidocker(["run", "--rm", "--network", "none", "built", "cat", "/fds"]).assert().success());
        assert_eq!(numbers(&said), ["0", "1", "2"], "RUN: {said}");
        canary.is_unharmed();
    });
}

/// CVE-2016-9962: whoever waits inside looks at the process that an `exec` sends, before it is what was asked for: through its
/// descriptors, its root, its memory, its environment.
#[test]
fn a_process_on_its_way_in_is_looked_at() {
    host(|host| {
        let canary = host.canary();
        assert_eq!(hunted(host, &[]), Vec::<String>::new());
        canary.is_unharmed();
    });
}

/// CVE-2016-9962, with CAP_SYS_PTRACE, against which nothing helps that a process could do to hide (`ptrace(2)`): it may be
/// traced, but it holds nothing that leads out, and no secret of the caller's.
#[test]
fn a_process_on_its_way_in_is_traced() {
    host(|host| {
        let canary = host.canary();
        let found = hunted(host, &["--cap-add", "SYS_PTRACE"]);
        let harmless = |line: &String| line.contains("the engine's program") || line.contains("a tracee");
        assert!(found.iter().all(harmless), "{found:#?}");
        canary.is_unharmed();
    });
}

/// What a hunter in a container with these flags finds at forty `exec`s.
fn hunted(host: &Host, args: &[&str]) -> Vec<String> {
    detached(host, "hunter", args, &["payload", "hunt", "/stop"]);
    wait_for_log(host, "hunter", "ready");
    for _ in 0..40 {
        let mut exec = host.minidocker(["exec", "hunter", "true"]);
        exec.env("TOKEN", "SECRET of the caller").assert().success();
    }
    host.minidocker(["exec", "hunter", "touch", "/stop"]).assert().success();
    wait_for_log(host, "hunter", "looked at many");
    let said = text(&host.minidocker(["logs", "hunter"]).assert().success());
    host.minidocker(["rm", "-f", "hunter"]).assert().success();
    said.lines().filter(|line| line.starts_with("found")).map(str::to_owned).collect()
}

/// The environment of the engine's processes, tokens and passwords in it, is nobody's business inside: neither the init's,
/// nor that of a process that shares the host's process numbers and looks for it there.
#[test]
fn the_environment_of_the_engine_is_looked_for() {
    host(|host| {
        host.load_image();
        let script = "cat /proc/*/environ | tr '\\0' '\\n' | grep -c TOKEN; true";
        for args in [&[][..], &["--init"], &["--init", "--cap-add", "SYS_PTRACE"]] {
            let mut run = host.minidocker(["run", "--rm", "--network", "none"]);
            let said =
                text(&run.args(args).args(["suite", "sh", "-c", script]).env("TOKEN", "hidden").assert().success());
            assert_eq!(said, "0", "{args:?}");
        }
        // It is there to be found, where it is let in.
        let mut run = host.minidocker(["run", "--rm", "--network", "none", "-e", "TOKEN"]);
        let said = text(&run.args(["suite", "sh", "-c", script]).env("TOKEN", "shown").assert().success());
        assert_ne!(said, "0");
    });
}

/// Who stops every process that appears (SIGSTOP needs no more than the same user) holds up his own `exec`, and nobody else.
#[test]
fn whoever_comes_in_is_stopped() {
    host(|host| {
        let script = "echo ready; while :; do for p in /proc/[0-9]*; do test ${p#/proc/} -gt 1 && kill -STOP ${p#/proc/}; done; done";
        detached(host, "stopper", &[], &["sh", "-c", &format!("{{ {script}; }} 2>/dev/null")]);
        wait_for_log(host, "stopper", "ready");
        detached(host, "other", &[], &["payload", "wait"]);
        let first = host.start("minidocker", ["exec", "stopper", "true"]);
        host.minidocker(["exec", "other", "true"]).assert().success();
        host.minidocker(["ps"]).assert().success();
        first.signal(nix::sys::signal::Signal::SIGKILL);
        drop(first);
        host.minidocker(["rm", "-f", "stopper", "other"]).assert().success();
    });
}

/// proc(5): a process outside is a way to its root and its working directory, for whoever sees it in his `/proc`.
#[test]
fn the_root_of_a_process_outside_is_not_to_be_seen() {
    host(|host| {
        let canary = host.canary();
        let mut outside = host.start("payload", ["wait"]);
        outside.wait_for("ready");
        let script = "for p in /proc/[0-9]*; do cat $p/root/tmp/suite/work/outside/secret $p/cwd/outside/secret; done 2>/dev/null; \
                      ls -d /proc/[0-9]* | wc -l";
        for subject in ROOTED {
            let said = text(&Trap::set(host, subject, |_| {}).run(&[], &["sh", "-c", script]).assert().success());
            assert!(said.parse::<u32>().is_ok_and(|count| count <= 3), "{subject:?}: {said}");
        }
        let run = ["run", "--rm", "--network", "none", "--pid", "host", "suite", "sh", "-c", script];
        // With the host's process numbers it sees them, and not into them: it lacks CAP_SYS_PTRACE.
        let _ = Subject::Engine.run(host, &["true"]);
        let said = text(&host.minidocker(run).assert());
        assert!(!said.contains(SECRET), "{said}");
        canary.is_unharmed();
    });
}
