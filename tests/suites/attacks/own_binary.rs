//! The engine's own program, which a container finds where the engine joins it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use suite::{Background, Host, eventually, host};

use crate::expect::text;

/// A copy of a program in a directory that can be written to: those of the virtual host lie on a read-only mount, and would be
/// safe whatever the engine does.
pub fn writable(host: &Host, program: &str, name: &str) -> PathBuf {
    let directory = host.work().join("installed");
    fs::create_dir_all(&directory).expect("make a directory");
    let copy = directory.join(name);
    fs::copy(host.bin(program), &copy).expect("copy the program");
    copy
}

/// An installed engine, and a container `prey` of it in which an attacker waits for the engine's program.
struct Prey {
    engine: PathBuf,
    before: Vec<u8>,
}

impl Prey {
    fn wait(host: &Host, args: &[&str]) -> Prey {
        host.load_image();
        let engine = writable(host, "minidocker", "minidocker");
        let before = fs::read(&engine).expect("read the engine");
        let prey = Prey { engine, before };
        let mut run = prey.command(&["run", "-d", "--name", "prey", "--network", "none"]);
        run.args(args).args(["suite", "payload", "overwrite-engine"]);
        assert_cmd::Command::from_std(run).assert().success();
        eventually("the attacker waits", || prey.log().contains("ready"));
        prey
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.engine);
        command.args(words);
        command
    }

    fn log(&self) -> String {
        text(&assert_cmd::Command::from_std(self.command(&["logs", "prey"])).assert().success())
    }

    /// The attacker has got hold of the program, or not, and could not write to it.
    fn assert_safe(self, must_hold: bool) {
        if must_hold {
            eventually("the attacker has tried", || {
                self.log().contains("refused") || self.log().contains("overwritten")
            });
        }
        let log = self.log();
        assert!(!log.contains("overwritten"), "{log}");
        assert!(fs::read(&self.engine).expect("read the engine") == self.before, "the engine has changed");
        assert_cmd::Command::from_std(self.command(&["rm", "-f", "prey"])).assert().success();
        fs::remove_dir_all(self.engine.parent().expect("its directory")).expect("remove the copy");
    }
}

/// CVE-2019-5736: the command of an `exec` is `/proc/self/exe`.
#[test]
fn what_is_executed_is_proc_self_exe() {
    host(|host| {
        let prey = Prey::wait(host, &[]);
        let execs = || {
            let exec = prey.command(&["exec", "prey", "/proc/self/exe", "--help"]);
            let _either = assert_cmd::Command::from_std(exec).assert();
            prey.log().contains("holds")
        };
        eventually("the attacker has it", execs);
        prey.assert_safe(true);
    });
}

/// CVE-2019-5736: a program of the image is a script whose interpreter is `/proc/self/exe`.
#[test]
fn a_script_whose_interpreter_is_proc_self_exe() {
    host(|host| {
        let prey = Prey::wait(host, &[]);
        let script = "rm /bin/script; printf '#!/proc/self/exe\\n' > /bin/script; chmod 755 /bin/script";
        assert_cmd::Command::from_std(prey.command(&["exec", "prey", "sh", "-c", script])).assert().success();
        let execs = || {
            let _either = assert_cmd::Command::from_std(prey.command(&["exec", "prey", "/bin/script"])).assert();
            prey.log().contains("holds")
        };
        eventually("the attacker has it", execs);
        prey.assert_safe(true);
    });
}

/// CVE-2019-5736, for an engine whose init stays in the container: `/proc/1/exe` is the engine for as long as that lives.
#[test]
fn the_init_of_a_container_is_the_engine() {
    host(|host| {
        let prey = Prey::wait(host, &["--init"]);
        for words in [
            &["payload", "open-for-writing", "/proc/1/exe"][..],
            &["/proc/1/exe"],
            &["sh", "-c", "echo x > /proc/1/exe"],
        ] {
            let said = assert_cmd::Command::from_std(prey.command(&[&["exec", "prey"], words].concat())).assert();
            assert!(!text(&said).contains(" ok"), "{}", text(&said));
        }
        prey.assert_safe(false);
    });
}

/// CVE-2019-5736, with all the power that there is short of the host's own user namespace being left: a privileged container
/// may remount what it finds.
#[test]
fn a_privileged_container_is_let_near_the_engine_as_little() {
    host(|host| {
        let prey = Prey::wait(host, &["--privileged", "--init"]);
        prey.assert_safe(true);
    });
}

/// CVE-2019-5736, at a build's `RUN`: the builder is the engine, and so is the process that becomes the `RUN`.
#[test]
fn a_build_whose_run_is_proc_self_exe() {
    host(|host| {
        host.load_image();
        let engine = writable(host, "minidocker", "minidocker");
        let before = fs::read(&engine).expect("read the engine");
        let dockerfile = "FROM suite\nRUN (payload overwrite-engine > /log &) ; until grep -q ready /log; do sleep 0.02; done; \
                          for i in 1 2 3 4 5 6 7 8 9; do payload open-for-writing /proc/1/exe /proc/$PPID/exe; done; cat /log\n\
                          RUN [\"/proc/self/exe\", \"--help\"]\n";
        let context = crate::ch07::context(host, "context", &[("Dockerfile", dockerfile)]);
        let mut build = Command::new(&engine);
        build.args(["build", "-t", "x"]).arg(&context);
        let running = Background::start(build);
        let (_either, said) = running.wait();
        assert!(!said.contains("overwritten"), "{said}");
        assert!(fs::read(&engine).expect("read the engine") == before, "the engine has changed:\n{said}");
    });
}
