//! The one system call of this chapter that no crate wraps: `mount_setattr(2)` (Linux 5.12).
//!
//! The rest of the new mount API comes from rustix, typed. Why `mount_setattr` and not a remount by `mount(2)`: it changes a
//! whole tree of mounts in one step (`AT_RECURSIVE`), where `MS_REMOUNT|MS_BIND|MS_RDONLY|MS_REC` quietly changes only the
//! topmost; and it works on a mount that is not attached anywhere yet, so nobody ever sees the volume writable.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

/// `struct mount_attr` of `linux/mount.h`, version 0 (32 bytes).
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Which mounts a change is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The mount itself.
    Mount,
    /// The mount and all that are mounted below it.
    Tree,
}

/// Sets `attributes` on the mount that `path` (relative to `dir`; empty: `dir` itself) is the root of, and its propagation
/// type, if one is given.
pub fn mount_setattr(
    dir: BorrowedFd<'_>,
    path: &CStr,
    reach: Reach,
    attributes: MountAttrFlags,
    propagation: Option<MountPropagationFlags>,
) -> Result<(), Errno> {
    let access_time = attributes & MountAttrFlags::MOUNT_ATTR__ATIME;
    let attr = MountAttr {
        set: attributes.bits().into(),
        // The access time's three settings are one field, which is cleared before it is set.
        clear: if access_time.is_empty() { 0 } else { MountAttrFlags::MOUNT_ATTR__ATIME.bits().into() },
        propagation: propagation.map_or(0, |kind| kind.bits().into()),
        userns_fd: 0,
    };
    call(dir, path, reach, &attr)
}

/// Shows the files of a detached mount, and of those below it if `reach` says so, as if each belonged to the id that
/// `user_namespace` maps its owner's number to: what the disk says is uid 0 is root inside.
///
/// An *idmapped mount* (Linux 5.12). It can be set once, before the mount is attached, by whoever is privileged over the
/// filesystem. EINVAL: the filesystem does not know them (tmpfs before 6.3, overlayfs).
pub fn idmap(mount: BorrowedFd<'_>, reach: Reach, user_namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
    let userns_fd = user_namespace.as_raw_fd() as u64;
    call(mount, c"", reach, &MountAttr { set: MOUNT_ATTR_IDMAP, clear: 0, propagation: 0, userns_fd })
}

fn call(dir: BorrowedFd<'_>, path: &CStr, reach: Reach, attr: &MountAttr) -> Result<(), Errno> {
    let mut flags = libc::AT_EMPTY_PATH;
    if reach == Reach::Tree {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: `path` ends with NUL, and `attr` is the structure that the kernel expects, of the size given; both outlive the
    // call, which keeps no reference to them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(std::io::Error::last_os_error().raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))
}
