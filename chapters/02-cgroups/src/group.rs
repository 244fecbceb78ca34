//! A cgroup that exists: made, joined, removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::hierarchy::relative;
use crate::plan::Step;
use crate::plan::{enabling, inherited};
use crate::{Controller, Hierarchies, Plan, device_program, freezer};

/// One cgroup, as its directories in every tree that it is in. Serialised, it is the chapter's record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its directory in the v2 tree.
    pub unified: Option<PathBuf>,
    /// Its directories in the v1 trees. Controllers that share a tree have the same one.
    pub legacy: BTreeMap<Controller, PathBuf>,
    /// Whether the directory above is of the engine's making too, and goes with the last cgroup in it.
    pub tidy_parent: bool,
}

/// How long a dying process may hold its cgroup back before we give up.
const PATIENCE: Duration = Duration::from_secs(10);

impl Group {
    /// The cgroup of this path, in whichever trees it exists. An error when it exists in none.
    pub fn at(path: &str) -> Result<Group> {
        let group = Group::find(path)?;
        if group.is_nowhere() {
            bail!("there is no cgroup {path}");
        }
        Ok(group)
    }

    /// The same, and nowhere if it does not exist.
    pub fn find(path: &str) -> Result<Group> {
        let name = relative(path)?;
        let hierarchies = Hierarchies::detect()?;
        let existing = |tree: &Path| Some(tree.join(&name)).filter(|directory| directory.is_dir());
        Ok(Group {
            unified: hierarchies.unified.as_ref().and_then(|unified| existing(&unified.base)),
            legacy: hierarchies.legacy.iter().filter_map(|(c, tree)| Some((*c, existing(tree)?))).collect(),
            tidy_parent: !path.starts_with('/'),
        })
    }

    /// Whether it is in no tree at all.
    pub fn is_nowhere(&self) -> bool {
        self.unified.is_none() && self.legacy.is_empty()
    }

    /// Its v1 directories, each once.
    pub fn legacy_directories(&self) -> BTreeSet<&Path> {
        self.legacy.values().map(PathBuf::as_path).collect()
    }

    /// All its directories.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.unified.as_deref().into_iter().chain(self.legacy_directories())
    }

    /// The processes in it and in the cgroups below it, as numbers of our pid namespace.
    pub fn processes(&self) -> Result<Vec<Pid>> {
        let mut pids = BTreeSet::new();
        // They are in every tree alike, unless somebody has moved them: kill_all must find them all the same.
        for directory in self.directories() {
            collect_processes(directory, &mut pids)?;
        }
        Ok(pids.into_iter().map(Pid::from_raw).collect())
    }

    /// Moves a process into the v1 trees. (Into the v2 tree it is born.)
    pub fn join_legacy(&self, pid: Pid) -> Result<()> {
        for directory in self.legacy_directories() {
            join(directory, pid)?;
        }
        Ok(())
    }

    /// Removes it: kills what lives in it, then takes its directories away, and the parent if that is ours and empty.
    /// What is gone already does no harm.
    pub fn remove(&self) -> Result<()> {
        for directory in self.directories() {
            match fs::remove_dir(directory) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(_) => self.remove_insistently(directory)?,
            }
            if self.tidy_parent
                && let Some(parent) = directory.parent()
            {
                // Fails while others are in it. One that is just being made there finds the parent gone and starts over.
                let _ = fs::remove_dir(parent);
            }
        }
        Ok(())
    }

    /// A cgroup says EBUSY while a process is in it, a cgroup below it, or the last one is still on its way out: two or
    /// three times after a kill is normal.
    fn remove_insistently(&self, directory: &Path) -> Result<()> {
        let start = Instant::now();
        let mut pause = Duration::from_micros(100);
        loop {
            if !self.processes()?.is_empty() {
                freezer::kill_all(self)?;
            }
            match remove_tree(directory) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ResourceBusy && start.elapsed() < PATIENCE => sleep(pause),
                Err(error) => return Err(error).with_context(|| format!("remove cgroup {}", directory.display())),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

/// Moves a process into a directory's cgroup.
fn join(directory: &Path, pid: Pid) -> Result<()> {
    let procs = directory.join("cgroup.procs");
    write(&procs, &pid.to_string()).with_context(|| format!("move process {pid} into {}", directory.display()))
}

fn collect_processes(directory: &Path, pids: &mut BTreeSet<i32>) -> Result<()> {
    let list = match fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(list) => list,
        // Gone, or gone between open and read.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound) || error.raw_os_error() == Some(libc::ENODEV) => {
            return Ok(());
        }
        // A threaded cgroup of v2: its domain above lists the processes.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => String::new(),
        Err(error) => return Err(error).with_context(|| format!("list the processes in {}", directory.display())),
    };
    // 0 is a process outside of our pid namespace.
    pids.extend(list.lines().filter_map(|line| line.parse().ok()).filter(|pid: &i32| *pid != 0));
    for below in subdirectories(directory) {
        collect_processes(&below, pids)?;
    }
    Ok(())
}

/// The cgroups right below one.
pub(crate) fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.flatten().filter(is_dir).map(|entry| entry.path()).collect()
}

/// Removes a cgroup and those below it (a privileged container may have made some), deepest first.
fn remove_tree(directory: &Path) -> io::Result<()> {
    for below in subdirectories(directory) {
        remove_tree(&below)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Writes to a control file: one write(2), never creating anything. Control files take no O_TRUNC's meaning either, so
/// none is asked for.
pub(crate) fn write(file: &Path, value: &str) -> io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
}

impl Plan {
    /// Carries the plan out.
    ///
    /// Between making the parent and making the cgroup in it, somebody else's [`Group::remove`] may take the parent
    /// away again, as it was empty. That shows as ENOENT, and we start over; the steps up to there can be repeated.
    pub fn carry_out(&self) -> Result<()> {
        let mut made = BTreeSet::new();
        let mut attempts = 100;
        let mut steps = self.steps.iter();
        while let Some(step) = steps.next() {
            let Err(error) = step.carry_out(&mut made) else { continue };
            let before_limits = matches!(step, Step::Leaf(_) | Step::Enable { .. } | Step::Inherit(_));
            if error.kind() == ErrorKind::NotFound && before_limits && attempts > 0 {
                attempts -= 1;
                steps = self.steps.iter();
                continue;
            }
            return Err(step.explain(error));
        }
        Ok(())
    }
}

impl Step {
    /// Carries out one step. `made` are the leaves that this plan has made already.
    fn carry_out<'a>(&'a self, made: &mut BTreeSet<&'a Path>) -> io::Result<()> {
        match self {
            Step::Parent(path) => match fs::create_dir(path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                // Its own parent may have been taken away.
                Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir_all(path),
                other => other,
            },
            Step::Leaf(path) => match fs::create_dir(path) {
                Ok(()) => {
                    made.insert(path);
                    Ok(())
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists && made.contains(path.as_path()) => Ok(()),
                other => other,
            },
            Step::Enable { directory, controllers, needed } => {
                match write(&directory.join("cgroup.subtree_control"), &enabling(controllers)) {
                    // Nothing but accounting was to come of it.
                    Err(error) if error.kind() == ErrorKind::ResourceBusy && needed.is_none() => Ok(()),
                    other => other,
                }
            }
            Step::Inherit(file) => {
                let Some(from) = inherited(file) else { return Ok(()) };
                if fs::read_to_string(file)?.trim().is_empty() {
                    return write(file, fs::read_to_string(from)?.trim());
                }
                Ok(())
            }
            Step::Write { file, value, optional, .. } => match write(file, value) {
                Err(error) if error.kind() == ErrorKind::NotFound && *optional => Ok(()),
                other => other,
            },
            Step::Devices { directory, rules } => device_program::attach(directory, rules),
        }
    }

    /// An error in the words of who asked, with the way out where there is one.
    fn explain(&self, error: io::Error) -> anyhow::Error {
        let way_out = match (self, error.kind()) {
            (Step::Leaf(path), ErrorKind::AlreadyExists) => {
                format!("another container has this name; if not, remove what is left of it: rmdir {}", path.display())
            }
            (Step::Parent(_) | Step::Leaf(_), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
                "it takes root, or a cgroup that was delegated: systemd-run --user --scope -p Delegate=yes COMMAND"
                    .into()
            }
            (Step::Enable { directory, .. }, ErrorKind::ResourceBusy) => format!(
                "processes are in {0} itself, and in cgroup v2 only a leaf may have processes: move them first: mkdir {0}/init; \
                 for p in $(cat {0}/cgroup.procs); do echo $p > {0}/init/cgroup.procs; done",
                directory.display()
            ),
            (Step::Enable { .. }, ErrorKind::NotFound) => "that controller is not handed down to there".into(),
            (Step::Write { flag: "--memory-swap", .. }, ErrorKind::NotFound) => {
                "this kernel does not account swap: boot it with swapaccount=1, or leave the flag out".into()
            }
            (Step::Write { .. }, ErrorKind::NotFound) => "this kernel does not have that limit".into(),
            (Step::Write { .. }, ErrorKind::PermissionDenied | ErrorKind::InvalidInput) => {
                "the cgroup above may allow less than that".into()
            }
            _ => String::new(),
        };
        let what = match self {
            Step::Parent(path) | Step::Leaf(path) => format!("create cgroup {}", path.display()),
            Step::Enable { directory, controllers, needed } => {
                let flag = needed.map(|flag| format!(" for {flag}")).unwrap_or_default();
                format!("enable {} in {}{flag}", enabling(controllers), directory.display())
            }
            Step::Inherit(file) => format!("take over {}", file.display()),
            Step::Write { file, value, flag, .. } => format!("{flag}: write {value:?} to {}", file.display()),
            Step::Devices { directory, .. } => format!("limit devices in {}", directory.display()),
        };
        if way_out.is_empty() { anyhow!(error).context(what) } else { anyhow!("{what}: {error} ({way_out})") }
    }
}
