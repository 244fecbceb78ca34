//! A root directory: busybox, the payload, and the files that a small system has.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::Host;
use crate::host::skip;

/// The applets that suites use.
const APPLETS: &[&str] = &[
    "ash", "awk", "basename", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "echo", "env", "expr", "false",
    "find", "free", "grep", "head", "hostname", "httpd", "id", "ifconfig", "ip", "kill", "ln", "ls", "mkdir", "mknod",
    "mount", "mv", "nc", "nslookup", "ping", "ps", "pwd", "readlink", "rm", "rmdir", "route", "sed", "seq", "sh",
    "sleep", "sort", "stat", "sync", "tail", "tar", "test", "touch", "tr", "true", "tty", "umount", "uname", "vi",
    "wc", "wget", "which", "whoami", "yes",
];

impl Host {
    /// A root directory `NAME` in the scratch directory, made the first time that it is asked for.
    pub fn rootfs(&self, name: &str) -> PathBuf {
        let root = self.work().join(name);
        if !root.exists() {
            fill(&root, &self.bin("payload"));
        }
        root
    }
}

/// Where the machine keeps a busybox that needs no library.
fn busybox() -> PathBuf {
    ["/bin/busybox-static", "/bin/busybox", "/usr/bin/busybox"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| skip("needs busybox-static, which is not installed"))
}

/// Makes the system below `root`.
pub fn fill(root: &Path, payload: &Path) {
    for directory in ["bin", "dev", "etc", "home/user", "proc", "root", "sys", "tmp", "var/www"] {
        fs::create_dir_all(root.join(directory)).expect("make a directory");
    }
    mode(&root.join("tmp"), 0o1777);
    fs::copy(busybox(), root.join("bin/busybox")).expect("copy busybox");
    fs::copy(payload, root.join("bin/payload")).expect("copy the payload");
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).expect("link an applet");
    }
    write(root, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1234:1234::/home/user:/bin/sh\n");
    write(root, "etc/group", "root:x:0:\nuser:x:1234:\nextra:x:4321:user\n");
    write(root, "etc/suite-release", "a system for tests\n");
    write(root, "var/www/index.html", "hello from the container\n");
    // What cannot be executed, in the ways that users meet.
    write(root, "bin/not-executable", "#!/bin/sh\necho never\n");
    write(root, "bin/carriage-return", "#!/bin/sh\r\necho never\r\n");
    write(root, "bin/no-interpreter", "#!/no/such/shell\necho never\n");
    write(root, "bin/script", "#!/bin/sh\necho \"script says $*\"\n");
    for script in ["carriage-return", "no-interpreter", "script"] {
        mode(&root.join("bin").join(script), 0o755);
    }
}

fn write(root: &Path, path: &str, text: &str) {
    fs::write(root.join(path), text).unwrap_or_else(|error| panic!("write {path}: {error}"));
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set a mode");
}
