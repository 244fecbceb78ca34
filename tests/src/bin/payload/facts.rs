//! What a process can see of itself.

use std::fs;
use std::io::IsTerminal;

use anyhow::{Context, Result};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{getegid, geteuid, getgroups, gethostname, getpid, getppid, getsid};

/// `key value` lines: who and where we are.
///
/// Not among them: ignored signals. Rust ignores SIGPIPE before `main`; `grep SigIgn /proc/self/status` tells the truth.
pub fn process() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or("?").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let read = |path: &str| fs::read_to_string(path).map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned());
    println!("hostname {}", gethostname()?.display());
    println!("domainname {}", nix::sys::utsname::uname()?.domainname().display());
    println!("pid {}", getpid());
    println!("ppid {}", getppid());
    println!("sid {}", getsid(None)?);
    println!("uid {}", geteuid());
    println!("gid {}", getegid());
    let groups: Vec<String> = getgroups()?.iter().map(ToString::to_string).collect();
    println!("groups {}", groups.join(","));
    println!(
        "cwd {}",
        std::env::current_dir().map_or_else(|error| error.to_string(), |path| path.display().to_string())
    );
    println!("umask {:04o}", umask(Mode::empty()).bits());
    println!("blocked {}", field("SigBlk"));
    println!("oom_score_adj {}", read("/proc/self/oom_score_adj"));
    println!("keyring {}", read("/proc/self/sessionid"));
    let mut variables: Vec<String> =
        std::env::vars_os().map(|(key, value)| format!("{}={}", key.display(), value.display())).collect();
    variables.sort();
    for variable in variables {
        println!("env {variable}");
    }
    for (key, value) in limits() {
        println!("limit {key} {value}");
    }
    Ok(())
}

/// The name and both values of each line of /proc/self/limits, `soft/hard`.
pub fn limits() -> Vec<(String, String)> {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let (name, values) = line.split_at_checked(26)?;
            let mut values = values.split_whitespace();
            Some((name.trim().to_lowercase().replace(' ', "-"), format!("{}/{}", values.next()?, values.next()?)))
        })
        .collect()
}

/// `number target` of every open descriptor.
pub fn descriptors() -> Result<()> {
    // Collected first: the directory itself is open while it is read, and is left out after.
    let mut open: Vec<(i32, String)> = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").context("list /proc/self/fd")? {
        let entry = entry?;
        let target = fs::read_link(entry.path()).map_or_else(|_| "?".to_owned(), |path| path.display().to_string());
        open.extend(entry.file_name().to_string_lossy().parse().ok().map(|number: i32| (number, target)));
    }
    open.retain(|(_, target)| !target.ends_with("/fd"));
    open.sort();
    for (number, target) in open {
        println!("{number} {target}");
    }
    Ok(())
}

/// The capability sets, no_new_privs and the seccomp mode, as `/proc/self/status` has them.
pub fn privileges() -> Result<()> {
    privilege_lines()?.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// The same as lines.
pub fn privilege_lines() -> Result<Vec<String>> {
    let status = fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let wanted = |line: &&str| ["Cap", "NoNewPrivs", "Seccomp:"].iter().any(|name| line.starts_with(name));
    Ok(status.lines().filter(wanted).map(|line| line.replace('\t', " ")).collect())
}

/// For each of the standard descriptors whether it is a terminal; then its size.
pub fn terminal() -> Result<()> {
    let say = |is: bool| if is { "terminal" } else { "no terminal" };
    println!("stdin {}", say(std::io::stdin().is_terminal()));
    println!("stdout {}", say(std::io::stdout().is_terminal()));
    println!("stderr {}", say(std::io::stderr().is_terminal()));
    // SAFETY: all-zero is a valid winsize, and TIOCGWINSZ writes one.
    let (done, size) = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(0, libc::TIOCGWINSZ, &raw mut size), size)
    };
    if done == 0 {
        println!("size {} {}", size.ws_row, size.ws_col);
    }
    let controlling = fs::File::open("/dev/tty").is_ok();
    println!("controlling {}", say(controlling));
    Ok(())
}
