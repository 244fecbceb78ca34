//! What users read when something is wrong, word for word: whoever changes a message looks at it here.

use suite::{Host, host};

use crate::ch07::context;
use crate::expect::{complaint, text};

/// The complaint of `ch07 build` about a Dockerfile.
fn about(host: &Host, dockerfile: &str) -> String {
    let directory = context(host, "context", &[("Dockerfile", dockerfile)]);
    complaint(&host.chapter(7, ["build", "-t", "x"]).arg(&directory).assert().code(1))
}

#[test]
fn of_dockerfiles() {
    host(|host| {
        insta::assert_snapshot!(about(host, "FROM scratch\nENV A=b\nRUM echo hello\n"), @r"
        ch07: Dockerfile:3:1: unknown instruction RUM
          |
        3 | RUM echo hello
          | ^^^ did you mean RUN?
        ");
        insta::assert_snapshot!(about(host, "FROM scratch\nCOPY only-one\n"), @r"
        ch07: Dockerfile:2:6: COPY needs at least one source and a destination
          |
        2 | COPY only-one
          |      ^^^^^^^^ expected: COPY source… destination
        ");
        insta::assert_snapshot!(about(host, "RUN echo\n"), @r"
        ch07: Dockerfile:1:1: RUN before the first FROM
          |
        1 | RUN echo
          | ^^^ only ARG may stand here
        ");
    });
}

#[test]
fn of_the_engine() {
    host(|host| {
        host.load_image();
        let run = |args: &[&str], code: i32| {
            let mut command = host.minidocker(["run", "--rm", "--name", "box", "--network", "none"]);
            complaint(&command.args(args).assert().code(code))
        };
        insta::assert_snapshot!(run(&["suite", "nope"], 127), @r#"minidocker: cannot start box: exec "nope": executable file not found in $PATH"#);
        insta::assert_snapshot!(run(&["-u", "nope", "suite", "true"], 125), @"minidocker: cannot start box: unable to find user nope: no matching entries in passwd file");
        insta::assert_snapshot!(run(&["-m", "1k", "suite", "true"], 125), @"minidocker: --memory 1024: the minimum is 6m (6291456 bytes)");
        let gone = complaint(&host.minidocker(["rm", "nope"]).assert().code(1));
        insta::assert_snapshot!(gone, @"minidocker: no such container: nope (minidocker ps -a lists them)");
    });
}

#[test]
fn of_chapters() {
    host(|host| {
        let plain = complaint(&host.chapter(1, ["run", "/etc/passwd"]).assert().code(126));
        insta::assert_snapshot!(plain, @"ch01: exec /etc/passwd: permission denied (it has no execute permission; chmod +x it)");
        let root = complaint(&host.chapter(3, ["run", "--rootfs", "/nope", "true"]).assert().code(125));
        insta::assert_snapshot!(root, @"ch03: look for the root /nope: No such file or directory");
    });
}

#[test]
fn tables_have_dockers_columns() {
    host(|host| {
        let list = text(&host.minidocker(["ps", "-a"]).assert().success());
        insta::assert_snapshot!(list, @"CONTAINER ID   IMAGE   COMMAND   CREATED   STATUS   PORTS   NAMES");
    });
}
