//! Chapter 3: a root of its own.

use std::fs;

use predicates::prelude::*;
use suite::{Host, host};

use crate::expect::{refused, text};

/// `ch03 run --rootfs ROOT ARGS…`
fn run(host: &Host, args: &[&str]) -> assert_cmd::Command {
    let root = host.work().join("rootfs");
    if !root.exists() {
        host.rootfs("rootfs");
    }
    let mut command = host.chapter(3, ["run", "--rootfs"]);
    command.arg(root).args(args);
    command
}

#[test]
fn help_explains() {
    host(|host| {
        let help = text(&host.chapter(3, ["run", "--help"]).assert().success());
        for flag in ["--rootfs", "--volume", "--tmpfs", "--read-only"] {
            assert!(help.contains(flag), "{flag} is not in\n{help}");
        }
    });
}

#[test]
fn mounts_inside_are_not_seen_outside() {
    host(|host| {
        // Not even where the host shares its mounts, as systemd makes it do.
        host.tool("mount", ["--make-rshared", "/"]).assert().success();
        run(host, &["true"]).assert().success();
        host.tool("mount", ["--make-rprivate", "/"]).assert().success();
    });
}

#[test]
fn the_root_is_the_directory() {
    host(|host| {
        run(host, &["sh", "-c", "pwd; cat /etc/suite-release; echo new > /made"])
            .assert()
            .success()
            .stdout("/\na system for tests\n");
        assert_eq!(fs::read_to_string(host.work().join("rootfs/made")).expect("the file"), "new\n");
    });
}

#[test]
fn a_read_only_root_is_read_only_and_tmpfs_is_not() {
    host(|host| {
        let script = "echo x > /x; echo x > /etc/x; echo x > /scratch/x && cat /scratch/x";
        run(host, &["--read-only", "--tmpfs", "/scratch", "sh", "-c", script])
            .assert()
            .success()
            .stdout("x\n")
            .stderr(predicate::str::contains("Read-only file system").count(2));
        assert!(!host.work().join("rootfs/x").exists());
    });
}

#[test]
fn a_volume_is_the_hosts_directory() {
    host(|host| {
        let source = host.work().join("source");
        fs::create_dir(&source).expect("make a directory");
        fs::write(source.join("a"), "outside\n").expect("write a file");
        let volume = format!("{}:/data", source.display());
        run(host, &["-v", &volume, "sh", "-c", "cat /data/a; echo inside > /data/b"])
            .assert()
            .success()
            .stdout("outside\n");
        assert_eq!(fs::read_to_string(source.join("b")).expect("the file"), "inside\n");
    });
}

#[test]
fn a_read_only_volume_is_so_to_the_depth() {
    host(|host| {
        let source = host.work().join("source");
        fs::create_dir_all(source.join("deep")).expect("make directories");
        // A mount within the volume must not be a writable hole in it.
        host.tool("mount", ["-t", "tmpfs", "deep"]).arg(source.join("deep")).assert().success();
        let volume = format!("{}:/data:ro", source.display());
        run(host, &["-v", &volume, "sh", "-c", "echo x > /data/x; echo x > /data/deep/x; true"])
            .assert()
            .success()
            .stderr(predicate::str::contains("Read-only file system").count(2));
        host.tool("umount", [source.join("deep")]).assert().success();
    });
}

#[test]
fn a_volumes_link_does_not_lead_out() {
    host(|host| {
        host.rootfs("rootfs");
        let root = host.work().join("rootfs");
        let outside = host.work().join("outside");
        fs::create_dir(&outside).expect("make a directory");
        // The image says that /data is elsewhere: on the host if one is careless, in the root if not.
        std::os::unix::fs::symlink(&outside, root.join("data")).expect("make a link");
        let source = host.work().join("source");
        fs::create_dir(&source).expect("make a directory");
        let volume = format!("{}:/data", source.display());
        let _either = run(host, &["-v", &volume, "sh", "-c", "true"]).assert();
        assert_eq!(fs::read_dir(&outside).expect("the directory").count(), 0);
        assert!(!fs::read_to_string("/proc/self/mountinfo").expect("mounts").contains("outside"));
    });
}

#[test]
fn links_in_the_place_of_proc_and_dev_do_not_lead_out() {
    host(|host| {
        for name in ["proc", "sys", "dev"] {
            let root = host.rootfs(&format!("root-{name}"));
            let outside = host.work().join(format!("outside-{name}"));
            fs::create_dir(&outside).expect("make a directory");
            fs::remove_dir(root.join(name)).expect("remove the directory");
            std::os::unix::fs::symlink(&outside, root.join(name)).expect("make a link");
            // Refused or mounted inside, but never outside (CVE-2019-19921).
            let _either = host.chapter(3, ["run", "--rootfs"]).arg(&root).arg("true").assert();
            assert_eq!(fs::read_dir(&outside).expect("the directory").count(), 0, "{name}");
        }
    });
}

#[test]
fn a_working_directory_can_be_chosen() {
    host(|host| {
        run(host, &["-w", "/etc", "pwd"]).assert().success().stdout("/etc\n");
        run(host, &["-w", "/new/place", "pwd"]).assert().success().stdout("/new/place\n");
    });
}

#[test]
fn limits_of_chapter_two_hold_here_too() {
    host(|host| {
        run(host, &["--pids-limit", "10", "payload", "bomb", "50"])
            .assert()
            .success()
            .stdout("forked 9, then EAGAIN\n");
        run(host, &["-m", "48m", "payload", "hog", "200000000"]).assert().code(137);
    });
}

#[test]
fn an_ordinary_user_has_a_root_too() {
    host(|host| {
        crate::ch01::user_namespaces_or_skip(host);
        let root = host.rootfs("mine");
        host.tool("chown", ["-R", "1000:1000"]).arg(&root).assert().success();
        let mut command = host.as_user("ch03", ["run", "--rootfs"]);
        command.arg(&root).args(["sh", "-c", "id -u; cat /etc/suite-release; ls /dev/null; echo 1 > /made"]);
        command.assert().success().stdout("0\na system for tests\n/dev/null\n");
        assert!(root.join("made").exists());
    });
}

#[test]
fn bad_words_are_refused() {
    host(|host| {
        refused(host.chapter(3, ["run", "--rootfs", "/no/such/root", "true"]).assert(), 125, &["/no/such/root"]);
        refused(host.chapter(3, ["run", "--rootfs", "/etc/passwd", "true"]).assert(), 125, &["/etc/passwd"]);
        refused(run(host, &["-v", "/no/such/source:/data", "true"]).assert(), 125, &["/no/such/source"]);
        let said = crate::expect::complaint(&run(host, &["-v", "nonsense", "true"]).assert().code(125));
        assert!(said.contains("nonsense"), "{said}");
    });
}
