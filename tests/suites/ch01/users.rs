//! User namespaces: who is who inside and outside, who may say so, and one inside another.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use suite::{Host, host};

use super::{child_of, user_namespaces_or_skip};
use crate::expect::{fact, refused, text};

/// The fields of a map, a line each.
fn map(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(":")).collect()
}

/// What the ordinary user does where `/etc/subuid`, `/etc/subgid` and `/etc/passwd` are these; the last word is the shell's.
fn granted(host: &Host, ranges: &str, script: &str) -> assert_cmd::assert::Assert {
    host.needs("unshare");
    let etc = host.work().join("etc");
    fs::create_dir_all(&etc).expect("a directory");
    let passwd = "root:x:0:0::/root:/bin/sh\nlearner:x:1000:1000::/tmp/suite/home:/bin/sh\n";
    for (name, text) in [("subuid", ranges), ("subgid", ranges), ("passwd", passwd)] {
        fs::write(etc.join(name), text).expect("write it");
    }
    fs::write(host.home().join("script"), script).expect("write the script");
    // Over the machine's own files, in a mount namespace of its own. What is not there cannot be covered.
    let cover = "for name in subuid subgid passwd; do mount --bind etc/$name /etc/$name || exit 99; done; \
                 exec /tmp/suite/bin/payload as 1000 sh /tmp/suite/home/script";
    host.tool("unshare", ["-m", "sh", "-c", cover]).assert()
}

#[test]
fn every_range_of_subuid_is_mapped() {
    host(|host| {
        user_namespaces_or_skip(host);
        host.needs("newuidmap");
        let ranges = "learner:200000:100\nother:1:5\n1000:400000:50\n";
        let script = "cd /tmp/suite/home; touch mine; \
                      /tmp/suite/bin/ch01 run sh -c 'cat /proc/self/uid_map; chown 120:7 mine; stat -c %u:%g mine'";
        let said = text(&granted(host, ranges, script).success());
        assert_eq!(map(&said), ["0:1000:1", "1:200000:100", "101:400000:50", "120:7"]);
        let outside = fs::metadata(host.home().join("mine")).expect("the file");
        assert_eq!((outside.uid(), outside.gid()), (400_019, 200_006), "ids 120 and 7 inside, seen from outside");
    });
}

#[test]
fn granted_maps_can_be_chosen() {
    host(|host| {
        user_namespaces_or_skip(host);
        host.needs("newuidmap");
        let script = "/tmp/suite/bin/ch01 run --uid-map 0:200010:5 --uid-map 5:1000:1 --gid-map 0:200000:1 \
                      cat /proc/self/uid_map";
        let said = text(&granted(host, "learner:200000:100\n", script).success());
        assert_eq!(map(&said), ["0:200010:5", "5:1000:1"]);
        let script = "/tmp/suite/bin/ch01 run --uid-map 0:0:1 --gid-map 0:1000:1 true";
        refused(granted(host, "learner:200000:100\n", script), 125, &["newuidmap", "/etc/subuid", "usermod"]);
    });
}

#[test]
fn a_helper_without_rights_is_named() {
    host(|host| {
        user_namespaces_or_skip(host);
        host.needs("newuidmap");
        let script = "cd /tmp/suite/home; cp $(command -v newuidmap) $(command -v newgidmap) .; PATH=$PWD:$PATH \
                      /tmp/suite/bin/ch01 run --uid-map 0:200000:5 --gid-map 0:200000:5 true";
        let assert = granted(host, "learner:200000:100\n", script);
        refused(assert, 125, &["newuidmap", "not setuid root", "chmod u+s"]);
        // Of itself it then makes do with one id.
        let script = "cd /tmp/suite/home; PATH=$PWD:$PATH /tmp/suite/bin/ch01 run cat /proc/self/uid_map";
        assert_eq!(map(&text(&granted(host, "learner:200000:100\n", script).success())), ["0:1000:1"]);
        let script = "PATH=/nowhere /tmp/suite/bin/ch01 run --uid-map 0:200000:5 --gid-map 0:200000:5 /bin/true";
        refused(granted(host, "learner:200000:100\n", script), 125, &["newuidmap is missing", "uidmap"]);
    });
}

#[test]
fn an_ordinary_user_can_stay_who_he_is() {
    host(|host| {
        user_namespaces_or_skip(host);
        let maps = ["run", "--uid-map", "1000:1000:1", "--gid-map", "1000:1000:1", "/tmp/suite/bin/payload", "facts"];
        let facts = text(&host.as_user("ch01", maps).assert().success());
        assert_eq!((fact(&facts, "uid"), fact(&facts, "pid")), ("1000".into(), "1".into()));
    });
}

#[test]
fn root_gives_away_what_it_has() {
    host(|host| {
        let file = host.work().join("mine");
        fs::set_permissions(host.work(), fs::Permissions::from_mode(0o777)).expect("let everybody write");
        let script = format!("touch {}; cat /proc/self/uid_map", file.display());
        let said = text(&host.chapter(1, ["run", "--new", "user", "sh", "-c", &script]).assert().success());
        assert_eq!(map(&said), ["0:100000:65536"]);
        assert_eq!(fs::metadata(&file).expect("the file").uid(), 100_000);
    });
}

#[test]
fn one_user_namespace_fits_into_another() {
    host(|host| {
        let ch01 = "/tmp/suite/bin/ch01";
        let show = ["cat", "/proc/self/uid_map"];
        let nested = |outer: &[&str]| {
            let mut command = host.chapter(1, ["run"]);
            command.args(outer).args([ch01, "run", "--new", "user"]).args(show);
            map(&text(&command.assert().success()))
        };
        // There is no 100000 to give away in there.
        assert_eq!(nested(&["--new", "user"]), ["0:0:65536"]);
        assert_eq!(nested(&["--uid-map", "0:5:1", "--gid-map", "0:5:1"]), ["0:0:1"]);
        assert_eq!(nested(&["--uid-map", "0:0:200000", "--gid-map", "0:0:200000"]), ["0:100000:65536"]);
        let mut command = host.chapter(1, ["run", "--uid-map", "0:5:1", "--gid-map", "0:5:1", ch01, "run"]);
        command.args(["--uid-map", "0:0:2", "--gid-map", "0:0:1", "true"]);
        refused(command.assert(), 125, &["0:0:2", "do not exist here", "/proc/self/uid_map"]);
    });
}

#[test]
fn a_container_fits_into_a_users_container() {
    host(|host| {
        user_namespaces_or_skip(host);
        let ch01 = "/tmp/suite/bin/ch01";
        for inner in [&["--hostname", "inner"][..], &["--hostname", "inner", "--new", "user"]] {
            let mut words = vec!["run", "--hostname", "outer", ch01, "run"];
            words.extend(inner);
            words.extend(["/tmp/suite/bin/payload", "facts"]);
            let facts = text(&host.as_user("ch01", words).assert().success());
            let told = ["uid", "pid", "hostname"].map(|key| fact(&facts, key));
            assert_eq!(told, ["0", "1", "inner"].map(String::from), "{inner:?}");
        }
    });
}

#[test]
fn enter_becomes_root_of_a_users_container() {
    host(|host| {
        user_namespaces_or_skip(host);
        let words = ["run", "--hostname", "deep", "/tmp/suite/bin/payload", "wait"];
        let mut running = suite::Background::start(host.user_command("ch01", words));
        running.wait_for("ready");
        let pid = child_of(&running).to_string();
        let enter = ["enter", &pid, "/tmp/suite/bin/payload", "facts"];
        for entered in [host.as_user("ch01", enter), host.chapter(1, enter)] {
            let facts = text(&{ entered }.assert().success());
            assert_eq!(["hostname", "uid", "gid"].map(|key| fact(&facts, key)), ["deep", "0", "0"].map(String::from));
        }
        running.signal(nix::sys::signal::Signal::SIGTERM);
        running.wait();
    });
}

#[test]
fn where_there_is_no_root_nobody_becomes_it() {
    host(|host| {
        user_namespaces_or_skip(host);
        let maps = ["run", "--uid-map", "1000:1000:1", "--gid-map", "1000:1000:1", "/tmp/suite/bin/payload", "wait"];
        let mut running = suite::Background::start(host.user_command("ch01", maps));
        running.wait_for("ready");
        let pid = child_of(&running).to_string();
        let facts = text(&host.as_user("ch01", ["enter", &pid, "/tmp/suite/bin/payload", "facts"]).assert().success());
        assert_eq!(fact(&facts, "uid"), "1000");
        running.signal(nix::sys::signal::Signal::SIGTERM);
        running.wait();
    });
}

#[test]
fn what_contradicts_itself_is_refused() {
    host(|host| {
        user_namespaces_or_skip(host);
        let cases: &[(&[&str], &[&str])] = &[
            (&["--userns", "host"], &["without root's rights"]),
            (&["--share", "user"], &["without root's rights"]),
            (&["--uid-map", "0:1000:1"], &["--gid-map", "together"]),
            (&["--uid-map", "0:1000:1", "--uid-map", "0:1001:1", "--gid-map", "0:1000:1"], &["overlap inside"]),
            (&["--uid-map", "0:1000:1", "--gid-map", "1:1000:2", "--gid-map", "5:1001:1"], &["overlap outside"]),
            (&["--uid-map", "0:1000:0", "--gid-map", "0:1000:1"], &["maps no ids"]),
        ];
        for (args, told) in cases {
            let mut words = vec!["run"];
            words.extend(*args);
            words.push("true");
            refused(host.as_user("ch01", words).assert(), 125, told);
        }
    });
}
