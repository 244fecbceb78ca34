//! Images that put a link, a file or a FIFO where the engine mounts, writes or looks something up.

use std::fs;
use std::path::Path;

use suite::canary::SECRET;
use suite::{Canary, Host, Subject, host};

use super::trap::{ROOTED, Trap, file, link, remove};
use crate::expect::text;

/// Runs `argv` in a root that `make` has worked on, for every subject: it works or is refused, and nothing outside has
/// changed. Gives what was printed to `check`.
fn spring(
    host: &Host,
    canary: &Canary,
    args: &[&str],
    argv: &[&str],
    make: impl Fn(&Path),
    check: impl Fn(Subject, &str),
) {
    for subject in ROOTED {
        let assert = Trap::set(host, subject, &make).run(args, argv).assert();
        let output = assert.get_output();
        // Refused by the engine, or by the shell in there; not killed, and not hanging.
        assert!(output.status.code().is_some_and(|code| code != 101), "{subject:?}: {assert}");
        check(subject, &text(&assert));
        canary.is_unharmed();
    }
}

/// No check of what is printed.
fn any(_: Subject, said: &str) {
    assert!(!said.contains(SECRET), "{said}");
}

/// CVE-2019-19921, CVE-2023-27561: `/proc` is a link, so that what the engine writes there to restrict the process is
/// written elsewhere, and what it mounts is mounted elsewhere.
#[test]
fn proc_is_a_link() {
    host(|host| {
        let mut canary = host.canary();
        let outside = canary.directory().to_owned();
        canary.notices(|| {
            // The trap closes on who goes by names.
            let root = host.rootfs("naive");
            link(&root, "proc", &outside);
            fs::write(root.join("proc/new"), "").expect("write through the link");
        });
        for target in [outside.as_path(), Path::new("/etc"), Path::new("/"), Path::new("../../../../proc")] {
            let script = "cat /proc/self/status | head -1; ls /etc/suite-release";
            spring(host, &canary, &[], &["sh", "-c", script], |root| link(root, "proc", target), any);
        }
    });
}

/// CVE-2019-19921: the same with a file, a FIFO, and nothing at all.
#[test]
fn proc_is_a_file() {
    host(|host| {
        let canary = host.canary();
        spring(host, &canary, &[], &["true"], |root| file(root, "proc", "none\n"), any);
        spring(host, &canary, &[], &["true"], |root| remove(root, "proc"), any);
        let fifo = |root: &Path| {
            remove(root, "proc");
            host.tool("mkfifo", [root.join("proc")]).assert().success();
        };
        spring(host, &canary, &[], &["true"], fifo, any);
    });
}

/// `/sys` is a link, and so is what is mounted below it.
#[test]
fn sys_is_a_link() {
    host(|host| {
        let canary = host.canary();
        let outside = canary.directory().to_owned();
        spring(host, &canary, &[], &["true"], |root| link(root, "sys", &outside), any);
        spring(host, &canary, &[], &["true"], |root| link(root, "sys/fs/cgroup", &outside), any);
        spring(host, &canary, &[], &["true"], |root| link(root, "sys/fs", &outside), any);
    });
}

/// CVE-2026-41579, CVE-2026-47766: `/dev` is a link, so that what the engine makes and removes there is made and removed on
/// the host.
#[test]
fn dev_is_a_link() {
    host(|host| {
        let mut canary = host.canary();
        let outside = canary.directory().to_owned();
        canary.notices(|| {
            let root = host.rootfs("naive");
            link(&root, "dev", &outside);
            host.tool("mknod", [root.join("dev/null")]).args(["c", "1", "3"]).assert().success();
        });
        for target in [outside.as_path(), Path::new("/proc"), Path::new("/tmp")] {
            spring(host, &canary, &[], &["true"], |root| link(root, "dev", target), any);
        }
    });
}

/// CVE-2025-31133: the image's `/dev/null` is a link, and what should be hidden under it shows what the link leads to; or is
/// written through it.
#[test]
fn dev_null_is_a_link_to_what_is_to_be_hidden() {
    host(|host| {
        let canary = host.canary();
        let outside = canary.directory().to_owned();
        let script = "for f in /proc/kcore /proc/keys /proc/timer_list; do test -e $f && stat -c '%t:%T' $f; \
                      head -c 20 $f; echo x > $f; done 2>/dev/null; stat -c '%F %t:%T' /dev/null";
        let check = |subject: Subject, said: &str| {
            assert!(said.ends_with("character special file 1:3"), "{subject:?}: {said}");
            assert!(said.lines().all(|line| line == "1:3" || line.ends_with("1:3")), "{subject:?}: {said}");
        };
        for target in
            ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", &outside.join("secret").display().to_string()]
        {
            spring(host, &canary, &[], &["sh", "-c", script], |root| link(root, "dev/null", target), check);
        }
    });
}

/// CVE-2025-52565: `/dev/console`, `/dev/pts/0` and `/dev/ptmx` of the image are links; the terminal that the engine mounts
/// there covers what they lead to before it is made read-only.
#[test]
fn dev_console_is_a_link() {
    host(|host| {
        let canary = host.canary();
        let trap = Trap::set(host, Subject::Engine, |root| {
            for name in ["dev/console", "dev/pts/0", "dev/ptmx", "dev/tty"] {
                link(root, name, "/proc/sys/kernel/core_pattern");
            }
        });
        let script = "echo x > /proc/sys/kernel/core_pattern || echo refused; test -c /dev/console && echo console; \
                      stat -c %F /dev/pts/0; readlink /dev/ptmx";
        let mut terminal = suite::Terminal::start(trap.command(&["-it"], &["sh", "-c", script]));
        terminal.wait_for("refused");
        terminal.wait_for("character special file");
        terminal.wait_for("pts/ptmx");
        assert!(terminal.wait().0.success());
        canary.is_unharmed();
    });
}

/// CVE-2015-3629, and every link to come: `/etc` and the files in it that the engine provides are links, directories, FIFOs.
#[test]
fn files_that_the_engine_provides_are_links() {
    host(|host| {
        let mut canary = host.canary();
        let outside = canary.directory().to_owned();
        canary.notices(|| {
            let root = host.rootfs("naive");
            link(&root, "etc/hosts", outside.join("secret"));
            fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n").expect("write through the link");
        });
        let script = "cat /etc/hosts /etc/resolv.conf /etc/hostname; echo more >> /etc/hosts; true";
        for name in ["etc/hosts", "etc/resolv.conf", "etc/hostname"] {
            for target in ["secret", "users", "new"] {
                let target = outside.join(target);
                spring(host, &canary, &[], &["sh", "-c", script], |root| link(root, name, &target), any);
            }
        }
        spring(host, &canary, &[], &["sh", "-c", script], |root| link(root, "etc", &outside), any);
        let fifo = |root: &Path| {
            remove(root, "etc/hosts");
            host.tool("mkfifo", [root.join("etc/hosts")]).assert().success();
        };
        spring(host, &canary, &[], &["true"], fifo, any);
        let directory = |root: &Path| fs::create_dir_all(root.join("etc/hosts/below")).expect("make a directory");
        spring(host, &canary, &[], &["true"], directory, any);
    });
}

/// CVE-2017-1002101, CVE-2021-30465: a volume's destination is a link of the image; also one through `..`, and one whose
/// target is not there and would have to be made.
#[test]
fn a_volumes_destination_is_a_link() {
    host(|host| {
        let canary = host.canary();
        let outside = canary.directory().to_owned();
        let source = host.work().join("source");
        fs::create_dir(&source).expect("make a directory");
        fs::write(source.join("mine"), "mine\n").expect("write a file");
        let targets = [
            outside.clone(),
            outside.join("new/dir"),
            Path::new("../../../../..").join(outside.strip_prefix("/").expect("absolute")),
        ];
        for target in targets {
            let volume = format!("{}:/data", source.display());
            spring(host, &canary, &["-v", &volume], &["ls", "/data"], |root| link(root, "data", &target), any);
            spring(
                host,
                &canary,
                &["-v", &format!("{volume}/a/b")],
                &["true"],
                |root| link(root, "data", &target),
                any,
            );
            spring(host, &canary, &["--tmpfs", "/data/x"], &["true"], |root| link(root, "data", &target), any);
        }
    });
}

/// A working directory that has to be made lies behind a link: it is made inside or not at all. (CVE-2024-45310 made empty
/// directories outside, in the place of a mountpoint.)
#[test]
fn a_working_directory_is_made_behind_a_link() {
    host(|host| {
        let canary = host.canary();
        let outside = canary.directory().to_owned();
        for directory in ["/data", "/data/new", "/data/new/deep", "/data/../new"] {
            spring(host, &canary, &["-w", directory], &["pwd"], |root| link(root, "data", &outside), any);
        }
    });
}

/// CVE-2015-3631, CVE-2019-16884: a mount that covers `/proc`, written as plainly or as crookedly as you like, and one that reaches it by a
/// link of the image.
#[test]
fn a_volume_covers_proc() {
    host(|host| {
        let canary = host.canary();
        let source = host.work().join("source");
        fs::create_dir_all(source.join("self/attr")).expect("make directories");
        for destination in
            ["/proc", "/proc/", "/proc/self", "/proc/self/attr", "/proc/1", "/./proc", "/x/../proc", "//proc//self"]
        {
            let volume = format!("{}:{destination}", source.display());
            for subject in ROOTED {
                let refused = Trap::set(host, subject, |_| {}).run(&["-v", &volume], &["true"]).assert().code(125);
                assert!(crate::expect::complaint(&refused).contains("proc"), "{subject:?} {destination}");
            }
        }
        let script = "test -e /proc/self/status && cat /proc/self/comm";
        let check = |subject: Subject, said: &str| assert!(matches!(said, "cat" | ""), "{subject:?}: {said}");
        for (name, destination) in [("data", "/data"), ("data", "/data/self"), ("a", "/a/../proc")] {
            let volume = format!("{}:{destination}", source.display());
            spring(host, &canary, &["-v", &volume], &["sh", "-c", script], |root| link(root, name, "/proc"), check);
        }
    });
}

/// Users and groups are looked up in the image's files, which are links to the host's (CWE-59).
#[test]
fn passwd_and_group_are_links_to_the_hosts() {
    host(|host| {
        let canary = host.canary();
        let outside = canary.directory().to_owned();
        let trap = Trap::set(host, Subject::Engine, |root| {
            link(root, "etc/passwd", outside.join("passwd"));
            link(root, "etc/group", outside.join("group"));
        });
        for user in ["only-outside", "0:only-outside"] {
            let refused = trap.run(&["-u", user], &["id"]).assert().failure();
            assert!(crate::expect::complaint(&refused).contains("only-outside"), "{refused}");
        }
        trap.run(&["--group-add", "only-outside"], &["id"]).assert().failure();
        canary.is_unharmed();
    });
}
