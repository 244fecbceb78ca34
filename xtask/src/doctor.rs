//! `cargo x doctor`: what this machine can do, and what would mend the rest.

use std::fs;
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
        bad("root", "no: chapters 1, 3 and 4 run, the suites are skipped", "sudo -E env \"PATH=$PATH\" cargo x test")
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
    let missing = |have: &dyn Fn(&str) -> bool| -> Vec<&str> {
        ["cpu", "memory", "pids", "cpuset"].into_iter().filter(|name| !have(name)).collect()
    };
    let (world, lacks) = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        ("v2".to_owned(), missing(&|name| v2.split_whitespace().any(|have| have == name)))
    } else if v1.is_empty() {
        return bad(WHAT, "none is mounted", "mount -t cgroup2 none /sys/fs/cgroup");
    } else {
        let hybrid = if mounts.contains(" - cgroup2 ") { "hybrid: v1 with v2 beside it" } else { "v1" };
        (hybrid.to_owned(), missing(&|name| mounts.lines().any(|line| line.contains(" - cgroup ") && has(line, name))))
    };
    if lacks.is_empty() {
        good(WHAT, format!("{world}, with cpu, memory, pids and cpuset"))
    } else {
        let mend = "boot with cgroup_enable=memory, or ask systemd: systemctl edit user@.service, Delegate=yes";
        bad(WHAT, format!("{world}, without {}", lacks.join(", ")), mend)
    }
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
