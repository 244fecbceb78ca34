//! What a transfer tells whoever watches it.

use std::collections::HashSet;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use layers::Digest;

use crate::Reference;

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
    /// The end of a pull.
    Pulled {
        /// What was pulled.
        name: Reference,
        /// The image was not there before.
        new: bool,
    },
    /// The end of a push.
    Pushed {
        /// The tag it has now.
        tag: String,
        /// The digest of its manifest.
        digest: Digest,
        /// Bytes of its manifest.
        size: u64,
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

/// Says it line by line, as `docker pull` and `docker push` do where there is no terminal.
pub struct Lines<W> {
    state: Mutex<(W, HashSet<Digest>)>,
    words: Words,
}

struct Words {
    started: fn(&str, &str) -> String,
    moving: &'static str,
    exists: &'static str,
    complete: &'static str,
}

impl<W: Write + Send> Lines<W> {
    /// For a pull.
    pub fn of_pull(out: W) -> Lines<W> {
        let words = Words {
            started: |repository, tag| format!("{tag}: Pulling from {repository}"),
            moving: "Pulling fs layer",
            exists: "Already exists",
            complete: "Pull complete",
        };
        Lines { state: Mutex::new((out, HashSet::new())), words }
    }

    /// For a push.
    pub fn of_push(out: W) -> Lines<W> {
        let words = Words {
            started: |repository, _| format!("The push refers to repository [{repository}]"),
            moving: "Preparing",
            exists: "Layer already exists",
            complete: "Pushed",
        };
        Lines { state: Mutex::new((out, HashSet::new())), words }
    }
}

impl<W: Write + Send> Progress for Lines<W> {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (out, begun) = &mut *state;
        let short = |layer: &Digest| layer.hex()[..12].to_owned();
        let line = match event {
            Event::Started { repository, tag } => (self.words.started)(&repository, &tag),
            Event::Exists { layer } => format!("{}: {}", short(&layer), self.words.exists),
            Event::Transferred { layer, .. } => {
                let text = format!("{}: {}", short(&layer), self.words.moving);
                if !begun.insert(layer) {
                    return;
                }
                text
            }
            Event::Retrying { layer, reason } => format!("{}: Retrying ({reason})", short(&layer)),
            Event::Complete { layer } => format!("{}: {}", short(&layer), self.words.complete),
            Event::Digest(digest) => format!("Digest: {digest}"),
            Event::Pulled { name, new: true } => format!("Status: Downloaded newer image for {}", name.familiar()),
            Event::Pulled { name, new: false } => format!("Status: Image is up to date for {}", name.familiar()),
            Event::Pushed { tag, digest, size } => format!("{tag}: digest: {digest} size: {size}"),
        };
        // Nobody listening any more is no reason to stop the transfer.
        let _ = writeln!(out, "{line}");
    }
}
