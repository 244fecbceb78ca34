//! A cgroup that exists: made, joined, removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags, openat};
use serde::{Deserialize, Serialize};

use crate::hierarchy::relative;
use crate::{Controller, Hierarchies, freezer, mark, tree};

/// One cgroup, as its directories in every tree that it is in. Serialised, it is the chapter's record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its directory in the v2 tree.
    pub unified: Option<PathBuf>,
    /// Its directories in the v1 trees. Controllers that share a tree have the same one.
    pub legacy: BTreeMap<Controller, PathBuf>,
    /// Whether the directory above is the engine's own, and goes with the last cgroup in it.
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
        let mut group = Group::below(&Hierarchies::holding(&relative(path)?)?, path)?;
        group.unified = group.unified.filter(|directory| directory.is_dir());
        group.legacy.retain(|_, directory| directory.is_dir());
        Ok(group)
    }

    /// The cgroup of this path in every tree that there is, whether it exists there or not: the record of one that is to
    /// be made, since a later change of its limits may put it into more trees.
    pub(crate) fn everywhere(path: &str) -> Result<Group> {
        Group::below(Hierarchies::detect()?, path)
    }

    fn below(hierarchies: &Hierarchies, path: &str) -> Result<Group> {
        let name = relative(path)?;
        Ok(Group {
            unified: hierarchies.unified.as_ref().map(|unified| unified.base.join(&name)),
            legacy: hierarchies.legacy.iter().map(|(c, tree)| (*c, tree.join(&name))).collect(),
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
            let found = tree::each(directory, |cgroup| collect_processes(cgroup, &mut pids));
            match found {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("list the processes in {}", directory.display()));
                }
                _ => {} // where it is not, or no longer, nothing runs
            }
        }
        Ok(pids.into_iter().map(Pid::from_raw).collect())
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
            let mut parents = directory.ancestors().skip(1);
            if self.tidy_parent
                && let Some(parent) = parents.next()
            {
                // Fails while others are in it. One that is just being made there finds the parent gone and starts over.
                let _ = fs::remove_dir(parent);
            }
            // And those above that were made for it, or for another of the same parent: the last one out.
            parents.take_while(|parent| mark::is_ours(parent)).all(|parent| fs::remove_dir(parent).is_ok());
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
            match tree::remove(directory) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ResourceBusy && start.elapsed() < PATIENCE => sleep(pause),
                Err(error) => return Err(error).with_context(|| format!("remove cgroup {}", directory.display())),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

fn collect_processes(cgroup: &OwnedFd, pids: &mut BTreeSet<i32>) -> io::Result<()> {
    let procs = openat(cgroup, c"cgroup.procs", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let mut list = String::new();
    match procs.map_err(io::Error::from).and_then(|procs| File::from(procs).read_to_string(&mut list)) {
        Ok(_) => {}
        // Gone, or gone between open and read; or a threaded cgroup of v2, whose domain above lists the processes.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP)) => {}
        Err(error) => return Err(error),
    }
    // 0 is a process outside of our pid namespace.
    pids.extend(list.lines().filter_map(|line| line.parse().ok()).filter(|pid: &i32| *pid != 0));
    Ok(())
}
