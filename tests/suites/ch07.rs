//! Chapter 7: images from a Dockerfile. `build` holds the engine to the same.

use std::fs;
use std::path::PathBuf;

use predicates::prelude::*;
use suite::{Host, host};

use crate::expect::{complaint, text};

/// A context with these files.
pub fn context(host: &Host, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let directory = host.work().join(name);
    for (file, content) in files {
        let path = directory.join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
        fs::write(path, content).expect("write a file");
    }
    directory
}

/// `ch07 build -t TAG ARGS… CONTEXT`
fn build(host: &Host, tag: &str, args: &[&str], context: &PathBuf) -> assert_cmd::Command {
    host.load_image_for_chapters();
    let mut command = host.chapter(7, ["build", "-t", tag]);
    command.args(args).arg(context);
    command
}

fn run(host: &Host, tag: &str, args: &[&str]) -> String {
    text(&host.chapter(6, ["run", "--network", "none", tag]).args(args).assert().success())
}

#[test]
fn help_explains() {
    host(|host| {
        let help = text(&host.chapter(7, ["build", "--help"]).assert().success());
        for flag in ["--tag", "--file", "--build-arg", "--target", "--no-cache"] {
            assert!(help.contains(flag), "{flag} is not in\n{help}");
        }
    });
}

#[test]
fn every_instruction_does_its_work() {
    host(|host| {
        let dockerfile = "\
ARG BASE=suite
FROM $BASE
LABEL who=\"the suite\" what=test
ENV GREETING=hello NAME='the world'
ARG EXTRA=none
WORKDIR /app
WORKDIR deep
COPY one.txt two.txt ./
COPY --chown=1234:4321 dir /app/dir
ADD archive.tar /app/unpacked
RUN echo \"$GREETING, $NAME ($EXTRA)\" > said && \\
    # a comment within
    cat one.txt >> said
RUN [\"/bin/sh\", \"-c\", \"id -u > /app/who\"]
USER user
RUN id -un > /tmp/user
EXPOSE 80 53/udp
ENTRYPOINT [\"cat\"]
CMD [\"/app/deep/said\"]
";
        let files = [("Dockerfile", dockerfile), ("one.txt", "1\n"), ("two.txt", "2\n"), ("dir/in/file", "in\n")];
        let context = context(host, "context", &files);
        fs::write(context.join("archive.tar"), suite::image::tar_with(&[("from/tar", "tar\n")])).expect("write a file");
        build(host, "all", &["--build-arg", "EXTRA=more"], &context).assert().success();
        assert_eq!(run(host, "all", &[]), "hello, the world (more)\n1");
        assert_eq!(run(host, "all", &["/app/who", "/tmp/user", "/app/unpacked/from/tar"]), "0\nuser\ntar");
        let script = "pwd; ls; stat -c '%u:%g' /app/dir/in/file; echo $GREETING";
        let said = text(
            &host
                .chapter(6, ["run", "--network", "none", "--entrypoint", "sh", "all", "-c", script])
                .assert()
                .success(),
        );
        assert_eq!(said, "/app/deep\none.txt\nsaid\ntwo.txt\n1234:4321\nhello");
        let inspect = text(&host.chapter(6, ["inspect", "all"]).assert().success());
        let inspect: serde_json::Value = serde_json::from_str(&inspect).expect("JSON");
        let config = &inspect[0]["Config"];
        assert_eq!(config["Labels"]["who"], "the suite");
        assert!(config["ExposedPorts"]["53/udp"].is_object(), "{config}");
        assert_eq!(config["User"], "user");
    });
}

#[test]
fn the_second_time_nothing_is_done() {
    host(|host| {
        // A step that never gives the same twice shows whether it was done.
        let dockerfile = "FROM suite\nCOPY file /file\nRUN cat /proc/sys/kernel/random/uuid > /once\n";
        let context = context(host, "context", &[("Dockerfile", dockerfile), ("file", "one\n")]);
        build(host, "first", &[], &context).assert().success();
        build(host, "second", &[], &context).assert().success();
        assert_eq!(run(host, "first", &["cat", "/once"]), run(host, "second", &["cat", "/once"]));
        // A touched file is the same file, a changed one is not.
        fs::write(context.join("file"), "one\n").expect("write a file");
        build(host, "third", &[], &context).assert().success();
        assert_eq!(run(host, "first", &["cat", "/once"]), run(host, "third", &["cat", "/once"]));
        fs::write(context.join("file"), "two\n").expect("write a file");
        build(host, "fourth", &[], &context).assert().success();
        assert_ne!(run(host, "first", &["cat", "/once"]), run(host, "fourth", &["cat", "/once"]));
        build(host, "fifth", &["--no-cache"], &context).assert().success();
        assert_ne!(run(host, "fourth", &["cat", "/once"]), run(host, "fifth", &["cat", "/once"]));
    });
}

#[test]
fn stages_and_targets() {
    host(|host| {
        let dockerfile = "\
FROM suite AS one
RUN echo made > /made
FROM suite AS never
RUN false
FROM suite AS last
COPY --from=one /made /taken
COPY --from=0 /made /by-number
";
        let context = context(host, "context", &[("Dockerfile", dockerfile)]);
        build(host, "last", &[], &context).assert().success();
        assert_eq!(run(host, "last", &["cat", "/taken", "/by-number"]), "made\nmade");
        build(host, "one", &["--target", "one"], &context).assert().success();
        assert_eq!(run(host, "one", &["cat", "/made"]), "made");
        build(host, "never", &["--target", "never"], &context).assert().failure();
    });
}

#[test]
fn the_context_is_what_dockerignore_leaves_and_no_more() {
    host(|host| {
        let files = [
            ("Dockerfile", "FROM suite\nCOPY . /all/\n"),
            (".dockerignore", "*.log\n!keep.log\nsecret\n**/deep\n"),
            ("a.log", ""),
            ("keep.log", ""),
            ("secret/key", ""),
            ("x/deep/y", ""),
            ("x/z", ""),
        ];
        let directory = context(host, "context", &files);
        build(host, "ignored", &[], &directory).assert().success();
        let found = run(host, "ignored", &["sh", "-c", "cd /all && find . -type f | sort"]);
        assert_eq!(found, "./.dockerignore\n./Dockerfile\n./keep.log\n./x/z");
        // Out of the context there is nothing, by name or by link.
        fs::write(host.work().join("outside"), "secret\n").expect("write a file");
        std::os::unix::fs::symlink("../outside", directory.join("link")).expect("make a link");
        for source in ["../outside", "/../outside", "link"] {
            fs::write(directory.join("Dockerfile"), format!("FROM suite\nCOPY {source} /stolen\n")).expect("write");
            let built = build(host, "stolen", &[], &directory).output().expect("run it");
            if built.status.success() {
                let stolen =
                    host.chapter(6, ["run", "--network", "none", "stolen", "cat", "/stolen"]).output().expect("run");
                assert!(!String::from_utf8_lossy(&stolen.stdout).contains("secret"), "{source}");
            }
        }
    });
}

#[test]
fn mistakes_are_shown_where_they_are() {
    host(|host| {
        let cases = [
            ("FROM suite\nRUM echo\n", "2"),
            ("RUN echo\n", "FROM"),
            ("FROM suite\nCOPY only-one\n", "2"),
            ("FROM suite\nENV\n", "2"),
            ("FROM no/such:image\n", "no/such"),
            ("FROM suite\nCOPY missing /x\n", "missing"),
            ("FROM suite\nRUN exit 3\n", "3"),
            ("", "Dockerfile"),
            ("\u{7f}ELF\u{0}\u{1} this is not a Dockerfile", "1"),
        ];
        for (text, word) in cases {
            let directory = context(host, "context", &[("Dockerfile", text)]);
            let assert = build(host, "wrong", &[], &directory).assert().code(1);
            let said = complaint(&assert);
            assert!(said.contains(word) && !said.contains("panicked"), "{text:?}: {said}");
        }
        let empty = host.work().join("empty");
        fs::create_dir(&empty).expect("make a directory");
        let said = complaint(&build(host, "wrong", &[], &empty).assert().code(1));
        assert!(said.contains("Dockerfile"), "{said}");
        host.chapter(6, ["images"]).assert().success().stdout(predicate::str::contains("wrong").not());
    });
}
