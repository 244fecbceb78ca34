//! What a hostile layer may try: each case with its origin, a canary outside, and the assertion that nothing there changed.
//!
//! The engine's ways to a layer (pull, load, ADD) all end in the unpacking of chapter 4, which is started here as root, in a
//! directory beside the canary.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use suite::image::{concatenate, gzip, tar_entry};
use suite::{Host, host};
use tar::EntryType::{self, Directory, GNULongName, Link, Regular, Symlink, XHeader};

use crate::expect::{complaint, refused};

/// What must stay as it is: a file, a directory, and what is in it.
struct Canary {
    directory: PathBuf,
}

impl Canary {
    fn new(host: &Host) -> Canary {
        let directory = host.work().join("canary");
        fs::create_dir(&directory).expect("make the canary");
        fs::write(directory.join("file"), "alive").expect("write the canary");
        fs::set_permissions(directory.join("file"), fs::Permissions::from_mode(0o600)).expect("chmod");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).expect("chmod");
        Canary { directory }
    }

    fn state(&self) -> Vec<String> {
        let look = |path: &Path| {
            let found = fs::symlink_metadata(path).expect("the canary");
            let time = (found.mtime(), found.mtime_nsec());
            let xattrs = xattr_names(path);
            format!("{} {:o} {} {} {time:?} {xattrs:?}", path.display(), found.mode(), found.uid(), found.nlink())
        };
        let mut state = vec![look(&self.directory), fs::read_to_string(self.directory.join("file")).expect("the file")];
        state.extend(
            fs::read_dir(&self.directory).expect("list it").map(|entry| look(&entry.expect("an entry").path())),
        );
        state
    }
}

/// The names of a file's extended attributes, each ended by a NUL.
fn xattr_names(path: &Path) -> String {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names[..]).expect("list the attributes");
    String::from_utf8_lossy(&names[..length]).into_owned()
}

fn file(name: &str, content: &str) -> Vec<u8> {
    tar_entry(Regular, name, "", content.as_bytes())
}

fn link(name: &str, target: &str) -> Vec<u8> {
    tar_entry(Symlink, name, target, b"")
}

fn hard_link(name: &str, target: &str) -> Vec<u8> {
    tar_entry(Link, name, target, b"")
}

fn directory(name: &str) -> Vec<u8> {
    tar_entry(Directory, name, "", b"")
}

/// PAX records before an entry, in the length that they say themselves.
fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (1..).map(|digits| rest + digits).find(|length| length.to_string().len() + rest == *length);
        bytes.extend(format!("{} {key}=", length.expect("a length")).bytes());
        bytes.extend(*value);
        bytes.push(b'\n');
    }
    tar_entry(XHeader, "pax", "", &bytes)
}

fn unpack(host: &Host, tar: &[u8]) -> assert_cmd::assert::Assert {
    let path = host.work().join("evil.tar");
    fs::write(&path, tar).expect("write the archive");
    let out = host.work().join("out");
    if out.exists() {
        host.tool("rm", ["-rf"]).arg(&out).assert().success();
    }
    host.chapter(4, ["unpack"]).arg(path).arg(out).assert()
}

/// Unpacks each archive; afterwards the canary lives, whether the archive was taken or refused, and beside it stands only what
/// was asked for.
fn stay_inside(host: &Host, cases: &[(&str, Vec<Vec<u8>>)]) {
    let canary = Canary::new(host);
    let before = canary.state();
    for (origin, parts) in cases {
        let assert = unpack(host, &concatenate(parts));
        let code = assert.get_output().status.code();
        assert!(matches!(code, Some(0 | 125)), "{origin}: ended with {code:?}: {}", complaint(&assert));
        if code == Some(125) {
            refused(assert, 125, &["evil.tar"]);
        }
        assert_eq!(canary.state(), before, "{origin}");
        let mut beside: Vec<_> =
            fs::read_dir(host.work()).expect("list").map(|entry| entry.expect("an entry").file_name()).collect();
        beside.sort();
        assert_eq!(beside, ["canary", "evil.tar", "out"], "{origin}");
    }
}

#[test]
fn names_do_not_lead_out() {
    host(|host| {
        let absolute = format!("{}/canary/file", host.work().display());
        let long = format!("{}../canary/file", "x/../".repeat(40));
        stay_inside(
            host,
            &[
                ("absolute", vec![file(&absolute, "evil")]),
                ("two slashes", vec![file(&format!("/{absolute}"), "evil")]),
                ("up", vec![file("../canary/file", "evil")]),
                ("up, later", vec![directory("a/"), file("a/../../canary/file", "evil")]),
                ("up by PAX", vec![pax(&[("path", b"../canary/file")]), file("harmless", "evil")]),
                (
                    "up by GNU's long name",
                    vec![tar_entry(GNULongName, "x", "", long.as_bytes()), file("harmless", "evil")],
                ),
                (
                    "up by a sparse file's name",
                    vec![
                        pax(&[
                            ("GNU.sparse.name", b"../canary/file"),
                            ("GNU.sparse.map", b"0,4"),
                            ("GNU.sparse.size", b"4"),
                        ]),
                        file("harmless", "evil"),
                    ],
                ),
                ("a directory's mode and time", vec![directory("../canary/")]),
                ("the root itself as a link", vec![link("./", "../canary"), file("file", "evil")]),
                ("a whiteout of what is outside", vec![file("../canary/.wh.file", "")]),
                ("a whiteout of `..`", vec![file("a/.wh...", "")]),
                ("a whiteout of `.`", vec![file("a/.wh..", "")]),
                ("a whiteout of nothing", vec![file("a/.wh.", "")]),
                ("something below a whiteout", vec![file(".wh.a/b", "evil")]),
                ("an opaque mark outside", vec![file("../canary/.wh..wh..opq", "")]),
                ("AUFS's hard links", vec![file(".wh..wh.plnk/../../canary/file", "evil")]),
            ],
        );
    });
}

#[test]
fn links_are_no_stepping_stones() {
    host(|host| {
        let outside = format!("{}/canary", host.work().display());
        let file_outside = format!("{outside}/file");
        stay_inside(
            host,
            &[
                ("below a link up (CVE-2014-6407)", vec![link("l", "../canary"), file("l/file", "evil")]),
                ("below an absolute link (CVE-2014-9356)", vec![link("l", &outside), file("l/file", "evil")]),
                ("by two links", vec![link("a", ".."), link("b", "a/canary"), file("b/file", "evil")]),
                ("a link to itself", vec![link("l", "l"), file("l/file", "evil")]),
                ("by /proc", vec![link("l", "/proc/self/cwd"), file("l/canary/file", "evil")]),
                ("by a descriptor", vec![link("l", "/proc/self/fd/3"), file("l/../canary/file", "evil")]),
                ("onto a link", vec![link("l", &file_outside), file("l", "evil")]),
                ("a directory onto a link: its mode (RUSTSEC-2026-0067)", vec![link("l", &outside), directory("l/")]),
                ("a device onto a link", vec![link("l", &file_outside), tar_entry(EntryType::Fifo, "l", "", b"")]),
                ("a hard link out", vec![hard_link("h", "../canary/file"), file("h", "evil")]),
                ("an absolute hard link", vec![hard_link("h", &file_outside), file("h", "evil")]),
                ("a hard link through a link", vec![link("l", &outside), hard_link("h", "l/file"), file("h", "evil")]),
                (
                    "a hard link to a link, then through it",
                    vec![link("l", &file_outside), hard_link("h", "l"), file("h", "evil")],
                ),
                ("a hard link below a link", vec![file("f", "x"), link("l", &outside), hard_link("l/evil", "f")]),
                ("a whiteout through a link", vec![link("l", &outside), file("l/.wh.file", "")]),
                ("an opaque mark through a link", vec![link("l", &outside), file("l/.wh..wh..opq", "")]),
                (
                    "a link in the place of a directory that was there",
                    vec![file("d/file", "x"), link("d", &outside), file("d/file", "evil"), directory("d/")],
                ),
                (
                    "attributes through a link",
                    vec![link("l", &file_outside), pax(&[("SCHILY.xattr.user.evil", b"1")]), link("l", &file_outside)],
                ),
            ],
        );
    });
}

#[test]
fn bombs_are_defused() {
    host(|host| {
        let canary = Canary::new(host);
        let before = canary.state();
        let huge = |field: &str| {
            // A header that says so much follows.
            let mut entry = file("f", "");
            entry[124..136].copy_from_slice(format!("{field:0>11}\0").as_bytes());
            fix_checksum(&mut entry);
            entry
        };
        let extension = |kind: u8| {
            let mut entry = huge("77777777777");
            entry[156] = kind;
            fix_checksum(&mut entry);
            entry
        };
        let mut long_map = b"GNU".to_vec();
        long_map.resize(600_000, b'9');
        let deep = "d/".repeat(3000);
        let cases: &[(&str, Vec<Vec<u8>>, &str)] = &[
            ("a size that is not there", vec![huge("77777777777")], "cut off"),
            ("a PAX header of 8 GiB", vec![extension(b'x')], "at most 1048576"),
            ("a long name of 8 GiB", vec![extension(b'L')], "at most 1048576"),
            (
                "a hole of an exbibyte",
                vec![pax(&[("GNU.sparse.size", b"1152921504606846976"), ("GNU.sparse.map", b"0,0")]), file("f", "")],
                "larger than",
            ),
            (
                "pieces behind the end",
                vec![pax(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"18446744073709551615,9")]), file("f", "")],
                "piece",
            ),
            (
                "a map of a million million pieces",
                vec![
                    pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9")]),
                    file("f", &format!("{:0<512}", "999999999999\n")),
                ],
                "pieces",
            ),
            (
                "a number that does not end",
                vec![pax(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", &long_map)]), file("f", "")],
                "number",
            ),
            (
                "a record longer than its header",
                vec![tar_entry(XHeader, "pax", "", b"99999999999999999999 a=b\n"), file("f", "")],
                "PAX",
            ),
            (
                "a record that is too short for itself",
                vec![tar_entry(XHeader, "pax", "", b"3 a=b\n"), file("f", "")],
                "PAX",
            ),
            ("directories without bottom", vec![pax(&[("path", deep.as_bytes())]), file("f", "")], "deep"),
            (
                "a name longer than the kernel takes",
                vec![pax(&[("path", "n".repeat(5000).as_bytes())]), file("f", "")],
                "too long",
            ),
            (
                "a link to nowhere, at length",
                vec![pax(&[("linkpath", "n".repeat(100_000).as_bytes())]), link("l", "x")],
                "too long",
            ),
            (
                "two headers for one entry",
                vec![pax(&[("path", b"a")]), pax(&[("path", b"b")]), file("f", "")],
                "two extension headers",
            ),
            (
                "two names for one entry",
                vec![tar_entry(GNULongName, "x", "", b"gnu\0"), pax(&[("path", b"pax")]), file("f", "")],
                "two names",
            ),
            ("an owner who is nobody", vec![pax(&[("uid", b"4294967295")]), file("f", "")], "out of range"),
            ("a file as the root", vec![file("./", "evil")], "root of a layer"),
            ("a hard link to nothing", vec![hard_link("h", "nothing")], "not in this layer"),
            ("a hard link to a whiteout", vec![file(".wh.a", ""), hard_link("h", "a")], "whiteout"),
            ("an entry of an unknown kind", vec![tar_entry(EntryType::new(b'Q'), "q", "", b"")], "unknown entry type"),
        ];
        for (origin, parts, word) in cases {
            refused(unpack(host, &concatenate(parts)), 125, &["evil.tar", word]);
            assert_eq!(canary.state(), before, "{origin}");
        }
        // A stream of zeros, a thousandfold compressed, is an archive that has ended; noise after the end is covered by the
        // digest and means nothing.
        let zeros = gzip(&vec![0; 64 << 20]);
        assert!(zeros.len() < 1 << 20);
        unpack(host, &zeros).success();
        let noise = concatenate(&[file("f", "x")]).into_iter().chain(*b"noise after the end").collect::<Vec<u8>>();
        unpack(host, &noise).success();
        // Several members of one gzip stream are one archive, as pigz and eStargz write it; one that is cut is none.
        let without_end = &file("a", "x")[..1024];
        let (first, second) = (gzip(without_end), gzip(&concatenate(&[file("b", "y")])));
        unpack(host, &[first.clone(), second.clone()].concat()).success();
        assert!(host.work().join("out/b").exists());
        refused(unpack(host, &[first, second[..second.len() - 6].to_vec()].concat()), 125, &["evil.tar"]);
    });
}

fn fix_checksum(entry: &mut [u8]) {
    entry[148..156].fill(b' ');
    let sum: u32 = entry[..512].iter().map(|&byte| u32::from(byte)).sum();
    entry[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

/// Overlayfs believes what stands in its attributes: `redirect` shows any directory of the layers below under a new name,
/// `metacopy` another file's content, `opaque` hides what an image scanner has seen.
#[test]
fn overlayfs_is_not_spoken_to() {
    host(|host| {
        let base = host.rootfs("base");
        let smuggled = pax(&[
            ("SCHILY.xattr.trusted.overlay.redirect", b"/root"),
            ("SCHILY.xattr.user.overlay.redirect", b"/root"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("LIBARCHIVE.xattr.trusted.overlay.opaque", b"eQ"),
            ("SCHILY.xattr.trusted.overlay.metacopy", b""),
            ("SCHILY.xattr.security.selinux", b"system_u:object_r:shadow_t:s0\0"),
            ("SCHILY.xattr.security.ima", b"\x01evil"),
            ("SCHILY.xattr.security.evm", b"\x02evil"),
            ("SCHILY.xattr.user.harmless", b"kept"),
        ]);
        let layer = host.work().join("layer.tar");
        fs::write(&layer, concatenate(&[smuggled.clone(), directory("etc/"), smuggled, file("etc/new", "x")]))
            .expect("write");
        let out = host.work().join("out");
        host.chapter(4, ["unpack"]).arg(&layer).arg(&out).assert().success();
        for name in ["etc", "etc/new"] {
            let names = xattr_names(&out.join(name));
            assert!(names.contains("user.harmless"), "{names}");
            for evil in ["overlay", "selinux", "ima", "evm"] {
                assert!(!names.contains(evil), "{names}");
            }
        }
        // The directory is no door to another, and hides nothing.
        let mut command = host.chapter(4, ["run", "--layer"]);
        command.arg(base).arg("--layer").arg(&layer).args(["ls", "/etc/passwd", "/etc/new"]);
        command.assert().success().stdout("/etc/new\n/etc/passwd\n");
    });
}

/// A device node in a layer is a file of the container; what may be opened is for the cgroup to say. As an ordinary user none
/// is made at all.
#[test]
fn set_uid_programs_are_for_nobody_on_the_host() {
    host(|host| {
        let mut program = file("evil", "#!/bin/sh\n");
        program[100..107].copy_from_slice(b"0004755");
        fix_checksum(&mut program);
        let layer = host.work().join("layer.tar");
        fs::write(&layer, concatenate(&[program])).expect("write");
        let store = host.work().join("store");
        let mut command = host.chapter(4, ["run", "--store"]);
        command.arg(&store).arg("--layer").arg(host.rootfs("base")).arg("--layer").arg(&layer);
        command.args(["stat", "-c", "%a", "/evil"]).assert().success().stdout("4755\n");
        // CVE-2021-41091: whoever could reach it would be root.
        let layers = fs::metadata(store.join("layers")).expect("the store").mode() & 0o7777;
        assert_eq!(layers, 0o700);
    });
}
