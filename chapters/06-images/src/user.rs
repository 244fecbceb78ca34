//! Who the payload is: `--user`, looked up in the *container's* `/etc/passwd` and `/etc/group`.
//!
//! Never by `getpwnam(3)`: the C library would load the image's own modules into the engine (CVE-2019-14271). The files
//! belong to whoever made the image, so they may be anything: they are read inside the root, regular files only, up to a
//! limit (CVE-2026-47262).

use std::os::fd::BorrowedFd;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use namespaces::{Credentials, Gate, Isolation, Process};
use rootfs::{open_root, read_in_root};
use rustix::fd::AsFd;

/// The most bytes of `/etc/passwd` or `/etc/group` that we read.
const MAX_FILE: u64 = 1 << 20;
/// The largest id: 2³²−1 means "leave it as it is" to `setresuid(2)`.
const MAX_ID: u32 = u32::MAX - 1;

/// The user that the payload runs as.
///
/// Stands in the list after the root file system, and after everything that needs root's rights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// `name|uid[:group|gid]`, empty for root: `--user`, or the image's `User`.
    pub spec: String,
    /// Further groups, by name or number: `--group-add`.
    pub groups: Vec<String>,
}

impl User {
    /// A user by its spec alone.
    pub fn new(spec: impl Into<String>) -> User {
        User { spec: spec.into(), groups: Vec::new() }
    }
}

impl Isolation for User {
    fn inside(&mut self, _: &Gate, process: &mut Process) -> Result<()> {
        let root = open_root(Path::new("/")).context("open the container's root")?;
        let mut user = resolve_user(root.as_fd(), &self.spec)?;
        for group in &self.groups {
            let gid = resolve_group(root.as_fd(), group)?;
            user.credentials.groups.push(gid);
        }
        process.set_env_default("HOME", &user.home);
        process.enter_cwd()?; // while we may still go everywhere
        user.credentials.assume()
    }
}

/// What a spec means in a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedUser {
    /// The ids.
    pub credentials: Credentials,
    /// Home directory; `/` for a user that the passwd file does not know.
    pub home: String,
}

/// Looks a user up inside `root`.
///
/// Digits are an id, whoever may be called so in the passwd file (CVE-2016-3697), and an id out of range is an error: not 0
/// (CVE-2024-40635), and not a name that the image may have in its file (CVE-2026-46680). Without a group in the spec, the
/// user's own group and those that list the user apply.
pub fn resolve_user(root: BorrowedFd<'_>, spec: &str) -> Result<ResolvedUser> {
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (spec, None),
    };
    let passwd = read(root, "/etc/passwd")?;
    let uid = if user.is_empty() { Some(0) } else { parse_id(user)? };
    let entry = passwd.lines().filter_map(Entry::of_passwd).find(|entry| match uid {
        Some(uid) => entry.uid == uid,
        None => entry.name == user,
    });
    let (uid, gid, home) = match (&entry, uid) {
        (Some(entry), _) => (entry.uid, entry.gid, entry.home),
        (None, Some(uid)) => (uid, 0, "/"),
        (None, None) => bail!("unable to find user {user}: no matching entries in passwd file"),
    };
    let groups = read(root, "/etc/group")?;
    let credentials = match (group, &entry) {
        (Some(group), _) => {
            let gid = group_id(&groups, group)?;
            Credentials { uid, gid, groups: vec![gid] }
        }
        (None, Some(entry)) => {
            let mut member = vec![gid];
            member.extend(groups.lines().filter_map(Group::of_line).filter(|g| g.has(entry.name)).map(|g| g.gid));
            member.sort_unstable();
            member.dedup();
            Credentials { uid, gid, groups: member }
        }
        (None, None) => Credentials { uid, gid, groups: vec![gid] },
    };
    let home = if home.is_empty() { "/" } else { home };
    Ok(ResolvedUser { credentials, home: home.to_owned() })
}

/// Looks a group up inside `root`, by the same rules.
pub fn resolve_group(root: BorrowedFd<'_>, group: &str) -> Result<u32> {
    group_id(&read(root, "/etc/group")?, group)
}

fn group_id(groups: &str, group: &str) -> Result<u32> {
    if let Some(gid) = parse_id(group)? {
        return Ok(gid);
    }
    let found = groups.lines().filter_map(Group::of_line).find(|entry| entry.name == group);
    let found = found.with_context(|| format!("unable to find group {group}: no matching entries in group file"))?;
    Ok(found.gid)
}

/// A number, or `None` for what is a name. `-1` and `4294967295` are neither.
fn parse_id(text: &str) -> Result<Option<u32>> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let id = text.parse::<u32>().ok().filter(|id| *id <= MAX_ID && digits == text);
    ensure!(id.is_some(), "uids and gids must be in range 0-{MAX_ID}, and {text} is not");
    Ok(id)
}

/// A missing file is an empty one: an image need not have users.
fn read(root: BorrowedFd<'_>, path: &str) -> Result<String> {
    let bytes = read_in_root(root, path, MAX_FILE).with_context(|| format!("read the image's {path}"))?;
    Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
}

/// `name:password:uid:gid:comment:home:shell`, passwd(5). Lines that are not of this form do not count.
struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Entry<'a> {
    fn of_passwd(line: &'a str) -> Option<Entry<'a>> {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [name, _, uid, gid, rest @ ..] = fields.as_slice() else { return None };
        let (uid, gid) = (parse_id(uid).ok()??, parse_id(gid).ok()??);
        let home = rest.get(1).copied().unwrap_or_default();
        (!name.is_empty()).then_some(Entry { name, uid, gid, home })
    }
}

/// `name:password:gid:member,member`, group(5).
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    fn of_line(line: &'a str) -> Option<Group<'a>> {
        let mut fields = line.trim().split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        let gid = parse_id(gid).ok()??;
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    }

    fn has(&self, user: &str) -> bool {
        self.members.split(',').any(|member| member == user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\nbroken\nweb:x:33:33::/srv:/bin/sh\n0815:x:7:7::/x:\nbig:x:99999999999:1::/:\n";
    const GROUP: &str = "root:x:0:\nweb:x:33:\nmail:x:8:web,root\nlog:x:4:root,web\n";

    fn root(passwd: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
        fs::write(dir.path().join("etc/group"), GROUP).unwrap();
        dir
    }

    fn resolve(spec: &str) -> Result<(u32, u32, Vec<u32>, String)> {
        let dir = root(PASSWD);
        let fd = open_root(dir.path()).unwrap();
        let ResolvedUser { credentials: Credentials { uid, gid, groups }, home } = resolve_user(fd.as_fd(), spec)?;
        Ok((uid, gid, groups, home))
    }

    #[test]
    fn specs_mean_what_they_mean_to_docker() {
        assert_eq!(resolve("").unwrap(), (0, 0, vec![0, 4, 8], "/root".to_owned()));
        assert_eq!(resolve("web").unwrap(), (33, 33, vec![4, 8, 33], "/srv".to_owned()));
        assert_eq!(resolve("33").unwrap(), (33, 33, vec![4, 8, 33], "/srv".to_owned()));
        assert_eq!(resolve("web:mail").unwrap(), (33, 8, vec![8], "/srv".to_owned()));
        assert_eq!(resolve("1000").unwrap(), (1000, 0, vec![0], "/".to_owned()));
        assert_eq!(resolve("1000:1001").unwrap(), (1000, 1001, vec![1001], "/".to_owned()));
        assert_eq!(resolve(":8").unwrap(), (0, 8, vec![8], "/root".to_owned()));
        // Digits are an id, although somebody is called so.
        assert_eq!(resolve("0815").unwrap().0, 815);
    }

    #[test]
    fn unknown_users_and_ids_out_of_range_are_errors() {
        let error = |spec| resolve(spec).unwrap_err().to_string();
        assert_eq!(error("nobody"), "unable to find user nobody: no matching entries in passwd file");
        assert_eq!(error("big"), "unable to find user big: no matching entries in passwd file");
        assert_eq!(error("web:x"), "unable to find group x: no matching entries in group file");
        for spec in ["4294967295", "4294967296", "99999999999999999999", "-1", "+1", "0:-1", "0:4294967295"] {
            assert!(error(spec).contains("must be in range"), "{spec}");
        }
    }

    #[test]
    fn hostile_files_are_errors_and_missing_ones_are_empty() {
        let dir = tempfile::tempdir().unwrap();
        let fd = open_root(dir.path()).unwrap();
        assert_eq!(resolve_user(fd.as_fd(), "").unwrap().home, "/");
        assert!(resolve_user(fd.as_fd(), "web").is_err());
        // Out of the root: the host's own passwd file must not answer.
        fs::create_dir(dir.path().join("etc")).unwrap();
        symlink("../../../../../../../../etc/passwd", dir.path().join("etc/passwd")).unwrap();
        assert!(resolve_user(fd.as_fd(), "root").is_err());
        fs::remove_file(dir.path().join("etc/passwd")).unwrap();
        fs::write(dir.path().join("etc/passwd"), vec![b'a'; MAX_FILE as usize + 1]).unwrap();
        assert!(format!("{:#}", resolve_user(fd.as_fd(), "").unwrap_err()).contains("larger than"));
        fs::remove_file(dir.path().join("etc/passwd")).unwrap();
        nix::unistd::mkfifo(&dir.path().join("etc/passwd"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(resolve_user(fd.as_fd(), "").is_err());
    }
}
