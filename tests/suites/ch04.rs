//! Chapter 4: layers.

mod overlay;
mod store;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use predicates::prelude::*;
use suite::image::{concatenate, gzip, tar_entry, tar_of, tar_with};
use suite::{Host, host};
use tar::EntryType;

use crate::expect::{refused, text};

/// The base layer as a directory.
fn base(host: &Host) -> PathBuf {
    host.rootfs("base")
}

fn write(host: &Host, name: &str, bytes: &[u8]) -> PathBuf {
    let path = host.work().join(name);
    fs::write(&path, bytes).expect("write a file");
    path
}

/// `ch04 run --layer BASE --layer … ARGS…`
fn run(host: &Host, above: &[PathBuf], args: &[&str]) -> assert_cmd::Command {
    let mut command = host.chapter(4, ["run", "--layer"]);
    command.arg(base(host));
    for layer in above {
        command.arg("--layer").arg(layer);
    }
    command.args(args);
    command
}

#[test]
fn help_explains() {
    host(|host| {
        let help = text(&host.chapter(4, ["--help"]).assert().success());
        for word in ["run", "diff", "commit", "unpack"] {
            assert!(help.contains(word), "{word} is not in\n{help}");
        }
    });
}

#[test]
fn layers_stay_as_they_are() {
    host(|host| {
        run(host, &[], &["sh", "-c", "echo new > /etc/suite-release; rm /bin/ls; cat /etc/suite-release"])
            .assert()
            .success()
            .stdout("new\n");
        assert_eq!(fs::read_to_string(base(host).join("etc/suite-release")).expect("the file"), "a system for tests\n");
        run(host, &[], &["ls", "/etc/suite-release"]).assert().success();
    });
}

#[test]
fn upper_layers_cover_lower_ones() {
    host(|host| {
        let one = write(host, "one.tar", &tar_with(&[("etc/suite-release", "one\n"), ("etc/only-one", "1\n")]));
        let two = write(host, "two.tar.gz", &gzip(&tar_with(&[("etc/suite-release", "two\n")])));
        run(host, &[one, two], &["cat", "/etc/suite-release", "/etc/only-one"]).assert().success().stdout("two\n1\n");
    });
}

#[test]
fn whiteouts_and_opaque_directories_hide() {
    host(|host| {
        let files = [("etc/.wh.suite-release", ""), ("var/www/.wh..wh..opq", ""), ("var/www/other", "other\n")];
        let layer = write(host, "hide.tar", &tar_with(&files));
        run(host, &[layer], &["sh", "-c", "ls /etc/suite-release; ls -A /var/www"])
            .assert()
            .success()
            .stdout("other\n")
            .stderr(predicate::str::contains("No such file"));
    });
}

#[test]
fn changes_are_told_and_become_a_layer() {
    host(|host| {
        let upper = host.work().join("upper");
        let script = "echo hi > /hello; rm /bin/vi; echo more >> /etc/group; mkdir -p /a/b; ln -s /hello /a/link";
        let mut command = host.chapter(4, ["run", "--layer"]);
        command.arg(base(host)).arg("--upper").arg(&upper).args(["sh", "-c", script]);
        command.assert().success();
        let diff = text(&host.chapter(4, ["diff"]).arg(&upper).arg("--layer").arg(base(host)).assert().success());
        let mut lines: Vec<&str> = diff.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["A /a", "A /a/b", "A /a/link", "A /hello", "C /bin", "C /etc", "C /etc/group", "D /bin/vi"]);
        let tar = host.work().join("new.tar");
        let id = text(&host.chapter(4, ["commit"]).arg(&upper).arg("-o").arg(&tar).assert().success());
        assert!(id.starts_with("sha256:"), "{id}");
        // The same again gives the same bytes.
        let again = host.work().join("again.tar");
        let same = text(&host.chapter(4, ["commit"]).arg(&upper).arg("-o").arg(&again).assert().success());
        assert_eq!(id, same);
        assert_eq!(suite::image::digest(&fs::read(&tar).expect("the tar")), id);
        run(host, &[tar], &["sh", "-c", "cat /hello; readlink /a/link; ls /bin/vi 2>&1; tail -1 /etc/group"])
            .assert()
            .stdout("hi\n/hello\nls: /bin/vi: No such file or directory\nmore\n");
    });
}

#[test]
fn unpacking_keeps_what_a_system_has() {
    host(|host| {
        let source = host.rootfs("source");
        host.tool("mkfifo", [source.join("fifo")]).assert().success();
        host.tool("mknod", [source.join("null")]).args(["c", "1", "3"]).assert().success();
        host.tool("chown", ["1234:4321"]).arg(source.join("etc/group")).assert().success();
        host.tool("chmod", ["4755"]).arg(source.join("bin/script")).assert().success();
        fs::hard_link(source.join("etc/passwd"), source.join("etc/same")).expect("link");
        let tar = write(host, "source.tar.gz", &gzip(&tar_of(&source)));
        let out = host.work().join("out");
        let said = text(&host.chapter(4, ["unpack"]).arg(&tar).arg(&out).assert().success());
        assert!(said.contains("sha256:"), "{said}");
        let look = |path: &str| fs::symlink_metadata(out.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(look("fifo").file_type().is_fifo());
        assert!(look("null").file_type().is_char_device());
        assert_eq!((look("etc/group").uid(), look("etc/group").gid()), (1234, 4321));
        assert_eq!(look("bin/script").mode() & 0o7777, 0o4755);
        assert_eq!(fs::read_link(out.join("bin/sh")).expect("a link").to_string_lossy(), "busybox");
    });
}

#[test]
fn hostile_tars_stay_inside() {
    host(|host| {
        let target = write(host, "target", b"untouched");
        let out = || host.work().join("out");
        let absolute = target.display().to_string();
        let cases: Vec<(&str, Vec<u8>)> = vec![
            ("dots", tar_entry(EntryType::Regular, "../target", "", b"evil")),
            ("absolute", tar_entry(EntryType::Regular, &absolute, "", b"evil")),
            ("deep dots", tar_entry(EntryType::Regular, "a/../../target", "", b"evil")),
            (
                "through a link",
                concatenate(&[
                    tar_entry(EntryType::Symlink, "up", "..", b""),
                    tar_entry(EntryType::Regular, "up/target", "", b"evil"),
                ]),
            ),
            (
                "onto a link",
                concatenate(&[
                    tar_entry(EntryType::Symlink, "file", &absolute, b""),
                    tar_entry(EntryType::Regular, "file", "", b"evil"),
                ]),
            ),
            (
                "hard link",
                concatenate(&[
                    tar_entry(EntryType::Link, "file", "../target", b""),
                    tar_entry(EntryType::Regular, "file", "", b"evil"),
                ]),
            ),
            ("whiteout", tar_entry(EntryType::Regular, "../.wh.target", "", b"")),
            ("whiteout of the parent", tar_entry(EntryType::Regular, ".wh...", "", b"")),
            ("opaque outside", tar_entry(EntryType::Regular, "../.wh..wh..opq", "", b"")),
            ("the root as a file", tar_entry(EntryType::Regular, ".", "", b"evil")),
        ];
        for (name, tar) in cases {
            let _ = fs::remove_dir_all(out());
            let path = write(host, "evil.tar", &tar);
            let assert = host.chapter(4, ["unpack"]).arg(path).arg(out()).assert();
            let output = assert.get_output();
            assert!(output.status.code().is_some_and(|code| code == 0 || code == 125), "{name}: {:?}", output.status);
            assert_eq!(fs::read(&target).expect("the target is still there"), b"untouched", "{name}");
        }
    });
}

#[test]
fn damaged_input_is_refused_in_one_sentence() {
    host(|host| {
        let whole = gzip(&tar_with(&[("file", "some text that is long enough to be cut\n")]));
        let cut = write(host, "cut.tar.gz", &whole[..whole.len() / 2]);
        let noise =
            write(host, "noise.tar", b"this is no tar at all, whatever its name says, and it is not long either");
        let zstd = write(host, "zstd.tar", b"\x28\xb5\x2f\xfd and so on");
        for (path, word) in [(cut, "cut.tar.gz"), (noise, "noise.tar"), (zstd, "zstd")] {
            let out = host.work().join("out");
            refused(host.chapter(4, ["unpack"]).arg(path).arg(&out).assert(), 125, &[word]);
            let _ = fs::remove_dir_all(out);
        }
        refused(host.chapter(4, ["unpack", "/no/such.tar", "/tmp/suite/work/x"]).assert(), 125, &["/no/such.tar"]);
        refused(host.chapter(4, ["run", "--layer", "/no/such/layer", "true"]).assert(), 125, &["/no/such/layer"]);
    });
}

#[test]
fn an_ordinary_user_has_layers_too() {
    host(|host| {
        crate::ch01::user_namespaces_or_skip(host);
        let layer = write(host, "layer.tar", &tar_of(&base(host)));
        let mut command = host.as_user("ch04", ["run", "--layer"]);
        command.arg(layer).args(["sh", "-c", "id -u; rm /bin/vi; ls /bin/vi; echo new > /etc/new; cat /etc/new"]);
        command.assert().success().stdout("0\nnew\n");
    });
}
