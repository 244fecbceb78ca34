//! What hostile programs try, and worlds in which something is missing.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{chdir, chroot, fchdir, getegid, geteuid};

/// The classical way out of a chroot: keep a directory open, change the root below it, walk up.
///
/// Prints what `/` shows then.
pub fn escape_chroot() -> Result<()> {
    let outside = fs::File::open("/").context("open /")?;
    fs::create_dir_all("/tmp/cell").context("make a directory")?;
    if let Err(error) = chroot("/tmp/cell") {
        println!("chroot refused: {error}");
        return Ok(());
    }
    fchdir(&outside).context("go back")?;
    for _ in 0..64 {
        chdir("..").context("walk up")?;
    }
    chroot(".").context("take the top for the root")?;
    let mut names: Vec<String> = fs::read_dir("/")
        .context("list the top")?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    println!("{}", names.join(" "));
    Ok(())
}

/// The fourteen that Docker gives.
const USUAL_CAPABILITIES: u64 = 0xa804_25fb;

/// A container engine without any protection: joins the mount and PID namespaces of a process and executes a command there.
pub fn join(pid: i32, command: &[&str]) -> Result<u8> {
    let [program, args @ ..] = command else { bail!("which command?") };
    let open = |kind: &str| fs::File::open(format!("/proc/{pid}/ns/{kind}")).with_context(|| format!("open {kind}"));
    let (mount, processes) = (open("mnt")?, open("pid")?);
    setns(processes, CloneFlags::CLONE_NEWPID).context("join the PID namespace")?;
    setns(mount, CloneFlags::CLONE_NEWNS).context("join the mount namespace")?;
    // Without the capabilities that the container has not: whoever holds more than it cannot be looked at from there.
    for capability in (0..63).filter(|capability| USUAL_CAPABILITIES & (1 << capability) == 0) {
        // SAFETY: prctl(2): takes a number; one that the kernel does not know is EINVAL.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability as libc::c_ulong, 0, 0, 0) };
    }
    // Children are in the PID namespace, we are not.
    let status = Command::new(program).args(args).status().with_context(|| format!("execute {program}"))?;
    Ok(status.code().unwrap_or(128) as u8)
}

/// Runs a command as a user without privileges and without other groups.
pub fn run_as(uid: u32, command: &[&str]) -> Result<u8> {
    let [program, args @ ..] = command else { bail!("which command?") };
    let error = Command::new(program).args(args).uid(uid).gid(uid).exec();
    Err(error).with_context(|| format!("execute {program}"))
}

/// Runs a command as an ordinary user of a machine on which no user namespace can be made.
///
/// Done by a user namespace in which the limit of namespaces below it is none; the machine's own limit stays.
pub fn without_user_namespaces(command: &[&str]) -> Result<u8> {
    let [program, ..] = command else { bail!("which command?") };
    let (uid, gid) = (geteuid(), getegid());
    // An ordinary user maps itself to itself and has no capability left after exec.
    unshare(CloneFlags::CLONE_NEWUSER).context("unshare the user namespace")?;
    let limit =
        fs::OpenOptions::new().write(true).open("/proc/sys/user/max_user_namespaces").context("open the limit")?;
    Errno::result({
        // SAFETY: write(2) reads one byte of ours.
        unsafe { libc::write(limit.as_raw_fd(), c"0".as_ptr().cast(), 1) }
    })
    .context("forbid user namespaces")?;
    fs::write("/proc/self/setgroups", "deny").context("deny setgroups")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).context("map the user")?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).context("map the group")?;
    let words = command.iter().map(|word| CString::new(*word)).collect::<Result<Vec<_>, _>>()?;
    nix::unistd::execvp(&words[0], &words).with_context(|| format!("execute {program}"))?;
    Ok(1)
}
