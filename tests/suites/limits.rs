//! What a container may take, told as the engine tells it. Runs here and in the machine with cgroup v2.

mod pause;
mod update;
mod watch;

use suite::container::{detached, inspect, wait_for_log, wait_for_status};
use suite::{Host, host};

use crate::ch02::disk::Disk;
use crate::expect::{refused, text};

/// A container that waits, without input.
fn waiting(host: &Host, name: &str, args: &[&str]) {
    detached(host, name, args, &["payload", "wait"]);
    wait_for_log(host, name, "ready");
}

/// What a command in it prints.
fn exec(host: &Host, name: &str, words: &[&str]) -> String {
    text(&host.minidocker([&["exec", name], words].concat()).assert().success())
}

fn remove(host: &Host, name: &str) {
    host.minidocker(["rm", "-f", name]).assert().success();
}

#[test]
fn a_hog_is_killed_and_inspect_says_why() {
    host(|host| {
        detached(host, "hog", &["-m", "64m"], &["payload", "hog", "200000000"]);
        wait_for_status(host, "hog", "exited");
        let state = inspect(host, "hog")["State"].clone();
        assert_eq!(state["ExitCode"], 137, "{state}");
        assert_eq!(state["OOMKilled"], true, "{state}");
        host.minidocker(["rm", "hog"]).assert().success();
        detached(host, "modest", &["-m", "64m"], &["payload", "hog", "10000000"]);
        wait_for_status(host, "modest", "exited");
        let state = inspect(host, "modest")["State"].clone();
        assert_eq!((state["ExitCode"].as_i64(), state["OOMKilled"].as_bool()), (Some(0), Some(false)), "{state}");
        host.minidocker(["rm", "modest"]).assert().success();
    });
}

#[test]
fn a_tenth_of_a_processor_is_a_tenth() {
    host(|host| {
        // Again and again until the kernel has held it back three times: on a machine so busy that nobody gets more than that
        // anyway, the quota has nothing to do.
        let script = "for i in $(seq 40); do payload burn 1000; cat /sys/fs/cgroup/cpu.stat /sys/fs/cgroup/cpu/cpu.stat > /stat; \
                      if test $(grep nr_throttled /stat | cut -d ' ' -f 2) -ge 3; then echo held; exit; fi; done 2>/dev/null";
        let said = text(&host.run(&["--cpus", "0.1"], &["sh", "-c", script]).assert().success());
        let numbers: Vec<u64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        // A tenth, and what the kernel's clock gives away on a machine that is itself waiting.
        assert!(numbers[0] * 100 <= numbers[1] * 30, "{said}");
        assert!(said.ends_with("held"), "{said}");
    });
}

#[test]
fn a_fork_bomb_stops_at_the_limit() {
    host(|host| {
        let run = host.run(&["--pids-limit", "20"], &["payload", "bomb", "200"]).assert();
        run.success().stdout("forked 19, then EAGAIN\n");
    });
}

#[test]
fn a_real_fork_bomb_harms_nobody_and_can_be_stopped() {
    host(|host| {
        let script = "exec 2>&1; bomb() { bomb | bomb & }; bomb; sleep 1000";
        detached(host, "bomb", &["--pids-limit", "30"], &["sh", "-c", script]);
        wait_for_log(host, "bomb", "can't fork");
        host.minidocker(["rm", "-f", "bomb"]).assert().success();
    });
}

#[test]
fn exec_is_within_the_same_limits() {
    host(|host| {
        detached(host, "base", &["--pids-limit", "20"], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        let said = text(&host.minidocker(["exec", "base", "payload", "bomb", "200"]).assert().success());
        assert_eq!(said, "forked 18, then EAGAIN");
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}

#[test]
fn a_device_opens_for_the_first_process_and_for_every_other() {
    host(|host| {
        let disk = Disk::new(host, "disk", 1 << 20);
        let minor = disk.path.trim_start_matches("/dev/loop").to_owned();
        let both = |name: &str, args: &[&str], access: &str| {
            let words = ["payload", "node", "/tmp/node", "b", "7", &minor, access];
            waiting(host, name, args);
            let executed = exec(host, name, &words);
            remove(host, name);
            [executed, text(&host.run(args, &words).assert().success())]
        };
        let denied = ["mknod ok, open EPERM"; 2];
        let allowed = ["mknod ok, open ok"; 2];
        assert_eq!(both("usual", &[], "r"), denied);
        let rule = ["--device-cgroup-rule", &format!("b 7:{minor} rm")];
        assert_eq!(both("rule", &rule, "r"), allowed);
        assert_eq!(both("rule", &rule, "w"), denied);
        assert_eq!(both("any", &["--device-cgroup-rule", "a 7:* rwm"], "rw"), allowed);
    });
}

#[test]
fn a_disk_is_as_slow_in_a_container_as_it_is_told_to_be() {
    host(|host| {
        let disk = Disk::new(host, "disk", 8 << 20);
        let rate = format!("{}:1mb", disk.path);
        let args = ["--device", &disk.path, "--device-write-bps", &rate];
        let words = ["payload", "disk", "write", &disk.path, "768"];
        let said = text(&host.run(&args, &words).assert().success());
        let took: u64 = said.strip_prefix("took ").and_then(|ms| ms.parse().ok()).expect("a number");
        assert!(took >= 2000, "{took} ms for three megabytes at one a second");
    });
}

#[test]
fn contradictory_limits_make_no_container() {
    host(|host| {
        host.load_image();
        let missing = if host.cgroup2() { "--memory-swappiness" } else { "--cpuset-mems" };
        for (args, word) in [
            (&["-m", "64m", "--memory-swap", "32m"][..], "--memory-swap"),
            (&["--cpus", "1", "--cpu-period", "50000"], "--cpus"),
            (&["--cpu-shares", "1"], "--cpu-shares"),
            (&["--blkio-weight", "5000"], "--blkio-weight"),
            (&["--device-read-bps", "/dev/null:1mb"], "/dev/null"),
            (&["--pids-limit", "5", "--cpuset-cpus", "4000"], "--cpuset-cpus"),
            (&[missing, "99"], missing),
        ] {
            for command in ["run", "create"] {
                let words = [&[command][..], args, &["suite", "true"]].concat();
                refused(host.minidocker(words).assert(), 125, &[word]);
            }
        }
        host.minidocker(["ps", "-aq"]).assert().success().stdout("");
    });
}

/// Parents that nobody has made before: containers that come and go at once fall over none of them, and the last takes
/// them along.
#[test]
fn a_parent_that_was_missing_goes_with_the_last_container() {
    host(|host| {
        host.load_image();
        let found = || {
            let words = ["/sys/fs/cgroup", "-type", "d", "-name", "suite-parent"];
            let found = text(&host.tool("find", words).assert().success());
            found.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let words = ["run", "--rm", "--network", "none", "--cgroup-parent", "suite-parent/deep", "suite", "true"];
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5).for_each(|_| drop(host.minidocker(words).assert().success())));
            }
        });
        assert_eq!(found(), [""; 0]);

        let own = ["--cgroup-parent", "suite-parent"];
        detached(host, "one", &own, &["payload", "wait"]);
        detached(host, "two", &own, &["payload", "wait"]);
        let places = found();
        assert!(!places.is_empty());
        host.minidocker(["rm", "-f", "one"]).assert().success();
        assert_eq!(found(), places, "the other is still in it");
        host.minidocker(["rm", "-f", "two"]).assert().success();
        assert_eq!(found(), [""; 0]);

        // One of the user's own stays.
        std::fs::create_dir(&places[0]).expect("make a parent");
        host.minidocker(words).assert().success();
        assert_eq!(found(), places[..1]);
        std::fs::remove_dir(&places[0]).expect("remove the parent");

        let evil = ["run", "--rm", "--network", "none", "--cgroup-parent", "a\u{1b}[31m", "suite", "true"];
        refused(host.minidocker(evil).assert(), 125, &["cgroup path", "control characters"]);
    });
}
