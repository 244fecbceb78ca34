//! Chapter 6: images, from registries and archives.

use std::collections::BTreeMap;
use std::fs;

use predicates::prelude::*;
use serde_json::{Value, json};
use suite::image::{Image, gzip, tar_with};
use suite::liar::{Answer, Liar, registry};
use suite::registry::Registry;
use suite::{Host, host};

use crate::expect::{complaint, refused, text};

#[test]
fn help_explains() {
    host(|host| {
        let help = text(&host.chapter(6, ["--help"]).assert().success());
        for word in ["pull", "push", "images", "inspect", "save", "load", "run"] {
            assert!(help.contains(word), "{word} is not in\n{help}");
        }
    });
}

#[test]
fn an_image_is_pulled_and_run() {
    host(|host| {
        let registry = Registry::start(host);
        let image = registry.push(host, &host.image_archive(), "team/suite:1");
        host.chapter(6, ["pull", &image]).assert().success();
        host.chapter(6, ["images"]).assert().success().stdout(predicate::str::contains("team/suite"));
        host.chapter(6, ["run", "--network", "none", &image, "sh", "-c", "cat /etc/suite-release; echo $FROM_IMAGE"])
            .assert()
            .success()
            .stdout("a system for tests\nyes\n");
    });
}

#[test]
fn layers_go_to_a_registry_and_come_back_the_same() {
    host(|host| {
        let registry = Registry::start(host);
        host.chapter(6, ["load", "-i"]).arg(host.image_archive()).assert().success();
        let name = format!("{}/pushed:2", registry.address);
        host.chapter(6, ["tag", "suite", &name]).assert().success();
        host.chapter(6, ["push", &name]).assert().success();
        let seen = text(
            &host.tool("skopeo", ["inspect", "--tls-verify=false", &format!("docker://{name}")]).assert().success(),
        );
        let seen: Value = serde_json::from_str(&seen).expect("JSON");
        let id = |name: &str| -> Value {
            let all: Value =
                serde_json::from_str(&text(&host.chapter(6, ["inspect", name]).assert().success())).expect("JSON");
            all[0].clone()
        };
        let before = id("suite");
        host.chapter(6, ["rmi", "--force", "suite"]).assert().success();
        host.chapter(6, ["pull", &name]).assert().success();
        assert_eq!(id(&name)["Id"], before["Id"]);
        assert_eq!(seen["Architecture"], before["Architecture"]);
    });
}

#[test]
fn layers_compressed_by_zstd_come_from_a_registry_and_go_back() {
    host(|host| {
        let registry = Registry::start(host);
        let name = format!("{}/small:zstd", registry.address);
        let archive = format!("docker-archive:{}", host.image_archive().display());
        host.tool("skopeo", ["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"])
            .args(["--format", "oci", "--dest-compress-format", "zstd", &archive, &format!("docker://{name}")])
            .assert()
            .success();
        let manifest = |name: &str| {
            let source = format!("docker://{name}");
            text(&host.tool("skopeo", ["inspect", "--raw", "--tls-verify=false", &source]).assert().success())
        };
        let theirs = manifest(&name);
        assert!(theirs.contains("tar+zstd"), "{theirs}");
        host.chapter(6, ["pull", &name]).assert().success();
        host.chapter(6, ["run", "--network", "none", &name, "cat", "/etc/suite-release"])
            .assert()
            .success()
            .stdout("a system for tests\n");
        let pushed = format!("{}/pushed:zstd", registry.address);
        host.chapter(6, ["tag", &name, &pushed]).assert().success();
        host.chapter(6, ["push", &pushed]).assert().success();
        assert_eq!(manifest(&pushed), theirs, "blobs go as they came");
    });
}

#[test]
fn other_programs_read_our_archive_and_our_store() {
    host(|host| {
        host.chapter(6, ["load", "-i"]).arg(host.image_archive()).assert().success();
        let archive = host.work().join("saved.tar");
        host.chapter(6, ["save", "-o"]).arg(&archive).arg("suite").assert().success();
        for kind in ["docker-archive", "oci-archive"] {
            host.tool("skopeo", ["inspect", &format!("{kind}:{}", archive.display())])
                .assert()
                .success()
                .stdout(predicate::str::contains("FROM_IMAGE=yes"));
        }
        let layout = format!("{}/images", host.root().display());
        host.tool("umoci", ["ls", "--layout", &layout]).assert().success().stdout(predicate::str::contains("suite"));
    });
}

#[test]
fn an_archive_of_another_program_is_loaded() {
    host(|host| {
        let source = format!("docker-archive:{}", host.image_archive().display());
        for (number, kind) in ["docker-archive", "oci-archive"].into_iter().enumerate() {
            let file = host.work().join(format!("{kind}.tar"));
            let target = format!("{kind}:{}:other/name:{number}", file.display());
            host.tool("skopeo", ["copy", "--quiet", "--insecure-policy", &source, &target]).assert().success();
            host.chapter(6, ["load", "-i"]).arg(&file).assert().success().stdout(predicate::str::contains("Loaded"));
        }
        host.chapter(6, ["run", "--network", "none", "other/name:0", "true"]).assert().success();
    });
}

#[test]
fn the_process_is_what_config_and_words_make_it() {
    host(|host| {
        let cases: &[(Value, Value, &[&str], &str)] = &[
            (Value::Null, json!(["echo", "cmd"]), &[], "cmd"),
            (Value::Null, json!(["echo", "cmd"]), &["echo", "mine"], "mine"),
            (json!(["echo", "entry"]), Value::Null, &[], "entry"),
            (json!(["echo", "entry"]), json!(["cmd"]), &[], "entry cmd"),
            (json!(["echo", "entry"]), json!(["cmd"]), &["mine"], "entry mine"),
        ];
        for (number, (entrypoint, cmd, words, expected)) in cases.iter().enumerate() {
            let name = format!("case:{number}");
            let image = Image::system(host).set("Entrypoint", entrypoint.clone()).set("Cmd", cmd.clone());
            let path = host.work().join("case.tar");
            image.archive(&path, &name);
            host.chapter(6, ["load", "-i"]).arg(&path).assert().success();
            let said = text(&host.chapter(6, ["run", "--network", "none", &name]).args(*words).assert().success());
            assert_eq!(said, *expected);
        }
        let image = Image::system(host).set("User", json!("user")).set("WorkingDir", json!("/var/www"));
        let path = host.work().join("user.tar");
        image.archive(&path, "user:1");
        host.chapter(6, ["load", "-i"]).arg(&path).assert().success();
        let script = "id -u; id -g; id -G; pwd; echo $HOME";
        host.chapter(6, ["run", "--network", "none", "user:1", "sh", "-c", script])
            .assert()
            .success()
            .stdout("1234\n1234\n1234 4321\n/var/www\n/home/user\n");
        host.chapter(6, ["run", "--network", "none", "--user", "7:8", "user:1", "sh", "-c", "id -u; id -g"])
            .assert()
            .success()
            .stdout("7\n8\n");
    });
}

#[test]
fn a_platform_is_chosen_from_an_index() {
    host(|host| {
        let blobs = Image::system(host).blobs();
        let mut script = registry("many", "unused", &blobs);
        let mut ours = blobs.manifest.clone();
        let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        ours["platform"] = json!({ "os": "linux", "architecture": own });
        let mut other = blobs.config.clone();
        other["mediaType"] = blobs.manifest["mediaType"].clone();
        other["platform"] = json!({ "os": "linux", "architecture": "s390x" });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [other, ours],
        });
        let headers = vec![("Content-Type".to_owned(), "application/vnd.oci.image.index.v1+json".to_owned())];
        script
            .insert("/v2/many/manifests/latest".to_owned(), Answer::Say(200, headers, index.to_string().into_bytes()));
        let liar = Liar::start(script);
        let name = format!("{}/many", liar.address);
        host.chapter(6, ["pull", &name]).assert().success();
        host.chapter(6, ["run", "--network", "none", &name, "true"]).assert().success();
        refused_without_progress(host, &["pull", "--platform", "linux/riscv64", &name], &["riscv64"]);
    });
}

/// Progress goes to standard output; the error is one sentence.
fn refused_without_progress(host: &Host, args: &[&str], words: &[&str]) {
    refused(host.chapter(6, args).assert(), 125, words);
}

#[test]
fn a_lying_registry_is_not_believed() {
    host(|host| {
        let image = Image::system(host);
        let blobs = image.blobs();
        let layer = blobs.layers[0]["digest"].as_str().expect("a digest");
        let config = blobs.config["digest"].as_str().expect("a digest");
        let content = blobs.content(&blobs.layers[0]).to_vec();
        let mut flipped = content.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        let say = |body: Vec<u8>| Answer::Say(200, vec![], body);
        let path = |digest: &str| format!("/v2/lie/blobs/{digest}");
        let lies: Vec<(&str, String, Answer)> = vec![
            ("a flipped bit", path(layer), say(flipped)),
            ("another layer", path(layer), say(gzip(&tar_with(&[("evil", "evil")])))),
            ("too short", path(layer), say(content[..content.len() - 1].to_vec())),
            ("cut", path(layer), Answer::Cut(content.clone(), content.len() / 2)),
            ("another config", path(config), say(b"{}".to_vec())),
            ("no layer", path(layer), Answer::Say(404, vec![], b"{}".to_vec())),
            ("an endless config", path(config), Answer::Endless),
            ("a server error", path(layer), Answer::Say(500, vec![], b"oops".to_vec())),
            (
                "not a manifest",
                "/v2/lie/manifests/latest".to_owned(),
                Answer::Say(200, vec![("Content-Type".to_owned(), "text/html".to_owned())], b"<html>".to_vec()),
            ),
        ];
        for (number, (name, path, answer)) in lies.into_iter().enumerate() {
            // What an honest answer has brought into a store is not asked for again.
            let store = host.work().join(format!("store-{number}"));

            let mut script = registry("lie", "latest", &blobs);
            script.insert(path, answer);
            let liar = Liar::start(script);
            let name_there = format!("{}/lie", liar.address);
            let assert = host.chapter(6, ["pull", &name_there, "--store"]).arg(&store).assert();
            let said = complaint(&assert);
            assert_eq!(assert.get_output().status.code(), Some(125), "{name}: {said}");
            assert_eq!(said.lines().count(), 1, "{name}: {said}");
            host.chapter(6, ["images", "--store"])
                .arg(&store)
                .assert()
                .success()
                .stdout(predicate::str::contains("/lie").not());
        }
        // And an honest one after all of them.
        let liar = Liar::start(registry("lie", "latest", &blobs));
        host.chapter(6, ["pull", &format!("{}/lie", liar.address)]).assert().success();
    });
}

#[test]
fn a_stalled_registry_is_given_up() {
    host(|host| {
        let blobs = Image::system(host).blobs();
        let layer = blobs.layers[0]["digest"].as_str().expect("a digest");
        let mut script = registry("stall", "latest", &blobs);
        let content = blobs.content(&blobs.layers[0]).to_vec();
        script.insert(format!("/v2/stall/blobs/{layer}"), Answer::Stall(content, 100));
        let liar = Liar::start(script);
        let name = format!("{}/stall", liar.address);
        host.chapter(6, ["pull", "--timeout", "1", &name]).assert().code(125);
    });
}

#[test]
fn a_token_is_fetched_where_the_registry_says() {
    host(|host| {
        // A registry that wants a token, and the server that gives it, are two: the challenge names the second.
        let token = r#"{"token":"let-me-in"}"#.as_bytes().to_vec();
        let giver = Liar::start(BTreeMap::from([("/token".to_owned(), Answer::Say(200, vec![], token))]));
        let challenge =
            format!("Bearer realm=\"http://{}/token\",service=\"suite\",scope=\"repository:x:pull\"", giver.address);
        let headers = vec![("WWW-Authenticate".to_owned(), challenge)];
        let refusal = Answer::Say(401, headers, br#"{"errors":[{"code":"UNAUTHORIZED"}]}"#.to_vec());
        let keeper = Liar::start(BTreeMap::from([
            ("/v2/".to_owned(), refusal.clone()),
            ("/v2/x/manifests/latest".to_owned(), refusal),
        ]));
        host.chapter(6, ["pull", &format!("{}/x", keeper.address)]).assert().code(125);
        let asked = giver.requests();
        assert!(
            asked.iter().any(|line| line.starts_with("GET /token?") && line.contains("service=suite")),
            "{asked:?}"
        );
        let sent = keeper.requests();
        assert!(sent.iter().any(|line| line.to_lowercase() == "authorization: bearer let-me-in"), "{sent:?}");
    });
}

#[test]
fn bad_words_are_refused() {
    host(|host| {
        refused_without_progress(host, &["pull", "127.0.0.1:1/nobody/there"], &["127.0.0.1:1"]);
        let said = complaint(&host.chapter(6, ["pull", "UPPER/case"]).assert().code(125));
        assert!(said.contains("UPPER/case"), "{said}");
        refused_without_progress(host, &["inspect", "no-such"], &["no-such"]);
        let noise = host.work().join("noise.tar");
        fs::write(&noise, "no archive").expect("write a file");
        refused_without_progress(host, &["load", "-i", &noise.display().to_string()], &["noise.tar"]);
    });
}
