//! What a container has from its machine and not from its engine: told in words that are the same on every machine, and back.
//!
//! A line that is told (`max-stack-size as outside`) says why a value is what it is; what is compared is what it means here
//! (`max-stack-size 8388608/unlimited`). So a limit that engine A sets and engine B inherits is no difference on a machine whose
//! own limit happens to be that one, and it is no difference whichever of the two words a line was told in.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::resource::{Resource, getrlimit};

use super::Portrait;

/// Kernel settings that a new network namespace has from the machine's first one (`net.core.devconf_inherit_init_net`).
const INHERITED: [&str; 2] = ["net/ipv4/ip_forward", "net/ipv6/conf/all/disable_ipv6"];
/// In the place of a value.
const AS_OUTSIDE: &str = "as outside";
/// More capabilities than this are told as those that are missing.
const FEW: u32 = 8;

/// This virtual host, as the process that starts the engine finds it.
pub struct Here {
    /// By `SECTION NAME`, what a container has that is not given another.
    outside: BTreeMap<String, String>,
    /// What root may have at most.
    capabilities: u64,
    /// The hard limit.
    pub open_files: u64,
}

impl Here {
    /// Looks at this process, which an engine inherits from, and at its network namespace.
    pub fn look() -> Here {
        let limits = fs::read_to_string("/proc/self/limits").expect("our own limits");
        let status = fs::read_to_string("/proc/self/status").expect("our own status");
        let mut outside = BTreeMap::new();
        for line in limits.lines().skip(1) {
            let (name, values) = line.split_at(26);
            let mut values = values.split_whitespace();
            let name = name.trim().to_lowercase().replace(' ', "-");
            let both = format!("{}/{}", values.next().unwrap_or("?"), values.next().unwrap_or("?"));
            outside.insert(format!("limits {name}"), both);
        }
        let score = fs::read_to_string("/proc/self/oom_score_adj").expect("our own score");
        outside.insert("identity oom_score_adj".to_owned(), score.trim().to_owned());
        for name in INHERITED {
            if let Ok(value) = fs::read_to_string(format!("/proc/sys/{name}")) {
                outside.insert(format!("sysctls {name}"), value.trim().to_owned());
            }
        }
        let all = status.lines().find(|line| line.starts_with("CapBnd")).and_then(hex).expect("our capabilities");
        let (_, open_files) = getrlimit(Resource::RLIMIT_NOFILE).expect("our own limit");
        Here { outside, capabilities: all, open_files }
    }

    /// The value outside, if there is one.
    pub fn outside(&self, section: &str, name: &str) -> Option<&str> {
        self.outside.get(&format!("{section} {name}")).map(String::as_str)
    }

    /// What a process said, as it is kept.
    pub fn tell(&self, portrait: &mut Portrait) {
        whose_namespaces(portrait);
        for (section, lines) in portrait {
            *lines = std::mem::take(lines).into_iter().map(|line| self.told(section, line)).collect();
        }
    }

    fn told(&self, section: &str, line: String) -> String {
        let Some((name, value)) = line.split_once(' ') else { return line };
        match section {
            "limits" | "sysctls" if self.outside(section, name) == Some(value) => format!("{name} {AS_OUTSIDE}"),
            "privileges" if name.starts_with("Cap") => match hex(&line) {
                Some(set) if (self.capabilities & !set).count_ones() < FEW => {
                    format!("{name} all but {:x}", self.capabilities & !set)
                }
                _ => line,
            },
            _ => line,
        }
    }

    /// What a line that is told, or one that is not, is on this machine.
    pub fn meaning(&self, section: &str, line: &str) -> String {
        let Some((name, value)) = line.split_once(' ') else { return line.to_owned() };
        match section {
            "limits" | "sysctls" if value == AS_OUTSIDE => {
                format!("{name} {}", self.outside(section, name).unwrap_or("?"))
            }
            "privileges" if name.starts_with("Cap") => {
                let Some(set) = hex(line) else { return line.to_owned() };
                let set = if value.starts_with("all but ") { !set } else { set };
                // What root has not on this machine nobody can be given.
                format!("{name} {:016x}", set & self.capabilities)
            }
            _ => line.to_owned(),
        }
    }
}

/// The last word of a line as a set of capabilities.
fn hex(line: &str) -> Option<u64> {
    u64::from_str_radix(line.split_whitespace().last()?, 16).ok()
}

/// In the place of each link, whether it is the host's.
fn whose_namespaces(portrait: &mut Portrait) {
    let links = portrait.remove("namespaces").unwrap_or_default();
    let whose = |link: &String| {
        let kind = link.split(':').next().unwrap_or_default();
        let hosts = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap_or_default();
        format!("{kind} {}", if hosts.to_str() == Some(link) { "the host's" } else { "its own" })
    };
    portrait.insert("namespaces".to_owned(), links.iter().map(whose).collect());
}

/// All devices of the host: which, is another matter.
pub fn only_usual_devices(portrait: &mut Portrait) {
    let usual = [
        "null", "zero", "full", "random", "urandom", "tty", "pts", "pts/ptmx", "shm", "mqueue", "fd", "stdin",
        "stdout", "stderr", "ptmx", "core",
    ];
    if let Some(devices) = portrait.get_mut("devices") {
        devices.retain(|line| usual.iter().any(|name| line.starts_with(&format!("/dev/{name} "))));
    }
}

/// Nothing that is told is lost, and what is the same thing here is taken for the same.
#[test]
fn what_is_told_means_what_was_seen() {
    let here = Here {
        outside: [("limits max-open-files".to_owned(), "1024/4096".to_owned())].into(),
        capabilities: 0x1ff_feff_ffff,
        open_files: 4096,
    };
    for (section, seen, told) in [
        ("limits", "max-open-files 1024/4096", "max-open-files as outside"),
        ("limits", "max-open-files 1024/524288", "max-open-files 1024/524288"),
        ("privileges", "CapEff: 000001fffeffffff", "CapEff: all but 0"),
        ("privileges", "CapEff: 000001fffedfffff", "CapEff: all but 200000"),
        ("privileges", "CapBnd: 00000000a80425fb", "CapBnd: 00000000a80425fb"),
        ("privileges", "NoNewPrivs: 1", "NoNewPrivs: 1"),
        ("mounts", "/ overlay rw", "/ overlay rw"),
    ] {
        assert_eq!(here.told(section, seen.to_owned()), told);
        assert_eq!(here.meaning(section, told), seen);
        assert_eq!(here.meaning(section, seen), seen);
    }
    // One that has not root's capability 24, and one that has it.
    assert_eq!(here.meaning("privileges", "CapEff: 0000000001000001"), "CapEff: 0000000000000001");
}
