//! PAX records: what the fixed fields of a tar header have no room for.
//!
//! A PAX header is an entry of type `x` whose bytes are records `"%d %s=%s\n"`: length of the whole record in decimal,
//! key, value (POSIX.1-2001, pax, "Extended Header"). For example `30 mtime=1700000000.123456789\n`. The value is whatever
//! the length says, newlines and NULs included; a reader that looks for line ends instead can be shown another archive than
//! the one it verified.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::entry::Timestamp;

/// Prefix of the records that carry extended attributes; `star` introduced it and everyone followed.
const XATTR: &str = "SCHILY.xattr.";
/// The same of bsdtar, which writes both: the name with its unusual bytes as `%20`, the value in base64.
const LIBARCHIVE: &str = "LIBARCHIVE.xattr.";

/// The records in front of one entry. Of several with one key the last counts; an empty value takes the key back
/// (but an attribute's).
#[derive(Debug, Default)]
pub(crate) struct Records {
    by_key: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Offset and length of each piece of a sparse file in format 0.0, which repeats its two keys for each piece.
    pub(crate) sparse_pairs: Vec<u64>,
}

impl Records {
    pub(crate) fn parse(mut bytes: &[u8]) -> Result<Records> {
        let mut records = Records::default();
        while !bytes.is_empty() {
            let (record, rest) = split_record(bytes).context("a malformed PAX record")?;
            let equals = record.iter().position(|&byte| byte == b'=').context("a PAX record without =")?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => records.sparse_pairs.push(decimal(value)?),
                // An attribute may well be empty; Go's reader, and so Docker, loses it.
                _ if value.is_empty() && !key.starts_with(XATTR.as_bytes()) => drop(records.by_key.remove(key)),
                _ => drop(records.by_key.insert(key.to_vec(), value.to_vec())),
            }
            bytes = rest;
        }
        Ok(records)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        self.by_key.get(key.as_bytes()).map(Vec::as_slice)
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>> {
        self.get(key).map(|value| decimal(value).with_context(|| format!("PAX record {key}"))).transpose()
    }

    /// A time such as `1700000000.25` or `-1.5`. What cannot be read is as good as absent: it is only a time.
    pub(crate) fn time(&self, key: &str) -> Option<Timestamp> {
        parse_time(std::str::from_utf8(self.get(key)?).ok()?)
    }

    pub(crate) fn is_sparse(&self) -> bool {
        !self.sparse_pairs.is_empty() || self.get("GNU.sparse.map").is_some() || self.get("GNU.sparse.major").is_some()
    }

    /// The extended attributes, by name.
    pub(crate) fn into_xattrs(self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut xattrs = BTreeMap::new();
        for (key, value) in &self.by_key {
            if let Some(name) = key.strip_prefix(LIBARCHIVE.as_bytes()) {
                // Not every writer pads.
                let value =
                    value.trim_ascii_end().strip_suffix(b"==").or_else(|| value.strip_suffix(b"=")).unwrap_or(value);
                let value = STANDARD_NO_PAD.decode(value).context("an extended attribute that is no base64")?;
                xattrs.insert(percent_decoded(name), value);
            }
        }
        // Where both are given, the one that others read counts.
        let plain = self.by_key.into_iter();
        xattrs.extend(plain.filter_map(|(key, value)| Some((key.strip_prefix(XATTR.as_bytes())?.to_vec(), value))));
        Ok(xattrs.into_iter().collect())
    }
}

fn percent_decoded(name: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = name;
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        (rest, _) = match (first, hex) {
            (b'%', Some(byte)) => (&after[2..], decoded.push(byte)),
            _ => (after, decoded.push(first)),
        };
    }
    decoded
}

/// Takes the first record off: its text after the length, without the newline at its end, and the rest.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space]).ok()?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    Some((record.get(space + 1..)?.strip_suffix(b"\n")?, rest))
}

pub(crate) fn decimal(text: &[u8]) -> Result<u64> {
    ensure!(text.iter().all(u8::is_ascii_digit), "{:?} is not a number", String::from_utf8_lossy(text));
    let text = std::str::from_utf8(text)?;
    text.parse().with_context(|| format!("{text:?} is out of range"))
}

fn parse_time(text: &str) -> Option<Timestamp> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanoseconds = format!("{fraction:0<9.9}").parse().ok()?;
    Some(match (negative, nanoseconds) {
        (false, _) => Timestamp { seconds, nanoseconds },
        (true, 0) => Timestamp { seconds: -seconds, nanoseconds: 0 },
        // The kernel counts nanoseconds forward from the second below: -1.25 is -2 s and 750 000 000 ns.
        (true, _) => Timestamp { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

/// Writes one record. The length counts itself, so it is found by trying.
pub(crate) fn write_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    for part in [b" ", key, b"=", value, b"\n"] {
        out.extend_from_slice(part);
    }
}

/// Writes an extended attribute as a record.
pub(crate) fn write_xattr(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    write_record(out, &[XATTR.as_bytes(), name].concat(), value);
}

/// Writes a time as a record, with as many digits as it has.
pub(crate) fn write_time(out: &mut Vec<u8>, key: &str, time: Timestamp) {
    let (sign, seconds, nanoseconds) = match (time.seconds, time.nanoseconds) {
        (seconds @ ..0, 0) => ("-", seconds.unsigned_abs(), 0),
        (seconds @ ..0, nanoseconds) => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanoseconds),
        (seconds, nanoseconds) => ("", seconds.unsigned_abs(), nanoseconds),
    };
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    write_record(out, key.as_bytes(), text.trim_end_matches('0').trim_end_matches('.').as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_may_hold_anything() {
        let mut bytes = Vec::new();
        write_xattr(&mut bytes, b"security.capability", b"\x01\n18 path=../../evil\n\0=");
        write_record(&mut bytes, b"path", b"good");
        let records = Records::parse(&bytes).unwrap();
        assert_eq!(records.get("path"), Some(&b"good"[..]));
        let (name, value) = records.into_xattrs().unwrap().pop().unwrap();
        assert_eq!((&name[..], &value[..]), (&b"security.capability"[..], &b"\x01\n18 path=../../evil\n\0="[..]));
    }

    #[test]
    fn refuses_lying_lengths() {
        for bad in
            ["5 a=b\n\n", "99 a=b\n", "0 a=b\n", "a=b\n", "7 a=bb", "6 abc\n", "99999999999999999999 a=b\n", "3 \n"]
        {
            assert!(Records::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn reads_times() {
        let at = |seconds, nanoseconds| Some(Timestamp { seconds, nanoseconds });
        assert_eq!(parse_time("1700000000"), at(1_700_000_000, 0));
        assert_eq!(parse_time("1.5"), at(1, 500_000_000));
        assert_eq!(parse_time("1.1234567899"), at(1, 123_456_789));
        assert_eq!(parse_time("-1.25"), at(-2, 750_000_000));
        assert_eq!(parse_time("-3"), at(-3, 0));
        for bad in ["", "-", ".5", "1e9", "+1", "99999999999999999999", "1.-5"] {
            assert_eq!(parse_time(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn bsdtars_attributes_are_read_too() {
        let mut bytes = Vec::new();
        write_record(&mut bytes, b"LIBARCHIVE.xattr.user.a%20b%", b"b25lAHR3bw==");
        write_record(&mut bytes, b"LIBARCHIVE.xattr.user.both", b"eA");
        write_xattr(&mut bytes, b"user.both", b"plain");
        let xattrs = Records::parse(&bytes).unwrap().into_xattrs().unwrap();
        let expected: [(&[u8], &[u8]); 2] = [(b"user.a b%", b"one\0two"), (b"user.both", b"plain")];
        assert_eq!(xattrs, expected.map(|(name, value)| (name.to_vec(), value.to_vec())));
        write_record(&mut bytes, b"LIBARCHIVE.xattr.user.c", b"\xff");
        assert!(Records::parse(&bytes).unwrap().into_xattrs().is_err());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Records::parse(&bytes);
        }

        #[test]
        fn reads_what_it_wrote(key in "[a-zA-Z.]{1,40}", value in proptest::collection::vec(any::<u8>(), 1..300)) {
            let mut bytes = Vec::new();
            write_record(&mut bytes, key.as_bytes(), &value);
            let records = Records::parse(&bytes).unwrap();
            prop_assert_eq!(records.get(&key), Some(&value[..]));
        }

        #[test]
        fn times_survive(seconds in -100_000_000_000i64..100_000_000_000, nanoseconds in 0u32..1_000_000_000) {
            let (mut bytes, time) = (Vec::new(), Timestamp { seconds, nanoseconds });
            write_time(&mut bytes, "mtime", time);
            prop_assert_eq!(Records::parse(&bytes).unwrap().time("mtime"), Some(time));
        }
    }
}
