//! Text: what users write, and what images say.

use std::fs;
use std::str::FromStr;

use cgroups::{DeviceRule, format_bytes, parse_bytes, parse_cpus};
use images::{Reference, resolve_group, resolve_user};
use namespaces::id_map::IdMap;
use rootfs::{DeviceWish, MountWish, Volume, open_root, parse_tmpfs};
use std::os::fd::AsFd;

/// `--user` and the image's `/etc/passwd` and `/etc/group`, one after the other with a NUL between. No id is the one that
/// means "leave it as it is".
pub fn users(data: &[u8]) {
    let mut parts = data.splitn(3, |&byte| byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (spec, passwd, group) = (String::from_utf8_lossy(next()), next(), next());
    let root = tempfile::tempdir().expect("make a root");
    fs::create_dir(root.path().join("etc")).expect("make /etc");
    fs::write(root.path().join("etc/passwd"), passwd).expect("write passwd");
    fs::write(root.path().join("etc/group"), group).expect("write group");
    let root = open_root(root.path()).expect("open the root");
    if let Ok(user) = resolve_user(root.as_fd(), &spec) {
        let ids = user.credentials;
        assert!(ids.uid != u32::MAX && ids.gid != u32::MAX && !ids.groups.contains(&u32::MAX));
        // Digits are an id and never a name.
        let name = spec.split(':').next().unwrap_or_default();
        assert!(name.parse::<u32>().is_err() || name.parse() == Ok(ids.uid));
    }
    let _ = resolve_group(root.as_fd(), &spec);
}

/// `--uid-map`. What is accepted stays below the last id, inside and outside.
pub fn id_maps(data: &[u8]) {
    if let Some(map) = parsed::<IdMap>(data) {
        assert!(
            map.count > 0
                && map.inside.checked_add(map.count).is_some()
                && map.outside.checked_add(map.count).is_some()
        );
    }
}

/// `-v`, `--mount`, `--tmpfs`, `--device`, `--device-cgroup-rule`.
pub fn mounts(data: &[u8]) {
    parsed::<Volume>(data);
    parsed::<MountWish>(data);
    parsed::<DeviceWish>(data);
    parsed::<DeviceRule>(data);
    let _ = text(data).map(parse_tmpfs);
}

/// `--memory` and `--cpus`. A size that is printed can be read again.
pub fn quantities(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let _ = parse_cpus(text);
    if let Ok(bytes) = parse_bytes(text) {
        let _ = format_bytes(bytes);
    }
}

/// A Dockerfile. An error can be shown, caret and all.
pub fn dockerfile(data: &[u8]) {
    if let Some(text) = text(data)
        && let Err(error) = dockerfile::parse(text, "Dockerfile")
    {
        assert!(!format!("{error:#}").is_empty());
    }
}

/// An image's name. What is accepted is the same when it is written out and read again.
pub fn references(data: &[u8]) {
    if let Some(reference) = parsed::<Reference>(data) {
        let again = reference.to_string().parse::<Reference>().expect("read what was written");
        assert_eq!(again, reference);
        assert_eq!(reference.familiar().parse::<Reference>().expect("read the familiar form"), reference);
    }
}

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

fn parsed<T: FromStr>(data: &[u8]) -> Option<T> {
    text(data)?.parse().ok()
}
