//! The default policy: Docker's, as of August 2026.
//!
//! An allow-list. What is missing in it are calls that a container has no use for and that have been the way out of
//! one: kernel keyrings and io_uring (a hole every year), `bpf`, `userfaultfd`, mounting, namespaces, modules, clocks.
//! Some come back with the capability that the kernel asks for anyway: whoever was given CAP_SYS_ADMIN may mount.

use std::borrow::Cow;

use rustix::thread::CapabilitySet;

use super::super::capabilities::Capabilities;
use super::policy::{Action, Applies, Comparison, Condition, Policy, Rule};
use super::syscall::{Architecture, Syscall, calls};

/// The default policy.
pub fn policy() -> Policy {
    let mut rules: Vec<Rule> = ALWAYS.iter().map(|calls| allow(calls, &[], Applies::ALWAYS)).collect();

    // Tracing is safe since 4.8, where a tracer can no longer change a call after the filter has looked at it.
    rules.push(allow(
        calls![process_vm_readv process_vm_writev ptrace],
        &[],
        Applies { since: (4, 8), ..Applies::ALWAYS },
    ));
    rules.extend(SOCKET_FAMILIES.iter().map(|family| allow(calls![socket], family, Applies::ALWAYS)));
    rules.extend(PERSONALITIES.iter().map(|persona| allow(calls![personality], persona, Applies::ALWAYS)));

    // Without CAP_SYS_ADMIN, no new namespaces: a user namespace would give all of the kernel's surface to anybody.
    // clone3's flags are behind a pointer, out of a filter's sight; on ENOSYS every C library falls back to clone.
    let without_admin = Applies { without: Capabilities::of(CapabilitySet::SYS_ADMIN), ..Applies::ALWAYS };
    rules.push(allow(calls![clone], NO_NEW_NAMESPACE, without_admin));
    rules.push(Rule { action: Action::Errno(libc::ENOSYS as u16), ..allow(calls![clone3], &[], without_admin) });

    rules.extend(
        WITH_CAPABILITY
            .iter()
            .map(|(held, calls)| allow(calls, &[], Applies { with: Capabilities::of(*held), ..Applies::ALWAYS })),
    );
    Policy { default: Action::Errno(libc::EPERM as u16), rules, architectures: Architecture::OF_THIS_MACHINE, flags: 0 }
}

fn allow(calls: &'static [Syscall], conditions: &'static [Condition], applies: Applies) -> Rule {
    Rule { calls: Cow::Borrowed(calls), action: Action::Allow, conditions: Cow::Borrowed(conditions), applies }
}

const fn first_argument(comparison: Comparison, value: u64) -> Condition {
    Condition { argument: 0, comparison, value }
}

/// Every family but AF_ALG (38), the kernel's cryptography (CVE-2026-31431), and AF_VSOCK (40), which reaches the
/// hypervisor past all network namespaces.
const SOCKET_FAMILIES: &[&[Condition]] = &[
    &[first_argument(Comparison::Less, 38)],
    &[first_argument(Comparison::Equal, 39)],
    &[first_argument(Comparison::Greater, 40)],
];

/// PER_LINUX and PER_LINUX32, each also as UNAME26; and the question which one it is.
const PERSONALITIES: &[&[Condition]] = &[
    &[first_argument(Comparison::Equal, 0x0)],
    &[first_argument(Comparison::Equal, 0x8)],
    &[first_argument(Comparison::Equal, 0x2_0000)],
    &[first_argument(Comparison::Equal, 0x2_0008)],
    &[first_argument(Comparison::Equal, 0xffff_ffff)],
];

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. (NEWTIME is no flag of clone's: its bit is taken.)
const NO_NEW_NAMESPACE: &[Condition] = &[first_argument(Comparison::Masked { mask: 0x7e02_0000 }, 0)];

/// Calls that come with a capability.
const WITH_CAPABILITY: &[(CapabilitySet, &[Syscall])] = &[
    (CapabilitySet::DAC_READ_SEARCH, calls![open_by_handle_at]),
    (
        CapabilitySet::SYS_ADMIN,
        calls![
            bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
            lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl
            quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare
        ],
    ),
    (CapabilitySet::SYS_BOOT, calls![reboot]),
    (CapabilitySet::SYS_CHROOT, calls![chroot]),
    (CapabilitySet::SYS_MODULE, calls![delete_module finit_module init_module]),
    (CapabilitySet::SYS_PACCT, calls![acct]),
    (CapabilitySet::SYS_PTRACE, calls![kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace]),
    (CapabilitySet::SYS_RAWIO, calls![ioperm iopl]),
    (CapabilitySet::SYS_TIME, calls![clock_settime clock_settime64 settimeofday stime]),
    (CapabilitySet::SYS_TTY_CONFIG, calls![vhangup]),
    (CapabilitySet::SYS_NICE, calls![get_mempolicy mbind set_mempolicy set_mempolicy_home_node]),
    (CapabilitySet::SYSLOG, calls![syslog]),
    (CapabilitySet::BPF, calls![bpf]),
    (CapabilitySet::PERFMON, calls![perf_event_open]),
];

/// What every container may call, by topic. Names that only 32-bit programs use stand with their 64-bit ones; the
/// last group is of one architecture each.
const ALWAYS: &[&[Syscall]] = &[
    // Opening, reading, writing.
    calls![
        close close_range copy_file_range creat dup dup2 dup3 fadvise64 fadvise64_64 fallocate fcntl fcntl64 fdatasync
        flock fsync ftruncate ftruncate64 ioctl lseek _llseek open openat openat2 pipe pipe2 pread64 preadv preadv2
        pwrite64 pwritev pwritev2 read readahead readv sendfile sendfile64 splice sync sync_file_range syncfs tee
        truncate truncate64 vmsplice write writev cachestat memfd_create memfd_secret
    ],
    // Files and directories by name.
    calls![
        access chdir chmod chown chown32 faccessat faccessat2 fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat
        fstat fstat64 fstatat64 fstatfs fstatfs64 futimesat getcwd getdents getdents64 lchown lchown32 link linkat
        listmount lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat readlink readlinkat rename
        renameat renameat2 rmdir stat stat64 statfs statfs64 statmount statx symlink symlinkat umask unlink unlinkat
        utime utimensat utimensat_time64 utimes
    ],
    // Extended attributes; being told of changes.
    calls![
        fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr
        lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat fanotify_mark inotify_add_watch
        inotify_init inotify_init1 inotify_rm_watch
    ],
    // Waiting for many things at once.
    calls![
        epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
        eventfd2 io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit poll ppoll
        ppoll_time64 pselect6 pselect6_time64 select _newselect signalfd signalfd4 timerfd_create timerfd_gettime
        timerfd_gettime64 timerfd_settime timerfd_settime64
    ],
    // Memory.
    calls![
        brk madvise map_shadow_stack membarrier mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap mseal msync
        munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages
    ],
    // Processes, threads, scheduling.
    calls![
        execve execveat exit exit_group fork vfork futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake
        get_robust_list get_thread_area getcpu getpgid getpgrp getpid getppid getpriority getrlimit getrusage getsid
        gettid ioprio_get ioprio_set pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall rseq
        sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
        sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
        sched_setscheduler sched_yield set_robust_list set_thread_area set_tid_address setpgid setpriority setrlimit
        setsid sysinfo times ugetrlimit uname uretprobe wait4 waitid waitpid
    ],
    // Signals.
    calls![
        kill pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
        rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn tgkill tkill
    ],
    // Who one is, and taking rights from oneself.
    calls![
        capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32
        getresuid getresuid32 getuid getuid32 landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp
        setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid setregid32 setresgid
        setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32
    ],
    // Time. (Turning the clock needs a capability; clock_adjtime only reads without it.)
    calls![
        adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
        clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create
        timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
    ],
    // Sockets. (`socketcall` hides its arguments from a filter, and 32-bit programs cannot do without.)
    calls![
        accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64
        recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair
    ],
    // System V and POSIX message queues, semaphores, shared memory.
    calls![
        ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
        mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt
        shmget getrandom
    ],
    // Of one architecture: x86, then ARM.
    if cfg!(target_arch = "x86_64") {
        calls![arch_prctl modify_ldt]
    } else {
        calls![arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2]
    },
];
