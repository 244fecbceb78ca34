//! What users get wrong: one sentence, Docker's exit code, and nothing left behind.

use std::fs;

use suite::image::Image;
use suite::liar::{Answer, Liar, registry};
use suite::{Host, host};

use crate::expect::{complaint, refused};

/// Refused, and no container is left.
#[track_caller]
fn bad(host: &Host, args: &[&str], code: i32, words: &[&str]) {
    refused(host.minidocker(args).assert(), code, words);
    host.minidocker(["ps", "-aq"]).assert().success().stdout("");
}

#[test]
fn an_unknown_image() {
    host(|host| {
        let blobs = Image::system(host).blobs();
        let liar = Liar::start(registry("there", "latest", &blobs));
        let unknown = format!("{}/not-there", liar.address);
        bad(host, &["run", "--rm", &unknown], 125, &["not-there"]);
        bad(host, &["pull", &unknown], 1, &["not-there"]);
        bad(host, &["run", "--pull", "never", "never-heard-of"], 125, &["never-heard-of"]);
        bad(host, &["run", "IN CAPITALS"], 125, &["IN CAPITALS"]);
        bad(host, &["rmi", "never-heard-of"], 1, &["never-heard-of"]);
        bad(host, &["tag", "never-heard-of", "x"], 1, &["never-heard-of"]);
    });
}

#[test]
fn no_registry_there() {
    host(|host| {
        bad(host, &["pull", "127.0.0.1:1/nobody"], 1, &["127.0.0.1:1"]);
        bad(host, &["run", "127.0.0.1:1/nobody"], 125, &["127.0.0.1:1"]);
        // No way out of this machine, and no name server.
        bad(host, &["run", "registry.invalid/nobody"], 125, &["registry.invalid"]);
    });
}

#[test]
fn a_wrong_digest() {
    host(|host| {
        let blobs = Image::system(host).blobs();
        let mut script = registry("lie", "latest", &blobs);
        let layer = blobs.layers[0]["digest"].as_str().expect("a digest");
        let mut content = blobs.content(&blobs.layers[0]).to_vec();
        content[100] ^= 1;
        script.insert(format!("/v2/lie/blobs/{layer}"), Answer::Say(200, vec![], content));
        let liar = Liar::start(script);
        bad(host, &["run", &format!("{}/lie", liar.address)], 125, &["sha256"]);
        let other = format!("{}/lie@sha256:{}", liar.address, "0".repeat(64));
        bad(host, &["run", &other], 125, &[&other[..20]]);
    });
}

#[test]
fn not_a_dockerfile() {
    host(|host| {
        let directory = crate::ch07::context(host, "context", &[("Dockerfile", "This is a letter.\nDear all,\n")]);
        let assert = host.minidocker(["build", "-t", "x"]).arg(&directory).assert().code(1);
        let said = complaint(&assert);
        assert!(said.contains("Dockerfile") && said.contains('1') && said.contains("This"), "{said}");
        let assert = host.minidocker(["build", "/no/such/context"]).assert().code(1);
        assert!(complaint(&assert).contains("/no/such/context"));
    });
}

#[test]
fn no_such_command() {
    host(|host| {
        host.load_image();
        bad(host, &["run", "--rm", "suite", "no-such-command"], 127, &["no-such-command"]);
        bad(host, &["run", "--rm", "suite", "/no/such/command"], 127, &["/no/such/command"]);
        // Kept without --rm, as Docker keeps it: created, and to be removed.
        host.minidocker(["run", "--name", "kept", "suite", "no-such-command"]).assert().code(127);
        host.minidocker(["rm", "-f", "kept"]).assert().success();
    });
}

#[test]
fn not_executable() {
    host(|host| {
        host.load_image();
        bad(host, &["run", "--rm", "suite", "/bin/not-executable"], 126, &["not-executable"]);
        bad(host, &["run", "--rm", "suite", "/etc"], 126, &["/etc"]);
    });
}

#[test]
fn no_such_user() {
    host(|host| {
        host.load_image();
        bad(host, &["run", "--rm", "-u", "nobody-here", "suite", "true"], 125, &["nobody-here"]);
        bad(host, &["run", "--rm", "-u", "0:no-group", "suite", "true"], 125, &["no-group"]);
        // Never a name: CVE-2026-46680 and its like.
        for number in ["4294967295", "4294967296", "-1", "99999999999999999999"] {
            let assert =
                host.minidocker(["run", "--rm", &format!("--user={number}"), "suite", "true"]).assert().code(125);
            assert!(complaint(&assert).contains(number), "{}", complaint(&assert));
        }
    });
}

#[test]
fn a_busy_port() {
    host(|host| {
        host.load_image();
        let mut busy = host.start("payload", ["tcp-echo", "8080"]);
        busy.wait_for("ready");
        bad(host, &["run", "--rm", "-p", "8080:80", "suite", "true"], 125, &["8080"]);
        drop(busy);
        host.minidocker(["run", "-d", "--name", "first", "-p", "8081:80", "suite", "payload", "wait"])
            .assert()
            .success();
        refused(host.minidocker(["run", "--rm", "-p", "8081:80", "suite", "true"]).assert(), 125, &["8081"]);
        host.minidocker(["rm", "-f", "first"]).assert().success();
    });
}

#[test]
fn no_root_and_no_user_namespaces() {
    host(|host| {
        crate::ch01::user_namespaces_or_skip(host);
        let words = ["without-user-namespaces", "/tmp/suite/bin/minidocker", "run", "--rm", "demo", "true"];
        let assert = host.as_user("payload", words).assert().code(125);
        let said = complaint(&assert);
        assert!(said.contains("user namespace"), "{said}");
    });
}

#[test]
fn a_missing_controller() {
    host(|host| {
        if host.cgroup2() {
            suite::skip("on cgroup v2 root can hand every controller on");
        }
        host.load_image();
        host.tool("umount", ["/sys/fs/cgroup/memory"]).assert().success();
        bad(host, &["run", "--rm", "--network", "none", "-m", "64m", "suite", "true"], 125, &["memory"]);
        let mut back = host.tool("mount", ["-t", "cgroup", "-o", "nosuid,nodev,noexec,memory", "cgroup"]);
        back.arg("/sys/fs/cgroup/memory").assert().success();
    });
}

#[test]
fn words_in_an_order_that_docker_refuses() {
    host(|host| {
        host.load_image();
        for args in [
            &["run"][..],
            &["run", "--rm"],
            &["run", "--no-such-flag", "suite"],
            &["--rm", "run", "suite"],
            &["run", "--name", "suite"],
            &["run", "-m", "suite", "true"],
            &["no-such-command"],
        ] {
            let assert = host.minidocker(args).assert().stdout("");
            let code = assert.get_output().status.code();
            assert!(matches!(code, Some(125 | 1)), "{args:?}: {code:?}");
            assert!(!complaint(&assert).is_empty(), "{args:?}");
        }
        // What stands after the image is the command's, not ours.
        host.minidocker(["run", "--rm", "--network", "none", "suite", "echo", "--rm", "-it"])
            .assert()
            .success()
            .stdout("--rm -it\n");
    });
}

#[test]
fn names_that_are_none() {
    host(|host| {
        host.load_image();
        for name in ["-x", "a/b", "../up", "a b", "\u{e4}"] {
            let assert =
                host.minidocker(["run", "--rm", &format!("--name={name}"), "suite", "true"]).assert().code(125);
            assert!(!complaint(&assert).is_empty());
        }
        // An empty one is none given, as scripts with an unset variable have it, and Docker too.
        host.minidocker(["run", "--rm", "--network", "none", "--name=", "suite", "true"]).assert().success();
        for command in ["stop", "kill", "rm", "start", "logs", "inspect"] {
            let assert = host.minidocker([command, "never-heard-of"]).assert().code(1);
            assert!(complaint(&assert).contains("never-heard-of"), "{command}: {}", complaint(&assert));
        }
        assert!(!host.root().join("containers/../up").exists());
    });
}

#[test]
fn a_damaged_archive() {
    host(|host| {
        let whole = fs::read(host.image_archive()).expect("the archive");
        let path = host.work().join("cut.tar");
        fs::write(&path, &whole[..whole.len() / 2]).expect("write a file");
        bad(host, &["load", "-i", "/tmp/suite/work/cut.tar"], 1, &["cut.tar"]);
        host.minidocker(["images", "-q"]).assert().success().stdout("");
        bad(host, &["load", "-i", "/no/such.tar"], 1, &["/no/such.tar"]);
    });
}

/// Standard error or output on a full disk: what cannot be said, the exit status says. Nothing panics (101).
#[test]
fn nobody_can_be_told() {
    host(|host| {
        host.load_image();
        let on = |redirect: &str, program: &str, args: &str| {
            let line = format!("exec {} {args} {redirect}", host.bin(program).display());
            let assert = host.tool("sh", ["-c", &line]).assert();
            (assert.get_output().status.code(), complaint(&assert))
        };
        for (args, code) in [
            ("rm nosuch", 1),
            ("exec nosuch true", 1),
            ("load -i /no/such.tar", 1),
            ("--bogus", 125),
            ("run --bogus suite", 125),
            ("", 0),
            ("run --rm --network none suite nosuch", 127),
            ("build /no/such", 1),
        ] {
            assert_eq!(on("2>/dev/full", "minidocker", args).0, Some(code), "minidocker {args}");
        }
        assert_eq!(on("2>/dev/full", "ch01", "run nosuch").0, Some(127));
        for (program, args, code) in [
            ("minidocker", "ps", 1),
            ("minidocker", "--help", 125),
            ("minidocker", "images", 1),
            ("ch01", "list", 125),
            ("ch02", "plan -m 64m", 125),
        ] {
            let (status, said) = on(">/dev/full", program, args);
            assert_eq!((status, said.lines().count()), (Some(code), 1), "{program} {args}: {said}");
            assert!(said.contains("write to standard output: No space left on device"), "{program} {args}: {said}");
        }
    });
}

/// Words without end: the same status as for short ones, and a sentence that a terminal can hold.
#[test]
fn endless_words() {
    host(|host| {
        host.load_image();
        let long = "x".repeat(100_000);
        for name in [long.clone(), format!("/bin/{long}")] {
            let assert = host.minidocker(["run", "--rm", "--network", "none", "suite", &name]).assert().code(127);
            let said = complaint(&assert);
            assert!(said.contains("xxx") && said.len() < 2_000, "{} bytes: {said}", said.len());
        }
        let endless = ["run", "--rm", "--network", "none", "--env-file", "/dev/zero", "suite", "true"];
        bad(host, &endless, 125, &["env file /dev/zero", "longer than"]);
    });
}
