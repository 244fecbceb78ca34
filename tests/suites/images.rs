//! The engine's images: what `ch06` does, under Docker's names.

use std::path::Path;

use predicates::prelude::*;
use serde_json::json;
use suite::host;
use suite::image::Image;
use suite::registry::Registry;

use crate::expect::{complaint, text};

#[test]
fn pulled_from_a_real_registry_it_runs() {
    host(|host| {
        let registry = Registry::start(host);
        let name = registry.push(host, &host.image_archive(), "team/suite:1");
        host.minidocker(["pull", &name]).assert().success();
        host.minidocker(["run", "--rm", "--network", "none", &name, "cat", "/etc/suite-release"])
            .assert()
            .success()
            .stdout("a system for tests\n");
        host.minidocker(["rmi", &name]).assert().success();
        // And once more without having been asked to.
        host.minidocker(["run", "--rm", "--network", "none", &name, "true"]).assert().success();
    });
}

#[test]
fn a_whole_distribution_is_pulled_and_runs() {
    host(|host| {
        let tar = Path::new("/tmp/suite/bin/debian.tar");
        if !tar.exists() {
            suite::skip("no Debian has been made (cargo x test makes one by mmdebstrap where it can)");
        }
        let image = Image {
            layers: vec![std::fs::read(tar).expect("the tar")],
            config: json!({ "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["bash"] }),
        };
        let archive = host.work().join("debian.tar");
        image.archive(&archive, "debian:latest");
        let registry = Registry::start(host);
        let name = registry.push(host, &archive, "library/debian:small");
        std::fs::remove_file(&archive).expect("make room");
        host.minidocker(["pull", &name]).assert().success();
        let run = |words: &[&str]| host.minidocker(["run", "--rm", &name]).args(words).assert().success();
        run(&["apt", "--version"]).stdout(predicate::str::starts_with("apt "));
        run(&["sh", "-c", "ls -l /usr/bin/su && id -u && getent hosts localhost && dpkg -l | wc -l"]);
    });
}

#[test]
fn names_and_ids() {
    host(|host| {
        host.load_image();
        let rows = text(&host.minidocker(["images"]).assert().success());
        let header: Vec<&str> =
            rows.lines().next().expect("a header").split("  ").filter(|word| !word.is_empty()).collect();
        assert_eq!(
            header.iter().map(|word| word.trim()).collect::<Vec<_>>(),
            ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]
        );
        assert!(rows.lines().nth(1).expect("a row").starts_with("suite "), "{rows}");
        let id = text(&host.minidocker(["images", "-q"]).assert().success());
        assert_eq!(id.len(), 12);
        host.minidocker(["tag", "suite", "other:2"]).assert().success();
        for name in ["other:2", &id, &id[..6]] {
            host.minidocker(["run", "--rm", "--network", "none", name, "true"]).assert().success();
        }
        let said = text(&host.minidocker(["rmi", "other:2"]).assert().success());
        assert_eq!(said, "Untagged: other:2");
        let said = text(&host.minidocker(["rmi", "suite"]).assert().success());
        assert!(said.starts_with("Untagged: suite:latest\n") && said.contains("Deleted: sha256:"), "{said}");
        host.minidocker(["images", "-q"]).assert().success().stdout("");
    });
}

#[test]
fn what_a_container_uses_is_not_removed() {
    host(|host| {
        suite::container::detached(host, "user", &[], &["true"]);
        let said = complaint(&host.minidocker(["rmi", "suite"]).assert().code(1));
        assert!(said.contains("container"), "{said}");
        host.minidocker(["rm", "-f", "user"]).assert().success();
        host.minidocker(["rmi", "suite"]).assert().success();
    });
}

#[test]
fn saved_and_loaded_it_is_the_same() {
    host(|host| {
        host.load_image();
        let id = text(&host.minidocker(["images", "-q"]).assert().success());
        let file = host.work().join("saved.tar");
        host.minidocker(["save", "-o"]).arg(&file).arg("suite").assert().success();
        let piped = host.minidocker(["save", "suite"]).output().expect("save").stdout;
        assert!(!piped.is_empty());
        host.minidocker(["rmi", "suite"]).assert().success();
        host.minidocker(["load"]).write_stdin(piped).assert().success().stdout(predicate::str::contains("suite"));
        assert_eq!(text(&host.minidocker(["images", "-q"]).assert().success()), id);
        host.tool("skopeo", ["inspect", &format!("docker-archive:{}", file.display())]).assert().success();
    });
}
