//! What the name of a tar entry means to a layer.
//!
//! Most names are just names. Two kinds say that something of the layers below is gone (image-spec, `layer.md`):
//! `dir/.wh.NAME`, a **whiteout**, hides `dir/NAME`; `dir/.wh..wh..opq`, an **opaque** marker, hides all that `dir` has
//! below. The spelling is AUFS's, the first storage driver of Docker, and outlived it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// AUFS's own book-keeping (`.wh..wh.aufs`, `.wh..wh.plnk`, `.wh..wh.orph`), still found in very old layers.
const AUFS: &[u8] = b".wh..wh.";

/// Directories may be nested this deep. The kernel takes names of 4096 bytes; nobody's files come near.
pub(crate) const MAX_DEPTH: usize = 512;

/// Where an entry belongs: always inside, whatever it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The layer's own root (`./`): it carries attributes only.
    Root,
    /// Something to make: its directory, relative to the root, and its name there.
    Place(PathBuf, OsString),
    /// A whiteout of that name in that directory.
    Whiteout(PathBuf, OsString),
    /// That directory hides what the layers below have in it.
    Opaque(PathBuf),
    /// Nothing to us.
    Ignored,
}

impl Target {
    /// Understands a name out of an archive.
    ///
    /// A leading `/` is dropped, as tar does. `..` is refused: no writer of layers makes it, and unpackers that tried to make
    /// sense of names that lead out had their escapes (CWE-22; by links CVE-2014-6407 and CVE-2014-9356).
    pub fn parse(name: &[u8]) -> Result<Target> {
        let shown = || String::from_utf8_lossy(name);
        ensure!(!name.contains(&0), "the name {:?} contains a NUL", shown());
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in name.split(|&byte| byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => bail!("the name {:?} leads out by \"..\"", shown()),
                _ => parts.push(part),
            }
        }
        ensure!(parts.len() <= MAX_DEPTH, "the name {:?}… is nested more than {MAX_DEPTH} deep", truncated(name));
        let Some((&last, directories)) = parts.split_last() else {
            ensure!(!name.is_empty(), "an entry without a name");
            return Ok(Target::Root);
        };
        if parts.iter().any(|part| part.starts_with(AUFS) && *part != OPAQUE) {
            return Ok(Target::Ignored);
        }
        ensure!(
            !directories.iter().any(|part| part.starts_with(WHITEOUT)),
            "the name {:?} lies below a whiteout",
            shown()
        );
        let directory: PathBuf = directories.iter().map(|part| OsStr::from_bytes(part)).collect();
        Ok(match last.strip_prefix(WHITEOUT) {
            _ if last == OPAQUE => Target::Opaque(directory),
            // What the whiteout hides is a name again, and could try again what names are refused for.
            Some(b"" | b"." | b"..") => bail!("the whiteout {:?} hides no name", shown()),
            Some(hidden) => Target::Whiteout(directory, OsString::from_vec(hidden.to_vec())),
            None => Target::Place(directory, OsString::from_vec(last.to_vec())),
        })
    }
}

/// The name under which a layer tar says that `name` is gone.
pub(crate) fn whiteout_of(name: &OsStr) -> OsString {
    let mut whiteout = OsStr::from_bytes(WHITEOUT).to_owned();
    whiteout.push(name);
    whiteout
}

/// The name under which a layer tar says that `directory` starts empty.
pub(crate) fn opaque_marker_of(directory: &Path) -> PathBuf {
    directory.join(OsStr::from_bytes(OPAQUE))
}

/// Whether a layer tar would take a file of this name for a whiteout.
pub(crate) fn is_reserved(name: &OsStr) -> bool {
    name.as_bytes().starts_with(WHITEOUT)
}

fn truncated(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(60)]).into_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    fn place(directory: &str, name: &str) -> Target {
        Target::Place(directory.into(), name.into())
    }

    #[test]
    fn cleans_names() {
        assert_eq!(Target::parse(b"a").unwrap(), place("", "a"));
        assert_eq!(Target::parse(b"./a//b/./c/").unwrap(), place("a/b", "c"));
        assert_eq!(Target::parse(b"/etc/passwd").unwrap(), place("etc", "passwd"));
        assert_eq!(Target::parse(b"...").unwrap(), place("", "..."));
        for root in ["./", "/", ".", "//."] {
            assert_eq!(Target::parse(root.as_bytes()).unwrap(), Target::Root);
        }
    }

    #[test]
    fn refuses_names_that_leave() {
        for bad in ["", "..", "../x", "a/../b", "a/..", "/..", "a\0b", ".wh.", ".wh..", "a/.wh...", ".wh.a/b"] {
            assert!(Target::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(Target::parse("a/".repeat(MAX_DEPTH + 1).as_bytes()).is_err());
    }

    #[test]
    fn knows_whiteouts() {
        assert_eq!(Target::parse(b"a/.wh.b").unwrap(), Target::Whiteout("a".into(), "b".into()));
        assert_eq!(Target::parse(b"a/b/.wh..wh..opq").unwrap(), Target::Opaque("a/b".into()));
        assert_eq!(Target::parse(b".wh..wh..opq").unwrap(), Target::Opaque("".into()));
        assert_eq!(Target::parse(b".wh..wh.plnk/12.34").unwrap(), Target::Ignored);
        assert_eq!(Target::parse(b".wh..wh.aufs").unwrap(), Target::Ignored);
    }

    proptest! {
        /// Whatever comes in, what comes out has only plain components.
        #[test]
        fn stays_inside(name in proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'/'), Just(b'w'), Just(b'h'), any::<u8>()], 0..40)) {
            let paths = match Target::parse(&name) {
                Ok(Target::Place(directory, name) | Target::Whiteout(directory, name)) => {
                    prop_assert!(!name.as_bytes().contains(&b'/'));
                    vec![directory, name.into()]
                }
                Ok(Target::Opaque(directory)) => vec![directory],
                _ => vec![],
            };
            for path in paths {
                prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
            }
        }
    }
}
