//! Archives: layers, and the PAX records in them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use layers::{Entries, OverlayXattrs, Owners, UnpackOptions, pack};
use tempfile::TempDir;

const BLOCK: usize = 512;

/// A layer is unpacked as an ordinary user would, beside a canary. What was accepted can be packed, and then unpacked and
/// packed again to the same bytes.
pub fn unpack(data: &[u8]) {
    let mut tar = data.to_vec();
    mend(&mut tar);
    let place = scratch();
    let canary = place.path().join("canary");
    fs::write(&canary, "alive").expect("write the canary");
    let options = |max_size| UnpackOptions {
        owners: Owners::Skip,
        overlay_xattrs: OverlayXattrs::User,
        max_entries: 300,
        max_size,
    };
    let (first, second) = (make(&place, "first"), make(&place, "second"));
    let accepted = layers::unpack(&tar[..], &first, &options(1 << 20)).is_ok();

    assert_eq!(fs::read(&canary).expect("read the canary"), b"alive");
    let mut there: Vec<OsString> = names(place.path());
    there.retain(|name| name != ".first.notes");
    assert_eq!(there, ["canary", "first", "second"], "something was made outside");

    let mut packed = Vec::new();
    // Links can make a tree deeper than any name says, which packing refuses.
    if accepted && pack(&first, &mut packed).is_ok() {
        layers::unpack(&packed[..], &second, &options(1 << 30)).expect("unpack what was packed");
        let mut again = Vec::new();
        pack(&second, &mut again).expect("pack it again");
        assert!(packed == again, "packed again it is another layer");
    }
    drop(layers::remove_tree(&first).and_then(|()| layers::remove_tree(&second)));
}

/// PAX records, as they stand before an entry.
pub fn pax(data: &[u8]) {
    let mut tar = header(b'x', data.len());
    tar.extend_from_slice(data);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    tar.extend(header(b'0', 0));
    mend(&mut tar);
    let mut entries = Entries::new(&tar[..]);
    while let Ok(Some(entry)) = entries.next() {
        assert!(entry.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= data.len());
        assert!(entry.mtime.nanoseconds < 1_000_000_000);
    }
}

fn header(kind: u8, size: usize) -> Vec<u8> {
    let mut header = vec![0; BLOCK];
    header[..4].copy_from_slice(b"name");
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    header
}

/// Gives each block that looks like a header its checksum, which chance would never find.
fn mend(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(BLOCK).filter(|block| &block[257..262] == b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
}

/// A directory in memory where there is one: a disk would be what is tested.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("make a directory")
}

fn make(place: &TempDir, name: &str) -> PathBuf {
    let path = place.path().join(name);
    fs::create_dir(&path).expect("make a directory");
    path
}

fn names(directory: &Path) -> Vec<OsString> {
    let found = fs::read_dir(directory).expect("read the directory");
    let mut names: Vec<OsString> = found.map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    names
}
