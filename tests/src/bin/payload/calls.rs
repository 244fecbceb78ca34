//! System calls that a container has no use for: which of them the kernel carries out.

use anyhow::Result;
use nix::errno::Errno;

/// An argument that is no pointer, no descriptor and no known command.
const BAD: i64 = -1;
const NEW_USER: i64 = libc::CLONE_NEWUSER as i64;
/// Without CLONE_SIGHAND it makes every clone(2) fail with EINVAL: nothing is born.
const IMPOSSIBLE: i64 = libc::CLONE_THREAD as i64;
/// `READ_IMPLIES_EXEC` of personality(2).
const READ_IMPLIES_EXEC: i64 = 0x40_0000;
const AF_ALG: i64 = libc::AF_ALG as i64;
const AF_VSOCK: i64 = libc::AF_VSOCK as i64;

/// Name, number, and arguments with which the call does no harm where it is let through, and then fails with another error
/// than EPERM and ENOSYS; with those of all capabilities.
const CALLS: &[(&str, i64, [i64; 4])] = &[
    ("acct", libc::SYS_acct, [BAD, 0, 0, 0]),
    ("add_key", libc::SYS_add_key, [0, 0, 0, 0]),
    ("bpf", libc::SYS_bpf, [BAD, 0, 0, 0]),
    ("clock_settime", libc::SYS_clock_settime, [99, 0, 0, 0]),
    ("clone3", libc::SYS_clone3, [0, 0, 0, 0]),
    ("clone_user", libc::SYS_clone, [NEW_USER | IMPOSSIBLE, 0, 0, 0]),
    ("delete_module", libc::SYS_delete_module, [0, 0, 0, 0]),
    ("finit_module", libc::SYS_finit_module, [BAD, 0, 0, 0]),
    ("fsmount", libc::SYS_fsmount, [BAD, 0, 0, 0]),
    ("fsopen", libc::SYS_fsopen, [0, 0, 0, 0]),
    ("init_module", libc::SYS_init_module, [0, 0, 0, 0]),
    ("io_uring_enter", libc::SYS_io_uring_enter, [BAD, 0, 0, 0]),
    ("io_uring_register", libc::SYS_io_uring_register, [BAD, 0, 0, 0]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [0, 0, 0, 0]),
    ("kcmp", libc::SYS_kcmp, [1, 1, 99, 0]),
    ("kexec_load", libc::SYS_kexec_load, [0, 99, 0, 0]),
    ("keyctl", libc::SYS_keyctl, [BAD, 0, 0, 0]),
    ("mount", libc::SYS_mount, [0, 0, 0, 0]),
    ("mount_setattr", libc::SYS_mount_setattr, [BAD, 0, 0, 0]),
    ("move_mount", libc::SYS_move_mount, [BAD, 0, BAD, 0]),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, [BAD, 0, 0, 0]),
    ("open_tree", libc::SYS_open_tree, [BAD, 0, 0, 0]),
    ("perf_event_open", libc::SYS_perf_event_open, [0, 0, 0, 0]),
    ("personality_read_implies_exec", libc::SYS_personality, [READ_IMPLIES_EXEC, 0, 0, 0]),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, [BAD, 0, 0, 0]),
    ("pivot_root", libc::SYS_pivot_root, [0, 0, 0, 0]),
    ("quotactl", libc::SYS_quotactl, [BAD, 0, 0, 0]),
    ("reboot", libc::SYS_reboot, [0, 0, 0, 0]),
    ("request_key", libc::SYS_request_key, [0, 0, 0, 0]),
    ("sethostname", libc::SYS_sethostname, [0, BAD, 0, 0]),
    ("setns", libc::SYS_setns, [BAD, 0, 0, 0]),
    ("settimeofday", libc::SYS_settimeofday, [1, 0, 0, 0]),
    ("socket_alg", libc::SYS_socket, [AF_ALG, libc::SOCK_SEQPACKET as i64, 0, 0]),
    ("socket_vsock", libc::SYS_socket, [AF_VSOCK, libc::SOCK_STREAM as i64, 0, 0]),
    ("swapoff", libc::SYS_swapoff, [0, 0, 0, 0]),
    ("swapon", libc::SYS_swapon, [0, 0, 0, 0]),
    ("syslog", libc::SYS_syslog, [99, 0, 0, 0]),
    ("umount2", libc::SYS_umount2, [0, 0, 0, 0]),
    ("unshare_mount", libc::SYS_unshare, [libc::CLONE_NEWNS as i64, 0, 0, 0]),
    ("unshare_user", libc::SYS_unshare, [NEW_USER, 0, 0, 0]),
    ("userfaultfd", libc::SYS_userfaultfd, [BAD, 0, 0, 0]),
    ("getpid", libc::SYS_getpid, [0, 0, 0, 0]),
];

/// Makes all of them; prints `name result`.
pub fn calls() -> Result<()> {
    for (name, number, [a, b, c, d]) in CALLS {
        // SAFETY: pointers are null or invalid, numbers make no sense: the kernel refuses each call or it does nothing
        // that this program is built on.
        let result = unsafe { libc::syscall(*number, *a, *b, *c, *d) };
        print(name, Errno::result(result).err());
    }
    Ok(())
}

/// Those that are refused with EPERM, and clone3 if it is not there. (ENOSYS of others is often the kernel's own word.)
pub fn refused() -> Vec<String> {
    let refusal = |(name, number, [a, b, c, d]): &(&str, i64, [i64; 4])| {
        // SAFETY: as in `calls`.
        let result = unsafe { libc::syscall(*number, *a, *b, *c, *d) };
        let error = Errno::result(result).err()?;
        (error == Errno::EPERM || *name == "clone3" && error == Errno::ENOSYS).then(|| format!("{name} {error:?}"))
    };
    CALLS.iter().filter_map(refusal).collect()
}

fn print(name: &str, error: Option<Errno>) {
    match error {
        None => println!("{name} ok"),
        Some(error) => println!("{name} {error:?}"),
    }
}

/// Numbers of the 32-bit ABI, which any 64-bit program reaches by `int 0x80`: a filter that knows one table of numbers
/// takes `umount2` (52) for `getpeername`.
#[cfg(target_arch = "x86_64")]
const OF_32_BIT: &[(&str, i32, [i32; 4])] = &[
    ("add_key", 286, [0, 0, 0, 0]),
    ("bpf", 357, [-1, 0, 0, 0]),
    ("clone3", 435, [0, 0, 0, 0]),
    ("init_module", 128, [0, 0, 0, 0]),
    ("io_uring_setup", 425, [0, 0, 0, 0]),
    ("kexec_load", 283, [0, 99, 0, 0]),
    ("keyctl", 288, [-1, 0, 0, 0]),
    ("mount", 21, [0, 0, 0, 0]),
    ("open_by_handle_at", 342, [-1, 0, 0, 0]),
    ("perf_event_open", 336, [0, 0, 0, 0]),
    ("pivot_root", 217, [0, 0, 0, 0]),
    ("setns", 346, [-1, 0, 0, 0]),
    ("umount2", 52, [0, 0, 0, 0]),
    ("unshare_user", 310, [libc::CLONE_NEWUSER, 0, 0, 0]),
    ("userfaultfd", 374, [-1, 0, 0, 0]),
    ("getpid", 20, [0, 0, 0, 0]),
];

/// Makes the calls of the 32-bit ABI.
#[cfg(target_arch = "x86_64")]
pub fn of_32_bit() -> Result<()> {
    for (name, number, [a, b, c, d]) in OF_32_BIT {
        let mut result = i64::from(*number);
        // SAFETY: the kernel enters and leaves by `int 0x80` as by `syscall`, and touches no other register than these;
        // rbx, which the compiler keeps for itself, is given back. Arguments are as harmless as those of the others.
        unsafe {
            std::arch::asm!(
                "xchg rbx, {first}", "int 0x80", "xchg rbx, {first}",
                first = inout(reg) i64::from(*a) => _,
                inout("rax") result, in("rcx") i64::from(*b), in("rdx") i64::from(*c), in("rsi") i64::from(*d),
                in("rdi") 0i64, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        let result = result as i32;
        print(name, (result < 0).then(|| Errno::from_raw(-result)));
    }
    Ok(())
}

/// Makes calls by the numbers of the x32 ABI: those of x86-64 with bit 30 set.
#[cfg(target_arch = "x86_64")]
pub fn of_x32() -> Result<()> {
    for (name, number, [a, b, c, d]) in CALLS.iter().filter(|(name, ..)| *name != "getpid") {
        // SAFETY: as in `calls`.
        let result = unsafe { libc::syscall(*number | 0x4000_0000, *a, *b, *c, *d) };
        print(name, Errno::result(result).err());
    }
    Ok(())
}

/// There is no such thing on this architecture.
#[cfg(not(target_arch = "x86_64"))]
pub fn of_32_bit() -> Result<()> {
    anyhow::bail!("this is no x86-64")
}

/// There is no such thing on this architecture.
#[cfg(not(target_arch = "x86_64"))]
pub fn of_x32() -> Result<()> {
    of_32_bit()
}
