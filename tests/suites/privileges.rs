//! What a process in a container may do: each flag proved by its effect, each mistake refused in one sentence.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use predicates::prelude::*;
use suite::container::{detached, wait_for_log};
use suite::{Host, host};

use crate::expect::{complaint, fact, refused, text};

/// Refused with 125 and these words, and no container is left.
#[track_caller]
fn bad(host: &Host, args: &[&str], words: &[&str]) {
    refused(host.run(args, &["true"]).assert(), 125, words);
    host.minidocker(["ps", "-aq"]).assert().success().stdout("");
}

/// The lines of `/proc/self/status` about capabilities: inheritable, permitted, effective, bounding, ambient.
#[track_caller]
fn capabilities(said: &str) -> [u64; 5] {
    ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"]
        .map(|set| u64::from_str_radix(&fact(said, set), 16).expect("a set of capabilities"))
}

/// Docker's fourteen.
const FOURTEEN: u64 = 0xa804_25fb;
/// Their numbers, `linux/capability.h`.
const CHOWN: u64 = 1;
const NET_ADMIN: u64 = 1 << 12;

#[test]
fn capabilities_follow_the_flags() {
    host(|host| {
        let held = |args: &[&str]| capabilities(&text(&host.run(args, &["payload", "privileges"]).assert().success()));
        let root = |set: u64| [0, set, set, set, 0];
        assert_eq!(held(&[]), root(FOURTEEN));
        assert_eq!(held(&["--cap-drop", "cap_chown"]), root(FOURTEEN & !CHOWN));
        assert_eq!(held(&["--cap-add", "net_admin"]), root(FOURTEEN | NET_ADMIN));
        assert_eq!(held(&["--cap-add=NET_ADMIN", "--cap-drop=ALL"]), root(NET_ADMIN));
        let all = held(&["--privileged"]);
        assert_eq!(all, root(all[1]));
        assert_eq!(all[1] & FOURTEEN, FOURTEEN);
        assert_eq!(held(&["--cap-add", "ALL"]), all);
        assert_eq!(held(&["--cap-add", "ALL", "--cap-drop", "Chown"]), root(all[1] & !CHOWN));
        // Who is not root has none, and can get back no more than root would have.
        assert_eq!(held(&["-u", "1000"]), [0, 0, 0, FOURTEEN, 0]);
        assert_eq!(held(&["-u", "user", "--cap-add", "NET_ADMIN"]), [0, 0, 0, FOURTEEN | NET_ADMIN, 0]);
        assert_eq!(held(&["-u", "user", "--privileged"]), [0, 0, 0, all[1], 0]);
        bad(host, &["--cap-add", "SYS_ADMON"], &["SYS_ADMON", "did you mean SYS_ADMIN"]);
        bad(host, &["--cap-drop", "CAP_NONSENSE"], &["--cap-drop", "CAP_NONSENSE"]);
    });
}

#[test]
fn exec_has_the_containers_capabilities() {
    host(|host| {
        detached(host, "base", &["--cap-add", "NET_ADMIN", "--cap-drop", "CHOWN"], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        let set = (FOURTEEN | NET_ADMIN) & !CHOWN;
        let held = |args: &[&str]| {
            let mut command = host.minidocker(["exec"]);
            capabilities(&text(&command.args(args).args(["base", "payload", "privileges"]).assert().success()))
        };
        assert_eq!(held(&[]), [0, set, set, set, 0]);
        assert_eq!(held(&["-u", "user"]), [0, 0, 0, set, 0]);
        let all = held(&["--privileged"]);
        assert_eq!(all, [0, all[1], all[1], all[1], 0]);
        assert!(all[1] & !set != 0 && all[1] & CHOWN != 0);
        assert_eq!(held(&["--privileged", "-u", "user"]), [0, 0, 0, all[1], 0]);
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}

#[test]
fn what_a_capability_is_for_works_with_it_alone() {
    host(|host| {
        let works = |args: &[&str], script: &str| host.run(args, &["sh", "-c", script]).assert().success();
        let fails = |args: &[&str], script: &str| {
            let said = complaint(&host.run(args, &["sh", "-c", script]).assert().failure());
            assert!(said.contains("not permitted") || said.contains("permission denied"), "{said}");
        };
        works(&[], "touch /x && chown 5:5 /x");
        fails(&["--cap-drop", "CHOWN"], "touch /x && chown 5:5 /x");
        works(&[], "mknod /tmp/null c 1 3 && echo x > /tmp/null");
        fails(&["--cap-drop", "MKNOD"], "mknod /tmp/null c 1 3");
        fails(&[], "ip link set lo down");
        works(&["--cap-add", "NET_ADMIN"], "ip link set lo down");
        fails(&[], "mount -t tmpfs x /tmp");
        works(&["--cap-add", "SYS_ADMIN"], "mount -t tmpfs x /tmp");
        fails(&[], "hostname other");
        works(&["--cap-add", "SYS_ADMIN"], "hostname other");
    });
}

#[test]
fn without_new_privileges_a_set_uid_program_is_nothing_special() {
    host(|host| {
        let script = "cp /bin/payload /rooted && chmod 4755 /rooted && payload wait";
        for (name, args, uid) in [
            ("free", &[][..], "0"),
            ("bound", &["--security-opt", "no-new-privileges"], "1234"),
            ("also", &["--security-opt=no-new-privileges:true"], "1234"),
            ("not", &["--security-opt=no-new-privileges=false"], "0"),
        ] {
            detached(host, name, args, &["sh", "-c", script]);
            wait_for_log(host, name, "ready");
            let facts = text(&host.minidocker(["exec", "-u", "user", name, "/rooted", "facts"]).assert().success());
            assert_eq!(fact(&facts, "uid"), uid, "{name}");
            host.minidocker(["rm", "-f", name]).assert().success();
        }
    });
}

/// A profile in a file, as an option.
fn profile(host: &Host, name: &str, text: &str) -> String {
    let path = host.work().join(name);
    fs::write(&path, text).expect("write a profile");
    format!("seccomp={}", path.display())
}

#[test]
fn a_seccomp_profile_decides() {
    host(|host| {
        // What is forbidden, with an error of its own; what nobody knows is left out.
        let deny = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            { "names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 },
            { "names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "includes": { "caps": ["CAP_SYS_ADMIN"] } },
            { "names": ["kill"], "action": "SCMP_ACT_KILL_PROCESS", "args": [{ "index": 1, "value": 10, "op": "SCMP_CMP_EQ" }] }
        ] }"#;
        let deny = profile(host, "deny.json", deny);
        host.run(&["--security-opt", &deny], &["mkdir", "/x"])
            .assert()
            .code(1)
            .stderr(predicate::str::contains("No space left"));
        host.run(&["--security-opt", &deny], &["sh", "-c", "kill -0 $$"]).assert().success();
        host.run(&["--security-opt", &deny], &["sh", "-c", "kill -USR1 $$; echo survived"])
            .assert()
            .code(159)
            .stdout("");
        host.run(&["--security-opt", &deny, "--cap-add", "SYS_ADMIN"], &["hostname", "x"]).assert().failure();
        // In exec as well, and not where it is privileged.
        detached(host, "base", &["--security-opt", &deny], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        host.minidocker(["exec", "base", "mkdir", "/x"]).assert().failure();
        host.minidocker(["exec", "--privileged", "base", "mkdir", "/x"]).assert().success();
        host.minidocker(["rm", "-f", "base"]).assert().success();

        let calls = |args: &[&str]| text(&host.run(args, &["payload", "calls"]).assert().success());
        let open = calls(&["--security-opt", "seccomp=unconfined"]);
        assert!(open.contains("clone3 EINVAL") && open.contains("unshare_user ok"), "{open}");
        let default = calls(&[]);
        assert!(default.contains("clone3 ENOSYS") && default.contains("unshare_user EPERM"), "{default}");
        let admin = calls(&["--cap-add", "SYS_ADMIN"]);
        assert!(admin.contains("clone3 EINVAL") && admin.contains("keyctl EPERM"), "{admin}");
    });
}

#[test]
fn the_filter_comes_last_where_it_may() {
    host(|host| {
        // It forbids what becoming a user takes.
        let narrow = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            { "names": ["setresuid", "capset", "setgroups"], "action": "SCMP_ACT_ERRNO" } ] }"#;
        let narrow = profile(host, "narrow.json", narrow);
        let option = ["--security-opt", &narrow];
        bad(host, &[&option[..], &["-u", "user"]].concat(), &["seccomp profile", "no-new-privileges"]);
        let args = [&option[..], &["-u", "user", "--security-opt", "no-new-privileges"]].concat();
        let said = text(&host.run(&args, &["payload", "privileges"]).assert().success());
        assert!(said.contains("NoNewPrivs: 1") && said.contains("Seccomp: 2"), "{said}");
    });
}

#[test]
fn a_malformed_profile_is_named_with_its_place() {
    host(|host| {
        let refuse = |text: &str, words: &[&str]| {
            let option = profile(host, "bad.json", text);
            bad(host, &["--security-opt", &option], &[&["bad.json"], words].concat());
        };
        refuse("", &["line 1"]);
        refuse("{ \"defaultAction\":\n \"SCMP_ACT_ERRNO\",\n oops }", &["line 3"]);
        refuse(r#"{ "defaultAction": "SCMP_ACT_MAYBE" }"#, &["SCMP_ACT_MAYBE"]);
        let entry = |entry: &str| format!(r#"{{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{}}, {entry}] }}"#);
        refuse(&entry(""), &["line 1"]);
        let entry = |entry: &str| format!(r#"{{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{entry}] }}"#);
        refuse(
            &entry(
                r#"{ "names": ["read"], "action": "SCMP_ACT_TRAP", "args": [{ "index": 9, "value": 0, "op": "SCMP_CMP_EQ" }] }"#,
            ),
            &["syscalls[0]", "read"],
        );
        bad(host, &["--security-opt", "seccomp=/no/such/profile"], &["/no/such/profile"]);
        bad(host, &["--security-opt", "seccomp=/"], &["directory"]);
        bad(host, &["--security-opt", "secomp=unconfined"], &["secomp"]);
        let huge = format!("{{\"defaultAction\":\"SCMP_ACT_ALLOW\"{}}}", " ".repeat(2 << 20));
        refuse(&huge, &["longer than"]);
    });
}

#[test]
fn limits_of_each_process() {
    host(|host| {
        // One that nobody limits: -1 takes a hard limit that is none, and ours on the stack may be one.
        let (_, hard) = getrlimit(Resource::RLIMIT_RSS).expect("our own limit");
        setrlimit(Resource::RLIMIT_RSS, 1 << 30, hard).expect("lower it");
        let args = ["--ulimit", "nofile=64:128", "--ulimit", "core=0", "--ulimit", "rss=-1"];
        let facts = text(&host.run(&args, &["payload", "facts"]).assert().success());
        assert!(facts.contains("limit max-open-files 64/128"), "{facts}");
        assert!(facts.contains("limit max-core-file-size 0/0"), "{facts}");
        assert!(facts.contains("limit max-resident-set unlimited/unlimited"), "{facts}");
        let script = "i=0; while true; do i=$((i+1)); eval \"exec $((i+2))</dev/null\" || exit 3; done";
        let said = host.run(&["--ulimit", "nofile=16"], &["sh", "-c", script]).assert().failure();
        assert!(!complaint(&said).is_empty());
        bad(host, &["--ulimit", "nofiles=5"], &["nofiles", "did you mean nofile"]);
        bad(host, &["--ulimit", "nofile=9:5"], &["soft limit"]);
        bad(host, &["--ulimit", "nofile"], &["NAME=SOFT"]);
        // exec has them too.
        detached(host, "base", &["--ulimit", "nofile=64:128"], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        let facts = text(&host.minidocker(["exec", "base", "payload", "facts"]).assert().success());
        assert!(facts.contains("limit max-open-files 64/128"), "{facts}");
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}

#[test]
fn what_only_root_may_raise() {
    host(|host| {
        crate::ch01::user_namespaces_or_skip(host);
        let user = |option: &[&str]| {
            let mut command = host.as_user("minidocker", ["run", "--rm"]);
            command.args(option).args(["demo", "true"]).assert()
        };
        user(&[]).success();
        let said = complaint(&user(&["--ulimit", "nofile=99999999"]).code(125));
        assert!(said.contains("hard limit") && said.contains("nofile"), "{said}");
        let said = complaint(&user(&["--oom-score-adj", "-500"]).code(125));
        assert!(said.contains("CAP_SYS_RESOURCE"), "{said}");
    });
}

#[test]
fn the_score_of_the_out_of_memory_killer() {
    host(|host| {
        let score =
            |args: &[&str]| fact(&text(&host.run(args, &["payload", "facts"]).assert().success()), "oom_score_adj");
        assert_eq!(score(&["--oom-score-adj", "500"]), "500");
        if may_lower_scores() {
            assert_eq!(score(&["--oom-score-adj", "-500"]), "-500");
        } else {
            bad(host, &["--oom-score-adj", "-500"], &["CAP_SYS_RESOURCE"]);
        }
        bad(host, &["--oom-score-adj", "1001"], &["1001"]);
        // In a pid namespace with the /proc of another, the process has another number there.
        let words = ["--name", "inner", "--oom-score-adj", "500", "suite", "payload", "facts"];
        let inner = ["run", "/tmp/suite/bin/minidocker", "run", "--network", "none"];
        assert_eq!(fact(&text(&host.chapter(1, inner).args(words).assert().success()), "oom_score_adj"), "500");
        host.minidocker(["rm", "inner"]).assert().success();
    });
}

/// Whether we have CAP_SYS_RESOURCE, which root of a virtual machine has and root in a container may lack.
fn may_lower_scores() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("read our status");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("our capabilities");
    u64::from_str_radix(effective.trim(), 16).is_ok_and(|set| set & 1 << 24 != 0)
}

#[test]
fn groups_are_those_of_the_image() {
    host(|host| {
        let groups = |args: &[&str]| fact(&text(&host.run(args, &["payload", "facts"]).assert().success()), "groups");
        assert_eq!(groups(&[]), "0");
        assert_eq!(groups(&["-u", "user"]), "1234,4321");
        assert_eq!(groups(&["-u", "user:extra"]), "4321");
        assert_eq!(groups(&["-u", "777:888"]), "888");
        assert_eq!(groups(&["-u", "user", "--group-add", "77"]), "77,1234,4321");
        assert_eq!(groups(&["--group-add", "extra"]), "0,4321");
        bad(host, &["--group-add", "no-such-group"], &["no-such-group"]);
        bad(host, &["--group-add", "4294967295"], &["4294967295"]);
    });
}

/// What lies at /etc/passwd may be anything: read with bounds, or not at all (CVE-2026-47262).
#[test]
fn hostile_lists_of_users() {
    host(|host| {
        let fifo = host.work().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).expect("make a FIFO");
        let huge = host.work().join("huge");
        fs::write(&huge, "x".repeat(3 << 20)).expect("write a file");
        for (file, word) in [("/work/fifo", "regular"), ("/work/huge", "larger")] {
            let over = |place: &str| format!("/tmp/suite{file}:{place}");
            bad(host, &["-v", &over("/etc/passwd"), "-u", "user"], &["/etc/passwd", word]);
            bad(host, &["-v", &over("/etc/group"), "-u", "user"], &["/etc/group", word]);
        }
        // A running container may exchange it at any time.
        detached(host, "base", &[], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        let change = |script: &str| host.minidocker(["exec", "base", "sh", "-c", script]).assert().success();
        let refuse = |args: &[&str]| {
            let mut command = host.minidocker(["exec"]);
            complaint(&command.args(args).args(["base", "true"]).assert().code(126))
        };
        change("echo evil:x:4294967296:0::/:/bin/sh >> /etc/passwd; echo odd:x:-1:0::/: >> /etc/passwd");
        assert!(refuse(&["-u", "evil"]).contains("evil"));
        assert!(refuse(&["-u", "odd"]).contains("odd"));
        for number in ["4294967295", "4294967296", "-1", "+1", "99999999999999999999", "0:4294967295"] {
            assert!(refuse(&[&format!("--user={number}")]).contains("range"), "{number}");
        }
        change("rm /etc/passwd; ln -s /proc/1/environ /etc/passwd");
        host.minidocker(["exec", "-u", "FROM_IMAGE=yes", "base", "true"]).assert().failure();
        change("rm /etc/passwd; mknod /etc/passwd p");
        assert!(refuse(&["-u", "user"]).contains("/etc/passwd"));
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}

#[test]
fn settings_of_the_containers_own_namespaces() {
    host(|host| {
        let before = fs::read_to_string("/proc/sys/kernel/shmmax").expect("read a sysctl");
        let args =
            ["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.shmmax=12345", "--sysctl", "fs.mqueue.msg_max=7"];
        let files =
            ["net/ipv4/ip_forward", "kernel/shmmax", "fs/mqueue/msg_max"].map(|file| format!("/proc/sys/{file}"));
        let words: Vec<&str> = ["cat"].into_iter().chain(files.iter().map(String::as_str)).collect();
        host.run(&args, &words).assert().success().stdout("1\n12345\n7\n");
        assert_eq!(fs::read_to_string("/proc/sys/kernel/shmmax").expect("read a sysctl"), before);
        bad(host, &["--sysctl", "kernel.panic=1"], &["kernel.panic", "whole machine"]);
        bad(host, &["--sysctl", "kernel.hostname=x"], &["--hostname"]);
        bad(host, &["--sysctl", "kernel.domainname=x"], &["--domainname"]);
        bad(host, &["--sysctl", "net.ipv4.ip_forward"], &["NAME=VALUE"]);
        bad(host, &["--sysctl", "net/../kernel/panic=1"], &["invalid"]);
        bad(host, &["--sysctl", "net.ipv4.nonsense=1"], &["net.ipv4.nonsense", "no such setting"]);
        bad(host, &["--sysctl", "net.ipv4.ip_forward=lots"], &["net.ipv4.ip_forward", "value"]);
        bad(host, &["--sysctl", "kernel.shmmax=1", "--ipc", "host"], &["kernel.shmmax"]);
        bad(host, &["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"], &["--network host"]);
    });
}

#[test]
fn privileged_is_a_container_no_longer() {
    host(|host| {
        let says = |args: &[&str], script: &str| text(&host.run(args, &["sh", "-c", script]).assert().success());
        let covers = "grep -c ' /proc/' /proc/mounts; true";
        assert_ne!(says(&[], covers), "0");
        assert_eq!(says(&["--privileged"], covers), "0");
        assert_eq!(says(&["--security-opt", "systempaths=unconfined"], covers), "0");
        // Root inside may mount, and write to the kernel's own files and to its cgroups.
        says(&["--privileged"], "mount -t tmpfs x /tmp && echo x > /tmp/x");
        let places = "grep -E ' /sys( |/fs/cgroup)' /proc/mounts | grep -vc ' rw,'; true";
        assert_eq!(says(&["--privileged"], places), "0");
        let own = "d=/sys/fs/cgroup/pids; test -d $d || d=/sys/fs/cgroup; mkdir $d/own && rmdir $d/own && echo made";
        assert_eq!(says(&["--privileged"], own), "made");
        host.run(&[], &["sh", "-c", own]).assert().failure().stderr(predicate::str::contains("Read-only"));
        // The other two that Docker has, where there is nothing to be unconfined from.
        for option in ["label=disable", "apparmor=unconfined", "label:disable"] {
            says(&["--security-opt", option], "true");
        }
        bad(host, &["--security-opt", "apparmor=docker-default"], &["apparmor", "not supported"]);
    });
}

/// CVE-2024-21626: whatever way a process comes in, it has its three streams and nothing else.
#[test]
fn three_descriptors_and_no_more() {
    host(|host| {
        detached(host, "base", &[], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        let numbers = |said: String| {
            said.lines().filter_map(|line| line.split(' ').next()?.trim().parse::<i32>().ok()).collect::<Vec<_>>()
        };
        for args in [&[][..], &["-t"], &["-i"], &["--init"], &["-u", "user"]] {
            assert_eq!(
                numbers(text(&host.run(args, &["payload", "fds"]).assert().success())),
                [0, 1, 2],
                "run {args:?}"
            );
        }
        for args in [&[][..], &["-t"], &["-i"], &["--privileged"], &["-u", "user"]] {
            let mut exec = host.minidocker(["exec"]);
            let said = text(&exec.args(args).args(["base", "payload", "fds"]).assert().success());
            assert_eq!(numbers(said), [0, 1, 2], "exec {args:?}");
        }
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}
