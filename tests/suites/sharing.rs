//! Namespaces that a container shares with the host or with another container, and one that it has besides.

use std::fs;

use suite::container::{detached, first_process, inspect, wait_for_log, wait_for_status};
use suite::{Host, eventually, host};

use crate::expect::{complaint, refused, text};

/// `minidocker run --rm --network none ARGS… suite sh -c SCRIPT`, to its successful end.
#[track_caller]
fn says(host: &Host, args: &[&str], script: &str) -> String {
    text(&host.run(args, &["sh", "-c", script]).assert().success())
}

#[track_caller]
fn bad(host: &Host, args: &[&str], words: &[&str]) {
    refused(host.run(args, &["true"]).assert(), 125, words);
}

fn own(kind: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{kind}")).expect("our namespace").display().to_string()
}

fn of(host: &Host, args: &[&str], kind: &str) -> String {
    says(host, args, &format!("readlink /proc/self/ns/{kind}"))
}

#[test]
fn the_hosts_namespaces() {
    host(|host| {
        for (flag, kind) in [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--cgroupns", "cgroup")] {
            assert_eq!(of(host, &[flag, "host"], kind), own(kind), "{flag}");
            assert_ne!(of(host, &[flag, "private"], kind), own(kind), "{flag}");
            assert_ne!(of(host, &[], kind), own(kind), "{flag}");
        }
        // Our own process is seen, and can be signalled by root inside.
        let pid = std::process::id();
        assert_eq!(says(host, &["--pid", "host"], &format!("kill -0 {pid}; test -d /proc/{pid} && echo seen")), "seen");
        let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("our name");
        assert_eq!(
            says(host, &["--uts", "host"], "hostname; echo $HOSTNAME"),
            format!("{}\n{}", name.trim(), name.trim())
        );
        bad(host, &["--uts", "host", "--hostname", "box"], &["--hostname", "--uts"]);
        let own_view = says(host, &[], "cat /proc/self/cgroup");
        assert!(own_view.lines().all(|line| line.ends_with(":/")), "{own_view}");
        let hosts_view = says(host, &["--cgroupns", "host"], "cat /proc/self/cgroup");
        assert!(hosts_view.contains("/minidocker-"), "{hosts_view}");
        fs::write("/dev/shm/ours", "shared\n").expect("write shared memory");
        assert_eq!(says(host, &["--ipc", "host"], "cat /dev/shm/ours"), "shared");
        assert_eq!(says(host, &[], "ls /dev/shm"), "");
        fs::remove_file("/dev/shm/ours").expect("tidy up");
    });
}

/// Without a pid 1 of its own nobody dies with its main process: they are ended all the same.
#[test]
fn who_is_left_among_the_hosts_processes_ends_too() {
    host(|host| {
        let pid = says(host, &["--pid", "host"], "sleep 1000 > /dev/null 2>&1 & echo $!");
        eventually("it is gone", || !fs::exists(format!("/proc/{pid}/cwd")).unwrap_or(false));
    });
}

#[test]
fn another_containers_processes() {
    host(|host| {
        detached(host, "base", &[], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        let shared = ["--pid", "container:base"];
        assert_eq!(
            of(host, &shared, "pid"),
            text(&host.minidocker(["exec", "base", "readlink", "/proc/1/ns/pid"]).assert().success())
        );
        let seen = says(host, &shared, "cat /proc/1/cmdline | tr '\\0' ' '; test $$ = 1 || echo second");
        assert_eq!(seen, "payload wait second");
        // By id as well; and it ends with the pid 1 that it shares.
        let id = text(&host.minidocker(["ps", "-q"]).assert().success());
        detached(host, "second", &["--pid", &format!("container:{id}")], &["payload", "ignore", "TERM"]);
        wait_for_log(host, "second", "ready");
        host.minidocker(["exec", "second", "sh", "-c", "kill -0 1"]).assert().success();
        assert!(inspect(host, "second")["HostConfig"]["PidMode"].as_str().expect("a mode").starts_with("container:"));
        host.minidocker(["stop", "base"]).assert().success();
        wait_for_status(host, "second", "exited");
        assert_eq!(inspect(host, "second")["State"]["ExitCode"], 137);
        let said = complaint(&host.minidocker(["start", "second"]).assert().failure());
        assert!(said.contains("base") && said.contains("not running"), "{said}");
        host.minidocker(["start", "base"]).assert().success();
        host.minidocker(["start", "second"]).assert().success();
        host.minidocker(["rm", "-f", "second", "base"]).assert().success();
        bad(host, &["--pid", "container:base"], &["base", "no such container"]);
        bad(host, &["--pid", "containre:base"], &["containre"]);
    });
}

#[test]
fn another_containers_memory() {
    host(|host| {
        detached(host, "base", &["--ipc", "shareable"], &["payload", "wait"]);
        detached(host, "closed", &[], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        let shared = ["--ipc", "container:base"];
        host.minidocker(["exec", "base", "sh", "-c", "echo mine > /dev/shm/x"]).assert().success();
        assert_eq!(
            says(host, &shared, "cat /dev/shm/x; echo yours > /dev/shm/y; readlink /proc/self/ns/ipc").lines().next(),
            Some("mine")
        );
        host.minidocker(["exec", "base", "cat", "/dev/shm/y"]).assert().success().stdout("yours\n");
        assert_eq!(
            of(host, &shared, "ipc"),
            text(&host.minidocker(["exec", "base", "readlink", "/proc/1/ns/ipc"]).assert().success())
        );
        bad(host, &["--ipc", "container:closed"], &["closed", "shareable"]);
        assert_eq!(says(host, &["--ipc", "none"], "grep -c ' /dev/shm ' /proc/mounts; true"), "0");
        bad(host, &["--ipc", "sharable"], &["sharable", "shareable"]);
        // A link where it should be leads nowhere.
        detached(host, "liar", &["--ipc", "none"], &["sh", "-c", "mkdir -p /dev; ln -s /proc /dev/shm; payload wait"]);
        wait_for_log(host, "liar", "ready");
        bad(host, &["--ipc", "container:liar"], &["/dev/shm"]);
        host.minidocker(["rm", "-f", "base", "closed", "liar"]).assert().success();
    });
}

#[test]
fn another_containers_name() {
    host(|host| {
        detached(host, "base", &["-h", "box"], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        assert_eq!(says(host, &["--uts", "container:base"], "hostname; cat /etc/hostname"), "box\nbox");
        bad(host, &["--uts", "container:base", "-h", "x"], &["--uts"]);
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}

/// Skips where the layers' file system cannot show its files under other ids.
pub fn mapped_ids_or_skip(host: &Host) {
    let run = host.run(&["--userns", "private"], &["true"]).assert();
    if complaint(&run).contains("cannot show its files under other owners") {
        suite::skip("the state directory's file system cannot map ids (tmpfs before Linux 6.3)");
    }
}

#[test]
fn root_inside_is_nobody_outside() {
    host(|host| {
        mapped_ids_or_skip(host);
        let args = ["--userns", "private", "-v", "data:/data"];
        detached(
            host,
            "mapped",
            &args,
            &["sh", "-c", "id -u; cat /proc/self/uid_map; echo x > /made; echo y > /data/made; payload wait"],
        );
        wait_for_log(host, "mapped", "ready");
        let log = text(&host.minidocker(["logs", "mapped"]).assert().success());
        assert!(log.starts_with("0\n"), "{log}");
        assert_eq!(log.lines().nth(1).expect("a map").split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
        let pid = first_process(host, "mapped");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
        assert!(status.lines().any(|line| line == "Uid:\t100000\t100000\t100000\t100000"), "{status}");
        // What the image and the engine provide is root's inside, and writable for it.
        let said = text(
            &host
                .minidocker([
                    "exec",
                    "mapped",
                    "stat",
                    "-c",
                    "%u %n",
                    "/bin/busybox",
                    "/etc/hosts",
                    "/made",
                    "/data/made",
                ])
                .assert()
                .success(),
        );
        assert_eq!(said, "0 /bin/busybox\n0 /etc/hosts\n0 /made\n0 /data/made");
        host.minidocker(["exec", "mapped", "sh", "-c", "echo '10.0.0.1 x' >> /etc/hosts"]).assert().success();
        host.minidocker(["exec", "-u", "user", "mapped", "id", "-u"]).assert().success().stdout("1234\n");
        // Its root's power ends at its own things.
        let steal = "kill -0 1 && echo own; mount -t proc p /tmp 2>&1; cat /proc/sys/kernel/core_pattern > /proc/sys/kernel/core_pattern";
        host.minidocker(["exec", "--privileged", "mapped", "sh", "-c", steal]).assert().failure();
        host.minidocker(["stop", "mapped"]).assert().success();
        host.minidocker(["start", "mapped"]).assert().success();
        host.minidocker(["exec", "mapped", "cat", "/made", "/data/made"]).assert().success().stdout("x\ny\n");
        host.minidocker(["rm", "-f", "mapped"]).assert().success();
        // A host's directory is the host's: nobody's inside.
        fs::create_dir(host.work().join("ours")).expect("make a directory");
        let volume = format!("{}:/ours", host.work().join("ours").display());
        assert_eq!(says(host, &["--userns", "private", "-v", &volume], "stat -c %u /ours"), "65534");
        bad(host, &["--userns", "private", "--privileged"], &["--userns", "--privileged"]);
        bad(host, &["--userns", "private", "--pid", "host"], &["--userns", "--pid"]);
        bad(host, &["--userns", "remap"], &["remap"]);
    });
}

#[test]
fn a_user_namespace_and_a_network() {
    host(|host| {
        mapped_ids_or_skip(host);
        let mut run = host.minidocker(["run", "--rm", "--userns", "private", "suite", "sh", "-c"]);
        let said = text(
            &run.arg("ip addr show eth0 | grep -c 'inet '; ping -c 1 -w 5 127.0.0.1 > /dev/null && echo pinged")
                .assert()
                .success(),
        );
        assert_eq!(said, "1\npinged");
        let mut run = host.minidocker(["run", "--rm", "--userns", "private", "--network", "host", "suite", "true"]);
        refused(run.assert(), 125, &["--userns", "--network host"]);
    });
}

#[test]
fn an_ordinary_users_containers_share_too() {
    host(|host| {
        crate::ch01::user_namespaces_or_skip(host);
        let user = |words: &[&str]| host.as_user("minidocker", words).assert();
        user(&["run", "-d", "--name", "base", "--ipc", "shareable", "demo", "sleep", "1000"]).success();
        user(&["exec", "base", "sh", "-c", "echo mine > /dev/shm/x; hostname box"]).failure();
        let shared = [
            "run",
            "--rm",
            "--pid",
            "container:base",
            "--ipc",
            "container:base",
            "--uts",
            "container:base",
            "--network",
            "container:base",
        ];
        let words =
            [&shared[..], &["demo", "sh", "-c", "cat /dev/shm/x; cat /proc/1/comm; touch /made && stat -c %u /made"]]
                .concat();
        assert_eq!(text(&user(&words).success()), "mine\nsleep\n0");
        user(&["rm", "-f", "base"]).success();
        let said = complaint(&user(&["run", "--rm", "--userns", "host", "demo", "true"]).code(125));
        assert!(said.contains("user namespace"), "{said}");
    });
}
