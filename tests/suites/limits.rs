//! What a container may take, told as the engine tells it. Runs here and in the machine with cgroup v2.

use suite::host;

use crate::expect::text;
use crate::lifecycle::{detached, inspect};

#[test]
fn a_hog_is_killed_and_inspect_says_why() {
    host(|host| {
        detached(host, "hog", &["-m", "64m"], &["payload", "hog", "200000000"]);
        suite::eventually("it ends", || inspect(host, "hog")["State"]["Status"] == "exited");
        let state = inspect(host, "hog")["State"].clone();
        assert_eq!(state["ExitCode"], 137, "{state}");
        assert_eq!(state["OOMKilled"], true, "{state}");
        host.minidocker(["rm", "hog"]).assert().success();
        detached(host, "modest", &["-m", "64m"], &["payload", "hog", "10000000"]);
        suite::eventually("it ends", || inspect(host, "modest")["State"]["Status"] == "exited");
        let state = inspect(host, "modest")["State"].clone();
        assert_eq!((state["ExitCode"].as_i64(), state["OOMKilled"].as_bool()), (Some(0), Some(false)), "{state}");
        host.minidocker(["rm", "modest"]).assert().success();
    });
}

#[test]
fn half_a_processor_is_half_a_processor() {
    host(|host| {
        host.load_image();
        // Again and again until the kernel has held it back three times: a busy machine may do that before the quota does.
        let script = "for i in $(seq 40); do payload burn 1000; cat /sys/fs/cgroup/cpu.stat /sys/fs/cgroup/cpu/cpu.stat > /stat; \
                      if test $(grep nr_throttled /stat | cut -d ' ' -f 2) -ge 3; then echo held; exit; fi; done 2>/dev/null";
        let words = ["run", "--rm", "--network", "none", "--cpus", "0.5", "suite", "sh", "-c", script];
        let said = text(&host.minidocker(words).assert().success());
        let numbers: Vec<u64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        // Half of it, and what the kernel's clock gives away on a machine that is itself waiting.
        assert!(numbers[0] * 100 <= numbers[1] * 75, "{said}");
        assert!(said.ends_with("held"), "{said}");
    });
}

#[test]
fn a_fork_bomb_stops_at_the_limit() {
    host(|host| {
        host.load_image();
        let words = ["run", "--rm", "--network", "none", "--pids-limit", "20", "suite", "payload", "bomb", "200"];
        host.minidocker(words).assert().success().stdout("forked 19, then EAGAIN\n");
    });
}

#[test]
fn a_real_fork_bomb_harms_nobody_and_can_be_stopped() {
    host(|host| {
        detached(host, "bomb", &["--pids-limit", "30"], &["sh", "-c", "bomb() { bomb | bomb & }; bomb; sleep 1000"]);
        std::thread::sleep(std::time::Duration::from_millis(500));
        host.minidocker(["rm", "-f", "bomb"]).assert().success();
    });
}

#[test]
fn exec_is_within_the_same_limits() {
    host(|host| {
        detached(host, "base", &["--pids-limit", "20"], &["payload", "wait"]);
        crate::lifecycle::wait_for_log(host, "base", "ready");
        let said = text(&host.minidocker(["exec", "base", "payload", "bomb", "200"]).assert().success());
        assert_eq!(said, "forked 18, then EAGAIN");
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}
