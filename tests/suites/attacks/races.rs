//! Names that change their meaning between a check and its use.

use std::fs;

use suite::canary::SECRET;
use suite::container::{detached, wait_for_log};
use suite::host;

use super::trap::{ROOTED, Trap, link};
use crate::expect::text;

/// CVE-2021-30465: one container exchanges a directory of a shared volume with a link, again and again, while another that
/// mounts something below it is started.
#[test]
fn a_volumes_directory_is_exchanged_while_it_is_mounted_on() {
    host(|host| {
        let canary = host.canary();
        let outside = canary.directory().to_owned();
        let (shared, source) = (host.work().join("shared"), host.work().join("source"));
        fs::create_dir_all(shared.join("place")).expect("make directories");
        fs::create_dir_all(source.join("mine")).expect("make directories");
        link(&shared, "link", &outside);
        let volume = format!("{}:/shared", shared.display());
        // The attacker has the volume, and the two names in it.
        let exchange = ["payload", "exchange", "/shared/place", "/shared/link"];
        detached(host, "attacker", &["-v", &volume], &exchange);
        wait_for_log(host, "attacker", "ready");
        let below = format!("{}:/shared/place/below", source.display());
        for subject in ROOTED {
            let trap = Trap::set(host, subject, |_| {});
            for _ in 0..12 {
                let script = "ls /shared/place/ /shared/place/below; cat /shared/place/secret /shared/link/secret";
                // Refused, or mounted inside: never outside.
                let said = trap.run(&["-v", &volume, "-v", &below], &["sh", "-c", script]).assert();
                assert!(!text(&said).contains(SECRET), "{subject:?}: {}", text(&said));
                canary.is_unharmed();
            }
        }
        host.minidocker(["rm", "-f", "attacker"]).assert().success();
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mount table");
        assert!(!mounts.contains("/shared") && !mounts.contains("/outside"), "{mounts}");
    });
}

/// CVE-2018-15664, for the working directory: it is exchanged with a link while it is made and entered by `exec`.
#[test]
fn the_working_directory_is_exchanged_while_it_is_entered() {
    host(|host| {
        let canary = host.canary();
        // Made inside: an overlay does not rename a directory that is of the image.
        let outside = canary.directory().display();
        let exchange = format!("mkdir /place; ln -s {outside} /link; exec payload exchange /place /link");
        detached(host, "attacker", &[], &["sh", "-c", &exchange]);
        wait_for_log(host, "attacker", "ready");
        for _ in 0..30 {
            let script = "cat secret ../secret; true";
            let said = host.minidocker(["exec", "-w", "/place/new", "attacker", "sh", "-c", script]).assert();
            assert!(!text(&said).contains(SECRET), "{}", text(&said));
        }
        host.minidocker(["rm", "-f", "attacker"]).assert().success();
        canary.is_unharmed();
    });
}
