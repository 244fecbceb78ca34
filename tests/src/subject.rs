//! One suite text for several programs: whatever runs a command in a container is a *subject*.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::program::chapter_program;
use crate::{Background, Host, host::skip};

/// A program under test, or a peer that shows whether the test is right about the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `chNN run … CMD`, with a root from chapter 3 on.
    Chapter(u8),
    /// `minidocker run --rm suite CMD`.
    Engine,
    /// `runc run`, with a generated bundle.
    Runc,
    /// `crun run`, with the same bundle.
    Crun,
    /// The command alone, without any container: what must not pass for one.
    Plain,
}

/// What a test asks of a subject besides the command.
#[derive(Clone, Copy, Default)]
pub struct Wish<'a> {
    /// `--hostname`.
    pub hostname: Option<&'a str>,
    /// Further options of `run`, for those who take them.
    pub options: &'a [&'a str],
}

impl Subject {
    /// The container's command line, ready to be started.
    ///
    /// `argv` is found in a root with busybox and the payload in `/bin`, or on the machine for chapters 1 and 2.
    pub fn command(self, host: &Host, wish: Wish<'_>, argv: &[&str]) -> Command {
        match self {
            Subject::Chapter(number) => chapter(host, number, wish, argv),
            Subject::Engine => {
                host.load_image();
                let mut command = Command::new(host.bin("minidocker"));
                command.args(["run", "--rm", "--network", "none"]);
                command.args(wish.hostname.map(|name| ["--hostname", name]).into_iter().flatten());
                command.args(wish.options).arg("suite").args(argv);
                command
            }
            Subject::Runc => bundle(host, "runc", wish, argv),
            Subject::Crun => bundle(host, "crun", wish, argv),
            Subject::Plain => plain(host, argv),
        }
    }

    /// Runs it to the end.
    pub fn run(self, host: &Host, argv: &[&str]) -> assert_cmd::assert::Assert {
        assert_cmd::Command::from_std(self.command(host, Wish::default(), argv)).assert()
    }

    /// Starts it and goes on.
    pub fn start(self, host: &Host, argv: &[&str]) -> Background {
        Background::start(self.command(host, Wish::default(), argv))
    }

    /// Whether it gives the container a root of its own.
    pub fn has_root(self) -> bool {
        !matches!(self, Subject::Chapter(1 | 2) | Subject::Plain)
    }
}

fn chapter(host: &Host, number: u8, wish: Wish<'_>, argv: &[&str]) -> Command {
    let mut command = Command::new(host.bin(&chapter_program(number)));
    command.arg("run").args(wish.hostname.map(|name| ["--hostname", name]).into_iter().flatten()).args(wish.options);
    let root = || host.rootfs("rootfs");
    match number {
        1 | 2 => {
            // The machine's own files: what the root has in /bin is among them, or beside our programs.
            let mut words = argv.to_vec();
            let own = host.bin("payload");
            if words.first() == Some(&"payload") {
                words.remove(0);
                command.arg(own);
            }
            command.args(words);
            return command;
        }
        3 => command.arg("--rootfs").arg(root()),
        4 => command.arg("--layer").arg(root()),
        5 => command.args(["--network", "none"]).arg("--layer").arg(root()),
        6 => {
            host.load_image_for_chapters();
            command.args(["--network", "none", "suite"])
        }
        _ => panic!("chapter {number} runs no containers"),
    };
    command.args(argv);
    command
}

/// A fork and an exec.
fn plain(host: &Host, argv: &[&str]) -> Command {
    let (program, args) = argv.split_first().expect("a command");
    let mut command = Command::new(program);
    if *program == "payload" {
        command = Command::new(host.bin("payload"));
    }
    command.args(args);
    command
}

/// A bundle as the runtime-spec has it, and the command that runs it.
fn bundle(host: &Host, runtime: &str, wish: Wish<'_>, argv: &[&str]) -> Command {
    host.needs(runtime);
    if host.cgroup2() && runtime == "crun" {
        skip("crun wants systemd or a delegated cgroup here");
    }
    let bundle = host.work().join(format!("bundle-{runtime}"));
    fs::create_dir_all(&bundle).expect("make the bundle");
    host.rootfs(&format!("bundle-{runtime}/rootfs"));
    let config = runtime_config(wish, argv);
    fs::write(bundle.join("config.json"), config.to_string()).expect("write config.json");
    let mut command = Command::new(runtime);
    command.arg("--root").arg(host.work().join("runtime")).arg("run").arg("-b").arg(bundle).arg("subject");
    command
}

fn runtime_config(wish: Wish<'_>, argv: &[&str]) -> Value {
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": kind, "options": options });
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": argv,
            "env": ["PATH=/bin:/usr/bin"],
            "cwd": "/",
            "noNewPrivileges": false,
        },
        "root": { "path": "rootfs", "readonly": false },
        "hostname": wish.hostname.unwrap_or("subject"),
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
