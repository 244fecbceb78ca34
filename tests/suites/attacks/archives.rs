//! Archives and contexts that an engine takes from others: what is in them is unpacked, and read, by root.

use std::fs;
use std::path::Path;

use serde_json::json;
use suite::canary::SECRET;
use suite::image::{Image, concatenate, tar_entry, tar_with};
use suite::{Host, host};
use tar::EntryType;

use super::trap::link;
use crate::expect::text;

/// Loads an image whose topmost layer is this, and runs a command in it.
fn load_and_run(host: &Host, layer: Vec<u8>, argv: &[&str]) -> assert_cmd::assert::Assert {
    let archive = host.work().join("evil.tar");
    Image::system(host).layer(layer).archive(&archive, "evil:latest");
    let loaded = host.minidocker(["load", "-i"]).arg(&archive).assert();
    if !loaded.get_output().status.success() {
        return loaded;
    }
    let ran = host.minidocker(["run", "--rm", "--network", "none", "evil"]).args(argv).assert();
    host.minidocker(["rmi", "-f", "evil"]).assert().success();
    ran
}

/// CVE-2014-6407, CVE-2014-9356 and every unpacker's first: names of a layer lead out, plainly, through links, by hard links.
#[test]
fn names_in_a_layer_lead_out() {
    host(|host| {
        let canary = host.canary();
        let outside = canary.directory().display().to_string();
        let secret = format!("{outside}/secret");
        let deep = "../".repeat(12);
        let through = |target: &str, name: &str| {
            let (there, up) = (tar_entry(EntryType::Symlink, "there", target, b""), format!("there/{name}"));
            concatenate(&[there, tar_entry(EntryType::Regular, &up, "", b"evil")])
        };
        let linked = concatenate(&[
            tar_entry(EntryType::Link, "hard", &secret, b""),
            tar_entry(EntryType::Regular, "hard", "", b"evil"),
        ]);
        let cases = [
            tar_entry(EntryType::Regular, &format!("{deep}tmp/suite/work/outside/secret"), "", b"evil"),
            tar_entry(EntryType::Regular, &secret, "", b"evil"),
            through(&outside, "secret"),
            through(&format!("{deep}tmp/suite/work/outside"), "users"),
            linked,
            tar_entry(EntryType::Link, "hard", &format!("{deep}tmp/suite/work/outside/secret"), b""),
            tar_entry(EntryType::Directory, &format!("{deep}tmp/suite/work/outside/below"), "", b""),
        ];
        for (number, layer) in cases.into_iter().enumerate() {
            let said = load_and_run(host, layer, &["cat", "/hard", "/there/secret"]);
            assert!(!text(&said).contains(SECRET), "case {number}: {}", text(&said));
            canary.is_unharmed();
        }
    });
}

/// CVE-2014-6407 by whiteouts: what a layer deletes is outside, or is `..` or the root itself.
#[test]
fn whiteouts_in_a_layer_delete_outside() {
    host(|host| {
        let canary = host.canary();
        let outside = canary.directory().display().to_string();
        let deep = "../".repeat(12);
        let behind_a_link = concatenate(&[
            tar_entry(EntryType::Symlink, "there", &outside, b""),
            tar_entry(EntryType::Regular, "there/.wh.secret", "", b""),
            tar_entry(EntryType::Regular, "there/.wh..wh..opq", "", b""),
        ]);
        let cases = [
            tar_entry(EntryType::Regular, &format!("{deep}tmp/suite/work/outside/.wh.secret"), "", b""),
            tar_entry(EntryType::Regular, &format!("{outside}/.wh.secret"), "", b""),
            tar_entry(EntryType::Regular, ".wh...", "", b""),
            tar_entry(EntryType::Regular, ".wh..", "", b""),
            tar_entry(EntryType::Regular, "a/.wh...", "", b""),
            behind_a_link,
        ];
        for layer in cases {
            let _either = load_and_run(host, layer, &["true"]);
            canary.is_unharmed();
        }
    });
}

/// An archive's manifest names files of the host in the place of its own, by path or by a link in the archive.
#[test]
fn the_manifest_of_an_archive_names_the_hosts_files() {
    host(|host| {
        let canary = host.canary();
        let secret = canary.secret().display().to_string();
        let deep = format!("{}{}", "../".repeat(12), secret.trim_start_matches('/'));
        let manifest = |config: &str, layer: &str| {
            json!([{ "Config": config, "RepoTags": ["evil:latest"], "Layers": [layer] }]).to_string()
        };
        for (config, layer) in [(secret.as_str(), secret.as_str()), (&deep, &deep), ("config.json", "layer.tar")] {
            let links = [
                tar_entry(EntryType::Symlink, "config.json", &secret, b""),
                tar_entry(EntryType::Symlink, "layer.tar", &secret, b""),
                tar_entry(EntryType::Link, "other.json", &secret, b""),
            ];
            let whole = concatenate(&[concatenate(&links), tar_with(&[("manifest.json", &manifest(config, layer))])]);
            let archive = host.work().join("evil.tar");
            fs::write(&archive, whole).expect("write the archive");
            let refused = host.minidocker(["load", "-i"]).arg(&archive).assert().failure();
            assert!(!crate::expect::complaint(&refused).contains(SECRET), "{refused}");
            canary.is_unharmed();
        }
    });
}

/// The context of a build has links that lead out of it, and `COPY` and `ADD` follow them (CWE-59).
#[test]
fn a_link_in_a_builds_context_leads_out() {
    host(|host| {
        let canary = host.canary();
        host.load_image();
        for copy in [
            "COPY leak /leak",
            "ADD leak /leak",
            "COPY dir/secret /leak",
            "COPY dir/ /leak/",
            "COPY . /leak/",
            "COPY ../outside/secret /leak",
        ] {
            let dockerfile = format!("FROM suite\n{copy}\nRUN cat /leak /leak/* /leak/*/* 2>/dev/null; true\n");
            let context = crate::ch07::context(host, "context", &[("Dockerfile", &dockerfile)]);
            link(&context, "leak", canary.secret());
            link(&context, "dir", canary.directory());
            let built = host.minidocker(["build", "--no-cache", "-t", "leaky"]).arg(&context).assert();
            let said = format!("{}{}", text(&built), crate::expect::complaint(&built));
            assert!(!said.contains(SECRET), "{copy}: {said}");
            if built.get_output().status.success() {
                let words = ["run", "--rm", "--network", "none", "leaky", "sh", "-c", "cat /leak /leak/* /leak/*/*"];
                assert!(!text(&host.minidocker(words).assert()).contains(SECRET), "{copy}");
            }
            canary.is_unharmed();
        }
    });
}

/// A `RUN` leaves links where the builder goes on: `COPY` and `WORKDIR` write through them (CVE-2014-9356; in CVE-2024-23652
/// the builder removed a file of the host that way).
#[test]
fn a_build_writes_through_links_that_its_run_has_left() {
    host(|host| {
        let canary = host.canary();
        host.load_image();
        let outside = canary.directory().display().to_string();
        let up = format!("{}{}", "../".repeat(12), outside.trim_start_matches('/'));
        for target in [outside.as_str(), &up] {
            for after in [
                "COPY file /there/secret",
                "COPY file /there/",
                "ADD file /there/new/file",
                "WORKDIR /there/made",
                "COPY --chown=1:1 --chmod=777 file /there/users",
            ] {
                let dockerfile = format!("FROM suite\nRUN ln -s {target} /there\n{after}\nRUN true\n");
                let context = crate::ch07::context(host, "context", &[("Dockerfile", &dockerfile), ("file", "evil\n")]);
                let _either = host.minidocker(["build", "--no-cache", "-t", "leaky"]).arg(&context).assert();
                canary.is_unharmed();
            }
        }
    });
}

/// A `RUN` is a container as any: what it may not do in `run` it may not do in a build (CVE-2024-23653 gave a build more), and
/// what it leaves running ends.
#[test]
fn a_run_of_a_build_has_more_power_than_a_container() {
    host(|host| {
        let canary = host.canary();
        host.load_image();
        let script = "payload privileges; payload calls; payload open-for-writing /proc/sys/kernel/core_pattern /proc/sysrq-trigger; \
                      mknod /n b 7 0 && head -c 1 /n; head -c 1 /proc/kcore | wc -c; payload wait & sleep 0.1";
        let dockerfile = format!("FROM suite\nRUN {{ {script}; }} > /said 2>/dev/null\n");
        let context = crate::ch07::context(host, "context", &[("Dockerfile", &dockerfile)]);
        host.minidocker(["build", "-t", "said"]).arg(Path::new(&context)).assert().success();
        let said =
            text(&host.minidocker(["run", "--rm", "--network", "none", "said", "cat", "/said"]).assert().success());
        assert!(said.contains("CapEff: 00000000a80425fb") && said.contains("Seccomp: 2"), "{said}");
        assert!(said.contains("unshare_user EPERM") && said.contains("mount EPERM"), "{said}");
        assert!(!said.contains("core_pattern ok") && !said.contains("sysrq-trigger ok"), "{said}");
        canary.is_unharmed();
    });
}
