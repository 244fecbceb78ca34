//! An ordinary user to whom a cgroup was delegated (`cgroup-v2.rst`, "Delegation").

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use suite::{Host, eventually, host, skip};

use crate::ch01::user_namespaces_or_skip;
use crate::expect::{refused, text};

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

/// A user's part of a cgroup tree as systemd lays it out: the service is theirs, with a scope in it that a program was
/// started in; the session of their login, beside it, is not.
struct Login {
    user: PathBuf,
}

impl Login {
    /// Made in the v2 tree, which on a hybrid machine has no limits but freezes and counts all the same.
    fn new(host: &Host) -> Login {
        user_namespaces_or_skip(host);
        let tops = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let Some(top) = tops.into_iter().find(|top| top.join("cgroup.controllers").exists()) else {
            skip("without v2 there is nothing to delegate");
        };
        let login = Login { user: top.join("user.slice/user-1000.slice") };
        for directory in [login.scope(), login.session()] {
            fs::create_dir_all(directory).expect("make the user's cgroups");
        }
        if host.cgroup2() {
            for directory in [top, &top.join("user.slice"), &login.user] {
                fs::write(directory.join("cgroup.subtree_control"), "+memory +pids").expect("hand controllers down");
            }
        }
        for directory in [login.service(), login.service().join("app.slice"), login.scope()] {
            for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
                chown(directory.join(file), Some(1000), Some(1000)).expect("give it away");
            }
        }
        login
    }

    fn service(&self) -> PathBuf {
        self.user.join("user@1000.service")
    }

    fn scope(&self) -> PathBuf {
        self.service().join("app.slice/run-1.scope")
    }

    fn session(&self) -> PathBuf {
        self.user.join("session-2.scope")
    }

    /// The user's `program WORDS…`, from one of their cgroups.
    fn from(&self, cgroup: &Path, host: &Host, program: &str, words: &[&str]) -> assert_cmd::Command {
        let mut command = Command::new("sh");
        let enter = format!(
            "echo 0 > {}/cgroup.procs && exec /tmp/suite/bin/payload as 1000 /tmp/suite/bin/{program} \"$@\"",
            cgroup.display()
        );
        command.args(["-c", &enter, "sh"]).args(words).current_dir(host.home());
        command.env("USER", "learner").env("MINIDOCKER_ROOT", host.home().join("root"));
        assert_cmd::Command::from_std(command)
    }

    fn take_back(&self) {
        let ours = [self.scope(), self.service().join("app.slice"), self.service(), self.session(), self.user.clone()];
        for directory in ours.iter().map(PathBuf::as_path).chain(self.user.parent()) {
            // A monitor has a last word to say after the one that all wait for.
            eventually(&format!("{} is empty", directory.display()), || fs::remove_dir(directory).is_ok());
        }
    }
}

#[test]
fn what_was_started_in_a_scope_is_managed_from_a_login() {
    host(|host| {
        let login = Login::new(host);
        let engine = |from: &Path, words: &[&str]| login.from(from, host, "minidocker", words).assert();
        let (scope, session) = (login.scope(), login.session());
        engine(&session, &["load", "-i", host.image_archive().to_str().expect("a path")]).success();
        let volume = format!("{}:/ticks", host.home().display());
        let script = "while :; do echo tick >> /ticks/log; sleep 0.02; done";
        let words = ["-v", &volume, "suite", "sh", "-c", script];
        engine(&scope, &[&["run", "-d", "--name", "one", "--network", "none"], &words[..]].concat()).success();
        let ticks = || fs::metadata(host.home().join("log")).map_or(0, |log| log.len());
        eventually("it ticks", || ticks() > 0);
        engine(&session, &["pause", "one"]).success();
        let before = ticks();
        sleep(Duration::from_millis(300));
        assert_eq!(ticks(), before, "it stands still");
        assert!(text(&engine(&session, &["ps"]).success()).contains("(Paused)"));
        refused(engine(&session, &["rm", "one"]), 1, &["it is paused"]);
        engine(&session, &["unpause", "one"]).success();
        eventually("it goes on", || ticks() > before);
        let counted = text(&engine(&session, &["stats", "--no-stream", "one"]).success());
        assert!(counted.lines().nth(1).expect("a row").contains('%'), "nobody counts: {counted}");
        if host.cgroup2() {
            // The shell, its sleep, and no third one.
            engine(&session, &["update", "--pids-limit", "2", "one"]).success();
            let forks = ["exec", "one", "payload", "bomb", "10"];
            assert!(!text(&engine(&session, &forks)).contains("forked 10"), "the new limit holds");
        } else {
            refused(engine(&session, &["update", "--pids-limit", "2", "one"]), 1, &["--pids-limit", "cgroup v2 alone"]);
        }
        engine(&session, &["rm", "-f", "one"]).success();
        login.take_back();
    });
}

#[test]
fn the_chapters_containers_are_found_from_a_login_too() {
    host(|host| {
        let login = Login::new(host);
        let ch02 = |from: &Path, words: &[&str]| login.from(from, host, "ch02", words);
        let mut run = ch02(&login.scope(), &["run", "--name", "one", "/tmp/suite/bin/payload", "wait"]);
        let running = std::thread::spawn(move || run.timeout(Duration::from_secs(60)).assert());
        let group = login.service().join("ch02/one");
        eventually("it runs", || fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|procs| !procs.is_empty()));
        let session = login.session();
        ch02(&session, &["pause", "one"]).assert().success();
        assert!(text(&ch02(&session, &["stats", "one"]).assert().success()).contains("paused"));
        assert!(text(&ch02(&session, &["stats"]).assert().success()).contains("one"));
        refused(ch02(&session, &["run", "--name", "one", "true"]).assert(), 125, &["is running"]);
        ch02(&session, &["resume", "one"]).assert().success();
        assert!(!text(&ch02(&session, &["stats", "one"]).assert().success()).contains("paused"));
        fs::write(group.join("cgroup.kill"), "1").expect("kill it");
        running.join().expect("it ends").code(137);
        login.take_back();
    });
}

#[test]
fn without_one_the_way_out_is_named() {
    host(|host| {
        user_namespaces_or_skip(host);
        for flag in ["--memory=64m", "--cpus=0.5", "--pids-limit=10", "--cpuset-cpus=0"] {
            let assert = host.as_user("ch02", ["run", flag, "true"]).assert();
            let name = flag.split('=').next().expect("a name");
            let way_out = if host.cgroup2() { "be given a cgroup" } else { "cgroup v2 alone" };
            refused(assert, 125, &[name, "cannot be enforced", way_out]);
        }
    });
}
