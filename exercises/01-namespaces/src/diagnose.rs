//! Why an `execve(2)` failed, in words.
//!
//! The kernel answers ENOENT both when the file is missing and when it is there but its interpreter is not, and ENOEXEC
//! for everything it cannot make sense of. So we look at the file as the kernel did and say what is wrong with it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::failure::{CANNOT_EXECUTE, NOT_FOUND, StartError};

/// The error for a command that is nowhere.
pub(crate) fn not_found(command: &OsStr) -> StartError {
    let text = match command.as_bytes().contains(&b'/') {
        true => format!("exec {}: no such file or directory (the path is one inside the container)", command.display()),
        false => format!("exec {:?}: executable file not found in $PATH", command.display().to_string()),
    };
    StartError::new(NOT_FOUND, Some(libc::ENOENT), text)
}

/// The error for a file that is there and that the kernel would not execute.
pub(crate) fn exec_failure(path: &Path, errno: Errno) -> StartError {
    let code = if errno == Errno::ENOENT { NOT_FOUND } else { CANNOT_EXECUTE };
    let reason = reason(path, errno).map(|reason| format!(" ({reason})")).unwrap_or_default();
    let text = format!("exec {}: {}{reason}", path.display(), errno.desc().to_lowercase());
    StartError::new(code, Some(errno as i32), text)
}

fn reason(path: &Path, errno: Errno) -> Option<String> {
    let metadata = path.metadata().ok()?;
    if metadata.is_dir() {
        return Some("it is a directory".into());
    }
    if !metadata.is_file() {
        return Some("it is not a regular file".into());
    }
    if errno == Errno::EACCES && metadata.permissions().mode() & 0o111 == 0 {
        return Some("it has no execute permission; chmod +x it".into());
    }
    if errno == Errno::EACCES {
        return Some("not permitted for this user, or on a file system mounted noexec".into());
    }
    let file = File::open(path).ok()?;
    let mut head = Vec::new();
    (&file).take(512).read_to_end(&mut head).ok()?;
    match head.as_slice() {
        [] => Some("the file is empty".into()),
        [b'#', b'!', line @ ..] => script_reason(line),
        [0x7f, b'E', b'L', b'F', ..] => elf_reason(&head, &file),
        _ if errno == Errno::ENOEXEC => {
            Some("neither a program of this system nor a script: its first line does not begin with #!".into())
        }
        _ => None,
    }
}

/// What is wrong with a script, from what follows its `#!`.
fn script_reason(line: &[u8]) -> Option<String> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    let interpreter = line.trim_ascii_start().split(|byte| matches!(byte, b' ' | b'\t')).next()?;
    if interpreter.ends_with(b"\r") {
        return Some("its first line ends with a carriage return: convert the script to Unix line ends".into());
    }
    let interpreter = Path::new(OsStr::from_bytes(interpreter));
    missing(interpreter).then(|| format!("its interpreter {} is missing", interpreter.display()))
}

/// What is wrong with a program: made for another processor, or its loader is missing. Layout: `elf(5)`.
fn elf_reason(head: &[u8], file: &File) -> Option<String> {
    let machine = u16::from_le_bytes(head.get(18..20)?.try_into().ok()?);
    // Of the machine that we ourselves were compiled for, and the one it also executes.
    let (own, also) = match std::env::consts::ARCH {
        "x86_64" => (62, 3),
        "aarch64" => (183, 40),
        _ => (machine, machine),
    };
    if machine != own && machine != also {
        let name = match machine {
            3 => "x86",
            40 => "arm",
            62 => "x86_64",
            183 => "aarch64",
            243 => "riscv64",
            _ => "another architecture",
        };
        return Some(format!("the program is for {name}, this machine is {}", std::env::consts::ARCH));
    }
    let loader = interpreter(head, file)?;
    missing(&loader).then(|| format!("its loader {} is missing: it was built for another C library", loader.display()))
}

/// The `PT_INTERP` of a 64-bit little-endian program.
fn interpreter(head: &[u8], file: &File) -> Option<PathBuf> {
    const PT_INTERP: u32 = 3;
    let half = |at: usize| Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
    if *head.get(4)? != 2 {
        return None; // ELFCLASS64 only: what the 32-bit headers would say is not worth their code here
    }
    let table = u64::from_le_bytes(head.get(32..40)?.try_into().ok()?);
    let (size, count) = (half(54)?, half(56)?);
    for index in 0..u64::from(count) {
        let mut entry = [0; 56];
        file.read_exact_at(&mut entry, table.checked_add(index * u64::from(size))?).ok()?;
        if entry[..4] == PT_INTERP.to_le_bytes() {
            let offset = u64::from_le_bytes(entry[8..16].try_into().ok()?);
            let length = u64::from_le_bytes(entry[32..40].try_into().ok()?).min(4096) as usize;
            let mut path = vec![0; length];
            file.read_exact_at(&mut path, offset).ok()?;
            let path = path.split(|byte| *byte == 0).next()?;
            return Some(PathBuf::from(OsStr::from_bytes(path)));
        }
    }
    None
}

fn missing(path: &Path) -> bool {
    !path.exists()
}
