//! A container of ours beside one of Docker's with the same flags: what a process in it can tell of it is the same.
//!
//! `tests/data/docker.json` has what Docker's showed: the lines of `payload portrait`, by section; for all cases but the first
//! what their flags add (`+`) and take away (`-`). They come from a real dockerd, and a test compares them with one where one is
//! installed. What differs, and why, is in
//! `tests/data/docker-differences.json`: where we differ on purpose, and where Debian's Docker is older than that of August 2026,
//! which is the measure. A difference that is not in it fails, and so does a reason for which there is no difference any more.
//!
//! To make the data anew: `SUITE_DOCKER_DATA=1 cargo test -p suite as_docker::the_data_is_dockers -- --nocapture`, and take what
//! stands between the two marks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Deserialize;
use suite::{Host, Terminal, eventually, host};

use crate::expect::text;
use here::{Here, only_usual_devices};

mod here;

const DATA: &str = include_str!("../data/docker.json");
const DIFFERENCES: &str = include_str!("../data/docker-differences.json");

/// What to run: flags of `run`, and those of an `exec` in it if that is what is looked at.
struct Case {
    name: &'static str,
    run: &'static [&'static str],
    exec: Option<&'static [&'static str]>,
}

impl Case {
    /// Whether the filter lets calls through that the kernel then refuses or not, as old as it is.
    fn leaves_calls_to_the_kernel(&self) -> bool {
        let powerful = ["--privileged", "seccomp=unconfined", "SYS_ADMIN"];
        let all = self.run.windows(2).any(|two| two == ["--cap-add", "ALL"]);
        all || self.run.iter().chain(self.exec.unwrap_or_default()).any(|word| powerful.contains(word))
    }
}

const fn run(name: &'static str, run: &'static [&'static str]) -> Case {
    Case { name, run, exec: None }
}

const fn exec(name: &'static str, run: &'static [&'static str], exec: &'static [&'static str]) -> Case {
    Case { name, run, exec: Some(exec) }
}

const CASES: &[Case] = &[
    run("default", &[]),
    run("user by number", &["-u", "1000"]),
    run("user and group by number", &["-u", "1000:2000"]),
    run("user by name", &["-u", "user"]),
    run("user by name and group", &["-u", "user:extra"]),
    run("group-add", &["--group-add", "extra", "--group-add", "777"]),
    run("user with group-add", &["-u", "1000", "--group-add", "777"]),
    run("cap-add", &["--cap-add", "NET_ADMIN"]),
    run("cap-add SYS_ADMIN", &["--cap-add", "SYS_ADMIN"]),
    run("cap-add ALL", &["--cap-add", "ALL"]),
    run("cap-drop", &["--cap-drop", "CHOWN"]),
    run("cap-drop ALL", &["--cap-drop", "ALL"]),
    run("cap-drop ALL cap-add", &["--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"]),
    run("cap-add ALL cap-drop", &["--cap-add", "ALL", "--cap-drop", "SYS_ADMIN"]),
    run("cap-add for a user", &["--cap-add", "NET_ADMIN", "-u", "1000"]),
    run("privileged", &["--privileged"]),
    run("privileged for a user", &["--privileged", "-u", "1000"]),
    run("no-new-privileges", &["--security-opt", "no-new-privileges"]),
    run("seccomp=unconfined", &["--security-opt", "seccomp=unconfined"]),
    run("systempaths=unconfined", &["--security-opt", "systempaths=unconfined"]),
    run("read-only", &["--read-only"]),
    run("tmpfs", &["--tmpfs", "/scratch"]),
    run("tmpfs with options", &["--tmpfs", "/scratch:size=1m,mode=700,exec"]),
    run("volume", &["-v", "/tmp/suite/work/source:/data"]),
    run("volume read-only", &["-v", "/tmp/suite/work/source:/data:ro"]),
    run("shm-size", &["--shm-size", "1m"]),
    run("terminal", &["-t"]),
    run("input", &["-i"]),
    run("input and terminal", &["-it"]),
    run("init", &["--init"]),
    run("hostname and domainname", &["--hostname", "box", "--domainname", "example.org"]),
    run("environment", &["-e", "A=b c", "-e", "PATH=/bin"]),
    run("workdir", &["-w", "/var/www"]),
    run("workdir that is new", &["-w", "/new/place"]),
    run("ulimits", &["--ulimit", "nofile=100:200", "--ulimit", "core=0"]),
    run("oom-score-adj", &["--oom-score-adj", "500"]),
    run("sysctl", &["--sysctl", "kernel.shm_rmid_forced=1"]),
    run("device", &["--device", "/dev/null:/dev/mine"]),
    run("pid host", &["--pid", "host"]),
    run("ipc host", &["--ipc", "host"]),
    run("uts host", &["--uts", "host"]),
    exec("exec", &[], &[]),
    exec("exec as a user", &[], &["-u", "user"]),
    exec("exec as root in a user's", &["-u", "1000"], &["-u", "0"]),
    exec("exec privileged", &[], &["--privileged"]),
    exec("exec in a privileged one", &["--privileged"], &[]),
    exec("exec with a terminal", &[], &["-t"]),
    exec("exec with environment and directory", &["-e", "A=b"], &["-e", "B=c", "-w", "/etc"]),
    exec("exec in a read-only one without capabilities", &["--read-only", "--cap-drop", "ALL"], &[]),
    exec("exec where nothing new is privileged", &["--security-opt", "no-new-privileges", "-u", "1000"], &["-u", "0"]),
];

/// What a process told: the lines of each section.
type Portrait = BTreeMap<String, BTreeSet<String>>;

/// The case that the others are told by.
const DEFAULT: &str = "default";

/// Reads the data.
fn dockers_portraits() -> BTreeMap<String, Portrait> {
    let mut told: BTreeMap<String, Portrait> = serde_json::from_str(DATA).expect("the data");
    let Some(base) = told.get(DEFAULT).cloned() else { return told };
    for (_, portrait) in told.iter_mut().filter(|(name, _)| *name != DEFAULT) {
        let mut whole = base.clone();
        for (section, changes) in std::mem::take(portrait) {
            let lines = whole.entry(section).or_default();
            for change in changes {
                match change.split_at_checked(1) {
                    Some(("+", line)) => drop(lines.insert(line.to_owned())),
                    Some(("-", line)) => assert!(lines.remove(line), "{line:?} is not in the default"),
                    _ => panic!("neither added nor taken away: {change:?}"),
                }
            }
        }
        *portrait = whole;
    }
    told
}

/// The same the other way.
fn told_by_the_default(here: &Here, mut portraits: BTreeMap<String, Portrait>) -> BTreeMap<String, Portrait> {
    let base = portraits[DEFAULT].clone();
    for (_, portrait) in portraits.iter_mut().filter(|(name, _)| *name != DEFAULT) {
        let mut told = Portrait::new();
        for (section, line, whose) in changes(here, &base, portrait) {
            let sign = if whose == "ours" { "+" } else { "-" };
            told.entry(section).or_default().insert(format!("{sign}{line}"));
        }
        *portrait = told;
    }
    portraits
}

/// A line of the file of differences. `*` stands for anything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    /// In which cases; all, if it says nothing.
    #[serde(default)]
    cases: Vec<String>,
    section: String,
    /// What Docker has and we have not.
    docker: Option<String>,
    /// What we have and Docker has not.
    ours: Option<String>,
    /// On which machines alone; on all, if it says nothing.
    #[serde(rename = "where")]
    place: Option<Place>,
    /// Why.
    reason: String,
}

/// What a machine has that another has not, and a difference needs.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Place {
    /// cgroup v1, alone or beside v2.
    CgroupV1,
    /// An out-of-memory score that is raised and not ours to lower.
    OomScore,
    /// A hard limit on open files that an engine's own soft one fits below.
    OpenFiles,
    /// IPv6, in the kernel and switched on in new network namespaces.
    Ipv6,
}

impl Place {
    fn is(self, host: &Host, here: &Here) -> bool {
        match self {
            Place::CgroupV1 => !host.cgroup2(),
            Place::OomScore => here.outside("identity", "oom_score_adj") != Some("0"),
            Place::OpenFiles => here.open_files >= 1024,
            Place::Ipv6 => here.outside("sysctls", "net/ipv6/conf/all/disable_ipv6") == Some("0"),
        }
    }
}

#[test]
fn what_a_container_can_tell_is_what_dockers_tells() {
    host(|host| {
        let docker = dockers_portraits();
        let differences: Vec<Difference> = serde_json::from_str(DIFFERENCES).expect("the differences");
        assert!(differences.iter().all(|difference| difference.reason.len() > 20), "a difference has a reason");
        let engine = Engine { command: vec![host.bin("minidocker").display().to_string()] };
        engine.prepare(host);
        unlike_any_engines();
        let here = Here::look();
        let holds = |difference: &Difference| difference.place.is_none_or(|place| place.is(host, &here));
        let mut used = vec![false; differences.len()];
        let mut unexplained = Vec::new();
        for case in CASES {
            let theirs = docker.get(case.name).unwrap_or_else(|| panic!("no data for {}", case.name));
            let ours = engine.portrait(&here, case);
            for (section, line, whose) in changes(&here, theirs, &ours) {
                let explains = |difference: &Difference| {
                    let pattern = if whose == "docker" { &difference.docker } else { &difference.ours };
                    difference.section == section
                        && holds(difference)
                        && (difference.cases.is_empty() || difference.cases.iter().any(|name| name == case.name))
                        && pattern.as_ref().is_some_and(|pattern| matches(pattern, &line))
                };
                match differences.iter().position(explains) {
                    Some(number) => used[number] = true,
                    None => unexplained.push(format!("{}: {section}: only {whose}: {line}", case.name)),
                }
            }
        }
        assert!(
            unexplained.is_empty(),
            "{} differences without a reason:\n{}",
            unexplained.len(),
            unexplained.join("\n")
        );
        let stale = differences.iter().zip(used).filter(|(difference, used)| !used && holds(difference));
        let stale: Vec<&str> = stale.map(|(difference, _)| difference.reason.as_str()).collect();
        assert!(stale.is_empty(), "reasons without a difference:\n{}", stale.join("\n"));
    });
}

/// Gives this process, and so the engine, a limit on open files that is none an engine sets: only then can be told whether a
/// container has the engine's or its own. A soft limit can always be lowered.
fn unlike_any_engines() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("our own limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(1000), hard).expect("lower it");
}

#[test]
fn the_data_is_dockers() {
    host(|host| {
        host.needs("dockerd");
        if host.cgroup2() {
            suite::skip("the data is of a machine with cgroup v1");
        }
        // Before the daemon, which has the virtual host forward packets.
        let here = Here::look();
        let (docker, daemon) = start_dockerd(host);
        docker.prepare(host);
        let live: BTreeMap<String, Portrait> =
            CASES.iter().map(|case| (case.name.to_owned(), docker.portrait(&here, case))).collect();
        daemon.stop();
        if std::env::var_os("SUITE_DOCKER_DATA").is_some() {
            let told = told_by_the_default(&here, live);
            panic!("@@data\n{}\n@@end", serde_json::to_string_pretty(&told).expect("text"));
        }
        let kept = dockers_portraits();
        let mut changed = Vec::new();
        for (name, portrait) in &live {
            let kept = kept.get(name).unwrap_or_else(|| panic!("no data for {name}"));
            changed.extend(changes(&here, kept, portrait).into_iter().map(|change| format!("{name}: {change:?}")));
        }
        assert!(changed.is_empty(), "the data is of another Docker:\n{}", changed.join("\n"));
    });
}

/// Sections whose lines are `KEY VALUE` with keys that not every kernel has: only what both have is compared.
const WHERE_PRESENT: [&str; 2] = ["masks", "sysctls"];

/// `(section, line, whose)` of what only one of them has on this machine.
fn changes(here: &Here, docker: &Portrait, ours: &Portrait) -> Vec<(String, String, &'static str)> {
    let none = BTreeSet::new();
    let mut changes = Vec::new();
    let sections: BTreeSet<&String> = docker.keys().chain(ours.keys()).collect();
    for section in sections {
        let (theirs, own) = (docker.get(section).unwrap_or(&none), ours.get(section).unwrap_or(&none));
        let key = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        let only = |one: &BTreeSet<String>, other: &BTreeSet<String>, whose: &'static str| -> Vec<_> {
            let meanings: BTreeSet<String> = other.iter().map(|line| here.meaning(section, line)).collect();
            let keys: BTreeSet<String> = other.iter().map(|line| key(line)).collect();
            let counts = |line: &str| !WHERE_PRESENT.contains(&section.as_str()) || keys.contains(&key(line));
            let lines = one.iter().filter(|line| counts(line) && !meanings.contains(&here.meaning(section, line)));
            lines.map(|line| (section.clone(), line.clone(), whose)).collect()
        };
        changes.extend(only(theirs, own, "docker"));
        changes.extend(only(own, theirs, "ours"));
    }
    changes
}

fn matches(pattern: &str, line: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == line,
        Some((before, after)) => line.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|end| rest.is_char_boundary(*end)).any(|end| matches(after, &rest[end..]))
        }),
    }
}

/// An engine with Docker's command line.
struct Engine {
    command: Vec<String>,
}

impl Engine {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).args(words);
        command
    }

    fn prepare(&self, host: &Host) {
        fs::create_dir_all(host.work().join("source")).expect("make a directory");
        let archive = host.image_archive().display().to_string();
        assert_cmd::Command::from_std(self.command(&["load", "-i", &archive])).assert().success();
    }

    fn portrait(&self, here: &Here, case: &Case) -> Portrait {
        let payload = ["payload", "portrait"];
        let said = match case.exec {
            None => {
                self.output(&[&["run", "--rm", "--network", "none"], case.run, &["suite"], &payload].concat(), case.run)
            }
            Some(flags) => {
                let start =
                    [&["run", "-d", "--name", "base", "--network", "none"], case.run, &["suite", "payload", "wait"]];
                assert_cmd::Command::from_std(self.command(&start.concat())).assert().success();
                let said = self.output(&[&["exec"], flags, &["base"], &payload].concat(), flags);
                assert_cmd::Command::from_std(self.command(&["rm", "-f", "base"])).assert().success();
                said
            }
        };
        let mut portrait = Portrait::new();
        for line in said.lines() {
            let Some((section, line)) = line.trim_end().split_once('\t') else { continue };
            portrait.entry(section.to_owned()).or_default().insert(line.to_owned());
        }
        assert!(portrait.len() > 8, "{}: {said}", case.name);
        here.tell(&mut portrait);
        if case.leaves_calls_to_the_kernel() {
            portrait.remove("calls");
        }
        if case.run.contains(&"--privileged") {
            only_usual_devices(&mut portrait);
        }
        portrait
    }

    /// What the command prints, at a terminal if it is to have one.
    fn output(&self, words: &[&str], flags: &[&str]) -> String {
        let mut command = self.command(words);
        if !flags.iter().any(|flag| ["-t", "-it"].contains(flag)) {
            command.stdin(Stdio::null());
            return text(&assert_cmd::Command::from_std(command).assert().success());
        }
        let (status, said) = Terminal::start(command).wait();
        assert!(status.success(), "{said}");
        said
    }
}

/// runc, asked for no capability that root has not on this machine (some virtual machines take CAP_SYS_RESOURCE): Docker cuts
/// the list down itself since version 23 (moby #42933), and Debian 12's, which is 20.10, fails.
const RUNTIME: &str = r#"#!/bin/sh
for word; do
    case $last in --bundle) file=$word/config.json ;; --process) file=$word ;; esac
    last=$word
done
if test -e "$file" && grep -q 'CapBnd.*feffffff$' /proc/self/status; then
    sed -i 's/"CAP_SYS_RESOURCE",//g' "$file"
fi
exec runc "$@"
"#;

/// A dockerd of this virtual host, without a network.
struct Daemon {
    process: Child,
}

fn start_dockerd(host: &Host) -> (Engine, Daemon) {
    let work = |name: &str| host.work().join(name).display().to_string();
    // It wants to write a key there.
    for directory in ["etc-upper", "etc-work"] {
        fs::create_dir(work(directory)).expect("make a directory");
    }
    let options = format!("lowerdir=/etc,upperdir={},workdir={}", work("etc-upper"), work("etc-work"));
    host.tool("mount", ["-t", "overlay", "overlay", "-o", &options, "/etc"]).assert().success();
    let runtime = work("runc");
    fs::write(&runtime, RUNTIME).expect("write the runtime");
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755)).expect("set its mode");
    let socket = format!("unix://{}", work("docker.sock"));
    let mut command = Command::new("dockerd");
    command.args(["--bridge", "none", "--iptables=false", "--ip6tables=false", "-H", &socket]);
    command.args(["--add-runtime", &format!("here={runtime}"), "--default-runtime", "here"]);
    command.args([
        "--data-root",
        &work("docker"),
        "--exec-root",
        &work("docker-run"),
        "--pidfile",
        &work("docker.pid"),
    ]);
    let log = fs::File::create(work("dockerd.log")).expect("create the log");
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("duplicate")).stderr(log);
    let mut process = command.spawn().expect("start dockerd");
    let engine = Engine { command: vec!["docker".to_owned(), "-H".to_owned(), socket] };
    eventually("dockerd answers", || {
        if let Ok(Some(status)) = process.try_wait() {
            panic!("dockerd ended with {status}:\n{}", fs::read_to_string(work("dockerd.log")).unwrap_or_default());
        }
        engine.command(&["version"]).output().is_ok_and(|output| output.status.success())
    });
    (engine, Daemon { process })
}

impl Daemon {
    /// Ends it and takes away what it leaves: the overlay, and its cgroups.
    fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(self.process.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("end dockerd");
        self.process.wait().expect("wait for dockerd");
        // Its containerd ends by itself, a moment later, and so do the shims.
        let script = "while pgrep -x containerd >/dev/null || pgrep containerd-shim >/dev/null; do sleep 0.1; done; \
                      umount -l /etc; umount -l /tmp/suite/work/docker/* /tmp/suite/work/docker 2>/dev/null; \
                      find /sys/fs/cgroup -depth -type d -path '*/docker*' -exec rmdir {} +; rm -rf /run/docker /run/containerd";
        Command::new("sh").args(["-c", script]).status().expect("tidy up");
    }
}
