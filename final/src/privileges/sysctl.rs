//! Settings of the kernel that each container may have for itself, `sysctl(8)`.
//!
//! Of the thousand files below `/proc/sys` a few belong to a namespace: those of the network (`net.*`), of System V IPC
//! (`kernel.msg*`, `kernel.sem`, `kernel.shm*`) and of POSIX message queues (`fs.mqueue.*`). All others are the machine's:
//! what is set there is set for the host.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use namespaces::{Gate, Isolation, Kind, Process};
use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstatfs, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use serde::{Deserialize, Serialize};

/// One setting, `net.ipv4.ip_forward=1`. As data the same text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sysctl {
    /// As it was written.
    key: String,
    value: String,
    /// The namespace that it belongs to.
    kind: Kind,
}

/// The settings of the IPC namespace that `fs.mqueue.*` does not cover (`ipc_namespaces(7)`).
const OF_IPC: [&str; 8] = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];

impl Sysctl {
    /// Its name, with dots.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its value.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The kind of namespace that has a value of its own for it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it is below `/proc`.
    fn path(&self) -> PathBuf {
        ["sys".to_string()].into_iter().chain(components(&self.key)).collect()
    }
}

/// The directories and the file of a name. Written with dots, a slash in it stands for a dot of a name, as in
/// `net.ipv4.conf.eth0/100.forwarding`; written with slashes, dots are dots (`sysctl(8)`).
fn components(key: &str) -> Vec<String> {
    match key.find(['.', '/']).map(|at| &key[at..=at]) {
        Some("/") => key.split('/').map(str::to_string).collect(),
        _ => key.split('.').map(|part| part.replace('/', ".")).collect(),
    }
}

impl FromStr for Sysctl {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Sysctl> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let (key, value) = (key.trim(), value.trim());
        let form = "(it has the form NAME=VALUE, as in net.ipv4.ip_forward=1)";
        ensure!(text.contains('=') && !value.is_empty(), "invalid sysctl {text:?} {form}");
        ensure!(!value.contains('\0'), "invalid sysctl {key}: a NUL byte in its value");
        let parts = components(key);
        let odd = |part: &String| part.is_empty() || part == "." || part == ".." || part.contains(['/', '\0']);
        ensure!(parts.len() > 1 && !parts.iter().any(odd), "invalid sysctl {text:?} {form}");
        let names: Vec<&str> = parts.iter().map(String::as_str).collect();
        let kind = match names.as_slice() {
            ["net", _, ..] => Kind::Net,
            ["fs", "mqueue", _] => Kind::Ipc,
            ["kernel", name] if OF_IPC.contains(name) => Kind::Ipc,
            ["kernel", "hostname"] => bail!("sysctl {key}: the host name is set by --hostname"),
            ["kernel", "domainname"] => bail!("sysctl {key}: the domain name is set by --domainname"),
            _ => bail!(
                "sysctl {key} belongs to the whole machine and not to a container (one may set net.*, fs.mqueue.*, \
                 kernel.msg*, kernel.sem and kernel.shm*)"
            ),
        };
        Ok(Sysctl { key: key.to_string(), value: value.to_string(), kind })
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

impl TryFrom<String> for Sysctl {
    type Error = anyhow::Error;
    fn try_from(text: String) -> Result<Sysctl> {
        text.parse()
    }
}

impl From<Sysctl> for String {
    fn from(sysctl: Sysctl) -> String {
        sysctl.to_string()
    }
}

/// Writes settings into the namespaces that the child was born in.
///
/// Stands before the root filesystem in the list: the files below `/proc/sys` are those of the *writer's* namespaces,
/// through whichever procfs they are reached, and until the pivot it is the host's, where no image and no process inside
/// can have put anything else in its place (CVE-2025-52881).
pub struct Sysctls(pub Vec<Sysctl>);

impl Isolation for Sysctls {
    fn inside(&mut self, _: &Gate, _: &mut Process) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let proc = openat(CWD, "/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let mut proc = proc.context("open /proc")?;
        for sysctl in &self.0 {
            let mut file = open(&proc, sysctl);
            if matches!(file, Err(Errno::XDEV | Errno::ROFS)) {
                // We are in a container ourselves, where something lies over /proc/sys.
                proc = new_proc().with_context(|| format!("set the sysctl {sysctl}: /proc/sys is read-only here"))?;
                file = open(&proc, sysctl);
            }
            let written = file.and_then(|file| rustix::io::write(&file, sysctl.value.as_bytes()));
            written.with_context(|| {
                let hint = match written {
                    Err(Errno::NOENT) => " (the kernel has no such setting in a namespace of its own)",
                    Err(Errno::INVAL | Errno::RANGE) => " (its value is not one that the kernel takes)",
                    Err(Errno::ACCESS | Errno::PERM) => " (it is read-only in a container, or in a user namespace)",
                    _ => "",
                };
                format!("set the sysctl {sysctl}{hint}")
            })?;
        }
        Ok(())
    }
}

/// Opens the file of a setting: in this very procfs, by no link.
fn open(proc: &OwnedFd, sysctl: &Sysctl) -> rustix::io::Result<OwnedFd> {
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(proc, sysctl.path(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    if fstatfs(file.as_fd())?.f_type != PROC_SUPER_MAGIC {
        return Err(Errno::XDEV);
    }
    Ok(file)
}

/// A procfs of our own that is attached nowhere.
fn new_proc() -> rustix::io::Result<OwnedFd> {
    let proc = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&proc)?;
    fsmount(&proc, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_belongs_to_a_namespace_is_taken() {
        let path = |text: &str| text.parse::<Sysctl>().unwrap().path();
        assert_eq!(path("net.ipv4.ip_forward=1"), Path::new("sys/net/ipv4/ip_forward"));
        assert_eq!(path("net.ipv4.conf.eth0/100.forwarding=1"), Path::new("sys/net/ipv4/conf/eth0.100/forwarding"));
        assert_eq!(path("net/ipv4/conf/eth0.100/forwarding=1"), Path::new("sys/net/ipv4/conf/eth0.100/forwarding"));
        assert_eq!(path("fs.mqueue.msg_max=5"), Path::new("sys/fs/mqueue/msg_max"));
        let sem: Sysctl = "kernel.sem=250 32000 32 128".parse().unwrap();
        assert_eq!((sem.kind(), sem.value()), (Kind::Ipc, "250 32000 32 128"));
        assert_eq!(String::from(sem), "kernel.sem=250 32000 32 128");
    }

    #[test]
    fn what_is_the_machines_is_refused() {
        let error = |text: &str| text.parse::<Sysctl>().unwrap_err().to_string();
        for text in ["kernel.panic=1", "vm.swappiness=1", "fs.file-max=1", "user.max_user_namespaces=1", "kernel.=1"] {
            assert!(!error(text).is_empty(), "{text}");
        }
        assert!(error("kernel.panic=1").contains("whole machine"));
        assert!(error("kernel.hostname=x").contains("--hostname"));
        assert!(error("kernel.domainname=x").contains("--domainname"));
        for text in ["", "net", "net=1", "net.=1", "=1", "net.ipv4.ip_forward", "net.ipv4.ip_forward=", "net..x=1"] {
            assert!(error(text).contains("invalid sysctl"), "{text}");
        }
        // No way up, however it is written.
        for text in ["net/../kernel/panic=1", "net.//.kernel.panic=1", "net/./x=1", "net./.x=1"] {
            assert!(error(text).contains("invalid sysctl"), "{text}");
        }
    }
}
