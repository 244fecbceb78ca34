//! What reaches the kernel, and through it the host, without any path of the host.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;

/// Opens each path for writing and writes nothing; prints `PATH ok` or `PATH ERROR`.
pub fn open_for_writing(paths: &[&str]) -> Result<()> {
    for path in paths {
        match OpenOptions::new().write(true).open(path) {
            Ok(_) => println!("{path} ok"),
            Err(error) => println!("{path} {:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0))),
        }
    }
    Ok(())
}

/// A `struct file_handle` with the most bytes that there can be.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    data: [u8; 128],
}

/// Prints what name_to_handle_at(2) gives for a path: its type, and its bytes in hex.
pub fn file_handle(path: &str) -> Result<()> {
    let path = CString::new(path)?;
    let mut handle = Handle { bytes: 128, kind: 0, data: [0; 128] };
    let mut mount = 0i32;
    // SAFETY: the call reads a C string and writes a handle of at most the bytes announced, and an int.
    let done = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            path.as_ptr(),
            &raw mut handle,
            &raw mut mount,
            libc::AT_SYMLINK_FOLLOW,
        )
    };
    Errno::result(done).context("get the handle")?;
    let hex: String = handle.data[..handle.bytes as usize].iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{}:{hex}", handle.kind);
    Ok(())
}

/// Opens a file by its handle, past all roots, on the file system that `near` is on; prints its content.
pub fn open_handle(near: &str, handle: &str) -> Result<()> {
    let (kind, hex) = handle.split_once(':').context("a handle is TYPE:HEX")?;
    let mut handle = Handle { bytes: (hex.len() / 2) as u32, kind: kind.parse()?, data: [0; 128] };
    for (byte, digits) in handle.data.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits)?, 16)?;
    }
    let near = File::open(near).with_context(|| format!("open {near}"))?;
    // SAFETY: the call reads a handle of the bytes that it announces.
    let fd = unsafe { libc::syscall(libc::SYS_open_by_handle_at, near.as_raw_fd(), &raw const handle, libc::O_RDONLY) };
    match Errno::result(fd) {
        Err(error) => println!("refused {error:?}"),
        Ok(fd) => {
            // SAFETY: the descriptor is new and nobody else's.
            let mut file = File::from(unsafe { OwnedFd::from_raw_fd(fd as i32) });
            let mut text = String::new();
            file.read_to_string(&mut text).context("read what was opened")?;
            println!("opened {}", text.trim());
        }
    }
    Ok(())
}

/// The type of a key with plain bytes in it, keyrings(7).
const USER: &std::ffi::CStr = c"user";
/// `KEYCTL_JOIN_SESSION_KEYRING` and `KEYCTL_SEARCH`, keyctl(2).
const JOIN: i64 = 1;
const SEARCH: i64 = 10;
const SESSION: i64 = -3;

/// Runs a command in a new session keyring that holds a key of this name, as a login with a Kerberos ticket would.
pub fn with_key(name: &str, command: &[&str]) -> Result<u8> {
    let name = CString::new(name)?;
    // SAFETY: a null name asks for an anonymous keyring.
    Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, JOIN, 0i64) }).context("join a new session keyring")?;
    let secret = b"ticket";
    // SAFETY: the call reads two C strings and as many bytes as given.
    let key = unsafe {
        libc::syscall(libc::SYS_add_key, USER.as_ptr(), name.as_ptr(), secret.as_ptr(), secret.len(), SESSION)
    };
    Errno::result(key).context("add a key")?;
    let words = command.iter().map(|word| CString::new(*word)).collect::<Result<Vec<_>, _>>()?;
    let Some(program) = words.first() else { bail!("which command?") };
    nix::unistd::execvp(program, &words).context("execute the command")?;
    Ok(1)
}

/// Looks for a key in the session keyring; prints `found` or why not.
pub fn find_key(name: &str) -> Result<()> {
    let name = CString::new(name)?;
    // SAFETY: the call reads two C strings.
    let key = unsafe { libc::syscall(libc::SYS_keyctl, SEARCH, SESSION, USER.as_ptr(), name.as_ptr(), 0i64) };
    match Errno::result(key) {
        Ok(_) => println!("found"),
        Err(error) => println!("refused {error:?}"),
    }
    Ok(())
}

/// Puts a text into the input of every terminal that we have (TIOCSTI, ioctl_tty(2)), as if it had been typed there; prints how
/// each took it.
pub fn type_into_terminal(text: &str) -> Result<()> {
    let tty = OpenOptions::new().read(true).write(true).open("/dev/tty").ok();
    let terminals = [("stdin", Some(0)), ("stdout", Some(1)), ("tty", tty.as_ref().map(AsRawFd::as_raw_fd))];
    for (name, descriptor) in terminals {
        let Some(descriptor) = descriptor else { continue };
        // SAFETY: TIOCSTI reads one byte.
        let put =
            |byte: &u8| Errno::result(unsafe { libc::ioctl(descriptor, libc::TIOCSTI, std::ptr::from_ref(byte)) });
        match text.as_bytes().iter().try_for_each(|byte| put(byte).map(drop)) {
            Ok(()) => println!("{name} typed"),
            Err(error) => println!("{name} {error:?}"),
        }
    }
    Ok(())
}
