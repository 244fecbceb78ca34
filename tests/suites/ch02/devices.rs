//! Devices: what a node opens, whatever its name and mode are.

use suite::host;

use super::disk::Disk;
use super::payload;
use crate::expect::text;

#[test]
fn only_what_is_on_the_list_opens() {
    host(|host| {
        // Any node can be made, as image archives contain them; to open it is another matter.
        for (kind, major, minor, access, expected) in [
            ("c", "1", "3", "rw", "mknod ok, open ok"),       // null
            ("c", "1", "9", "r", "mknod ok, open ok"),        // urandom
            ("c", "1", "1", "r", "mknod ok, open EPERM"),     // mem
            ("c", "1", "11", "r", "mknod ok, open EPERM"),    // kmsg
            ("c", "10", "237", "rw", "mknod ok, open EPERM"), // loop-control
            ("b", "1", "3", "r", "mknod ok, open EPERM"),     // null's numbers, but a disk
        ] {
            let said = text(&payload(host, &[], &["node", "node", kind, major, minor, access]).assert().success());
            assert_eq!(said, expected, "{kind} {major}:{minor} {access}");
        }
    });
}

#[test]
fn a_rule_adds_one_device_for_one_use() {
    host(|host| {
        let disk = Disk::new(host, "disk", 1 << 20);
        let minor = disk.path.trim_start_matches("/dev/loop").to_owned();
        let open = |rules: &[&str], access: &str| {
            let args: Vec<&str> = rules.iter().flat_map(|rule| ["--device-cgroup-rule", *rule]).collect();
            text(&payload(host, &args, &["node", "node", "b", "7", &minor, access]).assert().success())
        };
        let (one, all) = (format!("b 7:{minor} r"), "b 7:* rw");
        assert_eq!(open(&[], "r"), "mknod ok, open EPERM");
        assert_eq!(open(&[&one], "r"), "mknod ok, open ok");
        assert_eq!(open(&[&one], "rw"), "mknod ok, open EPERM");
        assert_eq!(open(&[all], "rw"), "mknod ok, open ok");
        assert_eq!(open(&["c 7:* rw"], "r"), "mknod ok, open EPERM");
        assert_eq!(open(&["a 7:* rw"], "rw"), "mknod ok, open ok");
        // "Any kind" is not "any device", which is what v1 takes "a" for.
        let args = ["--device-cgroup-rule", "a 7:* rw"];
        let said = text(&payload(host, &args, &["node", "node", "c", "1", "11", "r"]).assert().success());
        assert_eq!(said, "mknod ok, open EPERM");
    });
}
