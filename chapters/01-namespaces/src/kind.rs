//! The eight kinds of namespaces, `namespaces(7)`.

use std::fmt;
use std::str::FromStr;

use anyhow::bail;

/// A kind of namespace: what a process can have a world of its own of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// User and group ids, and the capabilities that count inside, `user_namespaces(7)`.
    User,
    /// The mount table, `mount_namespaces(7)`.
    Mount,
    /// Process ids, `pid_namespaces(7)`. The first process born in one is its pid 1.
    Pid,
    /// Interfaces, addresses, routes, ports, firewall rules, `network_namespaces(7)`.
    Net,
    /// System V IPC objects and POSIX message queues, `ipc_namespaces(7)`.
    Ipc,
    /// Host name and NIS domain name, `uts_namespaces(7)`.
    Uts,
    /// What `/proc/self/cgroup` and a cgroup mount take for the root, `cgroup_namespaces(7)`.
    Cgroup,
    /// The boot-time and monotonic clocks, `time_namespaces(7)`.
    Time,
}

impl Kind {
    /// All kinds. The user namespace stands first: it owns the others that are made with it.
    pub const ALL: [Kind; 8] =
        [Kind::User, Kind::Mount, Kind::Pid, Kind::Net, Kind::Ipc, Kind::Uts, Kind::Cgroup, Kind::Time];

    /// The `CLONE_NEW…` flag, for `clone3(2)`, `unshare(2)` and `setns(2)` alike.
    pub fn flag(self) -> u64 {
        // ANCHOR: flag
        let flag = match self {
            Kind::User => libc::CLONE_NEWUSER,
            Kind::Mount => libc::CLONE_NEWNS, // "NS": it was the first kind, and nobody expected others
            Kind::Pid => libc::CLONE_NEWPID,
            Kind::Net => libc::CLONE_NEWNET,
            Kind::Ipc => libc::CLONE_NEWIPC,
            Kind::Uts => libc::CLONE_NEWUTS,
            Kind::Cgroup => libc::CLONE_NEWCGROUP,
            Kind::Time => libc::CLONE_NEWTIME,
        };
        // ANCHOR_END: flag
        flag as u64
    }

    /// The name of its file in `/proc/PID/ns/`.
    pub fn file(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Mount => "mnt",
            Kind::Pid => "pid",
            Kind::Net => "net",
            Kind::Ipc => "ipc",
            Kind::Uts => "uts",
            Kind::Cgroup => "cgroup",
            Kind::Time => "time",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.file())
    }
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    /// Takes the name of the `/proc/PID/ns` file; `mount` and `network` as well.
    fn from_str(name: &str) -> Result<Kind, anyhow::Error> {
        let name = match name {
            "mount" => "mnt",
            "network" => "net",
            other => other,
        };
        match Kind::ALL.into_iter().find(|kind| kind.file() == name) {
            Some(kind) => Ok(kind),
            None => bail!("no such kind of namespace: {name:?} (there are: user mnt pid net ipc uts cgroup time)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_by_its_own_name() {
        for kind in Kind::ALL {
            assert_eq!(kind.file().parse::<Kind>().unwrap(), kind);
        }
        assert_eq!("mount".parse::<Kind>().unwrap(), Kind::Mount);
        assert!("pids".parse::<Kind>().unwrap_err().to_string().contains("there are:"));
    }
}
