//! Block I/O: limits of one disk each, proved by how long a disk takes.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use suite::{Host, host, skip};

use super::payload;
use crate::expect::{refused, text};

/// A disk of ours: a loop device with a file in the scratch directory behind it. The kernel lets go of it when it is closed.
pub struct Disk {
    pub path: String,
    /// Its minor number; the major one is 7.
    minor: i32,
    _open: File,
}

impl Disk {
    /// `name` is that of the file behind it.
    pub fn new(host: &Host, name: &str, bytes: u64) -> Disk {
        // include/uapi/linux/loop.h
        const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
        const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
        const LO_FLAGS_AUTOCLEAR: u32 = 4;
        if !std::path::Path::new("/dev/loop-control").exists() {
            let _ = std::process::Command::new("modprobe").arg("loop").status();
        }
        let Ok(control) = OpenOptions::new().read(true).write(true).open("/dev/loop-control") else {
            skip("needs a loop device, and this kernel has none");
        };
        let file = host.work().join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(file).expect("make a file");
        file.set_len(bytes).expect("give it its size");
        // Others on this machine may take the free one before us.
        for _ in 0..100 {
            // SAFETY: LOOP_CTL_GET_FREE takes no argument and gives a number.
            let minor = Errno::result(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) });
            let minor = minor.expect("find a free loop device");
            let path = format!("/dev/loop{minor}");
            let Ok(open) = OpenOptions::new().read(true).write(true).open(&path) else { continue };
            // struct loop_config: fd, block_size, struct loop_info64 of 232 bytes with lo_flags at 52, eight reserved words.
            let mut config = [0u32; 76];
            config[0] = file.as_raw_fd() as u32;
            config[2 + 52 / 4] = LO_FLAGS_AUTOCLEAR;
            // SAFETY: LOOP_CONFIGURE reads one loop_config of 304 bytes, which all-zero is valid for.
            if Errno::result(unsafe { libc::ioctl(open.as_raw_fd(), LOOP_CONFIGURE, config.as_ptr()) }).is_ok() {
                return Disk { path, minor, _open: open };
            }
        }
        panic!("no loop device was to be had");
    }

    /// The rule that lets a container use it.
    pub fn rule(&self) -> String {
        format!("b 7:{} rw", self.minor)
    }

    /// How many milliseconds `ch02 run LIMIT payload disk …` takes.
    pub fn time(&self, host: &Host, limit: &[&str], direction: &str, blocks: &str) -> u64 {
        let rule = self.rule();
        let args = [&["--device-cgroup-rule", &rule], limit].concat();
        let said = text(&payload(host, &args, &["disk", direction, &self.path, blocks]).assert().success());
        said.strip_prefix("took ").and_then(|ms| ms.parse().ok()).unwrap_or_else(|| panic!("how long? {said}"))
    }
}

#[test]
fn a_disk_gives_no_more_bytes_per_second_than_allowed() {
    host(|host| {
        let disk = Disk::new(host, "disk", 16 << 20);
        let rate = format!("{}:1mb", disk.path);
        // Three megabytes at one a second; the kernel gives the first part of a second away.
        for (direction, flag) in [("write", "--device-write-bps"), ("read", "--device-read-bps")] {
            let free = disk.time(host, &[], direction, "768");
            let limited = disk.time(host, &[flag, &rate], direction, "768");
            assert!(limited >= 2000, "{direction}: {limited} ms, and {free} ms without a limit");
            // What is limited in one direction is not in the other: however slow the machine is, once it is faster than
            // the limit would let it be.
            let other = if direction == "write" { "read" } else { "write" };
            let fast = (0..10).any(|_| disk.time(host, &[flag, &rate], other, "768") < 1500);
            assert!(fast, "a limit on {direction} makes {other} slow as well");
        }
    });
}

#[test]
fn a_disk_does_no_more_operations_per_second_than_allowed() {
    host(|host| {
        let disk = Disk::new(host, "disk", 16 << 20);
        let rate = format!("{}:20", disk.path);
        for (direction, flag) in [("write", "--device-write-iops"), ("read", "--device-read-iops")] {
            let limited = disk.time(host, &[flag, &rate], direction, "60");
            assert!(limited >= 2000, "{direction}: {limited} ms");
        }
    });
}

#[test]
fn what_is_no_disk_is_refused() {
    host(|host| {
        let run = |flag: &str, value: &str| host.chapter(2, ["run", flag, value, "true"]).assert();
        refused(run("--device-read-bps", "/dev/null:1mb"), 125, &["--device-read-bps", "/dev/null"]);
        refused(run("--device-write-iops", "/dev/no-such-disk:5"), 125, &["/dev/no-such-disk"]);
        refused(run("--blkio-weight", "9"), 125, &["--blkio-weight 9", "from 10 to 1000"]);
        for (flag, value) in [
            ("--device-read-bps", "/etc/passwd:1mb"),
            ("--device-read-bps", "/dev/sda"),
            ("--device-read-iops", "/dev/sda:1mb"),
            ("--blkio-weight-device", "/dev/sda:5000"),
        ] {
            run(flag, value).code(125);
        }
    });
}
