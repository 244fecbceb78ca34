//! Whose the files of an upper directory are, seen from inside.
//!
//! A container in a user namespace writes as root, and on disk its files belong to, say, 100000. What the numbers mean is
//! written down beside the directory, `.upper.ids` beside `upper`, so that whoever compares or packs it later gets the
//! container's numbers again:
//!
//! ```json
//! {"uids":[{"inside":0,"outside":100000,"count":65536}],"gids":[{"inside":0,"outside":100000,"count":65536}]}
//! ```

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use namespaces::Child;
use serde::{Deserialize, Serialize};

/// The maps of a user namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ids {
    uids: Vec<Range>,
    gids: Vec<Range>,
}

/// A line of `/proc/PID/uid_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Range {
    inside: u32,
    outside: u32,
    count: u32,
}

impl Ids {
    /// Those of the child's user namespace, as we see them.
    pub(crate) fn of(child: &Child) -> Result<Ids> {
        let pid = child.pid_in_proc()?;
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
            parse(&text).with_context(|| format!("understand {path}"))
        };
        Ok(Ids { uids: read("uid_map")?, gids: read("gid_map")? })
    }

    /// Those written down beside `directory`, if any.
    pub(crate) fn beside(directory: &Path) -> Result<Option<Ids>> {
        let Some(path) = beside(directory, "ids")? else { return Ok(None) };
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("read {}", path.display()))?,
        };
        serde_json::from_slice(&text).map(Some).with_context(|| format!("understand {}", path.display()))
    }

    pub(crate) fn write_beside(&self, directory: &Path) -> Result<()> {
        let path = beside(directory, "ids")?.context("the root directory cannot be the upper directory")?;
        let write = || -> Result<()> {
            let partial = path.with_extension("ids.new");
            fs::write(&partial, serde_json::to_vec(self)?)?;
            Ok(fs::rename(partial, &path)?)
        };
        write().with_context(|| format!("write {}", path.display()))
    }

    /// What the ids on disk are inside. Without a map for them they stay: they came from elsewhere.
    pub(crate) fn inside(&self, uid: u32, gid: u32) -> (u32, u32) {
        let inside = |ranges, id| translate(ranges, id, |range: &Range| (range.outside, range.inside)).unwrap_or(id);
        (inside(&self.uids, uid), inside(&self.gids, gid))
    }

    /// What ids inside are on disk, if they are mapped.
    pub(crate) fn outside(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        let outside = |ranges, id| translate(ranges, id, |range: &Range| (range.inside, range.outside));
        Some((outside(&self.uids, uid)?, outside(&self.gids, gid)?))
    }
}

fn translate(ranges: &[Range], id: u32, direction: impl Fn(&Range) -> (u32, u32)) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let (from, to) = direction(range);
        let offset = id.checked_sub(from).filter(|offset| *offset < range.count)?;
        to.checked_add(offset)
    })
}

fn parse(map: &str) -> Result<Vec<Range>> {
    map.lines()
        .map(|line| {
            let numbers: Vec<u32> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
            let [inside, outside, count] = numbers[..] else { anyhow::bail!("{line:?} is no map of ids") };
            Ok(Range { inside, outside, count })
        })
        .collect()
}

/// The path of what is kept about `directory`, not in it: `.NAME.what` beside it. `/` has nothing beside it.
pub(crate) fn beside(directory: &Path, what: &str) -> Result<Option<PathBuf>> {
    // `.` and `x/..` have a name as well.
    let found = directory.canonicalize().with_context(|| format!("find {}", directory.display()))?;
    let Some(name) = found.file_name() else { return Ok(None) };
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".");
    hidden.push(what);
    Ok(Some(found.with_file_name(hidden)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn translates_both_ways_and_leaves_the_rest() {
        let map = parse("         0       1000          1\n         1     100000      65536\n").unwrap();
        let ids = Ids { uids: map.clone(), gids: map };
        assert_eq!(ids.inside(1000, 100_032), (0, 33));
        assert_eq!(ids.outside(0, 33), Some((1000, 100_032)));
        assert_eq!(ids.inside(7, 165_536), (7, 165_536));
        assert_eq!(ids.outside(65_537, 0), None);
        assert!(parse("0 1000").is_err() && parse("0 -1 1").is_err());
    }

    #[test]
    fn is_written_beside_and_read_again() {
        let root = tempfile::tempdir().unwrap();
        let upper = root.path().join("upper");
        fs::create_dir(&upper).unwrap();
        assert_eq!(Ids::beside(&upper).unwrap(), None);
        let ids = Ids { uids: parse("0 0 4294967295").unwrap(), gids: Vec::new() };
        ids.write_beside(&upper).unwrap();
        assert_eq!(Ids::beside(&upper).unwrap(), Some(ids));
        fs::write(root.path().join(".upper.ids"), "{}").unwrap();
        assert!(format!("{:#}", Ids::beside(&upper).unwrap_err()).contains("understand"));
    }
}
