//! System calls that a container has no use for, by every door that leads to them.

use suite::container::{detached, wait_for_log};
use suite::{Host, host};

use crate::expect::text;

/// `name result` of `payload WORD` in a container with these flags.
fn results(host: &Host, args: &[&str], word: &str) -> Vec<(String, String)> {
    pairs(&text(&host.run(args, &["payload", word]).assert().success()))
}

fn pairs(said: &str) -> Vec<(String, String)> {
    let pair = |line: &str| line.split_once(' ').map(|(name, result)| (name.to_owned(), result.to_owned()));
    said.lines().filter_map(pair).collect()
}

/// All power that there is, and no filter: what a call says there is not EPERM, or the test of it would be none.
const ALL_POWER: [&str; 3] = ["--privileged", "--security-opt", "seccomp=unconfined"];

/// Of these calls the filter refuses each, in `run` and in `exec`, as root with the usual capabilities; and does not where it
/// is switched off.
#[track_caller]
fn refused(host: &Host, names: &[&str]) {
    let find = |results: &[(String, String)], name: &str| -> String {
        results.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no call {name}")).1.clone()
    };
    let run = results(host, &[], "calls");
    let unprivileged = results(host, &["-u", "1000", "--security-opt", "no-new-privileges"], "calls");
    detached(host, "base", &[], &["payload", "wait"]);
    wait_for_log(host, "base", "ready");
    let exec = pairs(&text(&host.minidocker(["exec", "base", "payload", "calls"]).assert().success()));
    host.minidocker(["rm", "-f", "base"]).assert().success();
    let free = results(host, &ALL_POWER, "calls");
    for name in names {
        for (how, results) in [("run", &run), ("run as a user", &unprivileged), ("exec", &exec)] {
            let result = find(results, name);
            assert!(matches!(&*result, "EPERM" | "ENOSYS"), "{how}: {name} {result}");
        }
        // ENOSYS of a kernel without the call is the kernel's word.
        let result = find(&free, name);
        assert!(result != "EPERM", "{name} is refused without a filter as well: {result}");
    }
}

/// CVE-2022-0185, CVE-2023-0386 and dozens before them: a user namespace makes the kernel's whole surface reachable.
#[test]
fn a_user_namespace_is_made() {
    host(|host| {
        refused(host, &["unshare_user", "clone_user", "unshare_mount", "setns"]);
        // clone3 hides its flags in memory, where no filter sees them: it is not there at all.
        let clone3 = results(host, &[], "calls").into_iter().find(|(name, _)| name == "clone3").expect("the call");
        assert_eq!(clone3.1, "ENOSYS");
    });
}

/// CVE-2016-0728, CVE-2016-8650: kernel keyrings, which have no namespace.
#[test]
fn keyrings_are_used() {
    host(|host| refused(host, &["add_key", "keyctl", "request_key"]));
}

/// CVE-2021-3490, CVE-2013-2094: bpf and perf events; and userfaultfd, which makes every race in the kernel a wide one.
#[test]
fn programs_and_probes_are_loaded_into_the_kernel() {
    host(|host| refused(host, &["bpf", "perf_event_open", "userfaultfd"]));
}

/// CVE-2022-29582, CVE-2023-2598 and a hole every year: io_uring, which also does past the filter what it is asked for.
#[test]
fn io_uring_is_set_up() {
    host(|host| refused(host, &["io_uring_setup", "io_uring_enter", "io_uring_register"]));
}

/// The kernel itself: modules, another kernel, a reboot, accounting, swap.
#[test]
fn the_kernel_is_replaced() {
    let names = &[
        "init_module",
        "finit_module",
        "delete_module",
        "kexec_load",
        "reboot",
        "acct",
        "swapon",
        "swapoff",
        "quotactl",
    ];
    host(|host| refused(host, names));
}

/// The machine's clock has no namespace.
#[test]
fn the_clock_is_set() {
    host(|host| refused(host, &["settimeofday", "clock_settime"]));
}

/// CVE-2022-0185 was in fsconfig, behind fsopen: something is mounted, by the old calls or by the new ones.
#[test]
fn something_is_mounted() {
    let names = &[
        "mount",
        "umount2",
        "pivot_root",
        "fsopen",
        "fsmount",
        "move_mount",
        "open_tree",
        "mount_setattr",
        "sethostname",
    ];
    host(|host| refused(host, names));
}

/// CVE-2026-31431: the kernel's cryptography by AF_ALG; and AF_VSOCK, which reaches the hypervisor past every network namespace.
#[test]
fn sockets_that_know_no_network_namespace_are_opened() {
    host(|host| refused(host, &["socket_alg", "socket_vsock"]));
}

/// Descriptors of other processes, kernel pointers, the kernel's log, and an address space that ignores NX.
#[test]
fn other_processes_and_the_kernels_log_are_looked_into() {
    host(|host| refused(host, &["pidfd_getfd", "kcmp", "syslog", "personality_read_implies_exec"]));
}

/// CVE-2009-0835: a 64-bit program makes calls by the numbers of the 32-bit ABI (`int 0x80`), which mean something else there.
#[test]
fn calls_go_by_the_numbers_of_the_32_bit_abi() {
    host(|host| {
        let name = |results: &[(String, String)]| results.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let free = host.run(&ALL_POWER, &["payload", "calls-of-32-bit"]).assert();
        if !free.get_output().status.success() {
            suite::skip("this kernel runs no 32-bit programs (CONFIG_IA32_EMULATION)");
        }
        let free = pairs(&text(&free));
        let held = results(host, &[], "calls-of-32-bit");
        assert_eq!(name(&held), name(&free));
        for ((name, result), (_, without)) in held.iter().zip(&free) {
            match name.as_str() {
                "getpid" => assert_eq!(result, "ok"),
                "clone3" => assert_eq!(result, "ENOSYS"),
                _ => {
                    assert!(matches!(&**result, "EPERM" | "ENOSYS"), "{name} {result}");
                    assert!(without != "EPERM", "{name} is refused without a filter as well");
                }
            }
        }
    });
}

/// And by those of the x32 ABI, the usual number with one more bit: seccomp(2), "Caveats".
#[test]
fn calls_go_by_the_numbers_of_the_x32_abi() {
    host(|host| {
        for (name, result) in results(host, &[], "calls-of-x32") {
            assert!(matches!(&*result, "EPERM" | "ENOSYS"), "{name} {result}");
        }
    });
}
