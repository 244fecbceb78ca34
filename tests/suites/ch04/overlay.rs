//! The overlay itself: as many layers as the kernel takes, with and without root, in user namespaces.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use suite::program::UID;
use suite::{Host, host};

use super::{base, text};
use crate::ch01::user_namespaces_or_skip;
use crate::expect::refused;

/// Small layers, each with a file of its own and one that all have.
fn small_layers(directory: &Path, count: usize) -> Vec<PathBuf> {
    let layers = (0..count).map(|index| directory.join(format!("a-layer-with-a-long-name-{index}")));
    layers
        .inspect(|layer| {
            fs::create_dir_all(layer.join("layers")).expect("make a layer");
            let number = layer.file_name().and_then(|name| name.to_str()?.rsplit('-').next()).expect("a number");
            fs::write(layer.join("layers").join(number), "").expect("write");
            fs::write(layer.join("top"), format!("{number}\n")).expect("write");
        })
        .collect()
}

/// `--layer A --layer B …`
fn named(layers: &[PathBuf]) -> Vec<&str> {
    layers.iter().flat_map(|layer| ["--layer", layer.to_str().expect("a name")]).collect()
}

/// All are there, the last on top, and what is written ends up above.
const LOOK: [&str; 3] =
    ["sh", "-c", "ls /layers | wc -l; cat /top; echo new > /top; cat /top; rm /layers/0; ls /layers | wc -l"];

fn seen(count: usize) -> String {
    format!("{count}\n{}\nnew\n{}\n", count - 1, count - 1)
}

#[test]
fn as_many_layers_as_the_kernel_takes() {
    host(|host| {
        let layers = small_layers(&host.work().join("layers"), 500);
        // With the base, one more each.
        for count in [1, 2, 126, 127, 128, 199, 499] {
            let mut command = host.chapter(4, ["run", "--layer"]);
            command.arg(base(host)).args(named(&layers[..count])).args(LOOK);
            command.assert().success().stdout(seen(count));
        }
        let mut command = host.chapter(4, ["run", "--layer"]);
        refused(command.arg(base(host)).args(named(&layers)).args(LOOK).assert(), 125, &["501 layers", "500"]);
    });
}

#[test]
fn an_ordinary_user_has_as_many() {
    host(|host| {
        user_namespaces_or_skip(host);
        let layers = small_layers(&host.work().join("layers"), 499);
        // In the user namespace another user's files belong to nobody, and cannot be changed.
        host.tool("chown", ["-R", &format!("{UID}:{UID}")]).arg(host.work().join("layers")).assert().success();
        for count in [128, 499] {
            let mut command = host.as_user("ch04", ["run", "--layer"]);
            command.arg(base(host)).args(named(&layers[..count])).args(LOOK);
            command.assert().success().stdout(seen(count));
        }
    });
}

/// Whether layers here can be shown under other owners: tmpfs, on which the suites work, learned it in Linux 6.3.
fn idmapped_mounts_or_refusal(host: &Host) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (6, 3) {
        return true;
    }
    let run = host.chapter(4, ["run", "--new", "user", "--layer"]).arg(base(host)).arg("true").assert();
    refused(run, 125, &["other owners", "tmpfs since Linux 6.3"]);
    false
}

/// `ch04 run --new user --layer BASE ARGS… sh -c SCRIPT`
fn in_user_namespace(host: &Host, args: &[&str], script: &str) -> assert_cmd::Command {
    let mut command = host.chapter(4, ["run", "--new", "user", "--layer"]);
    command.arg(base(host)).args(args).args(["sh", "-c", script]);
    command
}

#[test]
fn in_roots_user_namespace_files_keep_their_owners() {
    host(|host| {
        if !idmapped_mounts_or_refusal(host) {
            return;
        }
        let base = base(host);
        chown(base.join("etc/group"), Some(33), Some(44)).expect("chown");
        let script = "id -u; cat /proc/self/uid_map | tr -s ' '; stat -c %u:%g /bin /etc/group; \
                      echo more >> /etc/group; stat -c %u:%g /etc/group; \
                      echo x > /etc/new && chown 7:8 /etc/new && stat -c %u:%g /etc/new; rm /bin/vi";
        in_user_namespace(host, &[], script).assert().success().stdout("0\n 0 100000 65536\n0:0\n33:44\n33:44\n7:8\n");
        // The layer is as it was, to the host's root as well.
        let there = fs::metadata(base.join("etc/group")).expect("the file");
        assert_eq!(
            (there.uid(), there.gid(), there.len()),
            (33, 44, fs::read(base.join("etc/group")).expect("it").len() as u64)
        );
        assert!(base.join("bin/vi").exists());
    });
}

#[test]
fn what_is_written_in_a_user_namespace_becomes_the_containers_layer() {
    host(|host| {
        if !idmapped_mounts_or_refusal(host) {
            return;
        }
        let upper = host.work().join("upper");
        let name = upper.to_str().expect("a name");
        let script = "echo hi > /new; chown 33:44 /new; chmod 4750 /new; touch /root/mine; rm /bin/vi";
        in_user_namespace(host, &["--upper", name], script).assert().success();
        let on_disk = fs::metadata(upper.join("new")).expect("the file");
        assert_eq!((on_disk.uid(), on_disk.gid()), (100_033, 100_044));
        let diff = text(&host.chapter(4, ["diff", name, "--layer"]).arg(base(host)).assert().success());
        let mut changes: Vec<&str> = diff.lines().collect();
        changes.sort_unstable();
        assert_eq!(changes, ["A /new", "A /root/mine", "C /bin", "C /root", "D /bin/vi"]);
        let tar = host.work().join("new.tar");
        host.chapter(4, ["commit", name, "-o"]).arg(&tar).assert().success();
        let mut command = host.chapter(4, ["run", "--layer"]);
        command.arg(base(host)).arg("--layer").arg(tar);
        command.args(["stat", "-c", "%u:%g %a", "/new", "/root", "/root/mine"]);
        command.assert().success().stdout("33:44 4750\n0:0 755\n0:0 644\n");

        // Again, with the same maps; not with others, to whose ids the files would belong to somebody else.
        in_user_namespace(host, &["--upper", name], "stat -c %u /new").assert().success().stdout("33\n");
        let other = ["--upper", name, "--uid-map", "0:300000:1000", "--gid-map", "0:300000:1000"];
        refused(in_user_namespace(host, &other, "true").assert(), 125, &["upper", "other maps"]);
        let layers = ["run", "--upper", name, "--layer"];
        host.chapter(4, layers)
            .arg(base(host))
            .args(["stat", "-c", "%u", "/new"])
            .assert()
            .success()
            .stdout("100033\n");
    });
}

#[test]
fn a_user_namespace_needs_no_way_through_roots_directories() {
    host(|host| {
        if !idmapped_mounts_or_refusal(host) {
            return;
        }
        // Everything lies where the container's root, outside somebody without rights, cannot get to.
        let closed = host.work().join("closed");
        fs::create_dir(&closed).expect("make a directory");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("close it");
        fs::rename(base(host), closed.join("base")).expect("move the base");
        let mut command = host.chapter(4, ["run", "--new", "user", "--layer"]);
        command.arg(closed.join("base")).env("TMPDIR", &closed).args(["sh", "-c", "echo yes > /there; cat /there"]);
        command.assert().success().stdout("yes\n");
    });
}

#[test]
fn a_user_namespace_is_found_in_the_proc_of_another_pid_namespace() {
    host(|host| {
        if !idmapped_mounts_or_refusal(host) {
            return;
        }
        // Chapter 1 changes the pid namespace and leaves /proc: there the child of chapter 4 has another number.
        let mut command = host.chapter(1, ["run", "/tmp/suite/bin/ch04", "run", "--new", "user", "--layer"]);
        command.arg(base(host)).args(["stat", "-c", "%u", "/etc/passwd"]).assert().success().stdout("0\n");
    });
}

#[test]
fn an_ordinary_users_many_ids_become_the_containers() {
    host(|host| {
        user_namespaces_or_skip(host);
        let upper = host.home().join("upper");
        let mut command = host.as_user("ch04", ["run", "--layer"]);
        command.arg(base(host)).arg("--upper").arg(&upper);
        command.args(["sh", "-c", "touch /own /others; chown 33:44 /others 2>/dev/null; stat -c %u /others"]);
        let inside = text(&command.assert().success());
        let on_disk = fs::metadata(upper.join("others")).expect("the file").uid();
        // Where newuidmap is installed the user has more than one.
        assert_eq!(on_disk, if inside == "33" { 100_032 } else { UID });
        let tar = host.home().join("new.tar");
        host.as_user("ch04", ["commit"]).arg(&upper).arg("-o").arg(&tar).assert().success();
        let out = host.work().join("out");
        host.chapter(4, ["unpack"]).arg(&tar).arg(&out).assert().success();
        let owner = |name: &str| fs::metadata(out.join(name)).expect("the file").uid().to_string();
        assert_eq!((owner("own"), owner("others")), ("0".to_owned(), inside));
    });
}
