//! Quantities as people write them: `64m` of memory, `0.5` of a processor.

use anyhow::{Result, bail};

/// The units of [`parse_bytes`], each 1024 times the one before.
const UNITS: &str = "bkmgtp";

/// One processor, in the unit of [`parse_cpus`].
pub const ONE_CPU: u64 = 1_000_000_000;

/// Bytes from a size such as `64m`, `1.5g`, `512 KiB` or `4096`.
///
/// The spellings are Docker's (`RAMInBytes` of its go-units): a decimal number, a space if you like, and one of
/// `b k m g t p`, in either case and also as `kb` or `KiB`; every unit is 1024 times the one before. Computed in whole
/// numbers, so that no size is off by a rounding; a fraction of a byte is dropped.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let wrong = || anyhow::anyhow!("invalid size: {text:?} (write it like 512m, 1.5g or 4096, in bytes)");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let mut letters = unit.chars();
    let power = letters.next().map_or(Some(0), |letter| UNITS.find(letter));
    let power = match (power, letters.as_str()) {
        (Some(power), "") | (Some(power @ 1..), "b" | "ib") => power as u32,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = decimal(number, 18).ok_or_else(wrong)?;
    let factor = 1024u128.pow(power);
    // 18 digits of fraction times 1024^5 stay below 2^128.
    let bytes = whole.checked_mul(factor).and_then(|n| n.checked_add(fraction * factor / 10u128.pow(18)));
    match bytes.and_then(|bytes| i64::try_from(bytes).ok()) {
        Some(bytes) => Ok(bytes as u64),
        None => bail!("invalid size: {text:?} is more than the kernel can count"),
    }
}

/// Billionths of a processor from a number such as `0.5` or `2` (what Docker's API calls `NanoCpus`).
pub fn parse_cpus(text: &str) -> Result<u64> {
    let wrong = || anyhow::anyhow!("invalid number of CPUs: {text:?} (write it like 0.5 or 2)");
    let (whole, fraction) = decimal(text, 9).ok_or_else(wrong)?;
    let nanos = whole.checked_mul(ONE_CPU.into()).and_then(|nanos| nanos.checked_add(fraction)).ok_or_else(wrong)?;
    u64::try_from(nanos).map_err(|_| wrong())
}

/// A size for people, in four digits at most: `1.5GiB`, `64MiB`, `312B`.
pub fn format_bytes(bytes: u64) -> String {
    let (mut size, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    let digits = match size {
        1000.0.. => 0,
        100.0.. => 1,
        10.0.. => 2,
        _ => 3,
    };
    let text = format!("{size:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// Splits `12.34` into 12 and 0.34, the latter in units of 10^-`digits`. `None` if it is no such number, or if its
/// fraction is longer.
fn decimal(text: &str, digits: usize) -> Option<(u128, u128)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let numeric = |part: &str| part.len() <= 30 && part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !numeric(whole) || !numeric(fraction) || fraction.len() > digits {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    Some((whole, format!("{fraction:0<digits$}").parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        let sizes = [
            ("0", 0),
            ("4096", 4096),
            ("32b", 32),
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("64mb", 64 << 20),
            ("64MiB", 64 << 20),
            ("64 m", 64 << 20),
            ("1.5g", 3 << 29),
            (".5k", 512),
            ("1.k", 1024),
            ("0.3k", 307),
            ("2t", 2 << 40),
            ("1p", 1 << 50),
        ];
        for (text, bytes) in sizes {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            " ",
            "m",
            ".",
            "-1",
            "-1m",
            "64x",
            "64mm",
            "64bb",
            "64bib",
            "1.2.3k",
            "64  m",
            "m64",
            "1e3",
            "inf",
            "64µ",
            "٣k",
            "99999999999999999999",
            "9000000p",
            "0x10",
        ] {
            let error = parse_bytes(text).expect_err(text).to_string();
            assert!(error.starts_with("invalid size"), "{text}: {error}");
        }
    }

    #[test]
    fn processors_are_counted_in_billionths() {
        for (text, nanos) in [("1", ONE_CPU), ("0.5", ONE_CPU / 2), (".01", 10_000_000), ("1.000000001", ONE_CPU + 1)] {
            assert_eq!(parse_cpus(text).unwrap(), nanos, "{text}");
        }
        for text in ["", "half", "-1", "0.0000000001", "1/2", "1,5", "nan", "99999999999999999999999"] {
            parse_cpus(text).expect_err(text);
        }
    }

    #[test]
    fn sizes_are_shown_in_four_digits() {
        let shown =
            [(0, "0B"), (312, "312B"), (1023, "1023B"), (1024, "1KiB"), (64 << 20, "64MiB"), (3 << 29, "1.5GiB")];
        for (bytes, text) in shown {
            assert_eq!(format_bytes(bytes), text);
        }
        assert_eq!(format_bytes(123_456_789), "117.7MiB");
        assert_eq!(format_bytes(1_137_272_633_174_369), "1.01PiB");
        assert_eq!(format_bytes(u64::MAX), "16EiB");
    }

    proptest! {
        #[test]
        fn any_text_is_a_size_or_is_refused(text in "[-+0-9.a-zA-Z µ]{0,40}") {
            if let Ok(bytes) = parse_bytes(&text) {
                prop_assert!(i64::try_from(bytes).is_ok());
                prop_assert!(text.starts_with(|first: char| first.is_ascii_digit() || first == '.'));
            }
        }

        #[test]
        fn whole_numbers_are_exact_in_every_unit(number in 0u64..8192, power in 0u32..6, binary in any::<bool>()) {
            let letter = UNITS.as_bytes()[power as usize] as char;
            let unit = if binary && power > 0 { format!("{letter}iB") } else { letter.to_string() };
            prop_assert_eq!(parse_bytes(&format!("{number}{unit}")).unwrap(), number << (10 * power));
        }

        #[test]
        fn a_larger_number_is_no_smaller_size(a in 0u64..1 << 40, b in 0u64..1 << 40, digits in 0usize..6) {
            let size = |number: u64| parse_bytes(&format!("{}.{:0<digits$}k", number / 7, number % 7)).unwrap();
            let (less, more) = (a.min(b), a.max(b));
            prop_assert!(size(less / 7 * 7) <= size(more));
        }

        #[test]
        fn what_is_shown_is_close_to_what_it_was(bytes in 0u64..1 << 60) {
            let shown = format_bytes(bytes);
            prop_assert!(shown.len() <= 9, "{}", shown);
            let back = parse_bytes(&shown).unwrap();
            prop_assert!(back.abs_diff(bytes) <= bytes / 100 + 1, "{}: {} is not {}", shown, back, bytes);
        }

        #[test]
        fn processors_come_back_as_they_were_written(whole in 0u64..1_000_000, nanos in 0u64..ONE_CPU) {
            prop_assert_eq!(parse_cpus(&format!("{whole}.{nanos:09}")).unwrap(), whole * ONE_CPU + nanos);
        }

        #[test]
        fn any_text_is_processors_or_is_refused(text in "[-+0-9.eE, ]{0,40}") {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            prop_assert!(plain || parse_cpus(&text).is_err());
        }
    }
}
