//! An ordinary user to whom a cgroup was delegated (`cgroup-v2.rst`, "Delegation").

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use suite::{Host, eventually, host, skip};

use crate::ch01::user_namespaces_or_skip;
use crate::expect::refused;

const OURS: &str = "/sys/fs/cgroup/mine";

/// Makes the cgroup that root gives to the user: the directory and three files are theirs, the limits in it are not.
fn delegate(host: &Host) {
    user_namespaces_or_skip(host);
    if !host.cgroup2() {
        skip("v1 cannot be delegated safely; that limits are refused there is another test");
    }
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory +pids +cpu -cpuset").expect("hand controllers down");
    fs::create_dir(OURS).expect("make a cgroup");
    fs::write(format!("{OURS}/memory.max"), "536870912").expect("limit it");
    for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        chown(Path::new(OURS).join(file), Some(1000), Some(1000)).expect("give it away");
    }
}

/// A command line by the user, from a shell that is in their cgroup, or in the leaf that it was moved to the first time.
fn inside(host: &Host, line: &str) -> assert_cmd::Command {
    let script = format!(
        "if test -d {OURS}/init; then leaf={OURS}/init; else leaf={OURS}; fi; \
         echo 0 > $leaf/cgroup.procs && exec /tmp/suite/bin/payload as 1000 sh -c '{line}'"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(host.home());
    command.env("USER", "learner").env("MINIDOCKER_ROOT", host.home().join("root"));
    assert_cmd::Command::from_std(command)
}

/// What is left below it is the user's own leaf, where the shell stands that was in the way, and for a moment a monitor
/// that has told how its container ended and still deletes its files.
fn take_back() {
    eventually("nobody is in the user's leaf", || {
        !fs::remove_dir(format!("{OURS}/init")).is_err_and(|error| error.kind() == ErrorKind::ResourceBusy)
    });
    fs::remove_dir(OURS).expect("remove the user's cgroup: something else was left in it");
}

#[test]
fn limits_hold_for_a_user_with_a_cgroup() {
    host(|host| {
        delegate(host);
        let run = "/tmp/suite/bin/ch02 run";
        let payload = "/tmp/suite/bin/payload";
        inside(host, &format!("{run} -m 64m {payload} hog 200000000")).assert().code(137);
        inside(host, &format!("{run} -m 64m {payload} hog 20000000")).assert().success();
        inside(host, &format!("{run} --pids-limit 20 {payload} bomb 200")).assert().stdout("forked 19, then EAGAIN\n");
        // With another process of the user's in the way: it moves into the leaf as well.
        inside(host, &format!("sleep 1000 & {run} --pids-limit 20 {payload} bomb 200; kill $!"))
            .assert()
            .stdout("forked 19, then EAGAIN\n");
        // What was not handed down is refused by name.
        refused(inside(host, &format!("{run} --cpuset-cpus 0 true")).assert(), 125, &["--cpuset-cpus", "cpuset"]);
        // Pausing and changing are as for root.
        let line = format!(
            "{run} --name one {payload} wait > said & until grep -q ready said; do sleep 0.1; done; \
             ch02=/tmp/suite/bin/ch02; $ch02 pause one && $ch02 stats one | \
             grep -c paused; $ch02 update --pids-limit 9 one; $ch02 resume one; cat {OURS}/ch02/one/pids.max; \
             kill -9 $(cat {OURS}/ch02/one/cgroup.procs); wait"
        );
        inside(host, &line).assert().stdout("1\n9\n");
        take_back();
    });
}

#[test]
fn the_engine_of_a_user_with_a_cgroup_limits_too() {
    host(|host| {
        delegate(host);
        let engine = "/tmp/suite/bin/minidocker";
        let archive = host.image_archive();
        inside(host, &format!("{engine} load -i {}", archive.display())).assert().success();
        let run = format!("{engine} run --rm --network none");
        inside(host, &format!("{run} -m 64m suite payload hog 200000000")).assert().code(137);
        inside(host, &format!("{run} --pids-limit 20 suite payload bomb 200"))
            .assert()
            .stdout("forked 19, then EAGAIN\n");
        take_back();
    });
}

#[test]
fn without_one_the_way_out_is_named() {
    host(|host| {
        user_namespaces_or_skip(host);
        for flag in ["--memory=64m", "--cpus=0.5", "--pids-limit=10", "--cpuset-cpus=0"] {
            let assert = host.as_user("ch02", ["run", flag, "true"]).assert();
            let name = flag.split('=').next().expect("a name");
            refused(assert, 125, &[name, "cannot be enforced", "be given a cgroup"]);
        }
    });
}
