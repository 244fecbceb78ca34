//! Containers of the engine that live while a test goes on.

use std::process::Command;

use serde_json::Value;

use crate::expect::text;
use crate::{Background, Host, eventually, process};

/// Options that keep a container away from the network, which takes time to make.
const ALONE: [&str; 2] = ["--network", "none"];

/// Seconds for `stop -t`, where the process ends when it is told to: as many as it may need on a busy machine.
pub const PLENTY: &str = "100";

impl Host {
    /// `minidocker run --rm --network none ARGS… suite WORDS…`, with the image loaded.
    pub fn run(&self, args: &[&str], words: &[&str]) -> assert_cmd::Command {
        let mut command = self.with_image(["run", "--rm"]);
        command.args(ALONE).args(args).arg("suite").args(words);
        command
    }
}

/// `minidocker run -d --network none --name NAME ARGS… suite WORDS…`, with the image loaded; the id.
pub fn detached(host: &Host, name: &str, args: &[&str], words: &[&str]) -> String {
    let mut command = host.with_image(["run", "-d", "--name", name]);
    let id = text(&command.args(ALONE).args(args).arg("suite").args(words).assert().success());
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "not an id: {id}");
    id
}

/// One container's `inspect`.
pub fn inspect(host: &Host, name: &str) -> Value {
    let said = text(&host.minidocker(["inspect", name]).assert().success());
    let all: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    all[0].clone()
}

/// Waits until a word is in what the container has printed.
pub fn wait_for_log(host: &Host, name: &str, word: &str) {
    eventually(&format!("{word} is in the log of {name}"), || {
        text(&host.minidocker(["logs", name]).assert().success()).contains(word)
    });
}

/// Waits until it is `running`, `paused`, `exited`.
pub fn wait_for_status(host: &Host, name: &str, status: &str) {
    eventually(&format!("{name} is {status}"), || inspect(host, name)["State"]["Status"] == status);
}

/// The number that a container's process 1 has outside.
pub fn first_process(host: &Host, name: &str) -> i32 {
    let pid = inspect(host, name)["State"]["Pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    pid.filter(|pid| *pid > 0).expect("the pid of a running container")
}

/// The monitor of a container: the parent of its first process.
pub fn monitor(host: &Host, name: &str) -> i32 {
    process::parent(first_process(host, name))
}

/// `minidocker WORDS…` that stops itself at a step, and the process of it that stands there (`MINIDOCKER_STOP_AT`).
pub fn stopped_at<'a>(host: &Host, step: &str, words: impl IntoIterator<Item = &'a str>) -> (Background, i32) {
    let mut command = Command::new(host.bin("minidocker"));
    command.args(words).env("MINIDOCKER_STOP_AT", step);
    let mut running = Background::start(command);
    let line = running.wait_for(&format!("stopped at {step}: "));
    let pid = line.rsplit(' ').next().and_then(|word| word.parse().ok()).expect("a pid");
    (running, pid)
}
