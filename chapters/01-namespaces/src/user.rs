//! The user namespace: being root inside without being root, `user_namespaces(7)`.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::{Context, Result};
use nix::unistd::{Gid, Uid};
use rustix::thread::{CapabilitySet, capabilities};

use crate::id_map::{self, IdMap};
use crate::subordinate::Ids;
use crate::{Birth, Child, Credentials, Gate, Isolation, Kind, Process};

/// Whether we lack root's rights, so that everything must happen in a new user namespace.
///
/// Not the same as not being user 0: root of a container of Docker's is that, and has no `CAP_SYS_ADMIN`. And root of a
/// user namespace has all rights there are in it, also if it is an ordinary user outside.
pub fn rootless() -> bool {
    let capable = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    !(Uid::effective().is_root() && capable)
}

/// A user namespace, and its maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNamespace {
    /// For user ids.
    pub uids: Vec<IdMap>,
    /// For group ids.
    pub gids: Vec<IdMap>,
}

/// The ids that root of a container gets from the host's root: the range that distributions grant first.
const FIRST_RANGE: IdMap = IdMap { inside: 0, outside: 100_000, count: 65_536 };

impl UserNamespace {
    /// The maps that the caller may have.
    pub fn for_caller() -> UserNamespace {
        match rootless() {
            true => UserNamespace::for_ordinary_user(),
            false => UserNamespace::for_root(),
        }
    }

    /// An ordinary user is root inside. From 1 up follow its subordinate ids, range after range, if it has any.
    // ANCHOR: for-ordinary-user
    fn for_ordinary_user() -> UserNamespace {
        let (uid, gid) = (Uid::effective().as_raw(), Gid::effective().as_raw());
        let mut own = UserNamespace { uids: vec![IdMap::one(0, uid)], gids: vec![IdMap::one(0, gid)] };
        let (uids, gids) = (Ids::Users.permitted(uid), Ids::Groups.permitted(uid));
        // Both or none: with groups that nobody can be in, most programs that change their user fail.
        if !uids.is_empty() && !gids.is_empty() {
            own.uids.extend(one_after_the_other(&uids));
            own.gids.extend(one_after_the_other(&gids));
        }
        own
    }
    // ANCHOR_END: for-ordinary-user

    /// Root is somebody else inside. In a user namespace that has no such ids to give, as one that an ordinary user made,
    /// the ids that there are keep their meaning.
    fn for_root() -> UserNamespace {
        let map = |ids: Ids| {
            let own = id_map::own(ids.map_file());
            match id_map::covers(&own, FIRST_RANGE.outside, FIRST_RANGE.count) {
                true => vec![FIRST_RANGE],
                false => own.iter().map(|line| IdMap { outside: line.inside, ..*line }).collect(),
            }
        };
        UserNamespace { uids: map(Ids::Users), gids: map(Ids::Groups) }
    }

    /// Whether there is a root inside.
    fn has_root(&self) -> bool {
        [&self.uids, &self.gids].into_iter().all(|map| map.iter().any(|line| line.maps(0)))
    }
}

/// Ranges of ids outside, mapped from 1 up without a gap.
fn one_after_the_other(ranges: &[(u32, u32)]) -> Vec<IdMap> {
    let mut next = 1u32;
    let mut maps = Vec::new();
    for &(outside, count) in ranges {
        maps.push(IdMap { inside: next, outside, count });
        match next.checked_add(count) {
            Some(after) => next = after,
            None => break,
        }
    }
    maps
}

impl Isolation for UserNamespace {
    fn prepare(&mut self) -> Result<()> {
        id_map::check(&self.uids).context("the map of user ids")?;
        id_map::check(&self.gids).context("the map of group ids")
    }

    fn births(&self) -> Vec<Birth> {
        vec![Birth::New(Kind::User)]
    }

    // ANCHOR: outside
    fn outside(&mut self, child: &Child) -> Result<()> {
        // The child waits for this: until it is written, the child is nobody in particular (65534) in its own namespace.
        let pid = child.pid_in_proc()?;
        write_map(Ids::Users, pid, &self.uids, Uid::effective().as_raw())?;
        write_map(Ids::Groups, pid, &self.gids, Gid::effective().as_raw())
    }
    // ANCHOR_END: outside

    fn inside(&mut self, _: &Gate, _: &mut Process) -> Result<()> {
        match self.has_root() {
            true => Credentials::default().assume().context("become root in the user namespace"),
            false => Ok(()), // then we are whom the map makes of us
        }
    }
}

/// Writes a map of the process `pid`, whose maker has the id `own`; or has it written, where that takes more rights.
// ANCHOR: write-map
fn write_map(ids: Ids, pid: i32, map: &[IdMap], own: u32) -> Result<()> {
    let proc = format!("/proc/{pid}");
    let only_own = matches!(map, [IdMap { outside, count: 1, .. }] if *outside == own);
    if rootless() && !only_own {
        return ids.write(pid, map);
    }
    // ANCHOR: ex-maps
    if rootless() && ids == Ids::Groups {
        // Since CVE-2014-8989 an ordinary user must give up setgroups(2) inside before mapping a group: leaving a
        // group could be a way around a permission that denies it something.
        write(&format!("{proc}/setgroups"), "deny")?;
    }
    let lines: String = map.iter().map(|m| format!("{} {} {}\n", m.inside, m.outside, m.count)).collect();
    write(&format!("{proc}/{}", ids.map_file()), &lines).with_context(|| meaning(ids, map))
    // ANCHOR_END: ex-maps
}
// ANCHOR_END: write-map

/// What is to be said when the kernel refuses a map with EPERM.
fn meaning(ids: Ids, map: &[IdMap]) -> String {
    let file = ids.map_file();
    let there = id_map::own(file);
    match map.iter().find(|m| !id_map::covers(&there, m.outside, m.count)) {
        Some(map) => format!("the map {map} gives away ids that do not exist here (see /proc/self/{file})"),
        None => "map the ids".to_string(),
    }
}

/// Writes to a file of `/proc` in one `write(2)`, which such files insist on.
fn write(path: &str, text: &str) -> Result<()> {
    // ANCHOR: write
    let mut file = OpenOptions::new().write(true).open(path).with_context(|| format!("open {path}"))?;
    file.write_all(text.as_bytes()).with_context(|| format!("write {:?} to {path}", text.trim_end()))
    // ANCHOR_END: write
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_each_other_from_one() {
        let maps = one_after_the_other(&[(100_000, 65_536), (300_000, 10)]);
        let expected = ["1:100000:65536", "65537:300000:10"].map(|text| text.parse().unwrap());
        assert_eq!(maps, expected);
        assert_eq!(one_after_the_other(&[(1, u32::MAX - 1), (5, 5)]).len(), 2);
        assert_eq!(one_after_the_other(&[(0, u32::MAX), (5, 5)]).len(), 1);
    }

    #[test]
    fn root_is_there_or_not() {
        let maps = |text: &str| vec![text.parse().unwrap()];
        assert!(UserNamespace { uids: maps("0:5:1"), gids: maps("0:5:1") }.has_root());
        assert!(!UserNamespace { uids: maps("0:5:1"), gids: maps("5:5:1") }.has_root());
    }
}
