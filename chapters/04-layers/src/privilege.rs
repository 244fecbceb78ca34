//! What our rights let us keep of a layer.
//!
//! Layers are written by root: files of many owners, devices, attributes that only root may set. An ordinary user makes of
//! the same tar a tree of which everything is the user's own. In a user namespace, where the user is root, it looks right.

use namespaces::id_map;

/// Whether files get the owners that the archive names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Yes: we are root here, with ids to give.
    Keep,
    /// No: all belongs to us, whom the container will know as root, and devices are left out. What is missing so is noted
    /// beside the layer.
    Skip,
}

impl Owners {
    /// What the caller may do: root, and in a user namespace only if more than one id is mapped.
    pub fn permitted() -> Owners {
        if rustix::process::geteuid().is_root() && mapped_ids() > 1 { Owners::Keep } else { Owners::Skip }
    }
}

/// In which extended attributes overlayfs keeps its notes; the mount option `userxattr` says so to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverlayXattrs {
    /// `trusted.overlay.*`: out of reach for all but the real root.
    Trusted,
    /// `user.overlay.*`: for whoever mounts in a user namespace, since Linux 5.11.
    User,
}

impl OverlayXattrs {
    /// What the caller's mounts will use.
    pub fn permitted() -> OverlayXattrs {
        // Only the first user namespace maps all 2^32 - 1 ids.
        let initial = mapped_ids() == u64::from(u32::MAX);
        if rustix::process::geteuid().is_root() && initial { OverlayXattrs::Trusted } else { OverlayXattrs::User }
    }

    /// The attribute of a directory that hides what is below it; its value is `y`.
    pub(crate) fn opaque(self) -> &'static std::path::Path {
        std::path::Path::new(match self {
            OverlayXattrs::Trusted => "trusted.overlay.opaque",
            OverlayXattrs::User => "user.overlay.opaque",
        })
    }
}

/// Whether an extended attribute may travel with a file from one machine to another.
///
/// Not overlayfs's notes, `trusted.overlay.*` and `user.overlay.*`: an archive that could write them would mount other parts
/// of the layers below under names of its choice (`redirect`, `metacopy`). And of `security.*` only capabilities: the labels
/// and measurements there (`security.selinux`, `security.ima` …) are this machine's judgement of a file, which the file's
/// author does not get to write.
pub(crate) fn is_portable(name: &[u8]) -> bool {
    let local = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    let judgement = name.starts_with(b"security.") && name != b"security.capability";
    !name.is_empty() && !local && !judgement
}

/// How many user ids this user namespace maps.
fn mapped_ids() -> u64 {
    id_map::own("uid_map").iter().map(|line| u64::from(line.count)).sum()
}
