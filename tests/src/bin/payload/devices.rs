//! Device nodes and disks.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// Makes a node for a device and opens it; says how either went: `mknod ok, open EPERM`.
pub fn node(path: &str, kind: &str, major: u64, minor: u64, access: &str) -> Result<()> {
    let kind = match kind {
        "b" => SFlag::S_IFBLK,
        "c" => SFlag::S_IFCHR,
        _ => bail!("a device is b or c"),
    };
    let made = mknod(path, kind, Mode::from_bits_truncate(0o600), makedev(major, minor));
    let opened = OpenOptions::new().read(access.contains('r')).write(access.contains('w')).open(path);
    let opened = opened.map(drop).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)));
    let word = |result: Result<(), Errno>| result.map_or_else(|error| format!("{error:?}"), |()| "ok".into());
    println!("mknod {}, open {}", word(made), word(opened));
    if made.is_ok() {
        std::fs::remove_file(path).with_context(|| format!("remove {path}"))?;
    }
    Ok(())
}

/// What a block of a disk must be aligned to for `O_DIRECT`.
#[repr(align(4096))]
struct Block([u8; 4096]);

/// Reads from or writes to a disk, past the page cache, in blocks of 4 KiB; says how long that took, in milliseconds.
pub fn disk(direction: &str, path: &str, blocks: u64) -> Result<()> {
    let mut options = OpenOptions::new();
    options.read(direction == "read").write(direction == "write").custom_flags(libc::O_DIRECT);
    let disk = options.open(path).with_context(|| format!("open {path}"))?;
    let start = Instant::now();
    let mut block = Box::new(Block([7; 4096]));
    for number in 0..blocks {
        let done = match direction {
            "read" => disk.read_exact_at(&mut block.0, number * 4096),
            _ => disk.write_all_at(&block.0, number * 4096),
        };
        done.with_context(|| format!("{direction} block {number}"))?;
    }
    println!("took {}", start.elapsed().as_millis());
    Ok(())
}

/// Reads from a disk through the page cache, which then holds what was read on our account; and waits.
pub fn cache(path: &str, bytes: u64) -> Result<()> {
    let mut disk = File::open(path).with_context(|| format!("open {path}"))?;
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        disk.read_exact(&mut buffer).context("read")?;
    }
    println!("ready");
    std::io::stdout().flush().context("say so")?;
    loop {
        nix::unistd::pause();
    }
}
