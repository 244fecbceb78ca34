//! `minidocker build`. Every instruction is in `ch07`; here it is the engine's.

use suite::host;

use crate::ch07::context;
use crate::expect::text;

#[test]
fn built_it_runs_and_is_built_again_from_the_cache() {
    host(|host| {
        host.load_image();
        let dockerfile = "FROM suite\nCOPY page /page\nRUN cat /proc/sys/kernel/random/uuid > /once && id -u\nCMD [\"cat\", \"/page\", \"/once\"]\n";
        let directory = context(host, "context", &[("Dockerfile", dockerfile), ("page", "a page\n")]);
        let build = || host.minidocker(["build", "-t", "mine"]).arg(&directory).assert().success();
        build();
        let first = text(&host.minidocker(["run", "--rm", "--network", "none", "mine"]).assert().success());
        assert!(first.starts_with("a page\n"), "{first}");
        build();
        let second = text(&host.minidocker(["run", "--rm", "--network", "none", "mine"]).assert().success());
        assert_eq!(first, second);
    });
}

#[test]
fn a_step_has_the_privileges_of_a_container() {
    host(|host| {
        host.load_image();
        let dockerfile = "FROM suite\nRUN payload privileges > /privileges\n";
        let directory = context(host, "context", &[("Dockerfile", dockerfile)]);
        host.minidocker(["build", "-t", "mine"]).arg(&directory).assert().success();
        let said = text(
            &host.minidocker(["run", "--rm", "--network", "none", "mine", "cat", "/privileges"]).assert().success(),
        );
        assert!(said.contains("CapEff: 00000000a80425fb") && said.contains("Seccomp: 2"), "{said}");
    });
}

#[test]
fn the_id_alone_is_printed_when_asked() {
    host(|host| {
        host.load_image();
        let directory = context(host, "context", &[("Dockerfile", "FROM suite\nENV A=b\n")]);
        let said = text(&host.minidocker(["build", "-q"]).arg(&directory).assert().success());
        assert!(said.starts_with("sha256:") && said.lines().count() == 1, "{said}");
        host.minidocker(["run", "--rm", "--network", "none", &said, "sh", "-c", "echo $A"])
            .assert()
            .success()
            .stdout("b\n");
    });
}
