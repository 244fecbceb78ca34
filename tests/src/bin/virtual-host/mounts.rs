//! The file system of a virtual host: the machine's own, read-only, with fresh /proc, /sys, cgroups, /dev/pts and
//! temporary directories.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;

use crate::cgroups::Cgroups;
use crate::options::Options;

/// Everything of the harness is below this directory.
const SUITE: &str = "/tmp/suite";
/// A test's scratch directory, and where its program starts.
pub const WORK: &str = "/tmp/suite/work";
/// `HOME` of the program.
pub const HOME: &str = "/tmp/suite/home";
/// `MINIDOCKER_ROOT`.
pub const ROOT: &str = "/tmp/suite/root";
/// Where `--bin` is seen.
const BIN: &str = "/tmp/suite/bin";
/// The ordinary user of the suites. The name is put into the user database if it can be.
const USER: (&str, u32) = ("learner", 1000);

/// Called in process 1, in its own mount, network, PID and cgroup namespaces.
pub fn set_up(options: &Options, cgroups: &Cgroups) -> Result<()> {
    plain("none", "/", None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, "").context("make all mounts private")?;
    // What stays writable is held by a descriptor from before, what lies under a directory to be covered at least till then.
    let keep = options.keep.iter().map(|path| Ok((path, hold(path)?))).collect::<Result<Vec<_>>>()?;
    let links = cgroup_links();
    read_only()?;
    let bin = options.bin.as_deref().map(hold).transpose()?;
    fresh_proc_and_sys()?;
    mount_cgroups(cgroups, &links)?;
    devices()?;
    for (directory, mode) in [("/tmp", "1777"), ("/var/tmp", "1777"), ("/run", "755")] {
        plain("tmpfs", directory, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, &format!("mode={mode}"))
            .with_context(|| format!("mount a tmpfs on {directory}"))?;
    }
    // Roots of containers live below; they need device nodes and set-user-id programs.
    for directory in [SUITE, WORK, HOME, ROOT, BIN] {
        fs::create_dir(directory).with_context(|| format!("make {directory}"))?;
    }
    plain("tmpfs", ROOT, Some("tmpfs"), MsFlags::empty(), "mode=755").context("mount ROOT")?;
    plain("tmpfs", WORK, Some("tmpfs"), MsFlags::empty(), "mode=1777").context("mount the work directory")?;
    if let Some(bin) = bin {
        bind(&bin, Path::new(BIN))?;
    }
    for (path, held) in keep {
        fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
        bind(&held, path)?;
    }
    user_database()
}

fn plain(source: &str, target: &str, kind: Option<&str>, flags: MsFlags, data: &str) -> nix::Result<()> {
    mount(Some(source), target, kind, flags, Some(data))
}

/// A detached copy of the mounts at `path`, with the flags they have now: it stays writable when all else ceases to be.
fn hold(path: &Path) -> Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    let held = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .with_context(|| format!("open {}", path.display()))?;
    let flags =
        libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_RECURSIVE as u32 | libc::AT_EMPTY_PATH as u32;
    // SAFETY: open_tree reads a path, the empty string, and returns a new descriptor.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, held.as_raw_fd(), c"".as_ptr(), flags) };
    let tree = Errno::result(tree).with_context(|| format!("clone the mounts at {}", path.display()))?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(tree as i32) })
}

/// Attaches what [`hold`] has cloned.
fn bind(tree: &OwnedFd, target: &Path) -> Result<()> {
    let path = std::ffi::CString::new(target.as_os_str().as_encoded_bytes())?;
    // SAFETY: move_mount reads two C strings; the first is empty, as MOVE_MOUNT_F_EMPTY_PATH wants.
    let done = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    Errno::result(done).with_context(|| format!("attach {}", target.display()))?;
    Ok(())
}

/// Nothing that a test does can change the machine's files.
fn read_only() -> Result<()> {
    // SAFETY: all-zero is a valid mount_attr.
    let mut attributes: libc::mount_attr = unsafe { std::mem::zeroed() };
    attributes.attr_set = libc::MOUNT_ATTR_RDONLY;
    // SAFETY: mount_setattr(2) reads a path and a mount_attr of the size given.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    Errno::result(done).context("make the machine's files read-only")?;
    Ok(())
}

/// New instances, which show the new PID and network namespaces. The old ones go: what stays below would still be found
/// in the mount table, with paths of the machine's cgroups.
fn fresh_proc_and_sys() -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    for (directory, kind) in [("/sys", "sysfs"), ("/proc", "proc")] {
        while umount2(directory, MntFlags::MNT_DETACH).is_ok() {}
        plain(kind, directory, Some(kind), flags, "").with_context(|| format!("mount {directory}"))?;
    }
    Ok(())
}

/// The links beside v1 hierarchies, such as `cpu -> cpu,cpuacct`.
fn cgroup_links() -> Vec<(PathBuf, PathBuf)> {
    let entries = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.path(), fs::read_link(entry.path()).ok()?))).collect()
}

/// The same hierarchies at the same places; in our cgroup namespace each shows our directory as its root.
fn mount_cgroups(cgroups: &Cgroups, links: &[(PathBuf, PathBuf)]) -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let top = Path::new("/sys/fs/cgroup");
    if cgroups.hierarchies.iter().all(|hierarchy| hierarchy.mountpoint != top) {
        plain("tmpfs", "/sys/fs/cgroup", Some("tmpfs"), flags, "mode=755").context("mount /sys/fs/cgroup")?;
        for (link, target) in links {
            std::os::unix::fs::symlink(target, link).with_context(|| format!("link {}", link.display()))?;
        }
    }
    for hierarchy in &cgroups.hierarchies {
        let place = &hierarchy.mountpoint;
        fs::create_dir_all(place).with_context(|| format!("make {}", place.display()))?;
        let kind = if hierarchy.v1_options.is_some() { "cgroup" } else { "cgroup2" };
        mount(Some(kind), place, Some(kind), flags, hierarchy.v1_options.as_deref())
            .with_context(|| format!("mount {kind} on {}", place.display()))?;
    }
    Ok(())
}

fn devices() -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    // The group tty, unless it has no id in our user namespace.
    let terminals = ["ptmxmode=0666,mode=0620,gid=5", "ptmxmode=0666,mode=0620"];
    terminals
        .iter()
        .map(|options| plain("devpts", "/dev/pts", Some("devpts"), flags, options))
        .find(|done| *done != Err(Errno::EINVAL))
        .unwrap_or(Err(Errno::EINVAL))
        .context("mount /dev/pts")?;
    for (directory, kind, data) in [("/dev/shm", "tmpfs", "mode=1777"), ("/dev/mqueue", "mqueue", "")] {
        if Path::new(directory).is_dir() {
            plain(kind, directory, Some(kind), flags | MsFlags::MS_NODEV, data)
                .with_context(|| format!("mount {directory}"))?;
        }
    }
    Ok(())
}

/// Adds our user, with the ranges that newuidmap(1) wants, by covering the files; a machine without them does without.
fn user_database() -> Result<()> {
    let (name, id) = USER;
    let additions = [
        ("/etc/passwd", format!("{name}:x:{id}:{id}::{HOME}:/bin/sh\n")),
        ("/etc/group", format!("{name}:x:{id}:\n")),
        ("/etc/subuid", format!("{name}:100000:65536\n")),
        ("/etc/subgid", format!("{name}:100000:65536\n")),
    ];
    // mount(8) keeps notes in the second one; they are its own.
    for directory in ["/run/suite", "/run/mount"] {
        fs::create_dir(directory).with_context(|| format!("make {directory}"))?;
    }
    for (file, addition) in additions {
        let Ok(old) = fs::read_to_string(file) else { continue };
        let kept: String = old
            .lines()
            .filter(|line| !line.starts_with(&format!("{name}:")) && line.split(':').nth(2) != Some(&id.to_string()))
            .flat_map(|line| [line, "\n"])
            .collect();
        let copy = Path::new("/run/suite").join(Path::new(file).file_name().unwrap_or_default());
        fs::write(&copy, kept + &addition).with_context(|| format!("write {}", copy.display()))?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o644))?;
        mount(Some(&copy), file, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .with_context(|| format!("cover {file}"))?;
    }
    // EINVAL: an ordinary user's virtual host may have one id only, and then everything in it is that one's.
    match nix::unistd::chown(HOME, Some(id.into()), Some(id.into())) {
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(error) => return Err(error).context("give the home away"),
    }
    fs::set_permissions(HOME, fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(WORK, fs::Permissions::from_mode(0o1777)).context("open the work directory")
}
