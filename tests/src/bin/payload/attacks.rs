//! What hostile programs try, and worlds in which something is missing.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
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

/// Makes calls that a container has no use for; prints `name result`. Arguments are such that what is let through does no
/// harm and fails with another error than EPERM and ENOSYS.
pub fn calls() -> Result<()> {
    let bad = -1_i64;
    let calls: &[(&str, i64, [i64; 4])] = &[
        ("add_key", libc::SYS_add_key, [0, 0, 0, 0]),
        ("bpf", libc::SYS_bpf, [bad, 0, 0, 0]),
        ("clone3", libc::SYS_clone3, [0, 0, 0, 0]),
        ("delete_module", libc::SYS_delete_module, [0, 0, 0, 0]),
        ("fsopen", libc::SYS_fsopen, [0, 0, 0, 0]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [0, 0, 0, 0]),
        ("kexec_load", libc::SYS_kexec_load, [0, 99, 0, 0]),
        ("keyctl", libc::SYS_keyctl, [bad, 0, 0, 0]),
        ("mount", libc::SYS_mount, [0, 0, 0, 0]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [bad, 0, 0, 0]),
        ("perf_event_open", libc::SYS_perf_event_open, [0, 0, 0, 0]),
        ("pivot_root", libc::SYS_pivot_root, [0, 0, 0, 0]),
        ("setns", libc::SYS_setns, [bad, 0, 0, 0]),
        ("swapon", libc::SYS_swapon, [0, 0, 0, 0]),
        ("umount2", libc::SYS_umount2, [0, 0, 0, 0]),
        ("unshare_user", libc::SYS_unshare, [i64::from(libc::CLONE_NEWUSER), 0, 0, 0]),
        ("userfaultfd", libc::SYS_userfaultfd, [bad, 0, 0, 0]),
        ("getpid", libc::SYS_getpid, [0, 0, 0, 0]),
    ];
    for (name, number, [a, b, c, d]) in calls {
        // SAFETY: all pointers are null, all numbers invalid: the kernel refuses each call or it does nothing.
        let result = unsafe { libc::syscall(*number, *a, *b, *c, *d) };
        match Errno::result(result) {
            Ok(_) => println!("{name} ok"),
            Err(error) => println!("{name} {error:?}"),
        }
    }
    Ok(())
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
