//! Archives as they come, and as attackers make them. None of these tests needs privileges; what only root can keep (owners,
//! devices) is looked at when the tests run as root.

use std::ffi::OsStr;
use std::fs::{self, read, read_dir, read_link, symlink_metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use proptest::prelude::*;
use rustix::fs::{getxattr, lgetxattr};
use tar::{EntryType, Header};
use tempfile::TempDir;

use super::*;
use crate::pack::pack;
use crate::pax;

/// An archive in the making.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn add(mut self, kind: EntryType, name: &str, link: &str, data: &[u8]) -> Archive {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_ustar_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.raw(header.as_bytes());
        self.raw(data);
        self
    }

    /// Any bytes, filled up to a block.
    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Archive {
        let mut bytes = Vec::new();
        records.iter().for_each(|(key, value)| pax::write_record(&mut bytes, key.as_bytes(), value));
        self.add(EntryType::XHeader, "pax", "", &bytes)
    }

    fn file(self, name: &str, data: &str) -> Archive {
        self.add(EntryType::Regular, name, "", data.as_bytes())
    }

    fn dir(self, name: &str) -> Archive {
        self.add(EntryType::Directory, name, "", b"")
    }

    fn symlink(self, name: &str, target: &str) -> Archive {
        self.add(EntryType::Symlink, name, target, b"")
    }

    fn hard_link(self, name: &str, target: &str) -> Archive {
        self.add(EntryType::Link, name, target, b"")
    }

    fn unpack(&self) -> Result<(TempDir, Contents)> {
        let into = tempfile::tempdir()?;
        let contents = unpack(&self.0[..], into.path(), &UnpackOptions::default())?;
        Ok((into, contents))
    }

    /// The error that unpacking ends with.
    fn error(&self) -> String {
        format!("{:#}", self.unpack().expect_err("the archive was accepted"))
    }
}

fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 1];
    matches!(getxattr(path, OverlayXattrs::permitted().opaque(), &mut value[..]), Ok(1)) && value == *b"y"
}

fn is_whiteout(path: &Path) -> bool {
    let found = symlink_metadata(path).unwrap();
    found.file_type().is_char_device() && found.rdev() == 0
}

fn is_root() -> bool {
    Owners::permitted() == Owners::Keep
}

#[test]
fn keeps_attributes() {
    let (root, contents) = Archive::default()
        .dir("dir/")
        .pax(&[("mtime", b"1700000000.123456789"), ("uid", b"3000000"), ("SCHILY.xattr.user.a", b"one\ntwo\0")])
        .file("dir/file", "content")
        .symlink("dir/link", "file")
        .hard_link("dir/second", "dir/file")
        .add(EntryType::Fifo, "dir/fifo", "", b"")
        .add(EntryType::Char, "dir/null", "", b"")
        .unpack()
        .unwrap();
    assert_eq!(contents, Contents { entries: 6, size: 7, noted: if is_root() { 0 } else { 2 } });
    let dir = root.path().join("dir");
    let file = fs::metadata(dir.join("file")).unwrap();
    assert_eq!((file.mtime(), file.mtime_nsec()), (1_700_000_000, 123_456_789));
    assert_eq!((file.mode() & 0o7777, file.nlink(), file.len()), (0o644, 2, 7));
    assert_eq!(file.uid(), if is_root() { 3_000_000 } else { rustix::process::geteuid().as_raw() });
    let mut value = [0; 20];
    let length = lgetxattr(dir.join("file"), "user.a", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"one\ntwo\0");
    assert_eq!(read_link(dir.join("link")).unwrap(), Path::new("file"));
    assert_eq!(symlink_metadata(dir.join("link")).unwrap().mtime(), 1_000_000_000);
    assert!(symlink_metadata(dir.join("fifo")).unwrap().file_type().is_fifo());
    // Set last: making the files in it would have changed it.
    assert_eq!(fs::metadata(&dir).unwrap().mtime(), 1_000_000_000);
}

#[test]
fn names_that_leave_are_refused() {
    for name in ["../evil", "a/../../evil", "a/.wh...", ".wh..", "/../evil"] {
        let error = Archive::default().file(name, "").error();
        assert!(error.contains("leads out") || error.contains("hides no name"), "{name}: {error}");
    }
    for target in ["../../etc/passwd", "/../etc/passwd"] {
        assert!(Archive::default().hard_link("h", target).error().contains("leads out"));
    }
}

/// The classic: a link that leads out, and then a file "below" it.
#[test]
fn links_stay_inside() {
    let outside = tempfile::tempdir().unwrap();
    let out = outside.path().to_str().unwrap();
    fs::write(outside.path().join("canary"), "alive").unwrap();

    // Nothing in the layer is where the link leads to: an error, and nothing made.
    let archive = Archive::default().symlink("abs", out).file("abs/new", "evil");
    assert!(archive.error().contains("something else in this layer"), "{}", archive.error());
    let archive = Archive::default().symlink("up", "../../../../../../../../tmp").dir("tmp/").file("up/new", "inside");
    assert_eq!(read(archive.unpack().unwrap().0.path().join("tmp/new")).unwrap(), b"inside");

    // The layer has a directory of the same name: it is meant, as it would be for a process in the container.
    let archive = Archive::default().dir(&format!(".{out}/")).symlink("abs", out).file("abs/canary", "mine");
    let (root, _) = archive.unpack().unwrap();
    assert_eq!(read(root.path().join(out.trim_start_matches('/')).join("canary")).unwrap(), b"mine");

    // The link as the last component is replaced, never followed; nor by a hard link, nor for its attributes.
    let canary = format!("{out}/canary");
    let archive = Archive::default().symlink("l", &canary).file("l", "mine").symlink("m", &canary).hard_link("n", "m");
    let (root, _) = archive.file("n", "mine").dir("m/").unpack().unwrap();
    assert_eq!(read(root.path().join("l")).unwrap(), b"mine");
    assert_eq!(read(root.path().join("n")).unwrap(), b"mine");
    assert!(Archive::default().symlink("m", out).hard_link("n", "m/canary").unpack().is_err());

    assert_eq!(read(outside.path().join("canary")).unwrap(), b"alive");
    assert_eq!(read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn later_entries_replace_earlier_ones() {
    let (root, _) = Archive::default()
        .file("a/b/c", "deep")
        .file("a", "now a file")
        .file("d", "a file")
        .file("d", "again")
        .symlink("e", "d")
        .dir("e/")
        .file("e/f", "in a directory")
        .hard_link("d", "d")
        .unpack()
        .unwrap();
    assert_eq!(read(root.path().join("a")).unwrap(), b"now a file");
    assert_eq!(read(root.path().join("d")).unwrap(), b"again");
    assert_eq!(read(root.path().join("e/f")).unwrap(), b"in a directory");
    assert!(Archive::default().file("a", "").file("a/b", "").error().contains("something else"));
}

#[test]
fn whiteouts_take_overlay_form() {
    let (root, _) = Archive::default()
        .file("dir/.wh.gone", "")
        .file("old/.wh..wh..opq", "")
        .file("old/new", "")
        // Gone below, and new in this very layer, in either order.
        .file(".wh.first", "")
        .file("first/x", "")
        .dir("second/")
        .file(".wh.second", "")
        .file(".wh.file", "")
        .file("file", "new")
        .file("kept", "new")
        .file(".wh.kept", "")
        .file(".wh..wh.plnk/7.7", "")
        .unpack()
        .unwrap();
    let at = |name: &str| root.path().join(name);
    assert!(is_whiteout(&at("dir/gone")) && !is_opaque(&at("dir")));
    assert!(is_opaque(&at("old")) && at("old/new").exists());
    assert!(is_opaque(&at("first")) && at("first/x").exists());
    assert!(is_opaque(&at("second")));
    assert_eq!(read(at("file")).unwrap(), b"new");
    assert_eq!(read(at("kept")).unwrap(), b"new");
    assert!(!at(".wh..wh.plnk").exists());
}

#[test]
fn overlay_attributes_are_not_taken_from_archives() {
    let (root, _) = Archive::default()
        .pax(&[("SCHILY.xattr.user.overlay.opaque", b"y"), ("SCHILY.xattr.trusted.overlay.redirect", b"/etc")])
        .dir("dir/")
        .unpack()
        .unwrap();
    let dir = root.path().join("dir");
    let mut value = [0; 8];
    assert!(!is_opaque(&dir) && getxattr(&dir, "trusted.overlay.redirect", &mut value[..]).is_err());
}

/// Forms 0.0, 0.1 and 1.0; the old one has its real archive below.
#[test]
fn sparse_files_of_pax() {
    let numbers: &[(&str, &[u8])] = &[("GNU.sparse.offset", b"0"), ("GNU.sparse.numbytes", b"3")];
    let last: &[(&str, &[u8])] = &[("GNU.sparse.offset", b"1000000"), ("GNU.sparse.numbytes", b"3")];
    let size: (&str, &[u8]) = ("GNU.sparse.size", b"2000000");
    let mut map = b"2\n0\n3\n1000000\n3\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(b"onetwo");
    let archive = Archive::default()
        .pax(&[&[size], numbers, last].concat())
        .file("form-0.0", "onetwo")
        .pax(&[size, ("GNU.sparse.map", b"0,3,1000000,3"), ("GNU.sparse.name", b"form-0.1")])
        .file("GNUSparseFile.1/form", "onetwo")
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"form-1.0"),
            ("GNU.sparse.realsize", b"2000000"),
        ])
        .add(EntryType::Regular, "GNUSparseFile.1/form", "", &map)
        .file("after", "all of it was read");
    let (root, contents) = archive.unpack().unwrap();
    assert_eq!(contents.size, 6_000_018);
    for form in ["form-0.0", "form-0.1", "form-1.0"] {
        let bytes = read(root.path().join(form)).unwrap();
        assert_eq!(bytes.len(), 2_000_000, "{form}");
        assert_eq!((&bytes[..4], &bytes[999_999..1_000_004]), (&b"one\0"[..], &b"\0two\0"[..]), "{form}");
        let blocks = fs::metadata(root.path().join(form)).unwrap().blocks();
        assert!(blocks < 1000, "{form} has no holes: {blocks} blocks");
    }
    let lie = Archive::default().pax(&[size, ("GNU.sparse.map", b"0,3,5000000,3")]).file("f", "onetwo");
    assert!(lie.error().contains("behind its end"));
    let unknown = Archive::default().pax(&[size, ("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"7")]).file("f", "");
    assert!(unknown.error().contains("sparse format 2.7 is not known"));
}

#[test]
fn bounds_hold() {
    let archive = Archive::default().file("a", "12345").file("b", "12345").0;
    let unpack_with = |options: UnpackOptions| unpack(&archive[..], tempfile::tempdir().unwrap().path(), &options);
    let usual = UnpackOptions::default;
    assert!(unpack_with(UnpackOptions { max_entries: 2, ..usual() }).is_ok());
    assert!(unpack_with(UnpackOptions { max_entries: 1, ..usual() }).is_err());
    assert!(unpack_with(UnpackOptions { max_size: 2047, ..usual() }).is_err());
    // A hole costs nothing to send.
    let bomb =
        Archive::default().pax(&[("GNU.sparse.size", b"900000000000000"), ("GNU.sparse.map", b"0,0")]).file("f", "");
    assert!(bomb.error().contains("larger than"));
}

#[test]
fn archives_cut_off_are_refused() {
    let whole = Archive::default().dir("d/").pax(&[("path", b"d/long")]).file("x", &"x".repeat(2000)).0;
    // A cut between two entries cannot be seen: the digest is there for that.
    let clean = [0, 512];
    for cut in (0..whole.len() - 512).step_by(100).filter(|cut| !clean.contains(cut)) {
        let error = unpack(&whole[..cut], tempfile::tempdir().unwrap().path(), &UnpackOptions::default()).unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.contains("cut off") || error.contains("ends after") || error.contains("extension"),
            "{cut}: {error}"
        );
    }
}

#[test]
fn packing_undoes_unpacking() {
    let (first, _) = Archive::default()
        .dir("dir/")
        .pax(&[("mtime", b"-1.5"), ("SCHILY.xattr.user.a", b"\x0a=")])
        .file("dir/file", "content")
        .hard_link("dir/second", "dir/file")
        .symlink("dir/link", &"t".repeat(100))
        .pax(&[("path", "long/".repeat(40).as_bytes())])
        .dir("x")
        .add(EntryType::Fifo, "fifo", "", b"")
        .file("dir/.wh.gone", "")
        .file("opaque/.wh..wh..opq", "")
        .file("empty", "")
        .unpack()
        .unwrap();
    let mut tar = Vec::new();
    let packed = pack(first.path(), &mut tar).unwrap();
    assert_eq!((packed.diff_id, packed.tar_size), (crate::Digest::of(&tar), tar.len() as u64));

    let second = tempfile::tempdir().unwrap();
    let contents = unpack(&tar[..], second.path(), &UnpackOptions::default()).unwrap();
    assert_eq!(contents, packed.contents);
    let mut again = Vec::new();
    pack(second.path(), &mut again).unwrap();
    assert!(tar == again, "the second tar is another");

    let file = fs::metadata(second.path().join("dir/file")).unwrap();
    assert_eq!((file.mtime(), file.mtime_nsec(), file.nlink()), (-2, 500_000_000, 2));
    assert!(is_whiteout(&second.path().join("dir/gone")) && is_opaque(&second.path().join("opaque")));
    assert!(second.path().join("long/".repeat(40)).is_dir());
}

#[test]
fn reserved_names_and_sockets() {
    let root = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
    assert_eq!(pack(root.path(), io::sink()).unwrap().contents.entries, 0);
    fs::write(root.path().join(".wh.mine"), "").unwrap();
    assert!(format!("{:#}", pack(root.path(), io::sink()).unwrap_err()).contains("rename it"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a damaged or malicious archive holds, the worst is an error, and nothing appears beside the directory.
    #[test]
    fn survives_damage(flips in proptest::collection::vec((0usize..8000, any::<u8>()), 0..6)) {
        let mut bytes = Archive::default()
            .dir("a/")
            .symlink("a/l", "..")
            .pax(&[("path", b"a/l/b"), ("GNU.sparse.map", b"0,3"), ("GNU.sparse.size", b"10")])
            .file("x", "abc")
            .hard_link("c", "a/l/b")
            .file("a/.wh.l", "")
            .0;
        let length = bytes.len();
        for (at, value) in flips {
            bytes[at % length] = value;
        }
        // Repair the checksums, so that the damage gets further than the first check.
        for at in (0..length).step_by(512) {
            let mut header = Header::new_old();
            header.as_mut_bytes().copy_from_slice(&bytes[at..at + 512]);
            if &bytes[at + 257..at + 262] == b"ustar" {
                header.set_cksum();
                bytes[at..at + 512].copy_from_slice(header.as_bytes());
            }
        }
        let parent = tempfile::tempdir().unwrap();
        let into = parent.path().join("into");
        fs::create_dir(&into).unwrap();
        let options = UnpackOptions { max_size: 1 << 30, ..UnpackOptions::default() };
        let _ = unpack(&bytes[..], &into, &options);
        let names: Vec<_> = read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        prop_assert_eq!(names, [OsStr::new("into")]);
    }
}
