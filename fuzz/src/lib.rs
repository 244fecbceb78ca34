//! Fuzz targets: whatever reads what strangers wrote, with any bytes at all.
//!
//! Each target takes bytes and must come back: no panic, no endless loop, no memory without bounds, and nothing changed that
//! is not the target's own. Some check more, and say what. libFuzzer drives them (`cargo x fuzz TARGET`), looking for bytes
//! that reach new code; the bytes in `seeds/` are where it starts, and every input that ever failed is kept there, to be run
//! again by the ordinary tests.

mod archive;
mod text;

pub use archive::{pax, unpack};
pub use text::{dockerfile, id_maps, mounts, quantities, references, users};

/// Something that takes any bytes.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("unpack", unpack),
    ("pax", pax),
    ("users", users),
    ("id_maps", id_maps),
    ("mounts", mounts),
    ("quantities", quantities),
    ("dockerfile", dockerfile),
    ("references", references),
];
