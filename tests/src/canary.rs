//! What must be the same after an attack: files beside the container's, and what the kernel keeps for the whole machine.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::Host;
use crate::image::digest;
use crate::program::UID;

/// The text that nobody inside a container may ever see.
pub const SECRET: &str = "a secret of the host";

/// Kernel parameters that are the whole machine's, whoever writes to them.
const KERNEL: &[&str] = &[
    "/proc/irq/default_smp_affinity",
    "/proc/sys/fs/file-max",
    "/proc/sys/fs/protected_hardlinks",
    "/proc/sys/fs/suid_dumpable",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/panic_on_oops",
    "/proc/sys/kernel/perf_event_paranoid",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/kernel/unprivileged_bpf_disabled",
    "/proc/sys/vm/mmap_min_addr",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/panic_on_oom",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/kernel/uevent_helper",
];

/// Files outside of every container, and how they and the kernel were when they were made.
///
/// (The process that must survive is the virtual host's own canary.)
pub struct Canary {
    directory: PathBuf,
    before: BTreeSet<String>,
}

impl Host {
    /// Makes the files, in `outside` below the scratch directory.
    pub fn canary(&self) -> Canary {
        let mut canary = Canary { directory: self.work().join("outside"), before: BTreeSet::new() };
        canary.plant();
        canary
    }
}

impl Canary {
    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A file in it that holds [`SECRET`], readable by root alone.
    pub fn secret(&self) -> PathBuf {
        self.directory.join("secret")
    }

    fn plant(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
        let file = |name: &str, text: &str, mode: u32| {
            let path = self.directory.join(name);
            fs::write(&path, text).expect("write a canary");
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set its mode");
        };
        fs::create_dir_all(self.directory.join("below")).expect("make the canary's directory");
        file("secret", SECRET, 0o600);
        file("program", "#!/bin/sh\necho the host\n", 0o755);
        file("passwd", "root:x:0:0:root:/root:/bin/sh\nonly-outside:x:4242:4242::/:/bin/sh\n", 0o644);
        file("group", "root:x:0:\nonly-outside:x:4242:\n", 0o644);
        file("users", "a user's\n", 0o640);
        file("below/deep", "deep\n", 0o600);
        std::os::unix::fs::chown(self.directory.join("users"), Some(UID), Some(UID)).expect("give it away");
        symlink("secret", self.directory.join("link")).expect("make a link");
        self.before = self.look();
    }

    /// Panics if anything has changed.
    #[track_caller]
    pub fn is_unharmed(&self) {
        let changes = self.changes();
        assert!(changes.is_empty(), "something outside has changed:\n{}", changes.join("\n"));
    }

    /// Does harm as an engine without the protection would, and panics unless that is noticed: a trap that cannot close proves
    /// nothing. Then all is as before.
    #[track_caller]
    pub fn notices(&mut self, harm: impl FnOnce()) {
        harm();
        assert!(!self.changes().is_empty(), "this harm is not noticed");
        self.plant();
    }

    fn changes(&self) -> Vec<String> {
        let now = self.look();
        let gone = self.before.difference(&now).map(|line| format!("- {line}"));
        gone.chain(now.difference(&self.before).map(|line| format!("+ {line}"))).collect()
    }

    fn look(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        look_at(&self.directory, &mut lines);
        for path in KERNEL {
            lines.extend(fs::read_to_string(path).map(|text| format!("{path} {}", text.trim())));
        }
        for entry in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let path = entry.path().join("release_agent");
            lines.extend(fs::read_to_string(&path).map(|text| format!("{} {}", path.display(), text.trim())));
        }
        lines
    }
}

/// A line for each file: all that a change of any kind would change, the time of the last change of its inode included.
fn look_at(path: &Path, lines: &mut BTreeSet<String>) {
    let Ok(it) = fs::symlink_metadata(path) else { return };
    let content = match it.file_type() {
        kind if kind.is_file() => fs::read(path).map_or_else(|error| error.to_string(), |bytes| digest(&bytes)),
        kind if kind.is_symlink() => fs::read_link(path).unwrap_or_default().display().to_string(),
        _ => String::new(),
    };
    lines.insert(format!(
        "{} {:o} {}:{} {} bytes, changed {}.{:09} {content}",
        path.display(),
        it.mode(),
        it.uid(),
        it.gid(),
        it.size(),
        it.ctime(),
        it.ctime_nsec(),
    ));
    if it.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            look_at(&entry.path(), lines);
        }
    }
}
