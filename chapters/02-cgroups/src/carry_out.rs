//! Carrying a plan out.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process;

use anyhow::{Result, anyhow};

use crate::block_io::device_number;
use crate::needs::delegation;
use crate::step::{enabling, inherited};
use crate::{Plan, Step, device_program, format_bytes, mark};

impl Plan {
    /// Carries the plan out.
    ///
    /// Between making the parent and making the cgroup in it, somebody else's [`Group::remove`](crate::Group::remove)
    /// may take the parent away again, as it was empty. That shows as ENOENT, and we start over; the steps up to there
    /// can be repeated.
    pub fn carry_out(&self) -> Result<()> {
        self.carry_out_with(&mut Progress::default())
    }

    /// The same in a cgroup that is in use: what was changed is changed back when a later step fails.
    pub(crate) fn carry_out_or_restore(&self) -> Result<()> {
        let mut progress = Progress { replaced: Some(Vec::new()), ..Progress::default() };
        self.carry_out_with(&mut progress).inspect_err(|_| progress.restore())
    }

    fn carry_out_with<'a>(&'a self, progress: &mut Progress<'a>) -> Result<()> {
        let mut attempts = 100;
        let mut steps = self.steps.iter();
        while let Some(step) = steps.next() {
            match progress.take(step) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound && !step.is_limit() && attempts > 0 => {
                    attempts -= 1;
                    steps = self.steps.iter();
                }
                Err(error) => return Err(step.explain(error)),
            }
        }
        Ok(())
    }
}

/// How far a plan has been carried out.
#[derive(Default)]
struct Progress<'a> {
    /// The leaves that we have made ourselves: they must have been new once, not at every attempt.
    made: BTreeSet<&'a Path>,
    /// The control file that was written to last: a list of devices is many writes to one.
    open: Option<(&'a Path, File)>,
    /// What stood in the files that were written to, where that may be wanted back.
    replaced: Option<Vec<(&'a Path, String)>>,
}

impl<'a> Progress<'a> {
    fn take(&mut self, step: &'a Step) -> io::Result<()> {
        match step {
            Step::Parent(path) => {
                fs::create_dir(path).map(|()| mark::ours(path)).or_else(unless(ErrorKind::AlreadyExists))
            }
            Step::Leaf(path) if self.made.contains(path.as_path()) => {
                fs::create_dir(path).or_else(unless(ErrorKind::AlreadyExists))
            }
            Step::Leaf(path) => {
                fs::create_dir(path)?;
                self.made.insert(path);
                Ok(())
            }
            Step::Enable { directory, controllers, needed } => {
                let mut file = open(&directory.join("cgroup.subtree_control"))?;
                let mut enable = || file.write_all(enabling(controllers).as_bytes());
                match enable() {
                    // Nothing but accounting was to come of it.
                    Err(error) if is_refusal(&error) && needed.is_none() => Ok(()),
                    Err(error) if error.kind() == ErrorKind::ResourceBusy && make_room(directory)? => enable(),
                    other => other,
                }
            }
            Step::Inherit(file) => {
                let Some(from) = inherited(file) else { return Ok(()) };
                if !fs::read_to_string(file)?.trim().is_empty() {
                    return Ok(());
                }
                open(file)?.write_all(fs::read_to_string(from)?.trim().as_bytes())
            }
            Step::Write { file, value, optional: true, .. } => {
                self.write(file, value).or_else(unless(ErrorKind::NotFound))
            }
            Step::Write { file, value, .. } => self.write(file, value),
            Step::OneDevice { file, device, value, .. } => {
                let mut file = open(file)?;
                file.write_all(format!("{} {value}", device_number(device)?).as_bytes())
            }
            Step::FirstOf(steps) => {
                let mut result = Ok(());
                for step in steps {
                    result = self.take(step);
                    if !result.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
                        break;
                    }
                }
                result
            }
            Step::Squeeze { directory, bytes } => squeeze(directory, *bytes),
            Step::Devices { directory, rules } => device_program::attach(directory, rules),
        }
    }

    /// One write(2) per value: that is how a control file tells values apart.
    fn write(&mut self, path: &'a Path, value: &str) -> io::Result<()> {
        if let Some(replaced) = &mut self.replaced {
            replaced.push((path, fs::read_to_string(path)?));
        }
        match &mut self.open {
            Some((known, file)) if *known == path => file.write_all(value.as_bytes()),
            other => other.insert((path, open(path)?)).1.write_all(value.as_bytes()),
        }
    }

    /// Writes back what was replaced, last first, as far as that can be done.
    fn restore(&mut self) {
        for (path, text) in self.replaced.take().unwrap_or_default().into_iter().rev() {
            let _ = self.write(path, &text);
        }
        for leaf in self.made.iter().rev() {
            let _ = fs::remove_dir(leaf);
        }
    }
}

/// Opens a control file, never creating one.
fn open(path: &Path) -> io::Result<File> {
    File::options().write(true).open(path)
}

/// Takes one kind of error for success.
fn unless(kind: ErrorKind) -> impl Fn(io::Error) -> io::Result<()> {
    move |error| if error.kind() == kind { Ok(()) } else { Err(error) }
}

/// v2 refuses to hand controllers down from a cgroup that has processes, or to hand down what it does not have.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ResourceBusy | ErrorKind::NotFound)
}

/// Moves the processes of a v2 cgroup into a leaf below it, `init`, if we are one of them; whether it did.
///
/// In a container the top of the tree has processes: its shell, and us. There they are in the way, as only a leaf may
/// have processes once controllers are handed down (`cgroup-v2.rst`, "No Internal Process Constraint"; the root of the
/// machine is exempt). All are in the same container and stay under the same limits. Where we do not belong, nothing is
/// moved.
fn make_room(directory: &Path) -> io::Result<bool> {
    let procs = directory.join("cgroup.procs");
    let own = process::id().to_string();
    if !fs::read_to_string(&procs)?.lines().any(|pid| pid == own) {
        return Ok(false);
    }
    let leaf = directory.join("init");
    fs::create_dir(&leaf).or_else(unless(ErrorKind::AlreadyExists))?;
    let mut enter = open(&leaf.join("cgroup.procs"))?;
    for _ in 0..100 {
        let pids = fs::read_to_string(&procs)?;
        if pids.is_empty() {
            return Ok(true);
        }
        for pid in pids.lines() {
            match enter.write_all(pid.as_bytes()) {
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {} // it has ended
                other => other?,
            }
        }
    }
    Ok(false)
}

/// Has the kernel take memory from a v2 cgroup until it has no more than `bytes`; an error if it cannot.
///
/// To write `memory.max` straight away would have it kill whoever it cannot take enough from (`cgroup-v2.rst`).
fn squeeze(directory: &Path, bytes: u64) -> io::Result<()> {
    let current = || -> io::Result<u64> {
        let text = fs::read_to_string(directory.join("memory.current"))?;
        text.trim().parse().map_err(|_| ErrorKind::InvalidData.into())
    };
    for _ in 0..10 {
        let excess = current()?.saturating_sub(bytes);
        if excess == 0 {
            return Ok(());
        }
        // EAGAIN: it got less than that. Linux before 5.19 has no such file; there the page cache counts as used.
        let _ =
            open(&directory.join("memory.reclaim")).and_then(|mut file| file.write_all(excess.to_string().as_bytes()));
    }
    match current()? {
        used if used > bytes => {
            Err(io::Error::new(ErrorKind::ResourceBusy, format!("{} are in use", format_bytes(used))))
        }
        _ => Ok(()),
    }
}

impl Step {
    /// Whether the cgroup's directories are all there when this step is taken.
    fn is_limit(&self) -> bool {
        !matches!(self, Step::Parent(_) | Step::Leaf(_) | Step::Enable { .. } | Step::Inherit(_))
    }

    /// An error in the words of who asked, with the way out where there is one.
    fn explain(&self, error: io::Error) -> anyhow::Error {
        let way_out = self.way_out(&error);
        let what = match self {
            Step::Parent(path) | Step::Leaf(path) => format!("create cgroup {}", path.display()),
            Step::Enable { directory, controllers, needed } => {
                let flag = needed.map(|flag| format!(" for {flag}")).unwrap_or_default();
                format!("enable {} in {}{flag}", enabling(controllers), directory.display())
            }
            Step::Inherit(file) => format!("take over {}", file.display()),
            Step::Write { file, value, flag, .. } => format!("{flag}: write {value:?} to {}", file.display()),
            Step::OneDevice { file, device, value, flag } => {
                format!("{flag}: write {value:?} for {} to {}", device.display(), file.display())
            }
            Step::FirstOf(steps) => match steps.last() {
                Some(last) => return last.explain(error),
                None => return anyhow!(error),
            },
            Step::Squeeze { bytes, .. } => {
                format!("--memory: take memory back until {} are left", format_bytes(*bytes))
            }
            Step::Devices { directory, .. } => format!("limit devices in {}", directory.display()),
        };
        if way_out.is_empty() { anyhow!(error).context(what) } else { anyhow!("{what}: {error} ({way_out})") }
    }

    fn way_out(&self, error: &io::Error) -> String {
        const BUSY_MEMORY: &str = "the container holds more than that: end some of its processes first";
        let flag = self.flag().unwrap_or_default();
        match (self, error.kind()) {
            (Step::Leaf(path), ErrorKind::AlreadyExists) => {
                format!("another container has this name; if not, remove what is left of it: rmdir {}", path.display())
            }
            (Step::Parent(path) | Step::Leaf(path), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
                format!("be root, or be given a cgroup: {}", delegation(path.parent().unwrap_or(path)))
            }
            (Step::Enable { directory, .. }, ErrorKind::ResourceBusy) => format!(
                "processes are in {0} itself, and in cgroup v2 only a leaf may have processes: move them first: mkdir {0}/init; \
                 for p in $(cat {0}/cgroup.procs); do echo $p > {0}/init/cgroup.procs; done",
                directory.display()
            ),
            (Step::Enable { .. }, ErrorKind::NotFound) => "that controller is not handed down to there".into(),
            (_, ErrorKind::NotFound) if flag == "--memory-swap" => {
                "this kernel does not account swap: boot it with swapaccount=1, or leave the flag out".into()
            }
            (_, ErrorKind::NotFound) if flag.starts_with("--blkio-weight") => {
                "this kernel has no scheduler that weighs: it takes BFQ (CONFIG_BFQ_GROUP_IOSCHED) or io.cost \
                 (CONFIG_BLK_CGROUP_IOCOST)"
                    .into()
            }
            (Step::OneDevice { .. }, _) if error.raw_os_error() == Some(libc::ENODEV) => {
                "a whole disk is limited, not a partition of it".into()
            }
            (Step::OneDevice { device, .. }, ErrorKind::Unsupported) if flag == "--blkio-weight-device" => format!(
                "the disk's scheduler does not weigh: echo bfq > /sys/block/{}/queue/scheduler",
                device.file_name().unwrap_or_default().display()
            ),
            (_, ErrorKind::InvalidInput) if flag.starts_with("--cpu-rt") => {
                "the cgroup above has no real-time to give: write some to its cpu.rt_runtime_us, and name it by \
                 --cgroup-parent"
                    .into()
            }
            (Step::Squeeze { .. }, ErrorKind::ResourceBusy) => BUSY_MEMORY.into(),
            (Step::Write { .. }, ErrorKind::ResourceBusy) if flag.starts_with("--memory") => BUSY_MEMORY.into(),
            (Step::Write { .. } | Step::OneDevice { .. }, ErrorKind::NotFound) => {
                "this kernel does not have that limit".into()
            }
            (Step::Write { .. }, ErrorKind::PermissionDenied | ErrorKind::InvalidInput) => {
                "the cgroup above may allow less than that".into()
            }
            _ => String::new(),
        }
    }
}
