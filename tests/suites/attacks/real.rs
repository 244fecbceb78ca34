//! Attacks that would prove nothing if they did not work: here each succeeds, against a program that does not defend itself.
//! (The others show that in their own test.)

use std::fs;
use std::process::Command;

use suite::container::{detached, first_process, wait_for_log};
use suite::{Background, host};

use super::own_binary::writable;

/// CVE-2019-5736 is real: an engine that joins the container as simply as that, and executes `/proc/self/exe`, is overwritten.
#[test]
fn a_program_without_protection_is_overwritten() {
    host(|host| {
        detached(host, "prey", &[], &["payload", "overwrite-engine"]);
        wait_for_log(host, "prey", "ready");
        let pid = first_process(host, "prey").to_string();
        // The attacker knows engines by their names.
        let naive = writable(host, "payload", "ch00");
        let before = fs::read(&naive).expect("read it");
        let mut join = Command::new(&naive);
        join.args(["join", &pid, "/proc/self/exe", "wait"]);
        let mut joined = Background::start(join);
        joined.wait_for("ready");
        wait_for_log(host, "prey", "holds");
        let _killed =
            host.minidocker(["exec", "prey", "sh", "-c", "kill $(ps | grep 'exe wait' | awk '{ print $1 }')"]).assert();
        joined.wait();
        wait_for_log(host, "prey", "overwritten");
        assert!(fs::read(&naive).expect("read it") != before);
        host.minidocker(["rm", "-f", "prey"]).assert().success();
    });
}

/// CVE-2016-9962 is real: the same hunter finds what a plain `nsenter` brings along.
#[test]
fn a_process_that_comes_by_nsenter_is_seen_through() {
    host(|host| {
        host.needs("nsenter");
        detached(host, "hunter", &["--cap-add", "SYS_PTRACE"], &["payload", "hunt", "/stop"]);
        wait_for_log(host, "hunter", "ready");
        let pid = first_process(host, "hunter");
        host.needs("bash");
        let script = format!("exec 7</tmp/suite; exec nsenter -t {pid} -m -p -- sleep 1000");
        let mut command = Command::new("bash");
        command.args(["-c", &script]).env("TOKEN", "SECRET of the caller");
        let running = Background::start(command);
        wait_for_log(host, "hunter", "found a secret");
        wait_for_log(host, "hunter", "found a directory");
        drop(running);
        host.minidocker(["rm", "-f", "hunter"]).assert().success();
    });
}
