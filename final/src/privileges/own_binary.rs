//! The engine's own file, which must not be written to from inside a container.
//!
//! Until it executes the payload, the child is our program; and a payload `/proc/self/exe` makes the kernel execute our
//! program once more. So a process inside can open our file through `/proc/PID/exe`, path or no path, wait until it no
//! longer runs, and overwrite it: the next command that root types outside is the attacker's (CVE-2019-5736).
//!
//! Hiding does not help (the file is executed by name of that very link), but a read-only mount does: the link leads to
//! the file *on the mount that it was executed from*. So before it runs anything foreign, the engine executes itself once
//! more from a clone of its own mount that is read-only and attached nowhere. Every attempt to write is then EROFS, also
//! by way of descriptors that were opened before. It costs half a millisecond; a copy in memory, 1.5.

use std::convert::Infallible;
use std::env;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use nix::fcntl::AtFlags;
use nix::unistd::execveat;
use rootfs::{Reach, mount_setattr};
use rustix::fs::{
    Access, AtFlags as At, MemfdFlags, SealFlags, StatVfsMountFlags, accessat, fcntl_add_seals, fcntl_get_seals,
    fstatvfs, memfd_create,
};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};
use rustix::process::geteuid;
use rustix::thread::set_name;

/// What is executed, wherever it lies.
const SELF: &str = "/proc/self/exe";

/// Sees to it that the file we run from cannot be written to by containers; in most cases by executing it again, with
/// the same arguments, environment and descriptors.
///
/// To be called first thing by a command that runs something foreign itself, while there is one thread. It happens once:
/// what was executed again finds its file protected. Whether it is, is asked of the kernel; a variable in the
/// environment could be set by anybody.
pub fn protect() -> Result<()> {
    let file = File::open(SELF).with_context(|| format!("open {SELF} (is /proc mounted?)"))?;
    if is_protected(file.as_fd())? {
        // Executed by descriptor we would be called by its number in `ps` and `pgrep`.
        let _ = set_name(c"minidocker");
        return Ok(());
    }
    match protected(&file)? {
        None => Ok(()),
        Some(copy) => {
            let arguments = env::args_os().map(|argument| CString::new(argument.into_vec()));
            let arguments = arguments.collect::<Result<Vec<_>, _>>().context("read our own arguments")?;
            execute(copy.as_fd(), &arguments, env::vars_os())?;
            Ok(())
        }
    }
}

/// What a new run of this program is left of our environment. The rest is nobody's business there: a process that stays
/// behind as a container's init shows its environment to root inside (`/proc/1/environ`), with the tokens and passwords
/// in it.
const KEPT_VARIABLES: [&str; 3] = ["PATH", "MINIDOCKER_STOP_AT", "RUST_BACKTRACE"];

/// Starts a new run of this program under the name `name`, protected, and without what our caller gave us: variables of
/// the environment, descriptors other than the standard streams. `input` is its standard input.
///
/// By the standard library and so by `posix_spawn(3)`, which borrows our memory until the new run has its own: to fork
/// would copy the tables of our pages first, and fault in copies of what both write to, a tenth of a millisecond each.
pub fn start_as(name: &str, input: OwnedFd) -> Result<()> {
    let file = File::open(SELF).with_context(|| format!("open {SELF} (is /proc mounted?)"))?;
    let copy = if is_protected(file.as_fd())? { None } else { protected(&file)? };
    let executed = copy.as_ref().map_or(file.as_fd(), |copy| copy.as_fd());
    let kept = env::vars_os().filter(|(key, _)| KEPT_VARIABLES.iter().any(|kept| key == kept));
    close_others_on_execute()?;
    let mut command = Command::new(format!("/proc/self/fd/{}", executed.as_raw_fd()));
    command.arg0(name).env_clear().envs(kept).stdin(input);
    command.spawn().context("execute ourselves from where containers cannot write")?;
    Ok(())
}

/// Our file where nobody can write to it; `None` if nobody that we could start can write to it as it is.
fn protected(file: &File) -> Result<Option<OwnedFd>> {
    if !can_write(file)? {
        return Ok(None);
    }
    match read_only_clone(file.as_fd()) {
        Ok(clone) if is_protected(clone.as_fd())? => Ok(Some(clone)),
        // An ordinary user may not clone mounts, kernels before 5.12 cannot make the clone read-only, and the mount may
        // belong to another namespace.
        _ => sealed_copy(file).map(Some),
    }
}

/// Whether nobody can write to this file, through whatever link: its mount is read-only, or it is sealed memory.
fn is_protected(file: BorrowedFd<'_>) -> Result<bool> {
    let mount = fstatvfs(file).with_context(|| format!("ask for the mount of {SELF}"))?;
    let sealed = || fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SealFlags::WRITE));
    Ok(mount.f_flag.contains(StatVfsMountFlags::RDONLY) || sealed())
}

/// Whether we could write to our own file: root can, the owner can (by giving himself the right), and whom its mode
/// allows to. What we start in a user namespace of an ordinary user has no more rights to it than that user.
fn can_write(file: &File) -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let owner = file.metadata().context("ask whose file we are")?.uid();
    let user = geteuid();
    Ok(user.is_root()
        || user.as_raw() == owner
        || accessat(file, c"", Access::WRITE_OK, At::EMPTY_PATH | At::EACCESS).is_ok())
}

/// A clone of the mount that the file lies on, with the file as its root, attached nowhere and read-only.
fn read_only_clone(file: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let clone = open_tree(file, c"", flags).context("clone our own mount (open_tree)")?;
    mount_setattr(clone.as_fd(), c"", Reach::Mount, MountAttrFlags::MOUNT_ATTR_RDONLY, None)
        .context("make it read-only (mount_setattr)")?;
    Ok(clone)
}

/// A copy in memory that the kernel lets nobody change any more.
fn sealed_copy(file: &File) -> Result<OwnedFd> {
    let create = |flags| memfd_create(c"minidocker", flags | MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
    // Kernels before 6.3 do not know EXEC; later ones may be configured to want it (vm.memfd_noexec).
    let memory = match create(MemfdFlags::EXEC) {
        Err(Errno::INVAL) => create(MemfdFlags::empty()),
        result => result,
    };
    let mut memory = File::from(memory.context("make a copy of the engine in memory (memfd_create)")?);
    io::copy(&mut &*file, &mut memory).context("copy the engine into memory")?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&memory, seals).context("seal the engine's copy")?;
    // It was opened for writing, and what is open for writing cannot be executed (ETXTBSY).
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    Ok(File::open(&path).with_context(|| format!("open {path}"))?.into())
}

/// Every descriptor above the standard streams closes when we execute something, whoever opened it.
fn close_others_on_execute() -> Result<()> {
    // SAFETY: takes no pointers. The flag only marks the descriptors; those in use go on working until execve.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    nix::Error::result(result).map(drop).context("close_range")
}

/// Executes a file by its descriptor, in this environment. Returns only if that fails.
fn execute(
    file: BorrowedFd<'_>,
    arguments: &[CString],
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Infallible> {
    let variables = variables.map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        CString::new(name.into_vec())
    });
    let variables = variables.collect::<Result<Vec<_>, _>>().context("read our own environment")?;
    let Err(error) = execveat(file, c"", arguments, &variables, AtFlags::AT_EMPTY_PATH);
    Err(anyhow!(error).context("execute ourselves from where containers cannot write (execveat)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_copy_is_protected_and_cannot_be_written() {
        let own = File::open(SELF).unwrap();
        let copy = sealed_copy(&own).unwrap();
        assert!(is_protected(copy.as_fd()).unwrap());
        let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
        let writable = File::options().write(true).open(path);
        // Root may open it; the seal refuses the write itself.
        let written = writable.and_then(|mut file| io::Write::write(&mut file, b"x"));
        assert_eq!(written.unwrap_err().raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn a_read_only_clone_is_protected_where_it_can_be_made() {
        let path = env::temp_dir().join(format!("minidocker-clone-{}", std::process::id()));
        std::fs::write(&path, "engine").unwrap();
        let file = File::open(&path).unwrap();
        // An ordinary user cannot make one.
        if let Ok(clone) = read_only_clone(file.as_fd()) {
            assert!(is_protected(clone.as_fd()).unwrap());
            let link = format!("/proc/self/fd/{}", clone.as_raw_fd());
            let error = File::options().write(true).open(link).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EROFS));
        }
        std::fs::remove_file(&path).unwrap();
    }
}
