//! What else a process inherits from whoever started it, and a container must not.

use std::fs;

use anyhow::{Context, Result, bail};
use libc::c_ulong;
use namespaces::Child;

/// `KEYCTL_JOIN_SESSION_KEYRING`, `keyctl(2)`.
const JOIN_SESSION_KEYRING: c_ulong = 1;

/// Gives the calling process an empty session keyring of its own.
///
/// Keyrings are not namespaced: with the caller's, root inside would hold the keys of the login session outside,
/// Kerberos tickets and disk keys among them.
///
/// An ordinary user may have 200 keys at a time (`/proc/sys/kernel/keys/maxkeys`). Beyond that the container does
/// without a keyring if the filter keeps it from asking for keys at all.
pub fn new_keyring(filtered: bool) -> Result<()> {
    // SAFETY: a null name asks for an anonymous keyring; the kernel follows no other pointer.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, 0 as c_ulong) };
    if result >= 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSYS) => Ok(()), // a kernel without keyrings
        Some(libc::EDQUOT) if filtered => Ok(()),
        Some(libc::EDQUOT) => {
            bail!("no key left for a session keyring (raise /proc/sys/kernel/keys/maxkeys, or leave seccomp on)")
        }
        // An engine that runs in a container of another engine is not let near the keys in the first place.
        Some(libc::EPERM) => Ok(()),
        _ => Err(error).context("make a session keyring"),
    }
}

/// Sets the child's out-of-memory score from outside, by our own `/proc`: the container's could be a forgery
/// (CVE-2025-52881).
///
/// Without a wish the score is 0, where ours is below: an engine that init protects from the out-of-memory killer must
/// not hand that protection to its containers.
pub fn set_oom_score(child: &Child, wish: Option<i16>) -> Result<()> {
    let path = format!("/proc/{}/oom_score_adj", child.pid_in_proc()?);
    let score = match wish {
        Some(score) => score,
        None => {
            let inherited = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
            match inherited.trim().parse::<i16>() {
                Ok(inherited) if inherited < 0 => 0,
                _ => return Ok(()),
            }
        }
    };
    fs::write(&path, score.to_string()).with_context(|| match score {
        ..0 => format!("set --oom-score-adj {score} (a score below one's own takes CAP_SYS_RESOURCE)"),
        _ => format!("set the out-of-memory score to {score}"),
    })
}
