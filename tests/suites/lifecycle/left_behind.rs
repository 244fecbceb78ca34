//! What is left when a disk is full or somebody was killed, and how it can be taken away all the same.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use predicates::prelude::*;
use suite::container::{detached, first_process, wait_for_log};
use suite::process::{kill9, parent};
use suite::{Host, eventually, host};

use crate::expect::{complaint, text};

/// A state directory on a disk of its own, with the image `suite`.
struct Disk(PathBuf);

impl Disk {
    fn new(host: &Host) -> Disk {
        let disk = Disk(host.work().join("disk"));
        fs::create_dir(&disk.0).expect("make a directory");
        host.tool("mount", ["-t", "tmpfs", "-o", "size=64m", "disk"]).arg(&disk.0).assert().success();
        disk.run(host, &["load", "-i", host.image_archive().to_str().expect("a path")]).success();
        disk
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    #[track_caller]
    fn run(&self, host: &Host, words: &[&str]) -> assert_cmd::assert::Assert {
        let mut command = host.minidocker(["--root", self.root().to_str().expect("a path")]);
        command.args(words).assert()
    }

    /// Until not one byte more can be written.
    fn fill(&self) {
        let mut ballast = File::options().append(true).create(true).open(self.0.join("ballast")).expect("a file");
        for size in [1 << 20, 4096, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn listed(&self, host: &Host) -> String {
        text(&self.run(host, &["ps", "-a"]).success())
    }
}

#[test]
fn on_a_full_disk_the_end_is_known_and_everything_is_removed() {
    host(|host| {
        let disk = Disk::new(host);
        let run = ["run", "-d", "--name"];
        let payload = ["suite", "payload", "trap", "TERM"];
        for name in ["ends", "lost", "runs"] {
            disk.run(host, &[&run[..], &[name, "--network", "none"], &payload].concat()).success();
        }
        disk.run(host, &[&run[..], &["bridged", "-p", "8080:80"], &payload].concat()).success();
        for name in ["ends", "lost", "runs", "bridged"] {
            eventually("it is ready", || text(&disk.run(host, &["logs", name]).success()).contains("ready"));
        }
        let pid = |name: &str| {
            let all = text(&disk.run(host, &["inspect", name]).success());
            let all: serde_json::Value = serde_json::from_str(&all).expect("JSON");
            all[0]["State"]["Pid"].as_i64().expect("a pid") as i32
        };
        let lost = pid("lost");
        kill9(parent(lost));
        kill9(lost);
        disk.fill();
        disk.run(host, &["kill", "-s", "TERM", "ends"]).success();
        eventually("how it ended is known", || disk.listed(host).contains("Exited (10)"));
        for words in [&["rm", "ends"][..], &["rm", "lost"], &["rm", "-f", "runs"], &["rm", "-f", "bridged"]] {
            disk.fill();
            disk.run(host, words).success();
        }
        assert_eq!(text(&disk.run(host, &["ps", "-aq"]).success()), "");
        disk.fill();
        let said = complaint(&disk.run(host, &["rmi", "-f", "suite"]).code(1));
        assert!(said.lines().count() == 1 && said.contains("disk is full"), "{said}");
        disk.run(host, &["system", "reset", "-f"]).success();
        assert!(!disk.root().exists());
        host.tool("umount", [&disk.0]).assert().success();
    });
}

#[test]
fn a_name_that_could_not_be_used_is_free() {
    host(|host| {
        let disk = Disk::new(host);
        disk.run(host, &["create", "--name", "old", "--network", "none", "suite", "true"]).success();
        disk.fill();
        disk.run(host, &["create", "--name", "new", "--network", "none", "suite", "true"]).code(125);
        disk.run(host, &["rename", "old", "new"]).code(1);
        let names = fs::read_dir(disk.root().join("names")).expect("the names").flatten();
        assert_eq!(names.map(|name| name.file_name()).collect::<Vec<_>>(), ["old"]);
        disk.run(host, &["system", "reset", "-f"]).success();
        host.tool("umount", [&disk.0]).assert().success();
    });
}

/// A container made with `--rm`, dead like its monitor; its directory.
fn lost(host: &Host, name: &str) -> PathBuf {
    let id = detached(host, name, &["--rm"], &["payload", "wait"]);
    wait_for_log(host, name, "ready");
    let pid = first_process(host, name);
    kill9(parent(pid));
    kill9(pid);
    eventually("it ends", || !Path::new(&format!("/proc/{pid}")).exists());
    host.root().join("containers").join(id)
}

#[test]
fn what_its_monitor_would_have_removed_the_next_one_does() {
    host(|host| {
        let directory = lost(host, "gone");
        host.minidocker(["run", "--rm", "--network", "none", "suite", "true"]).assert().success();
        eventually("it is removed", || !directory.exists());
        assert!(fs::symlink_metadata(host.root().join("names/gone")).is_err());
    });
}

#[test]
fn ps_finishes_it_too() {
    host(|host| {
        let directory = lost(host, "gone");
        host.minidocker(["ps", "-a"]).assert().success().stdout(predicate::str::contains("gone").not());
        assert!(!directory.exists());
    });
}

#[test]
fn rm_empties_the_bin_of_killed_removals() {
    host(|host| {
        detached(host, "one", &[], &["true"]);
        let left = host.root().join("tmp/removed-1234");
        fs::create_dir_all(left.join("upper/deep")).expect("make what a killed removal leaves");
        host.minidocker(["rm", "-f", "one"]).assert().success();
        assert!(!left.exists());
    });
}

/// Each sees some of the others' halves of a removal.
#[test]
fn of_many_removals_at_once_none_calls_it_damaged() {
    host(|host| {
        for round in 0..5 {
            detached(host, "one", &[], &["true"]);
            let remove = || host.start("minidocker", ["rm", "-f", "one"]);
            let start = || host.start("minidocker", ["start", "one"]);
            let all: Vec<_> = (0..8).map(|n| if n % 2 == 0 { remove() } else { start() }).collect();
            for one in all {
                let (_, said) = one.wait();
                assert!(!said.contains("damaged"), "round {round}: {said}");
            }
            host.minidocker(["rm", "-f", "one"]).assert().success();
        }
    });
}
