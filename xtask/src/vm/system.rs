//! What is in the virtual machine, and its first process.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::kernel::Kernel;
use super::newc::Writer;
use crate::{tools, workspace};

/// The programs of this workspace that go in. What is not built yet stays out.
const PROGRAMS: &[&str] =
    &["ch01", "ch02", "ch03", "ch04", "ch05", "ch06", "ch07", "minidocker", "payload", "virtual-host"];

/// The parts of `lib/modules/VERSION/kernel` that containers and their networks can ask for.
const MODULES: &[&str] = &[
    "net/",
    "lib/",
    "crypto/",
    "arch/x86/crypto/",
    "fs/overlayfs/",
    "fs/ext4/",
    "fs/jbd2/",
    "fs/mbcache",
    "fs/fuse/",
    "drivers/net/veth",
    "drivers/net/dummy",
    "drivers/net/tun",
    "drivers/block/loop",
    "drivers/block/zram/",
    "mm/zsmalloc",
];

/// The first process. pivot_root(2) refuses a root that has no parent mount, as the kernel's first one has none: so all moves
/// into a tmpfs before anything else. Output goes through a second serial line that the kernel does not write to.
const INIT: &str = r#"#!/bin/busybox sh
busybox=/bin/busybox
if ! $busybox test -e /moved; then
    $busybox mkdir -p /new /proc
    $busybox mount -t tmpfs -o size=80%,mode=755 tmpfs /new
    for name in bin dev etc lib lib64 root suite init sbin usr; do $busybox cp -a /$name /new/; done 2>/dev/null
    $busybox touch /new/moved
    exec $busybox switch_root /new /init
fi
$busybox mkdir -p /proc /sys /tmp /run /var/tmp /mnt /home
$busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
chmod 1777 /var/tmp
hostname vm
ip link set lo up
stty -F /dev/ttyS1 raw -echo
exec </dev/null >/dev/ttyS1 2>&1
sh /suite/command
echo "@@exit $?"
sync
poweroff -f
"#;

/// Writes the archive; gives back its path.
pub fn archive(kernel: &Kernel, suites: &Path, command: &str) -> Result<PathBuf> {
    let path = workspace::cache("vm")?.join("initramfs");
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let mut writer = Writer::new(BufWriter::new(file));
    for directory in
        ["bin", "sbin", "dev", "etc", "root", "suite", "suite/bin", "suite/bin/deps", "usr", "usr/bin", "usr/sbin"]
    {
        writer.directory(directory)?;
    }
    writer.device("dev/console", 5, 1)?;
    writer.file("init", 0o755, INIT.as_bytes())?;
    let busybox = tools::find("busybox").context("busybox is not installed (package busybox-static)")?;
    writer.file("bin/busybox", 0o755, &fs::read(busybox)?)?;
    // The kernel asks for modules by this path.
    writer.link("sbin/modprobe", "../bin/busybox")?;
    writer.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n")?;
    writer.file("etc/group", 0o644, b"root:x:0:\n")?;
    writer.file("etc/resolv.conf", 0o644, b"")?;
    writer.file("etc/hosts", 0o644, b"127.0.0.1 localhost\n")?;
    writer.file("etc/subuid", 0o644, b"")?;
    writer.file("etc/subgid", 0o644, b"")?;
    for program in ["newuidmap", "newgidmap"] {
        with_libraries(&mut writer, program)?;
    }
    writer.file("suite/command", 0o755, command.as_bytes())?;
    let bin = workspace::bin()?;
    for name in PROGRAMS {
        if bin.join(name).exists() {
            writer.file(&format!("suite/bin/{name}"), 0o755, &stripped(&bin.join(name))?)?;
        }
    }
    writer.file("suite/bin/deps/suites", 0o755, &stripped(suites)?)?;
    modules(&mut writer, kernel)?;
    writer.finish().context("write the archive")?;
    Ok(path)
}

/// A set-user-id program of this machine and the libraries that ldd(1) finds for it, at the same places; nothing if it is not
/// installed.
fn with_libraries(writer: &mut Writer<BufWriter<File>>, program: &str) -> Result<()> {
    let Some(path) = tools::find(program) else { return Ok(()) };
    writer.file(&format!("usr/bin/{program}"), 0o4755, &fs::read(&path)?)?;
    let listing = Command::new("ldd").arg(&path).output().context("start ldd")?;
    for library in String::from_utf8_lossy(&listing.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
        let mut name = String::new();
        for part in library.trim_start_matches('/').split('/') {
            if !name.is_empty() {
                writer.directory(&name)?; // to make it twice does no harm
                name.push('/');
            }
            name.push_str(part);
        }
        writer.file(&name, 0o755, &fs::read(library)?)?;
    }
    Ok(())
}

/// A program without what only a debugger reads: the machine's memory holds it twice.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let copy = workspace::cache("vm")?.join("stripped");
    let strip = Command::new("strip").arg("-o").arg(&copy).arg(program).status();
    let path = if strip.is_ok_and(|status| status.success()) { &copy } else { program };
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

fn modules(writer: &mut Writer<BufWriter<File>>, kernel: &Kernel) -> Result<()> {
    let top = format!("lib/modules/{}", kernel.version);
    let mut made = vec!["lib".to_owned(), "lib/modules".to_owned(), top.clone()];
    for directory in &made {
        writer.directory(directory)?;
    }
    for path in workspace::files(&kernel.modules)? {
        let inside = path.to_string_lossy();
        let wanted = match inside.strip_prefix("kernel/") {
            Some(module) => MODULES.iter().any(|part| module.starts_with(part)),
            None => inside.starts_with("modules."),
        };
        if !wanted {
            continue;
        }
        let name = format!("{top}/{inside}");
        for (end, _) in name.match_indices('/') {
            let directory = &name[..end];
            if !made.iter().any(|known| known == directory) {
                writer.directory(directory)?;
                made.push(directory.to_owned());
            }
        }
        writer.file(&name, 0o644, &fs::read(kernel.modules.join(&path))?)?;
    }
    Ok(())
}
