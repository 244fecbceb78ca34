//! Who is who in the virtual host of an ordinary user: user and group ids of its user namespace.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::unistd::{Pid, getegid, geteuid};

/// Maps us to root and, where newuidmap(1) and `/etc/subuid` permit, our subordinate ids to those from 1 up.
///
/// Called in the parent while the child waits: newuidmap(1) needs a process to write to.
pub fn map(pid: Pid) -> Result<()> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if let (Some(uids), Some(gids)) = (range("/etc/subuid", uid), range("/etc/subgid", uid))
        && helper("newuidmap", pid, uid, &uids)
        && helper("newgidmap", pid, gid, &gids)
    {
        return Ok(());
    }
    // user_namespaces(7): whoever maps one group only must give up setgroups(2) before.
    for (file, text) in
        [("setgroups", "deny".to_owned()), ("uid_map", format!("0 {uid} 1")), ("gid_map", format!("0 {gid} 1"))]
    {
        fs::write(format!("/proc/{pid}/{file}"), text).with_context(|| format!("write the {file} of process 1"))?;
    }
    Ok(())
}

/// The first range of a user in a file such as `/etc/subuid`: first id and count, as the helpers take them.
fn range(file: &str, uid: u32) -> Option<[String; 2]> {
    let name = name_of(uid);
    fs::read_to_string(file).ok()?.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let ours = name.as_deref() == Some(owner) || owner == uid.to_string();
        ours.then(|| Some([fields.next()?.to_owned(), fields.next()?.to_owned()]))?
    })
}

/// Read from the file: getpwuid(3) loads libraries, which a static program cannot.
fn name_of(uid: u32) -> Option<String> {
    fs::read_to_string("/etc/passwd").ok()?.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id == uid.to_string()).then(|| name.to_owned())
    })
}

fn helper(program: &str, pid: Pid, own: u32, [first, count]: &[String; 2]) -> bool {
    let words = [&pid.to_string(), "0", &own.to_string(), "1", "1", first, count];
    let done = Command::new(program).args(words).stdin(Stdio::null()).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}
