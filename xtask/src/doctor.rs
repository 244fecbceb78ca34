//! `cargo x doctor`: what this machine can do, and what would mend the rest.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::course::{guide, screen};
use crate::{Outcome, tools};

/// One line: what, how it is, and the way out if it is not well.
pub struct Finding {
    what: &'static str,
    state: String,
    mend: Option<String>,
}

impl Finding {
    /// What is wrong and the way out, in a sentence; `None` if all is well.
    pub fn missing(&self) -> Option<String> {
        self.mend.as_ref().map(|mend| format!("{}: {} (mend: {mend})", self.what, self.state))
    }
}

fn good(what: &'static str, state: impl Into<String>) -> Finding {
    Finding { what, state: state.into(), mend: None }
}

fn bad(what: &'static str, state: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { what, state: state.into(), mend: Some(mend.into()) }
}

/// Where the second column begins; where there is no room for it, the second line.
fn indent() -> usize {
    if screen::width() < 60 { 7 } else { 28 }
}

/// A line: the mark, what was looked at, how it is.
fn show(mark: &str, what: &str, state: &str) {
    let mut first = format!("  {mark:<4} {what:<20} ");
    if first.len() > indent() {
        println!("{}", first.trim_end());
        first = " ".repeat(indent());
    }
    println!("{}", screen::wrap(&first, indent(), state, screen::width()));
}

/// Prints all findings; fails when something that everything needs is missing.
pub fn run() -> Outcome {
    let mut findings = vec![kernel(), who(), user_namespaces(), cgroups(), overlay(), forwarding(), place()];
    findings.extend(tools::TOOLS.iter().map(program));
    let mut broken = 0;
    for finding in findings {
        match finding.mend {
            None => show("ok", finding.what, &finding.state),
            Some(mend) => {
                broken += 1;
                show("--", finding.what, &finding.state);
                // In one line, whatever its length: it is there to be copied.
                println!("{:indent$}mend: {mend}", "", indent = indent());
            }
        }
    }
    println!("\nExercises that can run here, in a sandbox (cargo x check):");
    for line in guide::can_run()? {
        println!("  {line}");
    }
    println!();
    match broken {
        0 => println!("Everything can run here."),
        1 => println!("One thing is missing; what depends on it is skipped and says so."),
        count => println!("{count} things are missing; what depends on them is skipped and says so."),
    }
    Ok(0)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// 5.12 has mount_setattr(2), the newest call without which nothing goes.
fn kernel() -> Finding {
    let release = read("/proc/sys/kernel/osrelease");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (5, 12) {
        good("kernel", release)
    } else {
        bad("kernel", release, "Linux 5.12 or newer: a newer distribution, or a virtual machine")
    }
}

fn who() -> Finding {
    if tools::is_root() {
        good("root", "yes: networks, limits and all suites")
    } else {
        bad(
            "root",
            "no: chapters 1 to 4 run, limits as below; the suites are skipped",
            "sudo -E env \"PATH=$PATH\" cargo x test",
        )
    }
}

/// Tried as an ordinary user would: `unshare` by the kernel's own rules, not by what files say.
pub fn user_namespaces() -> Finding {
    const WHAT: &str = "user namespaces";
    let switches = [
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
    ];
    for (file, off, mend) in switches {
        if read(file) == off {
            return bad(WHAT, format!("not for ordinary users ({file} is {off})"), format!("sudo {mend}"));
        }
    }
    if tools::find("unshare").is_some() && !quiet("unshare", &["--user", "--map-root-user", "true"]) {
        return bad(
            WHAT,
            "refused",
            "a container's seccomp filter may forbid them: run outside, or in a virtual machine",
        );
    }
    good(WHAT, "ordinary users may make them")
}

fn cgroups() -> Finding {
    const WHAT: &str = "cgroups";
    let v2 = read("/sys/fs/cgroup/cgroup.controllers");
    let mounts = read("/proc/self/mountinfo");
    let v1: Vec<&str> = mounts
        .lines()
        .filter_map(|line| line.split_once(" - cgroup ")?.1.split(',').next_back())
        .filter(|name| !name.contains('='))
        .collect();
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        if !tools::is_root() {
            return cgroup_of_user();
        }
        let lacks = lacking(|name| v2.split_whitespace().any(|have| have == name));
        return judged("v2", &lacks, "boot with cgroup_enable=memory, or have them handed down to this container");
    }
    if v1.is_empty() {
        return bad(WHAT, "none is mounted", "mount -t cgroup2 none /sys/fs/cgroup");
    }
    let world = if mounts.contains(" - cgroup2 ") { "hybrid: v1 with v2 beside it" } else { "v1" };
    if !tools::is_root() {
        let state = format!("{world}: only root can set limits");
        return bad(WHAT, state, "be root, or boot with cgroup v2 alone: systemd.unified_cgroup_hierarchy=1");
    }
    let lacks = lacking(|name| mounts.lines().any(|line| line.contains(" - cgroup ") && has(line, name)));
    judged(world, &lacks, "boot with cgroup_enable=memory")
}

fn lacking(have: impl Fn(&str) -> bool) -> Vec<&'static str> {
    ["cpu", "memory", "pids", "cpuset"].into_iter().filter(|name| !have(name)).collect()
}

fn judged(world: &str, lacks: &[&str], mend: &str) -> Finding {
    match lacks {
        [] => good("cgroups", format!("{world}, with cpu, memory, pids and cpuset")),
        lacks => bad("cgroups", format!("{world}, without {}", lacks.join(", ")), mend),
    }
}

/// What an ordinary user can limit, by the cgroup that is theirs: the one that we are in, or what systemd delegates.
fn cgroup_of_user() -> Finding {
    const WHAT: &str = "cgroups";
    const DROP_IN: &str = "/etc/systemd/system/user@.service.d/delegate.conf";
    let Ok(user) = fs::metadata("/proc/self").map(|own| own.uid()) else {
        return bad(WHAT, "v2; /proc cannot be read", "mount -t proc proc /proc");
    };
    let top = Path::new("/sys/fs/cgroup");
    let own = read("/proc/self/cgroup");
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).map(|own| top.join(own));
    let ours = |directory: &Path| fs::metadata(directory.join("cgroup.procs")).is_ok_and(|procs| procs.uid() == user);
    let service = top.join(format!("user.slice/user-{user}.slice/user@{user}.service"));
    let highest = |own: &Path| own.ancestors().take_while(|directory| ours(directory)).last().map(Path::to_owned);
    let place = if ours(&service) { Some(service) } else { own.as_deref().and_then(highest) };
    let Some(place) = place else {
        return bad(
            WHAT,
            "v2, of which nothing is this user's: no limits",
            "log in as this user, not by su, where systemd runs; elsewhere have root give you a cgroup, or be root",
        );
    };
    let have = read(&place.join("cgroup.controllers").display().to_string());
    let lacks = lacking(|name| have.split_whitespace().any(|have| have == name));
    let world = match own.is_some_and(|own| own.starts_with(&place)) {
        true => "v2, delegated to this user",
        false => "v2, for this user by systemd-run --user --scope -p Delegate=yes COMMAND",
    };
    judged(world, &lacks, &format!("{DROP_IN}: [Service] Delegate=cpu cpuset io memory pids; systemctl daemon-reload"))
}

/// Whether a mount table's line of a v1 hierarchy names a controller.
fn has(line: &str, controller: &str) -> bool {
    line.rsplit(' ').next().is_some_and(|options| options.split(',').any(|option| option == controller))
}

/// overlayfs, built in or as a module.
pub fn overlay() -> Finding {
    let known = read("/proc/filesystems").lines().any(|line| line.split_whitespace().next_back() == Some("overlay"));
    let module = Path::new("/lib/modules").join(read("/proc/sys/kernel/osrelease")).join("kernel/fs/overlayfs");
    if known || module.exists() || quiet("modprobe", &["-n", "overlay"]) {
        good("overlay", "the kernel has it")
    } else {
        bad("overlay", "not known to the kernel", "sudo modprobe overlay")
    }
}

fn forwarding() -> Finding {
    match read("/proc/sys/net/ipv4/ip_forward").as_str() {
        "1" => good("forwarding", "on: containers reach the outside"),
        _ => good("forwarding", "off: the engine switches it on for the first container with a bridge"),
    }
}

/// Nested in a container many things are refused for reasons that are not the kernel's.
fn place() -> Finding {
    let container = Path::new("/.dockerenv").exists() || Path::new("/run/.containerenv").exists();
    if container {
        good("place", "in a container: it must be privileged for networks and limits")
    } else {
        good("place", "not in a container")
    }
}

fn program(tool: &tools::Tool) -> Finding {
    if tools::usable(tool) {
        good(tool.program, tool.purpose)
    } else {
        bad(tool.program, format!("missing: {}", tool.purpose), format!("sudo apt-get install {}", tool.package))
    }
}

fn quiet(program: &str, args: &[&str]) -> bool {
    let done =
        Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}
