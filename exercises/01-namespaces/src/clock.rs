//! Clocks of a container's own, `time_namespaces(7)`.
//!
//! A time namespace sets two clocks off against the host's: the one that counts since boot (`uptime`), and the monotonic
//! one, which stands still in suspend. The time of day is everybody's. A container that was moved from another machine
//! so goes on to count from where it was.

use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};

use crate::{Birth, Isolation};

/// By how much the clocks differ from the caller's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// `CLOCK_MONOTONIC`.
    pub monotonic: Offset,
    /// `CLOCK_BOOTTIME`, which `/proc/uptime` shows.
    pub boottime: Offset,
}

/// A difference of time, to the nanosecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    /// Whole seconds, rounded down: -1.5 s are -2 of them.
    pub seconds: i64,
    /// What is left, 0 to 999 999 999.
    pub nanoseconds: u32,
}

impl Offsets {
    /// The lines for `/proc/PID/timens_offsets`, as in `boottime 86400 0`.
    pub(crate) fn lines(&self) -> Vec<String> {
        let clocks = [("monotonic", self.monotonic), ("boottime", self.boottime)];
        let set = clocks.into_iter().filter(|(_, offset)| *offset != Offset::default());
        set.map(|(clock, offset)| format!("{clock} {} {}\n", offset.seconds, offset.nanoseconds)).collect()
    }

    /// What is to be said when the kernel refuses them with ERANGE.
    pub(crate) fn limits(&self) -> &'static str {
        let negative = self.monotonic.seconds < 0 || self.boottime.seconds < 0;
        if negative { " (no clock can go back further than to 0, when the machine started)" } else { "" }
    }
}

impl FromStr for Offsets {
    type Err = anyhow::Error;

    /// Reads `CLOCK=SECONDS`, or several with commas between: `boottime=86400,monotonic=-3.5`.
    fn from_str(text: &str) -> Result<Offsets> {
        let mut offsets = Offsets::default();
        for one in text.split(',') {
            let Some((clock, seconds)) = one.split_once('=') else {
                bail!("{one:?} sets no clock (write CLOCK=SECONDS, as in boottime=86400)");
            };
            let offset = seconds.parse()?;
            match clock {
                "monotonic" => offsets.monotonic = offset,
                "boottime" => offsets.boottime = offset,
                _ => bail!("there is no clock {clock:?} to set (there are: monotonic, boottime)"),
            }
        }
        Ok(offsets)
    }
}

impl FromStr for Offset {
    type Err = anyhow::Error;

    /// Reads seconds with up to nine decimal places, `-3.5`.
    fn from_str(text: &str) -> Result<Offset> {
        let wrong = || format!("{text:?} is no number of seconds (as in 3600, or -1.5)");
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        ensure!(number(whole) && number(part) && part.len() <= 9, wrong());
        let seconds: i64 = whole.parse().with_context(wrong)?;
        let nanoseconds: u32 = format!("{part:0<9}").parse().with_context(wrong)?;
        Ok(match (negative, nanoseconds) {
            (false, _) => Offset { seconds, nanoseconds },
            (true, 0) => Offset { seconds: -seconds, nanoseconds },
            (true, _) => Offset { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
        })
    }
}

/// Gives the container a time namespace, and sets its clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clocks(pub Offsets);

impl Isolation for Clocks {
    fn births(&self) -> Vec<Birth> {
        vec![Birth::Clocks(self.0)]
    }
}
