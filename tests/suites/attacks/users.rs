//! Users and groups: numbers out of range, names that are numbers, files without end, and rights that cling.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use suite::canary::SECRET;
use suite::container::{detached, wait_for_log};
use suite::{Host, Subject, host};

use super::trap::{Trap, file, link, remove};
use crate::expect::{complaint, fact, text};

/// CVE-2024-40635: a number that does not fit becomes 0.
#[test]
fn a_user_out_of_range_becomes_root() {
    host(|host| {
        let trap = Trap::set(host, Subject::Engine, |_| {});
        detached(host, "base", &[], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        for user in [
            "4294967296",
            "4294967295",
            "-1",
            "18446744073709551616",
            "0x0",
            "99999999999999999999",
            "1000:4294967296",
            "1000:-1",
        ] {
            let user_flag = format!("--user={user}");
            let run = trap.run(&[&user_flag], &["id", "-u"]).assert().failure();
            let exec = host.minidocker(["exec", &user_flag, "base", "id", "-u"]).assert().failure();
            for refused in [run, exec] {
                assert_eq!(text(&refused), "", "{user}");
                assert!(
                    complaint(&refused).contains(user.rsplit(':').next().expect("a word")),
                    "{user}: {}",
                    complaint(&refused)
                );
            }
        }
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}

/// CVE-2026-30892: `exec -u 1` ran as 0 (crun 1.19 to 1.26). A number is that user with all four ids, as the kernel tells them
/// and by what it may open; what only looks like a number is nobody; and no user at all is the container's.
#[test]
fn an_exec_as_one_user_runs_as_another() {
    host(|host| {
        let trap = Trap::with_config(host, Subject::Engine, &[("User", "7:8".into())], |root| {
            file(root, "etc/passwd", "root:x:0:0::/:/bin/sh\n1:x:0:0::/:/bin/sh\nuser:x:1234:1234::/:/bin/sh\n");
            file(root, "etc/group", "root:x:0:\n1:x:0:\nuser:x:1234:\n");
            file(root, "secret", SECRET);
            fs::set_permissions(root.join("secret"), fs::Permissions::from_mode(0o400)).expect("set its mode");
        });
        trap.run(&["--user="], &["id", "-u"]).assert().success().stdout("7\n");
        trap.run(&["-d", "--name", "base"], &["payload", "wait"]).assert().success();
        let exec = |user: &str, script: &str| {
            host.minidocker(["exec", &format!("--user={user}"), "base", "sh", "-c", script]).assert()
        };
        let look = "grep -E '^[UG]id:' /proc/self/status; cat /secret 2>/dev/null; true";
        for (user, uid, gid) in [
            ("1", 1, 0),
            ("01", 1, 0),
            ("1:", 1, 0),
            ("1:1", 1, 1),
            ("10", 10, 0),
            ("2:0", 2, 0),
            ("1234", 1234, 1234),
            ("user", 1234, 1234),
            ("user:1", 1234, 1),
            ("65534:65534", 65_534, 65_534),
            ("2147483648", 2_147_483_648, 0),
            ("4294967294:4294967294", 4_294_967_294_u32, 4_294_967_294_u32),
            ("", 7, 8),
        ] {
            let ids = format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}");
            assert_eq!(text(&exec(user, look).success()), ids, "{user:?}");
        }
        assert!(text(&exec("0", look).success()).ends_with(SECRET), "root is let in");
        for user in ["1 ", " 1", "0x1", "1e0", "1.0", "1,0", "\u{ff11}", "\u{661}", "1\n", "1;0"] {
            assert_eq!(text(&exec(user, "id -u").code(126)), "", "{user:?}");
        }
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}

/// CVE-2016-3697, CVE-2026-46680: the image has a user whose *name* is a number, one that fits or one that does not, with the
/// ids of root.
#[test]
fn a_users_name_is_a_number() {
    host(|host| {
        let trap = Trap::set(host, Subject::Engine, |root| {
            let passwd =
                "root:x:0:0::/:/bin/sh\n1000:x:0:0::/:/bin/sh\n4294967296:x:0:0::/:/bin/sh\n-1:x:0:0::/:/bin/sh\n";
            file(root, "etc/passwd", passwd);
            file(root, "etc/group", "1000:x:0:\n");
        });
        trap.run(&["-u", "1000:1000"], &["sh", "-c", "id -u; id -g"]).assert().success().stdout("1000\n1000\n");
        for user in ["4294967296", "-1"] {
            assert_eq!(text(&trap.run(&[&format!("--user={user}")], &["id", "-u"]).assert().failure()), "", "{user}");
        }
    });
}

/// Puts something in the place of a file of a root.
type Form<'a> = &'a dyn Fn(&Path, &str);

/// CVE-2026-47262: the image's passwd or group file is enormous, without end, a FIFO that nobody writes to, a device.
#[test]
fn passwd_and_group_have_no_end() {
    host(|host| {
        let huge = |root: &Path, name: &str| {
            let line = "somebody:x:1:1:a comment that makes the line longer than it need be:/:/bin/sh\n";
            file(root, name, &line.repeat((8 << 20) / line.len()));
        };
        let fifo = |root: &Path, name: &str| {
            remove(root, name);
            host.tool("mkfifo", [root.join(name)]).assert().success();
        };
        let device = |root: &Path, name: &str| {
            remove(root, name);
            host.tool("mknod", [root.join(name)]).args(["c", "1", "5"]).assert().success();
        };
        let endless = |root: &Path, name: &str| link(root, name, "/dev/zero");
        let forms: [Form<'_>; 4] = [&huge, &fifo, &device, &endless];
        for (number, form) in forms.iter().enumerate() {
            for name in ["etc/passwd", "etc/group"] {
                let trap = Trap::set(host, Subject::Engine, |root| form(root, name));
                let refused = trap.run(&["-u", "user:extra", "--group-add", "extra"], &["true"]).assert().failure();
                assert!(complaint(&refused).contains(name), "form {number}: {}", complaint(&refused));
            }
        }
    });
}

/// Groups of whoever started the engine stay with the process (CWE-271), or its own group is not among those that it has
/// (CVE-2022-36109: it could be left, and with it what the group is forbidden).
#[test]
fn groups_of_the_caller_are_kept() {
    host(|host| {
        let trap = Trap::set(host, Subject::Engine, |_| {});
        host.needs("setpriv");
        let with_groups =
            |words: Vec<std::ffi::OsString>| host.tool("setpriv", ["--groups", "4,24,27,999"]).args(words).assert();
        let words = |command: std::process::Command| -> Vec<std::ffi::OsString> {
            std::iter::once(command.get_program()).chain(command.get_args()).map(Into::into).collect()
        };
        let naive = text(&with_groups(vec!["id".into(), "-G".into()]).success());
        assert!(naive.contains("999"), "{naive}");
        for (user, groups) in
            [("0", "0"), ("1000", "0"), ("1000:1000", "1000"), ("user", "1234,4321"), ("user:user", "1234")]
        {
            let run = trap.command(&["-u", user], &["payload", "facts"]);
            let facts = text(&with_groups(words(run)).success());
            assert_eq!(fact(&facts, "groups"), groups, "{user}");
        }
    });
}

/// CVE-2022-24769, CVE-2022-27650: capabilities are inheritable, and a program whose file may inherit them has them.
#[test]
fn capabilities_are_inherited_by_a_file() {
    host(|host| {
        let trap = Trap::set(host, Subject::Engine, |_| {});
        detached(host, "base", &["-u", "1000"], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        let none = ["CapInh: 0000000000000000", "CapAmb: 0000000000000000"];
        let own = ["CapPrm: 0000000000000000", "CapEff: 0000000000000000"];
        for args in [
            &["-u", "1000"][..],
            &["-u", "user", "--cap-add", "NET_ADMIN"],
            &["-u", "1000", "--privileged"],
            &["--privileged"],
            &[],
        ] {
            let said = text(&trap.run(args, &["payload", "privileges"]).assert().success());
            for line in none.iter().chain(own.iter().filter(|_| args.contains(&"-u"))) {
                assert!(said.contains(line), "{args:?}: {said}");
            }
        }
        for args in [&["exec"][..], &["exec", "--privileged"], &["exec", "-u", "0"]] {
            let said = text(&host.minidocker(args).args(["base", "payload", "privileges"]).assert().success());
            assert!(none.iter().all(|line| said.contains(line)), "{args:?}: {said}");
        }
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}

/// A set-user-id program of the image makes root of a user, unless `no-new-privileges` was asked for; in `exec` too.
#[test]
fn a_set_user_id_program_makes_root() {
    host(|host| {
        let trap = Trap::set(host, Subject::Engine, set_user_id);
        let words = ["/bin/root-payload", "facts"];
        let uid = |args: &[&str]| fact(&text(&trap.run(args, &words).assert().success()), "uid");
        assert_eq!(uid(&["-u", "1000"]), "0", "as in Docker, where it is not forbidden");
        assert_eq!(uid(&["-u", "1000", "--security-opt", "no-new-privileges"]), "1000");
        let mut run = trap.command(
            &["-d", "--name", "base", "-u", "1000", "--security-opt", "no-new-privileges"],
            &["payload", "wait"],
        );
        assert!(run.status().expect("start it").success());
        let said = text(&host.minidocker(["exec", "base", "/bin/root-payload", "facts"]).assert().success());
        assert_eq!(fact(&said, "uid"), "1000");
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}

/// And on a volume it makes root of nobody outside who could not be that anyway: but what was made inside stays a danger
/// there, which is why the engine's own directories let no other user in (CVE-2021-41091).
#[test]
fn the_engines_directories_are_open_to_other_users() {
    host(|host| {
        let trap = Trap::set(host, Subject::Engine, set_user_id);
        let script =
            "for d in / /data; do cp /bin/busybox $d/escalate; chmod 4755 $d/escalate; done; echo ready; sleep 1000";
        let mut run = trap.command(&["-d", "--name", "base", "-v", "kept:/data"], &["sh", "-c", script]);
        assert!(run.status().expect("start it").success());
        wait_for_log(host, "base", "ready");
        let found = text(&host.tool("find", [host.root()]).args(["-perm", "-4000", "-type", "f"]).assert().success());
        for place in ["/containers/", "/layers/", "/volumes/"] {
            assert!(found.contains(place), "{place} has no such program: {found}");
        }
        for line in found.lines() {
            host.tool("setpriv", ["--reuid", "1000", "--regid", "1000", "--clear-groups", line, "true"])
                .assert()
                .failure();
        }
        // Not the containers' files, not the images', not the sockets of monitors.
        let look = format!(
            "ls {root}/*/*; cat {root}/containers/*/* {root}/images/blobs/*/*; find /run -name '*sock*' -writable",
            root = host.root().display()
        );
        let said =
            host.tool("setpriv", ["--reuid", "1000", "--regid", "1000", "--clear-groups", "sh", "-c", &look]).assert();
        for word in ["container.json", "argv", "sock", "escalate", "kept", "Entrypoint"] {
            assert!(!text(&said).contains(word), "{word} is seen: {}", text(&said));
        }
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}

fn set_user_id(root: &Path) {
    let program = root.join("bin/root-payload");
    fs::copy(root.join("bin/payload"), &program).expect("copy the payload");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("set its mode");
}

/// Another user of the machine asks a monitor for something, or looks into the terminal of a container.
#[test]
fn another_user_talks_to_a_monitor() {
    host(|host: &Host| {
        detached(host, "base", &[], &["payload", "wait"]);
        wait_for_log(host, "base", "ready");
        let root = host.root().display().to_string();
        for words in [
            &["exec", "base", "true"][..],
            &["stop", "base"],
            &["kill", "base"],
            &["logs", "base"],
            &["rm", "-f", "base"],
        ] {
            let said = host.as_user("minidocker", ["--root", &root]).args(words).assert();
            // As in Docker, `rm -f` of what is not there is well done.
            assert!(words[0] == "rm" || !said.get_output().status.success(), "{words:?}");
        }
        host.minidocker(["exec", "base", "true"]).assert().success();
        host.minidocker(["rm", "-f", "base"]).assert().success();
    });
}
