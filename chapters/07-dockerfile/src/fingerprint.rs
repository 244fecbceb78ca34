//! One digest for many fields: what cache keys are made of.

use std::io::{self, Write};

use layers::{Digest, Hashing};

/// Takes fields one after the other, each behind its length, so that `ab`,`c` and `a`,`bc` differ.
pub struct Fingerprint(Hashing<io::Sink>);

impl Fingerprint {
    /// A fingerprint of something of this kind. The number changes when what the builder does with it changes.
    pub fn new(kind: &str) -> Fingerprint {
        Fingerprint(Hashing::new(io::sink())).field("1").field(kind)
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, field: impl AsRef<[u8]>) -> Fingerprint {
        let field = field.as_ref();
        for bytes in [&(field.len() as u64).to_le_bytes(), field] {
            // Nothing can go wrong on the way to a sink.
            let _ = self.0.write_all(bytes);
        }
        self
    }

    /// Adds a list, and its length, so that two lists do not run into each other.
    #[must_use]
    pub fn list<T: AsRef<[u8]>>(self, list: impl IntoIterator<Item = T>) -> Fingerprint {
        let list: Vec<T> = list.into_iter().collect();
        let count = (list.len() as u64).to_le_bytes();
        list.into_iter().fold(self.field(count), Fingerprint::field)
    }

    /// The digest of all fields.
    pub fn finish(self) -> Digest {
        self.0.finish().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_lists_do_not_run_together() {
        let two = |a: &str, b: &str| Fingerprint::new("t").field(a).field(b).finish();
        assert_ne!(two("ab", "c"), two("a", "bc"));
        let lists = |a: &[&str], b: &[&str]| Fingerprint::new("t").list(a).list(b).finish();
        assert_ne!(lists(&["a"], &[]), lists(&[], &["a"]));
        assert_eq!(lists(&["a"], &["b"]), lists(&["a"], &["b"]));
    }
}
