//! Names that are paths, and words that are lines.

use std::fs;

use serde_json::json;
use suite::container::detached;
use suite::image::Image;
use suite::{Host, host};

use crate::expect::{complaint, text};

/// Words that lead out of the directory that they are looked for in.
const PATHS: [&str; 8] =
    ["..", "../..", "../../work/outside", "a/../../../work/outside", "/tmp/suite/work/outside", ".", "x/y", "..%2f.."];

/// A container is called `../../outside`, and its directory, its name's file and its socket lie there.
#[test]
fn a_containers_name_is_a_path() {
    host(|host| {
        let canary = host.canary();
        host.load_image();
        for name in PATHS.iter().chain(&["a\nb", "-x", "ä", "a b", "a\0b"]).filter(|name| !name.contains('\0')) {
            let name_flag = format!("--name={name}");
            let refused =
                host.minidocker(["run", "--rm", "--network", "none", &name_flag, "suite", "true"]).assert().code(125);
            assert!(complaint(&refused).contains("name"), "{name:?}: {}", complaint(&refused));
        }
        host.minidocker(["ps", "-aq"]).assert().success().stdout("");
        canary.is_unharmed();
    });
}

/// An id or a name that is looked up is a path: what is there would be started, shown, removed.
#[test]
fn an_id_is_a_path() {
    host(|host| {
        let canary = host.canary();
        detached(host, "base", &[], &["payload", "wait"]);
        // What lies there looks like a container.
        let forged = host.work().join("forged");
        fs::create_dir(&forged).expect("make a directory");
        fs::write(forged.join("container.json"), "{}").expect("write a file");
        let paths = [&PATHS[..], &["../../work/forged", "../names/base", "../containers"]].concat();
        for path in paths {
            for words in [
                &["inspect", path][..],
                &["logs", path],
                &["exec", path, "true"],
                &["stop", path],
                &["kill", path],
                &["start", path],
                &["rm", "-f", path],
            ] {
                let assert = host.minidocker(words).assert();
                // `rm -f` of what is not there is well done in Docker; nothing must have been.
                assert!(words[0] == "rm" || !assert.get_output().status.success(), "{words:?}");
            }
        }
        assert!(forged.join("container.json").exists());
        host.minidocker(["exec", "base", "true"]).assert().success();
        host.minidocker(["rm", "-f", "base"]).assert().success();
        canary.is_unharmed();
    });
}

/// A volume is called `../../outside`.
#[test]
fn a_volumes_name_is_a_path() {
    host(|host| {
        let canary = host.canary();
        host.load_image();
        for name in ["../../work/outside", "a/../../../work/outside", "..", "a/b", "-x", "a\nb", "~"] {
            // A word that begins with a dot is a path of the host, and said to be missing or mounted as such: only by `run`'s
            // own caller, who may. What must not be is a *name* that leads out.
            if name.starts_with('.') {
                continue;
            }
            let volume = format!("{name}:/data");
            let refused =
                host.minidocker(["run", "--rm", "--network", "none", "-v", &volume, "suite", "true"]).assert();
            assert_eq!(refused.get_output().status.code(), Some(125), "{name:?}");
        }
        for source in PATHS {
            let mount = format!("type=volume,src={source},dst=/data");
            let assert = host
                .minidocker(["run", "--rm", "--network", "none", "--mount", &mount, "suite", "ls", "/data"])
                .assert();
            assert_eq!(assert.get_output().status.code(), Some(125), "{source:?}: {}", text(&assert));
        }
        canary.is_unharmed();
    });
}

/// An image is called `../..`, on the command line and in the archive that brings it.
#[test]
fn an_images_name_is_a_path() {
    host(|host| {
        let canary = host.canary();
        host.load_image();
        for name in PATHS.iter().filter(|name| **name != "x/y").chain(&[
            "/",
            "..:..",
            "suite:../..",
            "suite@sha256:../../x",
            "127.0.0.1:1/../../x",
        ]) {
            for words in
                [&["tag", "suite", name][..], &["rmi", name], &["save", "-o", "out.tar", name], &["pull", name]]
            {
                host.minidocker(words).assert().failure();
            }
        }
        for name in ["../../work/outside:latest", "..:latest", "/etc/passwd:latest", "a/../../b:latest"] {
            let archive = host.work().join("evil.tar");
            Image::system(host).archive(&archive, name);
            let _either = host.minidocker(["load", "-i"]).arg(&archive).assert();
            let images = text(&host.minidocker(["images"]).assert().success());
            assert!(!images.contains(".."), "{images}");
        }
        canary.is_unharmed();
    });
}

/// `--cidfile` names a file that is there, or a link to one (CWE-59): it is not written over.
#[test]
fn the_file_for_the_id_is_there_already() {
    host(|host| {
        let canary = host.canary();
        host.load_image();
        let link = host.work().join("link");
        std::os::unix::fs::symlink(canary.directory().join("new"), &link).expect("make a link");
        for file in [canary.secret(), canary.directory().join("link"), link, canary.directory().to_owned()] {
            let mut run = host.minidocker(["run", "--rm", "--network", "none", "--cidfile"]);
            run.arg(&file).args(["suite", "true"]).assert().code(125);
            host.minidocker(["ps", "-aq"]).assert().success().stdout("");
        }
        canary.is_unharmed();
    });
}

/// A host name, a label, a variable is two lines, of which the second means something where it is written: in `/etc/hosts`,
/// in `resolv.conf`, in a listing.
#[test]
fn a_word_is_two_lines() {
    host(|host: &Host| {
        host.load_image();
        let run =
            |args: &[&str], argv: &[&str]| host.minidocker(["run", "--rm"]).args(args).arg("suite").args(argv).assert();
        for name in ["box\n6.6.6.6 bank.example", "box bank.example", &"x".repeat(65)] {
            let assert = run(&["--hostname", name], &["cat", "/etc/hosts"]);
            assert!(!text(&assert).contains("bank.example"), "{name:?}: {}", text(&assert));
            assert!(!assert.get_output().status.success(), "{name:?} is taken for a host name");
        }
        for host_entry in ["a\n6.6.6.6 bank.example:1.2.3.4", "a:1.2.3.4\n6.6.6.6 bank.example"] {
            assert!(
                !text(&run(&["--add-host", host_entry], &["cat", "/etc/hosts"])).contains("bank.example"),
                "{host_entry:?}"
            );
        }
        for server in ["1.2.3.4\nnameserver 6.6.6.6", "x"] {
            assert!(!text(&run(&["--dns", server], &["cat", "/etc/resolv.conf"])).contains("6.6.6.6"), "{server:?}");
        }
        detached(host, "base", &["--label", "a=b\n0000deadbeef   forged"], &["payload", "wait"]);
        let listing = text(&host.minidocker(["ps", "-a"]).assert().success());
        assert_eq!(listing.lines().count(), 2, "{listing}");
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}

/// What a container prints as its command's name or its log is not the terminal's business: a command with control characters
/// in it does not forge the listing (terminal escapes, CVE-2003-0063 and on).
#[test]
fn a_command_writes_to_the_terminal_of_who_lists_it() {
    host(|host| {
        detached(host, "base", &[], &["sh", "-c", "payload wait # \u{1b}[2J\u{1b}]0;owned\u{7}\nroot"]);
        let listing = text(&host.minidocker(["ps", "--no-trunc"]).assert().success());
        assert!(!listing.contains('\u{1b}') && !listing.contains('\u{7}'), "{listing:?}");
        assert_eq!(listing.lines().count(), 2, "{listing}");
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}

/// The config of an image, or a Dockerfile, has escapes and newlines in what an error will quote: a terminal would carry
/// out the ones, and who reads believe the line behind the others.
#[test]
fn an_image_writes_to_the_terminal_by_the_error_it_causes() {
    const EVIL: &str = "/\u{1b}[31mx\u{9b}2J\nminidocker is well\r\u{7}";
    host(|host| {
        host.load_image();
        let clean = |said: &str, what: &str| {
            assert!(!said.chars().any(char::is_control), "{what}: {said:?}");
            assert!(said.contains(r"\u{1b}[31mx\u{9b}2J\nminidocker is well"), "{what}: {said:?}");
        };
        let keys = [
            ("User", json!(EVIL)),
            ("Entrypoint", json!([EVIL])),
            ("WorkingDir", json!(&EVIL[1..])),
            ("StopSignal", json!(EVIL)),
        ];
        for (key, value) in keys {
            let archive = host.work().join("evil.tar");
            Image::system(host).set(key, value).archive(&archive, "evil:latest");
            host.minidocker(["load", "-i"]).arg(archive).assert().success();
            let assert = host.minidocker(["run", "--rm", "--network", "none", "evil", "true"]).assert().failure();
            clean(&complaint(&assert), key);
        }
        for option in ["--group-add", "--user", "--bogus", "--stop-signal", "--cap-add"] {
            let assert = host.minidocker(["run", "--rm", &format!("{option}={EVIL}"), "suite", "true"]).assert();
            let said = complaint(&assert.failure());
            assert!(!said.chars().any(char::is_control), "{option}: {said:?}");
        }
        for words in [["rm", EVIL], ["logs", EVIL], ["run", EVIL], [EVIL, ""]] {
            let said = complaint(&host.minidocker(words).assert().failure());
            assert!(!said.chars().any(char::is_control), "{words:?}: {said:?}");
        }
        for dockerfile in ["FROM scratch\nRUN \u{1b}[2J\n", "FROM suite\nSTOPSIGNAL \u{1b}[2J\n", "\u{1b}[2J x\n"] {
            let directory = crate::ch07::context(host, "context", &[("Dockerfile", dockerfile)]);
            let said = complaint(&host.minidocker(["build", "-t", "x"]).arg(&directory).assert().code(1));
            assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{dockerfile:?}: {said:?}");
        }
    });
}
