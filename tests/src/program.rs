//! Starting programs: ours, the machine's, as root or as an ordinary user, in front or in the background.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Host;

/// The ordinary user of the suites.
pub const UID: u32 = 1000;
/// After this a condition will not come true any more, on however busy a machine. Only what fails has to wait for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

impl Host {
    /// `chNN ARGS…`
    pub fn chapter<A: AsRef<OsStr>>(&self, number: u8, args: impl IntoIterator<Item = A>) -> assert_cmd::Command {
        self.own(&chapter_program(number), args)
    }

    /// `minidocker ARGS…`
    pub fn minidocker<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> assert_cmd::Command {
        self.own("minidocker", args)
    }

    /// `payload ARGS…`, outside any container.
    pub fn payload<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> assert_cmd::Command {
        self.own("payload", args)
    }

    /// A program of this workspace.
    pub fn own<A: AsRef<OsStr>>(&self, name: &str, args: impl IntoIterator<Item = A>) -> assert_cmd::Command {
        let mut command = Command::new(self.bin(name));
        command.args(args);
        assert_cmd::Command::from_std(command)
    }

    /// A program of the machine; the test is skipped where it is not installed.
    pub fn tool<A: AsRef<OsStr>>(&self, name: &str, args: impl IntoIterator<Item = A>) -> assert_cmd::Command {
        self.needs(name);
        let mut command = Command::new(name);
        command.args(args);
        assert_cmd::Command::from_std(command)
    }

    /// A program of this workspace run by an ordinary user, with a home and an engine ROOT of its own.
    pub fn as_user<A: AsRef<OsStr>>(&self, name: &str, args: impl IntoIterator<Item = A>) -> assert_cmd::Command {
        assert_cmd::Command::from_std(self.user_command(name, args))
    }

    /// The same, for [`Background`].
    pub fn user_command<A: AsRef<OsStr>>(&self, name: &str, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(self.bin(name));
        command.args(args);
        self.by_user(command)
    }

    /// Has the ordinary user run a command.
    pub fn by_user(&self, mut command: Command) -> Command {
        if maps_our_user() {
            // std drops the supplementary groups with a uid.
            command.uid(UID).gid(UID);
        } else {
            // An ordinary user has made this virtual host, and only one id is mapped: ours gets another number.
            // SAFETY: what is called between fork and exec makes system calls and allocates nothing.
            unsafe { command.pre_exec(rename_to_user) };
        }
        command.current_dir(self.home()).env("USER", "learner").env("MINIDOCKER_ROOT", self.home().join("root"));
        command
    }

    /// Starts a program of this workspace in the background.
    pub fn start<A: AsRef<OsStr>>(&self, name: &str, args: impl IntoIterator<Item = A>) -> Background {
        let mut command = Command::new(self.bin(name));
        command.args(args);
        Background::start(command)
    }

    /// Takes away what an engine may keep as long as its ROOT exists, before the search for leftovers.
    pub(crate) fn reset(&self) {
        let chapter_state = Path::new("/run/ch05");
        if chapter_state.exists() {
            self.chapter(5, ["reset"]).assert().success();
            let _ = std::fs::remove_dir_all(chapter_state);
        }
        let used = std::fs::read_dir(self.root()).is_ok_and(|mut entries| entries.next().is_some());
        if used && Path::new("/tmp/suite/bin/minidocker").exists() {
            self.minidocker(["system", "reset", "--force"]).assert().success();
        }
    }
}

/// The program that stands for a chapter's: `ch01`, or what `SUITE_CH01` names, a learner's `ex01` for example.
pub fn chapter_program(number: u8) -> String {
    std::env::var(format!("SUITE_CH{number:02}")).unwrap_or_else(|_| format!("ch{number:02}"))
}

/// Whether the ordinary user has an id in our user namespace.
fn maps_our_user() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().any(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        matches!(numbers[..], [inside, _, count] if (inside..inside + count).contains(&u64::from(UID)))
    })
}

/// A user namespace in which the one id that there is has the ordinary user's number: `execve(2)` then takes all
/// capabilities away, as from anybody who is not root.
fn rename_to_user() -> std::io::Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER)?;
    for (file, text) in
        [("/proc/self/setgroups", "deny"), ("/proc/self/uid_map", "1000 0 1"), ("/proc/self/gid_map", "1000 0 1")]
    {
        std::fs::write(file, text)?;
    }
    Ok(())
}

/// A program that runs while the test goes on. It is killed when dropped.
pub struct Background {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Background {
    /// Starts it with no input; its output and errors are read line by line.
    pub fn start(mut command: Command) -> Background {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let (to_us, lines) = channel();
        let out = child.stdout.take().expect("a pipe");
        let err = child.stderr.take().expect("a pipe");
        let to_us_too = to_us.clone();
        spawn(move || BufReader::new(out).lines().map_while(Result::ok).all(|line| to_us.send(line).is_ok()));
        spawn(move || BufReader::new(err).lines().map_while(Result::ok).all(|line| to_us_too.send(line).is_ok()));
        Background { child, lines, seen: Vec::new() }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Waits until a line contains `text`; panics with all lines when the program ends before.
    pub fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("waited for {text:?} in vain, saw {:#?}", self.seen),
                Err(RecvTimeoutError::Disconnected) => panic!("ended without saying {text:?}: {:#?}", self.seen),
            }
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap_or_else(|error| panic!("{signal}: {error}"));
    }

    /// Waits until it ends; its status and everything it has said.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("does not end, said {:#?}", self.seen),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait().expect("wait");
        (status, self.seen.join("\n"))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `condition` is true; panics with `what` when it does not become so.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        sleep(Duration::from_millis(10));
    }
}
