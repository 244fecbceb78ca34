//! The engine's network: the default bridge, published ports, and what stays on the host.

use std::fs;

use suite::container::{inspect, wait_for_log};
use suite::{Host, host};

use crate::expect::text;

fn server(host: &Host, name: &str, args: &[&str], words: &[&str]) {
    let mut command = host.with_image(["run", "-d", "--name", name]);
    command.args(args).arg("suite").args(words).assert().success();
}

#[test]
fn a_web_server_is_reached_from_the_host() {
    host(|host| {
        server(host, "web", &["-p", "8080:80"], &["busybox", "httpd", "-f", "-h", "/var/www"]);
        host.tool("ip", ["addr", "add", "192.0.2.7/24", "dev", "lo"]).assert().success();
        let address = inspect(host, "web")["NetworkSettings"]["IPAddress"].as_str().expect("an address").to_owned();
        for target in ["127.0.0.1:8080", "192.0.2.7:8080", &format!("{address}:80")] {
            // httpd says nothing when it is ready.
            suite::eventually(&format!("{target} answers"), || {
                let got = host.payload(["tcp", target, "GET /index.html HTTP/1.0\r\n\r\n"]).output().expect("start it");
                String::from_utf8_lossy(&got.stdout).contains("hello from the container")
            });
        }
        let ports = text(&host.minidocker(["ps"]).assert().success());
        assert!(ports.contains("0.0.0.0:8080->80/tcp"), "{ports}");
        host.minidocker(["rm", "-f", "web"]).assert().success();
        host.payload(["tcp", "127.0.0.1:8080", "x"]).assert().failure();
        host.tool("ip", ["addr", "del", "192.0.2.7/24", "dev", "lo"]).assert().success();
    });
}

#[test]
fn a_container_reaches_a_published_port_of_another() {
    host(|host| {
        server(host, "echo", &["-p", "7070:7000"], &["payload", "tcp-echo", "7000"]);
        wait_for_log(host, "echo", "ready");
        let settings = inspect(host, "echo")["NetworkSettings"].clone();
        let (own, gateway) = (settings["IPAddress"].as_str().expect("one"), settings["Gateway"].as_str().expect("one"));
        for target in [format!("{own}:7000"), format!("{gateway}:7070")] {
            let said =
                text(&host.minidocker(["run", "--rm", "suite", "payload", "tcp", &target, "hi"]).assert().success());
            assert!(said.ends_with(" hi"), "{target}: {said}");
        }
        host.minidocker(["rm", "-f", "echo"]).assert().success();
    });
}

#[test]
fn a_port_for_one_address_is_published_there_only() {
    host(|host| {
        host.tool("ip", ["addr", "add", "192.0.2.7/24", "dev", "lo"]).assert().success();
        server(host, "echo", &["-p", "127.0.0.1:7070:7000"], &["payload", "tcp-echo", "7000"]);
        wait_for_log(host, "echo", "ready");
        host.payload(["tcp", "127.0.0.1:7070", "hi"]).assert().success();
        host.payload(["tcp", "192.0.2.7:7070", "hi"]).assert().failure();
        host.minidocker(["rm", "-f", "echo"]).assert().success();
        host.tool("ip", ["addr", "del", "192.0.2.7/24", "dev", "lo"]).assert().success();
    });
}

#[test]
fn networks_of_the_host_and_of_another_container() {
    host(|host| {
        server(host, "echo", &[], &["payload", "tcp-echo", "7000"]);
        wait_for_log(host, "echo", "ready");
        let words = ["run", "--rm", "--network", "container:echo", "suite", "payload", "tcp", "127.0.0.1:7000", "hi"];
        host.minidocker(words).assert().success().stdout("127.0.0.1 hi\n");
        host.minidocker(["rm", "-f", "echo"]).assert().success();
        let show = ["run", "--rm", "--network", "host", "suite", "readlink", "/proc/self/ns/net"];
        let ours = fs::read_link("/proc/self/ns/net").expect("a link").display().to_string();
        assert_eq!(text(&host.minidocker(show).assert().success()), ours);
    });
}

#[test]
fn what_stays_is_listed_and_taken_away() {
    host(|host| {
        server(host, "one", &["--rm"], &["true"]);
        suite::eventually("it is gone", || text(&host.minidocker(["ps", "-aq"]).assert().success()).is_empty());
        let info = text(&host.minidocker(["info"]).assert().success());
        // The kernel takes a dead container's end of a pair away in its own time.
        suite::eventually("every link is listed", || {
            let links = fs::read_dir("/sys/class/net").expect("links").flatten();
            let mut names = links.map(|entry| entry.file_name().to_string_lossy().into_owned());
            names.all(|name| name == "lo" || info.contains(&name))
        });
        host.minidocker(["system", "reset", "--force"]).assert().success();
        suite::eventually("only lo is left", || fs::read_dir("/sys/class/net").expect("links").count() == 1);
    });
}

#[test]
fn two_roots_do_not_meet() {
    host(|host| {
        let other = host.work().join("other-root");
        let archive = host.image_archive();
        host.minidocker(["load", "-i"]).arg(&archive).assert().success();
        let second = |args: &[&str]| {
            let mut command = host.minidocker(["--root"]);
            command.arg(&other).args(args);
            command
        };
        second(&["load", "-i"]).arg(&archive).assert().success();
        host.minidocker(["run", "-d", "--name", "same", "suite", "payload", "wait"]).assert().success();
        second(&["run", "-d", "--name", "same", "suite", "payload", "wait"]).assert().success();
        host.minidocker(["rm", "-f", "same"]).assert().success();
        assert_eq!(text(&second(&["ps", "-q"]).assert().success()).lines().count(), 1);
        second(&["rm", "-f", "same"]).assert().success();
        second(&["system", "reset", "--force"]).assert().success();
    });
}
