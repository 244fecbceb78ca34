//! Limits that are changed, while the container runs and for its next start.

use std::fs::{self, File};

use nix::fcntl::{Flock, FlockArg};
use suite::container::{detached, inspect, wait_for_log};
use suite::{eventually, host};

use super::{exec, remove, waiting};
use crate::expect::{complaint, refused, text};

#[test]
fn a_change_holds_at_once_and_after_the_next_start() {
    host(|host| {
        waiting(host, "one", &[]);
        let bomb = || exec(host, "one", &["payload", "bomb", "30"]);
        assert_eq!(bomb(), "forked 30, nobody stopped it");
        host.minidocker(["update", "--pids-limit", "10", "one"]).assert().success().stdout("one\n");
        assert_eq!(bomb(), "forked 8, then EAGAIN");
        assert_eq!(inspect(host, "one")["HostConfig"]["PidsLimit"], 10);
        host.minidocker(["stop", "-t", "0", "one"]).assert().success();
        host.minidocker(["start", "one"]).assert().success();
        assert_eq!(bomb(), "forked 8, then EAGAIN");
        host.minidocker(["update", "--pids-limit", "-1", "one"]).assert().success();
        assert_eq!(bomb(), "forked 30, nobody stopped it");
        // While it does not run, it is written down.
        host.minidocker(["stop", "-t", "0", "one"]).assert().success();
        host.minidocker(["update", "--pids-limit", "10", "one"]).assert().success();
        host.minidocker(["start", "one"]).assert().success();
        assert_eq!(bomb(), "forked 8, then EAGAIN");
        remove(host, "one");
    });
}

/// On v1 a container that nothing limits is not in the trees of processors: it has to be moved there, first process and all.
#[test]
fn processors_can_be_limited_later() {
    host(|host| {
        waiting(host, "one", &[]);
        let args = ["update", "--cpus", "0.25", "--cpuset-cpus", "0", "--cpu-shares", "512", "one"];
        host.minidocker(args).assert().success();
        let allowed = exec(host, "one", &["grep", "Cpus_allowed_list", "/proc/1/status", "/proc/self/status"]);
        assert!(allowed.lines().count() == 2 && allowed.lines().all(|line| line.ends_with("\t0")), "{allowed}");
        let said = exec(host, "one", &["payload", "burn", "2000"]);
        let numbers: Vec<u64> = said.split(' ').filter_map(|word| word.parse().ok()).collect();
        assert!(numbers[0] * 100 <= numbers[1] * 50, "a quarter, and what the clock gives away: {said}");
        host.minidocker(["update", "--cpus", "1", "one"]).assert().success();
        refused(
            host.minidocker(["update", "--cpu-quota", "50000", "one"]).assert(),
            1,
            &["cannot update one", "--cpus", "--cpu-quota"],
        );
        remove(host, "one");
    });
}

#[test]
fn memory_can_be_changed_within_what_is_in_use() {
    host(|host| {
        detached(host, "one", &["-m", "100m", "--memory-swap", "100m"], &["payload", "hold", "30000000"]);
        wait_for_log(host, "one", "ready");
        refused(
            host.minidocker(["update", "-m", "20m", "one"]).assert(),
            1,
            &["cannot update one", "--memory", "holds more than that"],
        );
        let state = inspect(host, "one");
        assert_eq!(state["HostConfig"]["Memory"], 100 << 20, "the books say what holds");
        assert_eq!(state["State"]["Running"], true, "nobody was killed for it");
        // The kernel takes the largest, which is the hog by the time that memory runs out.
        let hog = |code: i32| {
            host.minidocker(["exec", "one", "payload", "hog", "80000000"]).assert().code(code);
        };
        hog(137);
        host.minidocker(["update", "-m", "200m", "--memory-swap", "200m", "one"]).assert().success();
        hog(0);
        host.minidocker(["update", "-m", "80m", "--memory-swap", "80m", "one"]).assert().success();
        hog(137);
        remove(host, "one");
    });
}

#[test]
fn one_that_cannot_be_changed_keeps_nobody_from_it() {
    host(|host| {
        waiting(host, "one", &["-m", "100m"]);
        waiting(host, "two", &[]);
        let assert = host.minidocker(["update", "--pids-limit", "10", "one", "nobody", "two"]).assert().code(1);
        assert_eq!(text(&assert), "one\ntwo");
        assert!(complaint(&assert).contains("nobody"), "{}", complaint(&assert));
        assert_eq!(exec(host, "two", &["payload", "bomb", "30"]), "forked 8, then EAGAIN");
        let before = inspect(host, "one")["HostConfig"].clone();
        for (args, word) in [
            (&["--memory-swap", "50m"][..], "--memory-swap"),
            (&["--memory-reservation", "200m"], "--memory-reservation"),
            (&["--cpuset-cpus", "4000"], "--cpuset-cpus"),
            (&["--cpu-shares", "1"], "--cpu-shares"),
            (&["--pids-limit", "50", "--cpu-quota", "10"], "--cpu-quota"),
        ] {
            refused(host.minidocker([&["update"], args, &["one"]].concat()).assert(), 1, &[word]);
        }
        refused(host.minidocker(["update", "one"]).assert(), 1, &["flags"]);
        assert_eq!(inspect(host, "one")["HostConfig"], before);
        assert_eq!(exec(host, "one", &["payload", "bomb", "30"]), "forked 8, then EAGAIN");
        remove(host, "one");
        remove(host, "two");
    });
}

/// Each says only what it changes: the last one must not undo the others.
#[test]
fn changes_at_once_are_all_kept() {
    host(|host| {
        waiting(host, "one", &[]);
        let flags = [["--pids-limit", "40"], ["-m", "200m"], ["--cpus", "1"], ["--cpuset-cpus", "0"]];
        let started: Vec<_> =
            flags.iter().map(|[flag, value]| host.start("minidocker", ["update", flag, value, "one"])).collect();
        for running in started {
            let (status, said) = running.wait();
            assert!(status.success(), "{said}");
        }
        let config = inspect(host, "one")["HostConfig"].clone();
        for (key, value) in [("PidsLimit", 40), ("Memory", 200 << 20), ("NanoCpus", 1_000_000_000)] {
            assert_eq!(config[key].as_u64(), Some(value), "{key} in {config}");
        }
        assert_eq!(config["CpusetCpus"], "0", "{config}");
        remove(host, "one");
    });
}

/// Another name is a change like any other: it waits for its turn, and does not undo what was written down meanwhile.
#[test]
fn a_new_name_keeps_a_change_of_limits() {
    host(|host| {
        waiting(host, "one", &[]);
        let id = inspect(host, "one")["Id"].as_str().expect("its id").to_owned();
        let directory = host.root().join("containers").join(id);
        let lock = File::open(&directory).expect("open its directory");
        let updating = Flock::lock(lock, FlockArg::LockExclusive).expect("lock it, as an update does");
        let renaming = host.start("minidocker", ["rename", "one", "two"]);
        eventually("it waits for the update", || {
            let locks = fs::read_to_string("/proc/locks").expect("the locks");
            locks.lines().any(|line| line.contains("-> FLOCK") && line.contains(&format!(" {} ", renaming.pid())))
        });
        let text = fs::read(directory.join("container.json")).expect("the description");
        let mut description: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        description["limits"]["pids"] = 40.into();
        fs::write(directory.join("container.json"), description.to_string()).expect("write the description");
        drop(updating);
        let (status, said) = renaming.wait();
        assert!(status.success(), "{said}");
        assert_eq!(inspect(host, "two")["HostConfig"]["PidsLimit"], 40);
        remove(host, "two");
    });
}
