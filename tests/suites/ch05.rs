//! Chapter 5: an address, a way out, and published ports.

use std::path::PathBuf;

use nix::sys::signal::Signal;
use suite::process::children;
use suite::{Background, Host, host};

use crate::expect::{refused, text};

fn base(host: &Host) -> PathBuf {
    host.rootfs("base")
}

/// `ch05 run --layer BASE ARGS…`
fn run(host: &Host, args: &[&str]) -> assert_cmd::Command {
    let mut command = host.chapter(5, ["run", "--layer"]);
    command.arg(base(host)).args(args);
    command
}

fn start(host: &Host, args: &[&str]) -> Background {
    let layer = base(host).display().to_string();
    let mut running = host.start("ch05", [&["run", "--init", "--layer", &layer], args].concat());
    running.wait_for("ready");
    running
}

/// The init of chapter 1 passes SIGTERM on to the payload, which as process 1 would be deaf to it.
fn stop(running: Background) {
    running.signal(Signal::SIGTERM);
    running.wait();
}

/// The address of the interface that is not `lo`, from `ip addr` inside.
pub fn address(said: &str) -> String {
    let line = said.lines().map(str::trim).filter(|line| line.starts_with("inet ") && !line.contains("127.0.0.1"));
    let address = line.filter_map(|line| line.split(' ').nth(1)?.split('/').next()).next();
    address.unwrap_or_else(|| panic!("no address in\n{said}")).to_owned()
}

#[test]
fn help_explains() {
    host(|host| {
        let help = text(&host.chapter(5, ["run", "--help"]).assert().success());
        for flag in ["--network", "--publish", "--dns", "--add-host"] {
            assert!(help.contains(flag), "{flag} is not in\n{help}");
        }
    });
}

#[test]
fn a_container_has_an_address_and_a_gateway() {
    host(|host| {
        let said = text(&run(host, &["ip", "addr"]).assert().success());
        let address = address(&said);
        let route = text(&run(host, &["ip", "route"]).assert().success());
        let gateway = route.split(' ').nth(2).expect("default via GATEWAY");
        assert!(route.starts_with("default via "), "{route}");
        assert_ne!(address, gateway);
        // The host answers at the gateway's address.
        let mut server = host.start("payload", ["tcp-echo", "7000"]);
        server.wait_for("ready");
        let echoed = text(&run(host, &["payload", "tcp", &format!("{gateway}:7000"), "hello"]).assert().success());
        assert!(echoed.ends_with(" hello"), "{echoed}");
    });
}

#[test]
fn a_published_port_is_reached_by_every_way() {
    host(|host| {
        let running = start(host, &["-p", "8080:80", "-p", "9000:90/udp", "payload", "http", "80", "it is me"]);
        host.tool("ip", ["addr", "add", "192.0.2.7/24", "dev", "lo"]).assert().success();
        for address in ["127.0.0.1", "192.0.2.7"] {
            let request = "GET / HTTP/1.0\r\n\r\n";
            let said = text(&host.payload(["tcp", &format!("{address}:8080"), request]).assert().success());
            assert!(said.ends_with("it is me"), "{address}: {said}");
        }
        stop(running);
        host.payload(["tcp", "127.0.0.1:8080", "x"]).assert().failure();
        host.tool("ip", ["addr", "del", "192.0.2.7/24", "dev", "lo"]).assert().success();
    });
}

#[test]
fn datagrams_are_published_too() {
    host(|host| {
        let running = start(host, &["-p", "9000:90/udp", "payload", "udp-echo", "90"]);
        let said = text(&host.payload(["udp", "127.0.0.1:9000", "hello"]).assert().success());
        assert!(said.ends_with(" hello"), "{said}");
        stop(running);
    });
}

#[test]
fn containers_reach_each_other() {
    host(|host| {
        let layer = base(host).display().to_string();
        let script = "ip addr; payload tcp-echo 7000";
        let mut server = host.start("ch05", ["run", "--layer", &layer, "--init", "sh", "-c", script]);
        let line = loop {
            let line = server.wait_for("inet ");
            if !line.contains("127.0.0.1") {
                break line;
            }
        };
        let address = address(&line);
        server.wait_for("ready");
        let said = text(&run(host, &["payload", "tcp", &format!("{address}:7000"), "hello"]).assert().success());
        assert!(said.ends_with(" hello"), "{said}");
        stop(server);
    });
}

#[test]
fn the_other_modes() {
    host(|host| {
        let none = text(&run(host, &["--network", "none", "ip", "-o", "link"]).assert().success());
        assert_eq!(none.lines().count(), 1, "{none}");
        let host_mode = text(&run(host, &["--network", "host", "readlink", "/proc/self/ns/net"]).assert().success());
        let ours = std::fs::read_link("/proc/self/ns/net").expect("a link");
        assert_eq!(host_mode, ours.display().to_string());
        let running = start(host, &["payload", "tcp-echo", "7000"]);
        // The other's loopback is ours.
        let mode = format!("container:{}", children(running.pid())[0]);
        let said = text(&run(host, &["--network", &mode, "payload", "tcp", "127.0.0.1:7000", "hi"]).assert().success());
        assert_eq!(said, "127.0.0.1 hi");
        stop(running);
    });
}

#[test]
fn names_are_written_into_the_files() {
    host(|host| {
        let args = ["--hostname", "box", "--add-host", "other:192.0.2.1", "--dns", "192.0.2.53", "sh", "-c"];
        let script = "cat /etc/hostname; cat /etc/hosts; cat /etc/resolv.conf";
        let said = text(&run(host, &[&args[..], &[script]].concat()).assert().success());
        assert!(said.starts_with("box\n"), "{said}");
        assert!(said.lines().any(|line| line.starts_with("192.0.2.1") && line.ends_with("other")), "{said}");
        assert!(said.contains("nameserver 192.0.2.53"), "{said}");
        // The image's own file is untouched.
        assert!(!base(host).join("etc/resolv.conf").exists());
    });
}

#[test]
fn reset_takes_everything_away() {
    host(|host| {
        run(host, &["true"]).assert().success();
        let links = || std::fs::read_dir("/sys/class/net").expect("links").count();
        assert!(links() > 1, "the bridge stays for the next one");
        let info = text(&host.chapter(5, ["info"]).assert().success());
        assert!(!info.is_empty());
        host.chapter(5, ["reset"]).assert().success();
        // The kernel takes a dead container's end of a pair away in its own time.
        suite::eventually("only lo is left", || links() == 1);
        if host.has("nft") {
            host.tool("nft", ["list", "ruleset"]).assert().success().stdout("");
        }
    });
}

#[test]
fn bad_words_are_refused() {
    host(|host| {
        let mut busy = host.start("payload", ["tcp-echo", "8080"]);
        busy.wait_for("ready");
        refused(run(host, &["-p", "8080:80", "true"]).assert(), 125, &["8080"]);
        for (args, word) in [
            (&["-p", "99999:80", "true"][..], "99999"),
            (&["-p", "nonsense", "true"], "nonsense"),
            (&["--network", "container:999999", "true"], "999999"),
            (&["--network", "no-such", "true"], "no-such"),
        ] {
            let said = crate::expect::complaint(&run(host, args).assert().code(125));
            assert!(said.contains(word), "{said}");
        }
    });
}
