//! Where a virtual host stands in the machine's cgroup hierarchies: one directory in each, with limits.
//!
//! There are three worlds: v2 alone (one hierarchy), v1 (one per controller) and hybrid (v1, and v2 without controllers).

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;

use crate::options::Options;

/// One mounted hierarchy.
pub struct Hierarchy {
    /// Where it is mounted, on the machine and in the virtual host.
    pub mountpoint: PathBuf,
    /// v1: what to say to mount(2), `cpu,cpuacct` or `name=systemd`. v2: `None`.
    pub v1_options: Option<String>,
    /// Our directory in it.
    pub directory: PathBuf,
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        self.v1_options.as_deref().is_some_and(|options| options.split(',').any(|o| o == controller))
    }
}

/// All hierarchies, with our directory made in each.
pub struct Cgroups {
    /// In the order of the mount table.
    pub hierarchies: Vec<Hierarchy>,
    /// Whether we have directories of our own in them: an ordinary user may have no right to.
    pub made: bool,
}

impl Cgroups {
    /// Makes `suite-PID` in every hierarchy and sets the limits.
    pub fn create(options: &Options) -> Result<Cgroups> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").context("read the mount table")?;
        let membership = fs::read_to_string("/proc/self/cgroup").context("read our cgroups")?;
        let name = format!("suite-{}", std::process::id());
        let mut cgroups = Cgroups { hierarchies: find(&mountinfo, &membership, &name), made: true };
        if cgroups.hierarchies.is_empty() {
            bail!(io::Error::new(io::ErrorKind::PermissionDenied, "no cgroup hierarchy is mounted"));
        }
        if !nix::unistd::geteuid().is_root() {
            cgroups.delegated(&membership, &name, options);
            return Ok(cgroups);
        }
        if let [only] = &cgroups.hierarchies[..] {
            delegate(only);
        }
        for hierarchy in &cgroups.hierarchies {
            if let Err(error) = make(hierarchy, options) {
                let directory = hierarchy.directory.display().to_string();
                cgroups.remove();
                return Err(error).with_context(|| format!("make the cgroup {directory}"));
            }
        }
        Ok(cgroups)
    }

    /// As an ordinary user: beside our own cgroup, where v2 is alone and systemd has delegated that part to us.
    ///
    /// Not below our own: it has processes, and so may not hand controllers down ("no internal processes", cgroups(7)).
    fn delegated(&mut self, membership: &str, name: &str, options: &Options) {
        self.made = false;
        let [only] = &mut self.hierarchies[..] else { return };
        let own = own_path(membership, None);
        let Some(parent) = Path::new(own.trim_start_matches('/')).parent().filter(|_| only.v1_options.is_none()) else {
            return;
        };
        only.directory = only.mountpoint.join(parent).join(name);
        self.made = make(only, options).is_ok();
        if !self.made {
            let _ = fs::remove_dir(&only.directory);
        }
    }

    /// What limits there are, for people.
    pub fn describe(&self, options: &Options) -> String {
        let Options { memory, pids, .. } = options;
        let cpus = options.cpus.map_or(String::new(), |cpus| format!(", {cpus} CPU"));
        let world = if self.hierarchies.iter().any(|h| h.v1_options.is_some()) { "v1" } else { "v2" };
        match self.made {
            true => format!("a cgroup ({world}): {} MiB, {pids} processes{cpus}", memory >> 20),
            false => format!("rlimits only, no cgroup was delegated: {} MiB a process, {pids} processes", memory >> 20),
        }
    }

    /// Moves a process into all of them.
    pub fn join(&self, pid: Pid) -> Result<()> {
        if !self.made {
            return Ok(());
        }
        for hierarchy in &self.hierarchies {
            let file = hierarchy.directory.join("cgroup.procs");
            fs::write(&file, pid.to_string()).with_context(|| format!("write to {}", file.display()))?;
        }
        Ok(())
    }

    /// Every process below our directories, as the machine numbers them.
    pub fn processes(&self) -> Vec<i32> {
        if !self.made {
            return Vec::new();
        }
        let mut all: Vec<i32> = self
            .hierarchies
            .iter()
            .flat_map(|hierarchy| below(&hierarchy.directory))
            .filter_map(|directory| fs::read_to_string(directory.join("cgroup.procs")).ok())
            .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<i32>>())
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Removes our directories and all below, once their processes are gone (the kernel is still at it for a moment).
    pub fn remove(&self) {
        if !self.made {
            return;
        }
        for hierarchy in &self.hierarchies {
            for directory in below(&hierarchy.directory) {
                // A frozen v1 process dies only when thawed.
                let _ = fs::write(directory.join("freezer.state"), "THAWED");
                // Half a minute: on a busy machine a process is long in dying.
                for _ in 0..6000 {
                    match fs::remove_dir(&directory) {
                        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => sleep(Duration::from_millis(5)),
                        _ => break,
                    }
                }
            }
        }
    }
}

/// `directory` and all directories below it, children first.
pub fn below(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.extend(below(&entry.path()));
        }
    }
    if directory.is_dir() {
        all.push(directory.to_owned());
    }
    all
}

/// Reads the mount table (`proc_pid_mountinfo(5)`): `36 35 0:31 ROOT MOUNTPOINT … - cgroup SOURCE rw,cpu`.
fn find(mountinfo: &str, membership: &str, name: &str) -> Vec<Hierarchy> {
    let v1_exists = mountinfo.lines().any(|line| line.contains(" - cgroup "));
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let (Some(root), Some(mountpoint), Some(kind), Some(options)) =
            (left.get(3), left.get(4), right.first(), right.get(2))
        else {
            continue;
        };
        let mountpoint = PathBuf::from(mountpoint);
        if !matches!(*kind, "cgroup" | "cgroup2") || found.iter().any(|known| known.mountpoint == mountpoint) {
            continue;
        }
        let v1_options = (*kind == "cgroup").then(|| v1_options(options));
        let own = own_path(membership, v1_options.as_deref());
        // Where v2 is alone only its root may have both processes and controllers for its children ("no internal
        // processes", cgroups(7)), so there we start at the top; elsewhere below the cgroup that we were put into.
        let parent = if v1_exists {
            mountpoint.join(own.strip_prefix(root.trim_end_matches('/')).unwrap_or("").trim_start_matches('/'))
        } else {
            mountpoint.clone()
        };
        found.push(Hierarchy { directory: parent.join(name), mountpoint, v1_options });
    }
    found
}

/// Of a v1 superblock's options those that name the hierarchy.
fn v1_options(options: &str) -> String {
    const OTHERS: &[&str] = &["rw", "ro", "xattr", "clone_children", "noprefix", "cpuset_v2_mode"];
    options
        .split(',')
        .filter(|option| !OTHERS.contains(option) && !option.starts_with("release_agent="))
        .collect::<Vec<_>>()
        .join(",")
}

/// Our path in one hierarchy, from lines like `4:memory:/user/1` and `0::/user/1`.
fn own_path(membership: &str, v1_options: Option<&str>) -> String {
    membership
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .find(|(controllers, _)| match v1_options {
            None => controllers.is_empty(),
            Some(options) => {
                !controllers.is_empty() && controllers.split(',').all(|c| options.split(',').any(|o| o == c))
            }
        })
        .map_or_else(|| "/".to_owned(), |(_, path)| path.to_owned())
}

/// Where v2 is alone: lets our directory have the controllers that its parent has.
///
/// One by one: a controller that cannot be had must not take the others with it.
fn delegate(hierarchy: &Hierarchy) {
    let parent = hierarchy.directory.parent().unwrap_or(Path::new("/"));
    let controllers = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_whitespace() {
        let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

fn make(hierarchy: &Hierarchy, options: &Options) -> io::Result<()> {
    let directory = &hierarchy.directory;
    let parent = directory.parent().unwrap_or(Path::new("/"));
    fs::create_dir(directory)?;
    // Opened without O_CREAT: in a cgroup that is EACCES for a file that is not there, which says the wrong thing.
    let set = |file: &str, value: String| match OpenOptions::new().write(true).open(directory.join(file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        file => file?.write_all(value.as_bytes()),
    };
    if hierarchy.v1_options.is_none() {
        set("memory.max", options.memory.to_string())?;
        set("pids.max", options.pids.to_string())?;
        if let Some(cpus) = options.cpus {
            set("cpu.max", format!("{} 100000", cpus * 100_000))?;
        }
    }
    if let (true, Some(cpus)) = (hierarchy.has("cpu"), options.cpus) {
        set("cpu.cfs_quota_us", (cpus * 100_000).to_string())?;
    }
    if hierarchy.has("memory") {
        set("memory.limit_in_bytes", options.memory.to_string())?;
    }
    if hierarchy.has("pids") {
        set("pids.max", options.pids.to_string())?;
    }
    if hierarchy.has("cpuset") {
        // A v1 cpuset is born empty, and nobody can join an empty one.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            set(file, fs::read_to_string(parent.join(file))?)?;
        }
    }
    Ok(())
}
