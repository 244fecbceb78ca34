//! What a transfer tells whoever watches it.

use layers::Digest;

/// A step of a pull or a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The transfer begins. What the registry calls the repository, and the tag or digest asked for.
    Started {
        /// `library/busybox`
        repository: String,
        /// `latest`
        tag: String,
    },
    /// A layer need not be transferred: it is there already.
    Exists {
        /// The blob.
        layer: Digest,
    },
    /// So much of a layer has passed. Comes often.
    Transferred {
        /// The blob.
        layer: Digest,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The connection was cut; it will be tried again.
    Retrying {
        /// The blob.
        layer: Digest,
        /// Why.
        reason: String,
    },
    /// A layer is complete.
    Complete {
        /// The blob.
        layer: Digest,
    },
    /// What the name meant.
    Digest(Digest),
    /// The end of a pull: whether anything was new.
    Pulled {
        /// The image was not there before.
        new: bool,
    },
}

/// Watches a transfer. Called from several threads.
pub trait Progress: Sync {
    /// Something happened.
    fn event(&self, event: Event);
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: Event) {}
}
