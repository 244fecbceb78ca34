//! Maps of ids: which user inside is which user outside, `user_namespaces(7)`.

use std::fmt;
use std::fs;
use std::str::FromStr;

use anyhow::{Result, bail, ensure};

/// How many lines a map can have (since Linux 4.15).
const LINES_MAX: usize = 340;

/// A line of `/proc/PID/uid_map`: `count` ids that are `inside` and up in the namespace are `outside` and up in ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// The first id inside.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many, at least 1.
    pub count: u32,
}

impl IdMap {
    /// One id.
    pub fn one(inside: u32, outside: u32) -> IdMap {
        IdMap { inside, outside, count: 1 }
    }

    /// Whether an id that counts inside is among these.
    pub fn maps(&self, inside: u32) -> bool {
        inside.checked_sub(self.inside).is_some_and(|place| place < self.count)
    }
}

impl FromStr for IdMap {
    type Err = anyhow::Error;

    /// Reads `INSIDE:OUTSIDE:COUNT`, as in `0:100000:65536`.
    fn from_str(text: &str) -> Result<IdMap> {
        let numbers: Vec<u32> = text.split(':').map(str::parse).collect::<Result<_, _>>().unwrap_or_default();
        let &[inside, outside, count] = numbers.as_slice() else {
            bail!("{text:?} is not a map of ids (write INSIDE:OUTSIDE:COUNT, as in 0:100000:65536)");
        };
        ensure!(count > 0, "the map {text} maps no ids: COUNT is 0");
        // The last number, 2^32 - 1, is no id: to setresuid(2) it means "leave it as it is".
        let fits = |first: u32| first.checked_add(count).is_some();
        ensure!(fits(inside) && fits(outside), "the map {text} goes beyond the last id, 4294967294");
        Ok(IdMap { inside, outside, count })
    }
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.inside, self.outside, self.count)
    }
}

/// Refuses what the kernel answers with a bare EINVAL: too many lines, or an id in two of them.
pub fn check(maps: &[IdMap]) -> Result<()> {
    ensure!(maps.len() <= LINES_MAX, "{} ranges of ids are too many: a map has at most {LINES_MAX}", maps.len());
    for (index, a) in maps.iter().enumerate() {
        for b in &maps[..index] {
            ensure!(!overlap((a.inside, a.count), (b.inside, b.count)), "the maps {b} and {a} overlap inside");
            ensure!(!overlap((a.outside, a.count), (b.outside, b.count)), "the maps {b} and {a} overlap outside");
        }
    }
    Ok(())
}

fn overlap((a, a_count): (u32, u32), (b, b_count): (u32, u32)) -> bool {
    // As u64: the sum may be 2^32.
    let (a, b) = (u64::from(a), u64::from(b));
    a < b + u64::from(b_count) && b < a + u64::from(a_count)
}

/// The map of the user namespace that we are in; in the first one, all ids to themselves.
///
/// `file` is `uid_map` or `gid_map`. What is on its left are the ids that exist for us.
pub fn own(file: &str) -> Vec<IdMap> {
    of(&"self", file)
}

/// The map of the user namespace that a process is in: a number, or `self`.
pub(crate) fn of(pid: &impl fmt::Display, file: &str) -> Vec<IdMap> {
    parse_lines(&fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default())
}

/// Reads the lines of `/proc/PID/uid_map`, as in `         0     100000      65536`.
fn parse_lines(text: &str) -> Vec<IdMap> {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map_while(|number| number.parse().ok());
        Some(IdMap { inside: numbers.next()?, outside: numbers.next()?, count: numbers.next()? })
    };
    text.lines().filter_map(line).collect()
}

/// Whether all of `count` ids from `first` up exist in a namespace with this map.
pub fn covers(map: &[IdMap], first: u32, count: u32) -> bool {
    let (mut next, end) = (u64::from(first), u64::from(first) + u64::from(count));
    while next < end {
        // Several lines may have to be put together.
        let line = map.iter().find(|line| u32::try_from(next).is_ok_and(|id| line.maps(id)));
        let Some(line) = line else { return false };
        next = u64::from(line.inside) + u64::from(line.count);
    }
    true
}
