//! The store of layers: killed, crowded, full; and the same for whoever unpacks.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use suite::image::{concatenate, tar_entry, tar_of};
use suite::{Host, host};
use tar::EntryType;

use super::{base, text, write};
use crate::ch01::user_namespaces_or_skip;
use crate::expect::refused;

/// `ch04 run --store STORE --layer BASE --layer TAR true`
fn use_layer(host: &Host, store: &Path, tar: &Path) -> Command {
    let mut command = Command::new(host.bin("ch04"));
    command.args(["run", "--store"]).arg(store).arg("--layer").arg(base(host)).arg("--layer").arg(tar).arg("true");
    command.stdin(Stdio::null());
    command
}

/// A layer that takes a moment to unpack.
fn big_layer(host: &Host) -> std::path::PathBuf {
    let parts: Vec<Vec<u8>> = (0..1500)
        .map(|index| tar_entry(EntryType::Regular, &format!("d{}/f{index}", index % 40), "", &[b'x'; 4000]))
        .collect();
    write(host, "big.tar", &concatenate(&parts))
}

/// What is in the store, but for what a killed one left and the next one sweeps.
fn layers(store: &Path) -> Vec<String> {
    let found = fs::read_dir(store.join("layers")).into_iter().flatten();
    found.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn killed_at_any_moment_nothing_is_half_there() {
    host(|host| {
        // As an ordinary user: a chapter that is killed as root leaves its cgroup, which the engine would clear away.
        user_namespaces_or_skip(host);
        let tar = big_layer(host);
        let (whole, store) = (host.home().join("whole"), host.home().join("store"));
        host.as_user("ch04", ["unpack"]).arg(&tar).arg(&whole).assert().success();
        // Packed it is the same bytes, whatever order the file system has.
        let packed = |directory: &Path| {
            text(&host.as_user("ch04", ["commit"]).arg(directory).args(["-o", "packed.tar"]).assert().success())
        };
        let expected = packed(&whole);
        let run = || {
            let mut command = host.user_command("ch04", ["run", "--store"]);
            command.arg(&store).arg("--layer").arg(base(host)).arg("--layer").arg(&tar).arg("true");
            command.env("TMPDIR", host.home()).stdin(Stdio::null()).stderr(Stdio::null());
            command
        };
        for round in 0..25u64 {
            let mut running = run().spawn().expect("start");
            sleep(Duration::from_millis(round * 4));
            let _ = running.kill();
            running.wait().expect("wait");
            // A layer is there under its own name, and then whole; or it is not there.
            for name in layers(&store).iter().filter(|name| !name.starts_with('.')) {
                let found = packed(&store.join("layers").join(name).join("diff"));
                assert_eq!(found, expected, "round {round}: half a layer");
            }
        }
        assert!(run().status().expect("run").success());
        let left = layers(&store);
        assert!(left.len() == 1 && !left[0].starts_with('.'), "{left:?}");
    });
}

#[test]
fn many_at_once_share_one_layer() {
    host(|host| {
        let (tar, store) = (big_layer(host), host.work().join("store"));
        let _ = base(host);
        let running: Vec<_> = (0..6).map(|_| use_layer(host, &store, &tar).spawn().expect("start")).collect();
        for mut one in running {
            assert!(one.wait().expect("wait").success());
        }
        assert_eq!(layers(&store).len(), 1);
    });
}

#[test]
fn a_full_disk_is_told_in_one_sentence_and_leaves_nothing() {
    host(|host| {
        let (tar, store) = (big_layer(host), host.work().join("small"));
        fs::create_dir(&store).expect("make a directory");
        host.tool("mount", ["-t", "tmpfs", "-o", "size=2m", "small"]).arg(&store).assert().success();
        let mut command = host.chapter(4, ["run", "--store"]);
        command.arg(&store).arg("--layer").arg(base(host)).arg("--layer").arg(&tar).arg("true");
        refused(command.assert(), 125, &["big.tar", "No space left"]);
        assert_eq!(layers(&store), [""; 0]);
        // With room again it works.
        host.tool("mount", ["-o", "remount,size=100m"]).arg(&store).assert().success();
        assert!(use_layer(host, &store, &tar).status().expect("run").success());
        host.tool("umount", [&store]).assert().success();
    });
}

#[test]
fn an_ordinary_user_gets_the_same_digest() {
    host(|host| {
        user_namespaces_or_skip(host);
        let source = host.rootfs("source");
        host.tool("mknod", [source.join("null")]).args(["c", "1", "3"]).assert().success();
        host.tool("mknod", [source.join("bin/aaa")]).args(["b", "7", "0"]).assert().success();
        host.tool("chown", ["-h", "33:44"])
            .arg(source.join("etc/group"))
            .arg(source.join("var/www"))
            .assert()
            .success();
        host.tool("chown", ["-h", "12:13"]).arg(source.join("bin/sh")).assert().success();
        fs::hard_link(source.join("etc/group"), source.join("etc/another")).expect("link");
        let tar = host.home().join("source.tar");
        fs::write(&tar, tar_of(&source)).expect("write");

        let (roots, users) = (host.work().join("out"), host.home().join("out"));
        host.chapter(4, ["unpack"]).arg(&tar).arg(&roots).assert().success();
        let said = host.as_user("ch04", ["unpack"]).arg(&tar).arg(&users).assert().success();
        assert!(text(&said).contains("noted"), "{}", text(&said));
        assert!(!users.join("null").exists());
        let (one, other) = (host.work().join("one.tar"), host.home().join("other.tar"));
        let of_root = text(&host.chapter(4, ["commit"]).arg(&roots).arg("-o").arg(&one).assert().success());
        let of_user = text(&host.as_user("ch04", ["commit"]).arg(&users).arg("-o").arg(&other).assert().success());
        assert_eq!(of_root, of_user);

        // A directory that the user's container only went through stays with its owner in the next layer.
        let upper = host.home().join("upper");
        let mut command = host.as_user("ch04", ["run", "--layer"]);
        command.arg(&users).arg("--upper").arg(&upper).args([
            "sh",
            "-c",
            "echo x > /var/www/new; echo y >> /etc/group",
        ]);
        command.assert().success();
        let next = host.home().join("next.tar");
        let mut command = host.as_user("ch04", ["commit"]);
        command.arg(&upper).arg("--layer").arg(&users).arg("-o").arg(&next).assert().success();
        let out = host.work().join("next");
        host.chapter(4, ["unpack"]).arg(&next).arg(&out).assert().success();
        let owner =
            |name: &str| fs::metadata(out.join(name)).map(|found| (found.uid(), found.gid())).expect("the file");
        assert_eq!((owner("var/www"), owner("etc/group"), owner("var/www/new")), ((33, 44), (33, 44), (0, 0)));
    });
}

/// What comes by a pipe is a layer too; and a name that is none is said in one sentence.
#[test]
fn a_layer_comes_by_a_pipe() {
    host(|host| {
        let out = host.work().join("out");
        let mut command = Command::new(host.bin("ch04"));
        let mut running =
            command.args(["unpack", "-"]).arg(&out).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("start");
        let mut tar = File::open(big_layer(host)).expect("open");
        let mut pipe = running.stdin.take().expect("a pipe");
        std::io::copy(&mut tar, &mut pipe).expect("write");
        pipe.flush().expect("flush");
        drop(pipe);
        assert!(running.wait().expect("wait").success());
        assert_eq!(fs::read(out.join("d0/f0")).expect("read"), [b'x'; 4000]);
    });
}
