//! What goes into a layer comes out of it: any tree packed and unpacked, any change of a container made a layer and laid over.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use layers::{OverlayXattrs, UnpackOptions, Upper, diff, mount_overlay, pack, pack_above, unpack};
use proptest::collection::vec;
use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};

/// One thing done to a tree. What cannot be done is left: the tree is as random as the deed.
#[derive(Clone, Debug)]
enum Deed {
    File(usize, Vec<u8>, u64),
    Directory(usize),
    Symlink(usize, Vec<u8>),
    HardLink(usize, usize),
    Fifo(usize),
    Socket(usize),
    Rename(usize, usize),
    Remove(usize),
    Mode(usize, u32),
    Owner(usize, u32, u32),
    Time(usize, i64, u32),
    Xattr(usize, Vec<u8>),
    Capability(usize),
}

/// Few names, so that deeds meet: nested, long, with bytes that are no text.
fn name(index: usize) -> PathBuf {
    let long = "l".repeat(120);
    let names: [&[u8]; 14] = [
        b"a",
        b"a/b",
        b"a/b/c",
        b"a.b",
        b"a/\xff\xfe",
        b"new\nline",
        b"d",
        b"d/e",
        b"d/e/f",
        b"d/e/f/g",
        b"sp ace",
        b".wh",
        b"d/..x",
        b"z",
    ];
    match index % 16 {
        14 => long.into(),
        15 => format!("d/{long}").into(),
        index => OsString::from_vec(names[index].to_vec()).into(),
    }
}

fn deed() -> impl Strategy<Value = Deed> {
    let at = || 0usize..16;
    prop_oneof![
        4 => (at(), vec(any::<u8>(), 0..200), prop_oneof![Just(0u64), Just(1 << 20), 0u64..20_000])
            .prop_map(|(at, bytes, offset)| Deed::File(at, bytes, offset)),
        4 => at().prop_map(Deed::Directory),
        1 => (at(), vec(1u8.., 1..150)).prop_map(|(at, target)| Deed::Symlink(at, target)),
        1 => (at(), at()).prop_map(|(from, to)| Deed::HardLink(from, to)),
        1 => at().prop_map(Deed::Fifo),
        1 => at().prop_map(Deed::Socket),
        2 => (at(), at()).prop_map(|(from, to)| Deed::Rename(from, to)),
        3 => at().prop_map(Deed::Remove),
        1 => (at(), 0u32..0o10000).prop_map(|(at, mode)| Deed::Mode(at, mode)),
        1 => (at(), 0u32..5_000_000, 0u32..5_000_000).prop_map(|(at, uid, gid)| Deed::Owner(at, uid, gid)),
        1 => (at(), -2_000_000_000i64..9_000_000_000, 0u32..1_000_000_000).prop_map(|(at, s, ns)| Deed::Time(at, s, ns)),
        1 => (at(), vec(any::<u8>(), 0..60)).prop_map(|(at, value)| Deed::Xattr(at, value)),
        1 => at().prop_map(Deed::Capability),
    ]
}

fn carry_out(root: &Path, deed: &Deed) {
    let at = |index: &usize| root.join(name(*index));
    let _ = match deed {
        // Anywhere in the file, which may then begin with a hole, or change in its middle.
        Deed::File(index, bytes, offset) => File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(OFlags::NONBLOCK.bits() as i32) // it may be a FIFO
            .open(at(index))
            .and_then(|file| file.write_all_at(bytes, *offset)),
        Deed::Directory(index) => fs::create_dir(at(index)),
        Deed::Symlink(index, target) => symlink(OsString::from_vec(target.clone()), at(index)),
        Deed::HardLink(from, to) => fs::hard_link(at(from), at(to)),
        Deed::Fifo(index) => rustix::fs::mknodat(CWD, at(index), FileType::Fifo, Mode::RUSR, 0).map_err(Into::into),
        Deed::Socket(index) => std::os::unix::net::UnixListener::bind(at(index)).map(drop),
        Deed::Rename(from, to) => fs::rename(at(from), at(to)),
        Deed::Remove(index) => fs::remove_file(at(index)).or_else(|_| fs::remove_dir_all(at(index))),
        Deed::Mode(index, mode) if !at(index).is_symlink() => {
            fs::set_permissions(at(index), fs::Permissions::from_mode(*mode))
        }
        Deed::Mode(..) => Ok(()),
        Deed::Owner(index, uid, gid) => lchown(at(index), Some(*uid), Some(*gid)),
        Deed::Time(index, seconds, nanoseconds) => {
            let time = Timespec { tv_sec: *seconds, tv_nsec: i64::from(*nanoseconds) };
            let times = Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(CWD, at(index), &times, AtFlags::SYMLINK_NOFOLLOW).map_err(Into::into)
        }
        Deed::Xattr(index, value) => {
            rustix::fs::lsetxattr(at(index), "user.x", value, XattrFlags::empty()).map_err(Into::into)
        }
        Deed::Capability(index) => {
            let value = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            rustix::fs::lsetxattr(at(index), "security.capability", &value, XattrFlags::empty()).map_err(Into::into)
        }
    };
}

/// All that a process sees of a tree and a layer keeps: not sockets.
fn kept(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut seen = look(root);
    seen.retain(|_, line| line != "socket");
    seen
}

/// All that a process sees of a tree.
fn look(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    look_in(root, Path::new(""), &mut seen);
    seen
}

fn look_in(root: &Path, directory: &Path, seen: &mut BTreeMap<PathBuf, String>) {
    for found in fs::read_dir(root.join(directory)).unwrap() {
        let path = directory.join(found.unwrap().file_name());
        let whole = root.join(&path);
        let stat = fs::symlink_metadata(&whole).unwrap();
        let kind = FileType::from_raw_mode(stat.mode());
        let content = match kind {
            FileType::RegularFile => {
                let mut bytes = Vec::new();
                File::open(&whole).unwrap().read_to_end(&mut bytes).unwrap();
                layers::Digest::of(bytes).to_string()
            }
            FileType::Symlink => format!("{:?}", fs::read_link(&whole).unwrap()),
            FileType::Socket => {
                seen.insert(path, "socket".to_owned());
                continue;
            }
            _ => String::new(),
        };
        let xattr = |name: &str| {
            let mut value = [0; 100];
            rustix::fs::lgetxattr(&whole, name, &mut value[..]).map(|length| value[..length].to_vec()).ok()
        };
        let xattrs = (xattr("user.x"), xattr("security.capability"));
        let time = (stat.mtime(), stat.mtime_nsec());
        let line = format!("{:o} {}:{} {time:?} {xattrs:?} {content}", stat.mode(), stat.uid(), stat.gid());
        seen.insert(path.clone(), line);
        if kind == FileType::Directory {
            look_in(root, &path, seen);
        }
    }
}

fn packed(directory: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    pack(directory, &mut tar).unwrap();
    tar
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    /// Packing and unpacking a tree gives the same tree, and packing that the same bytes.
    #[test]
    fn trees_survive(deeds in vec(deed(), 0..40)) {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let deeds: Vec<Deed> = deeds.into_iter().filter(|deed| is_root() || !matches!(deed, Deed::Mode(..))).collect();
        deeds.iter().for_each(|deed| carry_out(first.path(), deed));
        let tar = packed(first.path());
        unpack(&tar[..], second.path(), &UnpackOptions::default()).unwrap();
        prop_assert_eq!(kept(second.path()), kept(first.path()));
        prop_assert!(packed(second.path()) == tar, "another tar");
    }
}

/// The path of a mount that is attached nowhere.
fn inside(mount: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/thread-self/fd/{}", mount.as_raw_fd()))
}

/// What a container changed, made a layer and laid over the layers below, gives the tree that the container saw. Mounts, so
/// only for root, in a mount namespace of this thread's own.
#[test]
fn changes_survive() {
    if !is_root() {
        return;
    }
    let test = || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        rootfs::make_slave().unwrap();
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) };
        let mut runner = proptest::test_runner::TestRunner::new(config);
        runner.run(&(vec(deed(), 0..25), vec(deed(), 0..15), vec(deed(), 0..25)), |(base, middle, top)| {
            let root = tempfile::tempdir().unwrap();
            let make = |name: &str| {
                let path = root.path().join(name);
                fs::create_dir(&path).unwrap();
                path
            };
            let mut lower = vec![make("base")];
            base.iter().for_each(|deed| carry_out(&lower[0], deed));
            for (name, deeds) in [("middle", middle), ("top", top)] {
                let upper = Upper { upper: make(name), work: make(&format!("{name}.work")), volatile: true };
                let before = mount_overlay(&lower, None, OverlayXattrs::permitted()).unwrap();
                let merged = mount_overlay(&lower, Some(&upper), OverlayXattrs::permitted()).unwrap();
                deeds.iter().for_each(|deed| carry_out(&inside(&merged), deed));
                let (was, now) = (look(&inside(&before)), look(&inside(&merged)));
                let expected = kept(&inside(&merged));
                drop(merged);

                let mut tar = Vec::new();
                pack_above(&upper.upper, &lower, &mut tar).unwrap();
                let told = diff(&upper.upper, &lower).unwrap();
                let layer = make(&format!("{name}.layer"));
                unpack(&tar[..], &layer, &UnpackOptions::default()).unwrap();
                lower.push(layer);
                let again = mount_overlay(&lower, None, OverlayXattrs::permitted()).unwrap();
                prop_assert_eq!(kept(&inside(&again)), expected);

                // What is told of changes is true: what appeared and what is gone is told.
                let told: Vec<String> = told.iter().map(ToString::to_string).collect();
                let shown = |letter: char, path: &Path| format!("{letter} /{}", path.display());
                for path in now.keys().filter(|path| !was.contains_key(*path)) {
                    prop_assert!(told.contains(&shown('A', path)), "{path:?} is new: {told:?}");
                }
                let parent_is_there = |path: &Path| {
                    path.parent().is_none_or(|parent| {
                        parent.as_os_str().is_empty() || now.get(parent).is_some_and(|line| line.starts_with('4'))
                    })
                };
                for path in was.keys().filter(|path| !now.contains_key(*path) && parent_is_there(path)) {
                    prop_assert!(told.contains(&shown('D', path)), "{path:?} is gone: {told:?}");
                }
            }
            Ok(())
        })
    };
    std::thread::spawn(test).join().unwrap().unwrap();
}

/// A name in a layer that a container made may be anything; a layer tar cannot say all.
#[test]
fn bytes_of_names_survive() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let name = OsString::from_vec((1..=255).filter(|byte| *byte != b'/').collect());
    fs::write(first.path().join(&name), "x").unwrap();
    unpack(&packed(first.path())[..], second.path(), &UnpackOptions::default()).unwrap();
    let found = fs::read_dir(second.path()).unwrap().next().unwrap().unwrap().file_name();
    assert_eq!(found.as_bytes(), name.as_bytes());
}
