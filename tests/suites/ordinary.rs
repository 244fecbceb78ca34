//! The engine of an ordinary user: what the kernel permits works, and what it does not says why.

use suite::process::{kill9, parent};
use suite::{Host, eventually, host};

use crate::expect::{complaint, fact, refused, text};

/// How many ids an ordinary user may map.
#[derive(Clone, Copy, PartialEq)]
enum Ids {
    /// Its own, and those that `/etc/subuid` grants.
    Granted,
    /// Its own only: nothing is found that could map others.
    One,
}

/// `minidocker WORDS…` by the ordinary user.
fn user(host: &Host, ids: Ids, words: &[&str]) -> assert_cmd::Command {
    let mut command = host.user_command("minidocker", words);
    if ids == Ids::One {
        command.env("PATH", "/nowhere"); // without newuidmap(1)
    }
    assert_cmd::Command::from_std(command)
}

/// A container's whole life, from the archive of its image to its removal.
fn life(host: &Host, ids: Ids) {
    crate::ch01::user_namespaces_or_skip(host);
    let archive = host.image_archive();
    let archive = archive.to_str().expect("a path");
    let user = |words: &[&str]| user(host, ids, words).assert();
    user(&["load", "-i", archive]).success();
    assert!(text(&user(&["images"]).success()).contains("suite"));
    user(&["run", "-d", "--name", "base", "-v", "data:/data", "suite", "payload", "wait"]).success();
    eventually("it is ready", || text(&user(&["logs", "base"]).success()) == "ready");
    assert!(text(&user(&["ps"]).success()).contains("base"));
    let facts = text(&user(&["exec", "-e", "A=b", "base", "payload", "facts"]).success());
    assert_eq!((fact(&facts, "uid").as_str(), fact(&facts, "gid").as_str()), ("0", "0"));
    assert!(facts.contains("env A=b"), "{facts}");
    user(&["exec", "base", "sh", "-c", "echo kept > /kept; echo data > /data/file"]).success();
    let open = text(&user(&["exec", "base", "payload", "fds"]).success());
    assert_eq!(open.lines().count(), 3, "{open}");
    user(&["stop", "-t", "1", "base"]).success();
    user(&["start", "base"]).success();
    assert_eq!(text(&user(&["exec", "base", "cat", "/kept", "/data/file"]).success()), "kept\ndata");
    user(&["kill", "base"]).success();
    user(&["rm", "base"]).success();
    user(&["run", "--rm", "--read-only", "--tmpfs", "/scratch", "suite", "sh", "-c", "touch /scratch/x && ! touch /x"])
        .success();
    user(&["run", "--rm", "--cap-drop", "ALL", "suite", "payload", "calls"]).success();
    user(&["run", "--rm", "--network", "host", "suite", "true"]).success();
    user(&["run", "--rm", "--pid", "host", "suite", "true"]).success();
    user(&["run", "--rm", "--ipc", "host", "--uts", "host", "suite", "true"]).success();
    user(&["rmi", "suite"]).success();
}

#[test]
fn with_the_ids_that_are_granted() {
    host(|host| {
        host.needs("newuidmap");
        life(host, Ids::Granted);
        let archive = host.image_archive();
        user(host, Ids::Granted, &["load", "-i", archive.to_str().expect("a path")]).assert().success();
        let run =
            user(host, Ids::Granted, &["run", "--rm", "-u", "user", "suite", "payload", "facts"]).assert().success();
        assert_eq!(fact(&text(&run), "groups"), "1234,4321");
    });
}

#[test]
fn with_one_id() {
    host(|host| {
        life(host, Ids::One);
        let archive = host.image_archive();
        user(host, Ids::One, &["load", "-i", archive.to_str().expect("a path")]).assert().success();
        // There is nobody else to be.
        let assert = user(host, Ids::One, &["run", "--rm", "-u", "user", "suite", "true"]).assert();
        let said = complaint(&assert.code(125));
        assert!(said.contains("1234") && said.contains("mapped"), "{said}");
    });
}

/// A user without a cgroup has none to kill all processes of, and none is needed: they die with the first one.
#[test]
fn without_its_monitor_a_container_ends_at_the_first_try() {
    host(|host| {
        crate::ch01::user_namespaces_or_skip(host);
        let archive = host.image_archive();
        let user = |words: &[&str]| user(host, Ids::One, words).assert();
        user(&["load", "-i", archive.to_str().expect("a path")]).success();
        for end in [&["kill", "alone"][..], &["stop", "-t", "0", "alone"], &["rm", "-f", "alone"]] {
            user(&["run", "-d", "--name", "alone", "suite", "sh", "-c", "payload wait & wait"]).success();
            eventually("it is ready", || text(&user(&["logs", "alone"]).success()) == "ready");
            let facts: serde_json::Value =
                serde_json::from_str(&text(&user(&["inspect", "alone"]).success())).expect("JSON");
            let pid = facts[0]["State"]["Pid"].as_i64().expect("a pid") as i32;
            kill9(parent(pid));
            eventually("nobody watches it", || text(&user(&["ps"]).success()).contains("unmonitored"));
            user(end).success();
            eventually("it does not run", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
            assert_eq!(text(&user(&["ps", "-q"]).success()), "", "{end:?}");
            user(&["rm", "-f", "alone"]);
        }
        assert_eq!(text(&user(&["ps", "-aq"]).success()), "");
    });
}

#[test]
fn what_takes_root_says_so() {
    host(|host| {
        crate::ch01::user_namespaces_or_skip(host);
        for (args, words) in [
            (&["--network", "bridge"][..], &["root"][..]),
            (&["-p", "8080:80"], &["network"]),
            (&["--network", "none", "--userns", "host"], &["--userns host", "root"]),
            (&["--network", "none", "--ulimit", "nofile=99999999"], &["hard limit"]),
            (&["--network", "none", "--device", "/dev/null:/dev/x:r"], &["--device", "root"]),
        ] {
            let words_of_run = [&["run", "--rm"], args, &["demo", "true"]].concat();
            let assert = user(host, Ids::Granted, &words_of_run).assert();
            refused(assert, 125, words);
        }
        refused(
            user(host, Ids::Granted, &["run", "--rm", "--network", "none", "-m", "64m", "demo", "true"]).assert(),
            125,
            &["memory"],
        );
        assert_eq!(text(&user(host, Ids::Granted, &["ps", "-aq"]).assert().success()), "");
    });
}
