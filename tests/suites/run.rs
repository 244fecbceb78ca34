//! `minidocker run`: what comes out of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::openpty;
use nix::sys::signal::Signal;
use predicates::prelude::*;
use suite::{Background, Terminal, eventually, host};

use crate::expect::{fact, text};

#[test]
fn help_explains() {
    host(|host| {
        let help = text(&host.minidocker(["--help"]).assert().success());
        for word in
            ["run", "ps", "logs", "exec", "start", "stop", "kill", "rm", "inspect", "images", "pull", "rmi", "tag"]
        {
            assert!(help.lines().any(|line| line.trim().starts_with(word)), "{word} is not in\n{help}");
        }
        for word in ["build", "save", "load", "version", "info"] {
            assert!(help.lines().any(|line| line.trim().starts_with(word)), "{word} is not in\n{help}");
        }
        let help = text(&host.minidocker(["run", "--help"]).assert().success());
        for flag in ["--detach", "--interactive", "--tty", "--rm", "--name", "--env", "--workdir", "--user", "--volume"]
        {
            assert!(help.contains(flag), "{flag} is not in\n{help}");
        }
        for flag in ["--publish", "--memory", "--cpus", "--pids-limit", "--network", "--entrypoint", "--hostname"] {
            assert!(help.contains(flag), "{flag} is not in\n{help}");
        }
    });
}

#[test]
fn version_and_info_answer() {
    host(|host| {
        host.minidocker(["version"]).assert().success().stdout(predicate::str::contains(env!("CARGO_PKG_VERSION")));
        host.minidocker(["--version"]).assert().success();
        let info = text(&host.minidocker(["info"]).assert().success());
        assert!(info.to_lowercase().contains("cgroup"), "{info}");
        assert!(info.contains(&host.root().display().to_string()), "{info}");
    });
}

#[test]
fn the_demo_image_is_always_there() {
    host(|host| {
        let script = "hostname; id -u; echo $$; cat /proc/self/cgroup | wc -l; ls /; exit 5";
        let said =
            text(&host.minidocker(["run", "--rm", "--hostname", "box", "demo", "sh", "-c", script]).assert().code(5));
        assert!(said.starts_with("box\n0\n1\n"), "{said}");
        host.minidocker(["run", "--rm", "demo", "ip", "addr"])
            .assert()
            .success()
            .stdout(predicate::str::contains("inet "));
        for words in [&["ps"][..], &["mount"], &["cat", "/proc/net/dev"], &["id"]] {
            host.minidocker(["run", "--rm", "demo"]).args(words).assert().success();
        }
        host.minidocker(["ps", "-aq"]).assert().success().stdout("");
    });
}

#[test]
fn an_ordinary_user_has_the_demo_too() {
    host(|host| {
        crate::ch01::user_namespaces_or_skip(host);
        let run =
            host.as_user("minidocker", ["run", "--rm", "demo", "sh", "-c", "id -u; hostname; exit 6"]).assert().code(6);
        assert!(text(&run).starts_with("0\n"), "{}", text(&run));
        host.as_user("minidocker", ["ps", "-aq"]).assert().success().stdout("");
    });
}

#[test]
fn standard_streams_go_through() {
    host(|host| {
        host.run(&[], &["sh", "-c", "echo out; echo err >&2"]).assert().success().stdout("out\n").stderr("err\n");
        host.run(&["-i"], &["cat"]).write_stdin("through\n").assert().success().stdout("through\n");
        // Without -i there is nothing to read.
        host.run(&[], &["cat"]).write_stdin("lost\n").assert().success().stdout("");
        let much = "0123456789abcdef".repeat(1 << 16);
        host.run(&["-i"], &["cat"]).write_stdin(much.clone()).assert().success().stdout(much);
    });
}

/// Output that grows beyond its input: whoever sends must go on taking, or both sides wait for ever.
#[test]
fn input_and_output_do_not_wait_for_each_other() {
    host(|host| {
        let line = "0123456789abcdef".repeat(4) + "\n";
        let doubled = host.run(&["-i"], &["sed", "p"]).write_stdin(line.repeat(1 << 17)).assert().success();
        assert!(doubled.get_output().stdout == line.repeat(1 << 18).into_bytes());
    });
}

#[test]
fn a_signal_overtakes_input_that_nobody_reads() {
    host(|host| {
        host.load_image();
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" < /dev/zero", "sh"]).arg(host.bin("minidocker"));
        command.args(["run", "-i", "--name", "deaf", "--network", "none", "suite", "payload", "trap", "TERM"]);
        let mut client = Background::start(command);
        client.wait_for("ready");
        // It sends until it may send no more.
        let mut before = String::new();
        eventually("the client has read all it may", || {
            sleep(Duration::from_millis(50));
            let io = fs::read_to_string(format!("/proc/{}/io", client.pid())).expect("its counters");
            let read = io.lines().next().unwrap_or_default().to_owned();
            std::mem::replace(&mut before, read.clone()) == read
        });
        client.signal(Signal::SIGTERM);
        let (status, said) = client.wait();
        assert_eq!(status.code(), Some(10), "{said}");
        host.minidocker(["rm", "deaf"]).assert().success();
    });
}

/// A window that is closed takes the client with it. Nobody has typed ^D or hung up inside.
#[test]
fn a_terminal_that_is_gone_is_no_end_of_input() {
    host(|host| {
        host.load_image();
        let pty = openpty(None, None).expect("open a terminal");
        for end in [&pty.master, &pty.slave] {
            // The program must not hold its own terminal open.
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("set the terminal up");
        }
        let stream = || pty.slave.try_clone().expect("duplicate the terminal");
        let mut command = Command::new(host.bin("minidocker"));
        command.args([
            "run",
            "-it",
            "--name",
            "left",
            "--network",
            "none",
            "suite",
            "sh",
            "-c",
            "echo up; cat; echo end",
        ]);
        let mut client =
            command.stdin(stream()).stdout(stream()).stderr(Stdio::null()).spawn().expect("start minidocker");
        drop((command, pty.slave));
        let mut screen = BufReader::new(fs::File::from(pty.master));
        let mut line = String::new();
        screen.read_line(&mut line).expect("read the screen");
        assert_eq!(line.trim(), "up");
        drop(screen);
        assert_eq!(client.wait().expect("wait").code(), Some(129));
        host.minidocker(["exec", "left", "true"]).assert().success();
        host.minidocker(["logs", "left"]).assert().success().stdout("up\r\n");
        host.minidocker(["rm", "-f", "left"]).assert().success();
    });
}

#[test]
fn environment_directory_user_and_names() {
    host(|host| {
        let facts = text(
            &host
                .run(&["-e", "A=b c", "-e", "FROM_IMAGE=no", "-w", "/var/www", "-h", "box"], &["payload", "facts"])
                .assert()
                .success(),
        );
        assert_eq!(fact(&facts, "cwd"), "/var/www");
        assert_eq!(fact(&facts, "hostname"), "box");
        let variables: Vec<&str> = facts.lines().filter_map(|line| line.strip_prefix("env ")).collect();
        assert_eq!(
            variables,
            ["A=b c", "FROM_IMAGE=no", "HOME=/root", "HOSTNAME=box", "PATH=/bin:/usr/bin"],
            "as Docker has them"
        );
        let facts = text(&host.run(&["-u", "user"], &["payload", "facts"]).assert().success());
        assert_eq!(
            (fact(&facts, "uid"), fact(&facts, "gid"), fact(&facts, "groups")),
            ("1234".to_owned(), "1234".to_owned(), "1234,4321".to_owned())
        );
        assert!(facts.contains("env HOME=/home/user"), "{facts}");
        host.run(&["--entrypoint", "echo"], &["one", "two"]).assert().success().stdout("one two\n");
    });
}

#[test]
fn volumes_are_the_hosts() {
    host(|host| {
        let source = host.work().join("source");
        fs::create_dir(&source).expect("make a directory");
        let volume = format!("{}:/data", source.display());
        host.run(&["-v", &volume], &["sh", "-c", "echo here > /data/file"]).assert().success();
        assert_eq!(fs::read_to_string(source.join("file")).expect("the file"), "here\n");
        host.run(&["-v", &format!("{volume}:ro")], &["sh", "-c", "echo x > /data/file"])
            .assert()
            .failure()
            .stderr(predicate::str::contains("Read-only"));
    });
}

#[test]
fn it_has_dockers_privileges_and_no_more() {
    host(|host| {
        let said = text(&host.run(&[], &["payload", "privileges"]).assert().success());
        // The fourteen of Docker's list; nothing to be inherited.
        let expected = "CapInh: 0000000000000000\nCapPrm: 00000000a80425fb\nCapEff: 00000000a80425fb\n\
                        CapBnd: 00000000a80425fb\nCapAmb: 0000000000000000\nNoNewPrivs: 0\nSeccomp: 2";
        assert_eq!(said, expected);
        let said = text(&host.run(&["-u", "user"], &["payload", "privileges"]).assert().success());
        assert!(said.contains("CapEff: 0000000000000000\nCapBnd: 00000000a80425fb"), "{said}");
        let said =
            text(&host.run(&["--security-opt", "no-new-privileges"], &["payload", "privileges"]).assert().success());
        assert!(said.contains("NoNewPrivs: 1"), "{said}");
        let said = text(&host.run(&["--cap-drop", "ALL"], &["payload", "privileges"]).assert().success());
        assert!(said.contains("CapBnd: 0000000000000000"), "{said}");
    });
}

#[test]
fn calls_that_a_container_has_no_use_for_are_refused() {
    host(|host| {
        let said = text(&host.run(&[], &["payload", "calls"]).assert().success());
        for line in said.lines() {
            let (name, result) = line.split_once(' ').expect("two words");
            let expected: &[&str] = match name {
                "getpid" => &["ok"],
                // The C library falls back to clone, whose flags can be looked at.
                "clone3" => &["ENOSYS"],
                _ => &["EPERM", "ENOSYS"],
            };
            assert!(expected.contains(&result), "{line}");
        }
    });
}

#[test]
fn root_inside_does_not_get_read_only_places_writable() {
    host(|host| {
        let script = "mount -o remount,rw /proc/sys; umount /proc/sys; mount -t proc proc /tmp; mount -t tmpfs x /tmp; \
                      echo 1 > /proc/sys/kernel/panic";
        host.run(&[], &["sh", "-c", script]).assert().failure();
    });
}

#[test]
fn what_stands_after_the_image_is_the_commands() {
    host(|host| {
        host.run(&["--entrypoint", "sh"], &["-c", "echo mine"]).assert().success().stdout("mine\n");
        host.run(&["--entrypoint", "echo"], &["--rm", "-it", "--no-such-flag"])
            .assert()
            .success()
            .stdout("--rm -it --no-such-flag\n");
    });
}

#[test]
fn a_terminal_is_a_terminal() {
    host(|host| {
        host.load_image();
        let mut command = Command::new(host.bin("minidocker"));
        command.args(["run", "--rm", "-it", "--network", "none", "suite", "sh"]);
        let mut terminal = Terminal::start(command);
        terminal.send("payload tty; tty\n");
        terminal.wait_for("stdin terminal");
        terminal.wait_for("size 24 80");
        terminal.wait_for("controlling terminal");
        terminal.wait_for("/dev/");
        terminal.resize(50, 132);
        // The client hears of it, and the monitor then, while we type. (The quotes keep the echo from being what is waited for.)
        terminal.send("until payload tty | grep 'size 50 13''2'; do sleep 0.1; done; echo grow''n\n");
        terminal.wait_for("grown");
        // Ctrl-C goes to the program in front, not to the engine.
        terminal.send("sh -c 'echo a''sleep; exec sleep 1000'\n");
        terminal.wait_for("asleep");
        terminal.send("\u{3}");
        terminal.send("echo al''ive\n");
        terminal.wait_for("alive");
        terminal.send("exit 21\n");
        assert_eq!(terminal.wait().0.code(), Some(21));
    });
}

/// Administrators have umasks of 077. What the engine makes is for every user inside all the same, what a payload makes is not
/// restricted by it, and what it writes for the caller is.
#[test]
fn the_callers_umask_ends_at_the_engine() {
    host(|host| {
        let strict = |words: &[&str]| {
            let mut command = Command::new("sh");
            command.args(["-c", "umask 077; exec \"$@\"", "sh", "/tmp/suite/bin/minidocker"]).args(words);
            assert_cmd::Command::from_std(command)
        };
        strict(&["load", "-i", host.image_archive().to_str().expect("a path")]).assert().success();
        let run = ["run", "--rm", "--network", "none", "-u", "1000", "-v", "made:/data", "-w", "/new/place"];
        let script =
            "ls / . /data && cat /etc/hosts /etc/hostname /etc/resolv.conf > /dev/null && stat -c %a / /new /data";
        let said = strict(&[&run[..], &["suite", "sh", "-c", script]].concat()).assert().success();
        assert!(text(&said).ends_with("\n755\n755\n755"), "{}", text(&said));
        strict(&["run", "--rm", "--network", "none", "-u", "1000", "demo", "id", "-u"])
            .assert()
            .success()
            .stdout("1000\n");
        let dockerfile = "FROM suite\nWORKDIR /deep/er\nCOPY Dockerfile /copied/\nRUN echo made > /made\nUSER 1000\n\
                          RUN cat /made /copied/Dockerfile && ls .\n";
        let context = crate::ch07::context(host, "context", &[("Dockerfile", dockerfile)]);
        strict(&["build", "-t", "mine", context.to_str().expect("a path")]).assert().success();
        strict(&["run", "--rm", "--network", "none", "mine", "stat", "-c", "%a", "/", "/deep"])
            .assert()
            .success()
            .stdout("755\n755\n");
        let (archive, id) = (host.work().join("saved.tar"), host.work().join("id"));
        let id = id.to_str().expect("a path");
        strict(&["save", "-o", archive.to_str().expect("a path"), "mine"]).assert().success();
        strict(&["create", "--cidfile", id, "--name", "box", "suite", "true"]).assert().success();
        for file in [archive.as_path(), id.as_ref()] {
            assert_eq!(fs::metadata(file).expect("the file").mode() & 0o077, 0, "{}", file.display());
        }
        host.minidocker(["rm", "box"]).assert().success();
    });
}

#[test]
fn nothing_stays_after_rm() {
    host(|host| {
        host.run(&[], &["true"]).assert().success();
        host.run(&[], &["false"]).assert().code(1);
        host.minidocker(["ps", "-aq"]).assert().success().stdout("");
        let containers = host.root().join("containers");
        assert_eq!(fs::read_dir(containers).map_or(0, Iterator::count), 0);
    });
}

#[test]
fn many_at_once() {
    host(|host| {
        host.run(&[], &["true"]).assert().success();
        let running: Vec<_> = (0..10)
            .map(|number| {
                let name = format!("n{number}");
                let args = ["run", "--rm", "--name", &name, "suite", "sh", "-c", "ip addr; hostname"];
                host.start("minidocker", args)
            })
            .collect();
        let mut addresses: Vec<String> = running
            .into_iter()
            .map(|one| {
                let (status, said) = one.wait();
                assert!(status.success(), "{said}");
                crate::ch05::address(&said)
            })
            .collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 10);
        host.minidocker(["ps", "-aq"]).assert().success().stdout("");
    });
}

/// Scripts write `--hostname "$NAME"`, set or not.
#[test]
fn empty_options_are_those_not_given() {
    host(|host| {
        host.load_image();
        let options = ["hostname", "domainname", "workdir", "network", "stop-signal", "pid", "ipc", "uts", "userns"];
        let more = ["cgroupns", "cidfile", "platform", "cgroup-parent", "name", "user", "pull"];
        let words = options.iter().chain(&more).flat_map(|name| [format!("--{name}"), String::new()]);
        let line = "hostname | wc -c; pwd; id -u; echo $#";
        host.minidocker(["run", "--rm"])
            .args(words)
            .args(["suite", "sh", "-c", line, "sh", "--hostname", ""])
            .assert()
            .success()
            .stdout("13\n/\n0\n2\n");
    });
}
