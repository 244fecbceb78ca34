//! The overlay mount: read-only layers below, one writable directory on top, seen as one tree.
//!
//! A file that is written to is first copied from the layer that has it into `upperdir` (copy-up); a file that is removed
//! leaves a whiteout there. The layers stay as they are, whoever uses them: that is how a hundred containers share one image
//! (`Documentation/filesystems/overlayfs.rst` of the kernel).

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat, statfs};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen, open_tree,
};

use crate::older::{by_mount, knows_lowerdir_plus};
use crate::privilege::OverlayXattrs;

/// `statfs(2)`'s `f_type` of an overlay.
const OVERLAYFS_MAGIC: u64 = 0x794c_7630;

/// Overlayfs stacks so many layers (`OVL_MAX_STACK`). Docker's overlay2 stops at 128.
const MAX_LAYERS: usize = 500;

/// A string given to `fsconfig(2)` may be this long, without its NUL.
const MAX_VALUE: usize = 255;

/// The writable part of an overlay: two directories of one file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upper {
    /// Where changes go.
    pub upper: PathBuf,
    /// Where the kernel prepares them; empty, and nobody else's business.
    pub work: PathBuf,
    /// Never wait for the disk (`volatile`). Faster, and after a crash the upper directory is not to be trusted: the kernel
    /// then refuses to mount it again until `work/incompat` is removed. For what is thrown away at its end.
    pub volatile: bool,
}

/// Mounts `lower`, the base first, under `upper`, attached nowhere: `move_mount(2)` puts it somewhere.
///
/// Call it in the mount namespace in which the result will be used, with mounts already private. Without `upper` the result
/// is read-only. No lower layer at all, or one alone without an upper, needs no overlay: the directory itself is cloned.
///
/// # Errors
/// If the kernel refuses, its own words are in the error, and the way out where we know one.
pub fn mount_overlay(lower: &[PathBuf], upper: Option<&Upper>, xattrs: OverlayXattrs) -> Result<OwnedFd> {
    ensure!(lower.len() <= MAX_LAYERS, "{} layers: overlayfs stacks at most {MAX_LAYERS}", lower.len());
    match (lower, upper) {
        ([], None) => Err(anyhow!("nothing to mount: no layer, and nothing to write to")),
        ([], Some(Upper { upper: only, .. })) | ([only], None) => clone_directory(only),
        _ => {
            let overlay = Overlay { lower, upper, xattrs };
            match overlay.by_layers() {
                Err(_) if !knows_lowerdir_plus() => by_mount(&overlay),
                mounted => mounted,
            }
            .map_err(|error| overlay.explain(error))
        }
    }
}

/// What is to be mounted: at least two directories.
pub(crate) struct Overlay<'a> {
    pub(crate) lower: &'a [PathBuf],
    pub(crate) upper: Option<&'a Upper>,
    pub(crate) xattrs: OverlayXattrs,
}

impl Overlay<'_> {
    /// The new mount API: one call for each layer, however many and however long their names.
    fn by_layers(&self) -> Result<OwnedFd> {
        let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).context("fsopen overlay")?;
        let told = |result: rustix::io::Result<()>, what: &dyn std::fmt::Display| {
            result.map_err(|errno| anyhow::Error::new(errno).context(format!("{what}{}", kernel_says(fs.as_fd()))))
        };
        // What `mount` and /proc/self/mountinfo show as its device.
        fsconfig_set_string(&fs, "source", "overlay").context("name the overlay")?;
        let mut named = Vec::new();
        for layer in self.lower.iter().rev() {
            // The topmost first: that is the order in which overlayfs looks.
            let value = short_name(layer, &mut named)?;
            let used = fsconfig_set_string(&fs, "lowerdir+", &*value);
            told(used, &format_args!("use the layer {}", layer.display()))?;
        }
        if let Some(Upper { upper, work, .. }) = self.upper {
            for (key, path) in [("upperdir", upper), ("workdir", work)] {
                let value = short_name(path, &mut named)?;
                told(fsconfig_set_string(&fs, key, &*value), &format_args!("use {} as {key}", path.display()))?;
            }
        }
        for (key, value) in self.options() {
            let set = match value {
                Some(value) => fsconfig_set_string(&fs, key, value),
                None => fsconfig_set_flag(&fs, key),
            };
            told(set, &format_args!("set the overlay option {key}"))?;
        }
        told(fsconfig_create(&fs), &"mount the overlay")?;
        fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).context("fsmount the overlay")
    }

    /// Options that decide what ends up in the upper directory. They are set because their defaults depend on how the kernel
    /// was built, and [`crate::pack()`] must be able to read what is there: whole files where they belong, no references
    /// (`redirect_dir`, `metacopy`) into layers below.
    pub(crate) fn options(&self) -> Vec<(&'static str, Option<&'static str>)> {
        let mut options = match self.xattrs {
            OverlayXattrs::Trusted => vec![("redirect_dir", Some("nofollow")), ("metacopy", Some("off"))],
            // It implies the same, and to name them beside it is an error on older kernels.
            OverlayXattrs::User => vec![("userxattr", None)],
        };
        if let Some(upper) = self.upper {
            options.push(("index", Some("off")));
            if upper.volatile {
                options.push(("volatile", None));
            }
        }
        options
    }

    /// Adds what the kernel leaves out: it says EINVAL, and puts the reason into its log.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let errno = error.downcast_ref::<Errno>().copied();
        let Some(Upper { upper, work, .. }) = self.upper else { return error };
        let is_overlay = |path: &Path| statfs(path).is_ok_and(|fs| fs.f_type as u64 == OVERLAYFS_MAGIC);
        let reason = match errno {
            Some(Errno::NODEV) => "this kernel has no overlayfs (try: modprobe overlay)".to_owned(),
            Some(Errno::INVAL) if is_overlay(upper) => format!(
                "{} is itself on an overlay, which cannot be the upper part of another: \
                 choose a place on a real file system or a tmpfs",
                upper.display()
            ),
            Some(Errno::INVAL) if work.join("work/incompat").exists() => format!(
                "{} was used by a volatile overlay and may be incomplete: remove it, or {} if you know better",
                upper.display(),
                work.join("work/incompat").display()
            ),
            Some(Errno::INVAL) if device(upper) != device(work) => {
                format!("{} and {} are not on one file system", upper.display(), work.display())
            }
            Some(Errno::ACCESS) if self.xattrs == OverlayXattrs::User => format!(
                "in its user namespace the container may not reach {} (a directory above it is closed to it)",
                upper.display()
            ),
            Some(Errno::PERM) => "without root an overlay needs Linux 5.11 or later, in a user namespace".to_owned(),
            _ => return error,
        };
        error.context(reason)
    }
}

fn device(path: &Path) -> Option<u64> {
    statat(CWD, path, AtFlags::empty()).ok().map(|stat| stat.st_dev)
}

/// A directory as a mount of its own.
pub(crate) fn clone_directory(path: &Path) -> Result<OwnedFd> {
    open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
        .with_context(|| format!("clone the mount of {} (open_tree)", path.display()))
}

/// A name of `path` that `fsconfig` takes: itself, or a descriptor if it is too long or has characters with a meaning.
fn short_name(path: &Path, named: &mut Vec<OwnedFd>) -> Result<Vec<u8>> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() <= MAX_VALUE && path.is_absolute() && !bytes.iter().any(|byte| matches!(byte, b':' | b',' | b'\\')) {
        return Ok(bytes.to_vec());
    }
    let fd = open_directory(path)?;
    let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
    named.push(fd);
    Ok(name.into_bytes())
}

/// Opens a directory for its name.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).with_context(|| format!("open the directory {}", path.display()))
}

/// What the kernel has to say about its refusal, in brackets: since Linux 5.2 the descriptor of a file system in the making
/// can be read for it (`e overlay: …` is an error, `w …` and `i …` are less).
fn kernel_says(fs: BorrowedFd<'_>) -> String {
    let mut said = String::new();
    let mut line = [0; 1024];
    while let Ok(count @ 1..) = rustix::io::read(fs, &mut line) {
        let text = String::from_utf8_lossy(&line[..count]);
        let text = text.trim_end().trim_start_matches(['e', 'w', 'i']).trim_start();
        let separator = if said.is_empty() { " (" } else { "; " };
        said.push_str(separator);
        said.push_str(text);
    }
    if !said.is_empty() {
        said.push(')');
    }
    said
}

/// Attaches a mount to the directory `place`.
pub(crate) fn attach(mount: BorrowedFd<'_>, place: &Path) -> io::Result<()> {
    // The place is the engine's own, and resolved before anything of the container is mounted.
    rustix::mount::move_mount(mount, "", CWD, place, rustix::mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, read_to_string, write};

    use super::*;

    /// Both ways make the same mount, of as many layers as the kernel takes and whatever they are called. In a mount namespace
    /// of this thread's own, where mounts may be made; an ordinary user's turn is in the suites.
    #[test]
    fn both_ways() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
            rootfs::make_slave().unwrap();
            compare(tempfile::tempdir().unwrap().path());
        })
        .join()
        .unwrap();
    }

    fn compare(root: &Path) {
        let make = |name: String| {
            create_dir(root.join(&name)).unwrap();
            root.join(name)
        };
        let lower: Vec<PathBuf> = (0..MAX_LAYERS).map(|index| make(format!("layer,{index}:"))).collect();
        write(lower[0].join("base"), "base").unwrap();
        write(lower[0].join("file"), "below").unwrap();
        write(lower[MAX_LAYERS - 1].join("file"), "above").unwrap();
        for way in ["new", "old"] {
            let upper = Upper { upper: make(format!("u{way}")), work: make(format!("w{way}")), volatile: false };
            let overlay = Overlay { lower: &lower, upper: Some(&upper), xattrs: OverlayXattrs::permitted() };
            let mount = if way == "new" && knows_lowerdir_plus() { overlay.by_layers() } else { by_mount(&overlay) };
            let mount = mount.unwrap();
            let inside = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
            assert_eq!(read_to_string(inside.join("file")).unwrap(), "above");
            assert_eq!(read_to_string(inside.join("base")).unwrap(), "base");
            write(inside.join("new"), way).unwrap();
            assert_eq!(read_to_string(upper.upper.join("new")).unwrap(), way);
        }
        assert!(!read_to_string("/proc/thread-self/mounts").unwrap().contains(root.to_str().unwrap()));
    }
}
