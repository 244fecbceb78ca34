//! Files, devices and descriptors by which the kernel, and with it the host, is told what to do.

use suite::canary::SECRET;
use suite::container::{detached, wait_for_log};
use suite::{Host, Subject, Terminal, host};

use super::trap::{ROOTED, Trap};
use crate::expect::text;

/// What is the whole machine's, under /proc and /sys. (Not /proc/kcore: what hides it is the null device, which takes everything.)
const WRITABLE: &[&str] = &[
    "/proc/acpi/wakeup",
    "/proc/bus/pci/00/00.0",
    "/proc/irq/default_smp_affinity",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sys/fs/file-max",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/panic_on_oom",
    "/proc/sysrq-trigger",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/kernel/uevent_helper",
    "/sys/module/printk/parameters/time",
    "/sys/power/state",
    "/dev/kmsg",
    "/dev/mem",
];

/// `core_pattern`, `modprobe` and `uevent_helper` are programs that the kernel starts outside, as root; `sysrq-trigger` ends the
/// machine. (CVE-2015-3630 left some of it writable; CVE-2025-52881 ends here.)
#[test]
fn what_configures_the_kernel_is_written_to() {
    host(|host| {
        let canary = host.canary();
        let words: Vec<&str> = ["payload", "open-for-writing"].iter().chain(WRITABLE).copied().collect();
        for subject in ROOTED {
            let said = text(&Trap::set(host, subject, |_| {}).run(&[], &words).assert().success());
            assert!(said.lines().all(|line| !line.ends_with(" ok")), "{subject:?}: {said}");
        }
        let open = |words: &[&str]| text(&host.minidocker(words).args(WRITABLE).assert().success());
        detached(host, "base", &["--cap-add", "ALL"], &["payload", "wait"]);
        let said = open(&["exec", "base", "payload", "open-for-writing"]);
        assert!(said.lines().all(|line| !line.ends_with(" ok")), "with all capabilities: {said}");
        host.minidocker(["rm", "-f", "base"]).assert().success();
        // All of it is there, for whom it is given to.
        let said = open(&["run", "--rm", "--network", "none", "--privileged", "suite", "payload", "open-for-writing"]);
        assert!(said.contains("/proc/sys/kernel/core_pattern ok"), "{said}");
        canary.is_unharmed();
    });
}

/// What is read-only or hidden by a mount is uncovered by another: with root's usual capabilities, and with SYS_ADMIN that has
/// no filter in its way.
#[test]
fn what_is_covered_is_uncovered() {
    host(|host| {
        let canary = host.canary();
        let script = "umount /proc/kcore; umount -l /proc/sys; mount -o remount,rw /proc/sys; mount -o remount,bind,rw /proc/sys; \
                      mount -t proc again /tmp; umount /proc/sysrq-trigger; payload open-for-writing /proc/sysrq-trigger \
                      /proc/sys/kernel/core_pattern; head -c 1 /proc/kcore | wc -c";
        for subject in ROOTED {
            if subject == Subject::Engine {
                let said = text(&Trap::set(host, subject, |_| {}).run(&[], &["sh", "-c", script]).assert().success());
                assert!(!said.contains(" ok") && said.ends_with('0'), "{said}");
            }
        }
        canary.is_unharmed();
    });
}

/// GHSA-6fw5-f8r9-fgfm, and what came before: memory, keys, timers and power meters of the machine are read.
#[test]
fn what_tells_of_the_machine_is_read() {
    host(|host| {
        let script = "for f in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /proc/latency_stats /proc/interrupts \
                      /proc/scsi/scsi /proc/acpi/* /proc/asound/*; do test -d $f || head -c 100 $f 2>/dev/null; done; \
                      find /sys/firmware /sys/devices/virtual/powercap /sys/devices/system/cpu/cpu*/thermal_throttle -mindepth 1 2>/dev/null";
        for subject in ROOTED {
            let said = text(&Trap::set(host, subject, |_| {}).run(&[], &["sh", "-c", script]).assert());
            assert_eq!(said, "", "{subject:?}");
        }
        let said = Trap::set(host, Subject::Engine, |_| {}).run(&["--privileged"], &["sh", "-c", script]).assert();
        assert_ne!(text(&said), "", "nothing of it is there on this machine");
    });
}

/// CVE-2022-0492: on cgroup v1 whoever may write to `release_agent` names a program that the kernel starts outside. (Felix
/// Wilhelm showed it in 2019, from a privileged container.)
#[test]
fn a_release_agent_is_named() {
    host(|host| {
        let canary = host.canary();
        let script = "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do payload open-for-writing $d/release_agent $d/cgroup.procs \
                      $d/notify_on_release $d/memory.max $d/memory.limit_in_bytes $d/pids.max; mkdir $d/mine && echo made ok; done; \
                      mkdir /tmp/c; mount -t cgroup -o memory x /tmp/c && echo mounted ok; mount -t cgroup2 x /tmp/c && echo mounted ok";
        for subject in ROOTED {
            let said = text(
                &Trap::set(host, subject, |_| {})
                    .run(&[], &["sh", "-c", &format!("{{ {script}; }} 2>/dev/null; true")])
                    .assert()
                    .success(),
            );
            let open: Vec<&str> = said.lines().filter(|line| line.ends_with(" ok")).collect();
            // Chapters have no seccomp filter and all capabilities: they may mount, and find their own cgroup there.
            let allowed = |line: &&str| subject != Subject::Engine && *line == "mounted ok";
            assert!(open.iter().all(allowed), "{subject:?}: {open:?}");
        }
        canary.is_unharmed();
    });
}

/// A process leaves its cgroup for one above, where its limits do not hold.
#[test]
fn a_process_leaves_its_cgroup() {
    host(|host| {
        let script = "cat /proc/self/cgroup; for d in /sys/fs/cgroup /sys/fs/cgroup/*; do echo 1 > $d/../cgroup.procs; \
                      echo 1 > $d/cgroup.procs; echo max > $d/pids.max; done 2>/dev/null; payload bomb 50";
        for subject in ROOTED {
            let said = text(
                &Trap::set(host, subject, |_| {})
                    .run(&["--pids-limit", "12"], &["sh", "-c", script])
                    .assert()
                    .success(),
            );
            assert!(said.contains("then EAGAIN"), "{subject:?}: {said}");
            // It sees itself at the top, and not where that is on the host.
            assert!(
                said.lines().filter(|line| line.contains(':')).all(|line| line.ends_with(":/")),
                "{subject:?}: {said}"
            );
        }
    });
}

/// The disk of the host, its memory and its kernel log by a device node that root inside makes for itself.
#[test]
fn a_device_node_is_made() {
    host(|host| {
        let canary = host.canary();
        let disk = text(&host.tool("sh", ["-c", "cat /sys/block/*/dev | head -1"]).assert().success());
        let (major, minor) = disk.split_once(':').unwrap_or(("7", "0"));
        let script = format!(
            "mkdir /n; mknod /n/disk b {major} {minor}; mknod /n/mem c 1 1; mknod /n/kmsg c 1 11; mknod /n/null c 1 3; \
             for d in disk mem kmsg; do head -c 1 /n/$d >/dev/null && echo $d ok; echo -n > /n/$d && echo write $d ok; done 2>/dev/null; \
             head -c 1 /n/null && echo null ok"
        );
        let run =
            |args: &[&str]| text(&Trap::set(host, Subject::Engine, |_| {}).run(args, &["sh", "-c", &script]).assert());
        assert_eq!(run(&[]), "null ok");
        assert_eq!(run(&["--cap-add", "ALL", "--security-opt", "seccomp=unconfined"]), "null ok");
        // A volume is no way round: what is made there is nobody's device either.
        assert_eq!(run(&["-v", "volume:/n"]), "null ok");
        assert!(run(&["--privileged"]).contains("kmsg ok"));
        canary.is_unharmed();
    });
}

/// "Shocker" (2014): with CAP_DAC_READ_SEARCH a file of the host is opened by its handle, past every root.
#[test]
fn a_file_is_opened_by_its_handle() {
    host(|host| {
        let canary = host.canary();
        let shared = host.work().join("shared");
        std::fs::create_dir(&shared).expect("make a directory");
        // The handle is a handful of small numbers, which the original guessed; here they are told.
        let handle = text(&host.payload(["file-handle"]).arg(canary.secret()).assert().success());
        let volume = format!("{}:/near", shared.display());
        let trap = Trap::set(host, Subject::Engine, |_| {});
        let open = |args: &[&str]| {
            let args = [&["-v", &volume], args].concat();
            text(&trap.run(&args, &["payload", "open-handle", "/near", &handle]).assert().success())
        };
        assert_eq!(open(&[]), "refused EPERM");
        assert_eq!(open(&["-u", "1000"]), "refused EPERM");
        assert_eq!(open(&["--security-opt", "seccomp=unconfined"]), "refused EPERM");
        assert_eq!(open(&["--cap-add", "DAC_READ_SEARCH"]), format!("opened {SECRET}"));
        canary.is_unharmed();
    });
}

/// CVE-2016-7545, CVE-2017-5226: what is put into the terminal's input (TIOCSTI) is read by the shell outside when the
/// container has ended.
#[test]
fn something_is_typed_into_the_terminal_outside() {
    host(|host| {
        let canary = host.canary();
        host.load_image();
        host.needs("bash");
        let type_it = "payload type 'echo tou''ched > /tmp/suite/work/outside/typed\n'";
        for (flags, what) in [("-it", "a terminal of its own"), ("-i", "input"), ("", "nothing")] {
            let mut shell = std::process::Command::new("bash");
            shell.args(["--norc", "--noprofile", "-i"]).env("PS1", "host> ");
            let mut terminal = Terminal::start(shell);
            let run = format!("{} run --rm {flags} --network none suite sh -c", host.bin("minidocker").display());
            terminal.send(&format!("{run} {}; echo al''ive; exit\n", shell_word(type_it)));
            terminal.wait_for("alive");
            let (status, said) = terminal.wait();
            assert!(status.success(), "{what}: {said}");
            canary.is_unharmed();
        }
    });
}

fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Keys of the login session, Kerberos tickets among them, are in a keyring that a container would inherit.
#[test]
fn keys_of_the_session_are_found() {
    host(|host| {
        host.load_image();
        let engine = host.bin("minidocker").display().to_string();
        let find = |words: &[&str]| text(&host.payload(["with-key", "ticket"]).args(words).assert().success());
        let payload = host.bin("payload").display().to_string();
        assert_eq!(find(&[&payload, "find-key", "ticket"]), "found");
        let run = [&engine, "run", "--rm", "--network", "none"];
        let words = ["suite", "payload", "find-key", "ticket"];
        assert_eq!(find(&[&run[..], &words].concat()), "refused EPERM");
        // Not even where the filter would let it look.
        let free = ["--security-opt", "seccomp=unconfined"];
        assert!(find(&[&run[..], &free, &words].concat()).starts_with("refused E"));
    });
}

/// CVE-2020-15257: an abstract socket belongs to the network namespace; where that is shared with the host, whoever listens on
/// one is reached from inside, past every file's mode.
#[test]
fn the_engine_listens_on_an_abstract_socket() {
    host(|host| {
        detached(host, "base", &[], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        let mut exec = host.start("minidocker", ["exec", "base", "payload", "wait"]);
        exec.wait_for("ready");
        let sockets = std::fs::read_to_string("/proc/net/unix").expect("the list of sockets");
        let named: Vec<&str> = sockets.lines().filter(|line| line.contains(" @")).collect();
        assert!(named.is_empty(), "{named:?}");
        assert!(sockets.contains("minidocker") || sockets.contains("sock"), "it listens on a file: {sockets}");
        drop(exec);
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}

/// `kill -9 -1`: every process that root inside may signal. The virtual host's canary and the engine's monitor must live.
#[test]
fn everybody_is_killed() {
    host(|host: &Host| {
        detached(host, "base", &["--init"], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        let _either = host.minidocker(["exec", "base", "payload", "kill-all"]).assert();
        for subject in ROOTED {
            Trap::set(host, subject, |_| {})
                .run(&[], &["payload", "kill-all"])
                .assert()
                .success()
                .stdout("nobody else here\n");
        }
        let _gone = host.minidocker(["stop", "base"]).assert();
        host.minidocker(["ps"]).assert().success();
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}
