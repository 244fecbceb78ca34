//! The overlay mount on kernels before 6.7, by `mount(2)`.
//!
//! There all layers stand in one string of at most a page, and overlayfs was not written for `fsconfig(2)`, which takes 255
//! bytes at a time. Docker meets this by a directory of symbolic links with short names. A descriptor has a short name
//! already: seen from `/proc/self/fd` it is its number, and the kernel's 500 layers then take 2 KiB.

use std::ffi::CString;
use std::fmt::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, MountFlags, UnmountFlags, fsconfig_set_string, fsopen, mount, unmount};
use rustix::process::{chdir, fchdir};

use crate::overlay::{Overlay, clone_directory, open_directory};

/// `mount(2)` takes a page of options, with the NUL at its end.
const MAX_DATA: usize = 4096;

/// Whether the kernel knows `lowerdir+`. Asked when a mount has failed, since it may have failed for that.
///
/// A kernel with it looks for the directory at once and finds none (ENOENT). One that has fsconfig but whose overlayfs was
/// not written for it, as 6.1, takes any key, and finds out at the end that it does not know it (EINVAL).
pub(crate) fn knows_lowerdir_plus() -> bool {
    fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .is_ok_and(|fs| fsconfig_set_string(fs, "lowerdir+", "/nonexistent/layer") == Err(Errno::NOENT))
}

/// Mounts it, attached nowhere.
///
/// `mount(2)` can only mount *on* something, so the result is mounted over one of the directories, cloned from there, and
/// taken away again; in a private mount namespace nobody sees it. The current directory changes meanwhile, which is the whole
/// process's: the caller has one thread.
pub(crate) fn by_mount(overlay: &Overlay<'_>) -> Result<OwnedFd> {
    let mut open = Vec::new();
    let mut number = |path: &Path| -> Result<i32> {
        let fd = open_directory(path)?;
        open.push(fd);
        Ok(open[open.len() - 1].as_raw_fd())
    };
    let mut data = String::new();
    for (index, layer) in overlay.lower.iter().rev().enumerate() {
        let separator = if index == 0 { "lowerdir=" } else { ":" };
        write!(data, "{separator}{}", number(layer)?)?;
    }
    if let Some(upper) = overlay.upper {
        write!(data, ",upperdir={},workdir={}", number(&upper.upper)?, number(&upper.work)?)?;
    }
    for (key, value) in overlay.options() {
        match value {
            Some(value) => write!(data, ",{key}={value}")?,
            None => write!(data, ",{key}")?,
        }
    }
    ensure!(data.len() < MAX_DATA, "{} layers are too many for mount(2) of this kernel", overlay.lower.len());
    let data = CString::new(data)?;
    let place = overlay.upper.map_or(&overlay.lower[0], |upper| &upper.work);
    in_directory(Path::new("/proc/self/fd"), || mount("overlay", place, "overlay", MountFlags::empty(), &*data))?
        .context("mount the overlay")?;
    let clone = clone_directory(place);
    unmount(place, UnmountFlags::DETACH).with_context(|| format!("unmount {}", place.display()))?;
    clone
}

/// Calls `act` in another current directory.
fn in_directory<T>(directory: &Path, act: impl FnOnce() -> T) -> Result<T> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = openat(CWD, ".", flags, Mode::empty()).context("open the current directory")?;
    chdir(directory).with_context(|| format!("enter {}", directory.display()))?;
    let result = act();
    fchdir(here).context("return to the current directory")?;
    Ok(result)
}
