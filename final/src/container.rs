//! A container on disk: its directory, its name, and finding it by either.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use cgroups::Group;
use namespaces::Record;
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use rustix::io::{Errno, retry_on_intr};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::alive::AliveLock;
use crate::description::Description;
use crate::discard::Discarded;
use crate::root::Root;
use crate::state::{State, process_started};
use crate::volumes::VolumeStore;
use crate::{alive, id};

/// Where the end of a container will be written down.
const RESERVE: &str = "state.json.reserve";

/// Bytes kept for that: one block of most file systems, and several times what is needed.
const RESERVED: u64 = 4096;

/// A container, by its id.
#[derive(Clone, Debug)]
pub struct Container {
    root: Root,
    id: String,
}

/// Held while what a container is, is written anew.
#[derive(Debug)]
#[must_use = "it is given up when it is dropped"]
pub struct Lock(#[expect(dead_code, reason = "held for the lock on it")] File);

impl Container {
    /// Makes a container: its directory, and its name claimed. `describe` is given its id and its name.
    ///
    /// On an error nothing is left of it. What is there when we are killed half-way is named in `starting/`, and tidied by the next start.
    pub fn create(
        root: &Root,
        name: Option<&str>,
        describe: impl FnOnce(&str, &str) -> Result<Description>,
    ) -> Result<(Container, Description)> {
        let container = Container { root: root.clone(), id: id::new_id()? };
        mark_starting(&container)?;
        let description = container.fill(name, describe).inspect_err(|_| drop(container.delete()))?;
        Ok((container, description))
    }

    fn fill(
        &self,
        name: Option<&str>,
        describe: impl FnOnce(&str, &str) -> Result<Description>,
    ) -> Result<Description> {
        let directory = self.directory();
        for below in ["", "upper", "work", "rootfs"] {
            // The upper directory becomes the root's, so its mode is that of a root directory; nobody gets to it from
            // outside, through directories of mode 0700.
            let mode = if below == "upper" { 0o755 } else { 0o700 };
            let made = layers::make_directory(&directory.join(below), mode);
            made.with_context(|| format!("make {}", directory.join(below).display()))?;
        }
        let name = match name {
            Some(name) => {
                id::check_name(name)?;
                ensure!(self.claim(name)?, self.conflict(name));
                name.to_string()
            }
            None => self.claim_random()?,
        };
        // Without a description nobody would know that the name is this container's to give back.
        let described = describe(&self.id, &name).and_then(|description| {
            self.write("container.json", &description)?;
            Ok(description)
        });
        described.inspect_err(|_| drop(self.release(&name)))
    }

    fn claim_random(&self) -> Result<String> {
        for attempt in 0.. {
            let mut name = id::random_name();
            if attempt > 2 {
                name = format!("{name}{}", fastrand::u32(2..10_000));
            }
            if self.claim(&name)? {
                return Ok(name);
            }
        }
        unreachable!("an endless loop")
    }

    /// Claims a name. A symbolic link is made exclusively and with its content in one step; nobody follows it.
    fn claim(&self, name: &str) -> Result<bool> {
        let path = self.root.names().join(name);
        let mut linked = symlink(&self.id, &path);
        if let (Err(error), Some(id)) = (&linked, read_name(&path)) {
            // A name whose container is gone: somebody was killed between the two removals.
            if error.kind() == ErrorKind::AlreadyExists && !self.root.containers().join(id).exists() {
                let _ = fs::remove_file(&path);
                linked = symlink(&self.id, &path);
            }
        }
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error).with_context(|| format!("claim the name {name}")),
        }
    }

    /// Gives the name back, if it is this container's.
    fn release(&self, name: &str) -> Result<()> {
        let path = self.root.names().join(name);
        match read_name(&path) {
            Some(owner) if owner == self.id => {
                fs::remove_file(path).with_context(|| format!("give the name {name} back"))
            }
            _ => Ok(()),
        }
    }

    /// Gives all names back that are this container's, for one that cannot be asked which those are.
    fn release_all(&self) {
        let Ok(names) = fs::read_dir(self.root.names()) else { return };
        for name in names.filter_map(|name| name.ok()?.file_name().into_string().ok()) {
            let _ = self.release(&name);
        }
    }

    /// Keeps others from changing what it is until the lock is dropped: of two at once each would write down its own change
    /// alone (`update`, `rename`).
    pub fn lock(&self) -> Result<Lock> {
        let directory = File::open(self.directory()).context("open the container's directory")?;
        retry_on_intr(|| flock(&directory, FlockOperation::LockExclusive)).context("lock the container's directory")?;
        Ok(Lock(directory))
    }

    /// Gives it another name. Killed half-way it has both.
    pub fn rename(&self, name: &str) -> Result<()> {
        id::check_name(name)?;
        let _lock = self.lock()?;
        let mut description = self.description()?;
        ensure!(description.name != name, "it has this name already");
        ensure!(self.claim(name)?, self.conflict(name));
        let former = std::mem::replace(&mut description.name, name.to_string());
        self.write_description(&description).inspect_err(|_| drop(self.release(name)))?;
        self.release(&former)
    }

    fn conflict(&self, name: &str) -> anyhow::Error {
        let owner = read_name(&self.root.names().join(name)).unwrap_or_default();
        let owner = id::short(&owner);
        anyhow!("the container name {name:?} is in use by {owner}; remove it (minidocker rm {name}) or choose another")
    }

    /// Finds a container by name, id, or the beginning of an id that is no other's.
    pub fn find(root: &Root, what: &str) -> Result<Container> {
        let unknown = || anyhow!("no such container: {what} (minidocker ps -a lists them)");
        let name = what.strip_prefix('/').unwrap_or(what); // as Docker's inspect shows it
        if id::check_name(name).is_ok()
            && let Some(id) = read_name(&root.names().join(name))
            && root.containers().join(&id).is_dir()
        {
            return Ok(Container { root: root.clone(), id });
        }
        if what.is_empty() || !what.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let whole = Container::with_id(root, what);
        if id::is_id(what) && whole.directory().is_dir() {
            return Ok(whole);
        }
        let mut found = Container::all(root)?;
        found.retain(|container| container.id.starts_with(what));
        match found.len() {
            0 => Err(unknown()),
            1 => Ok(found.remove(0)),
            count => bail!("{what} is the beginning of {count} ids: give more digits"),
        }
    }

    /// All containers, in no order.
    pub fn all(root: &Root) -> Result<Vec<Container>> {
        let directory = root.containers();
        let entries = fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))?;
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(ids.map(|id| Container { root: root.clone(), id }).collect())
    }

    /// A container that is known to be there.
    pub fn with_id(root: &Root, id: &str) -> Container {
        Container { root: root.clone(), id: id.to_string() }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The state directory that it is in.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Its directory.
    pub fn directory(&self) -> PathBuf {
        self.root.containers().join(&self.id)
    }

    /// What it is.
    pub fn description(&self) -> Result<Description> {
        self.read("container.json")?.with_context(|| match self.directory().exists() {
            true => {
                format!("container {} is damaged: it has no container.json (minidocker rm -f it)", id::short(&self.id))
            }
            false => format!("no such container: {} (it has just been removed)", id::short(&self.id)),
        })
    }

    /// Writes down what it is, anew: under its [`lock`](Container::lock). It takes no less than a flush to disk.
    pub fn write_description(&self, description: &Description) -> Result<()> {
        self.replace("container.json", description, |file| file.sync_data())
    }

    /// What has happened to it.
    pub fn state(&self) -> Result<State> {
        Ok(self.read("state.json")?.unwrap_or_default())
    }

    /// Writes down what has happened to it. Only its monitor does, or who holds the lock of one that was killed.
    pub fn write_state(&self, state: &State) -> Result<()> {
        if !state.running && self.write_reserved(state).is_ok() {
            return Ok(());
        }
        self.write("state.json", state)
    }

    /// Takes the room in which the end will be written down, also on a disk that is full by then.
    ///
    /// The other way would be to keep the whole state in a file of fixed size and to overwrite it in place. Then no
    /// second file is needed, but a reader can see half of the new and half of the old, and so can everybody after a
    /// crash. Here it is written into the second file, which becomes `state.json` in one step; cut short before that it is
    /// a reserve as before. (A ballast file that is removed when it gets tight would not do: whoever has filled the disk
    /// takes what becomes free.)
    pub fn reserve_the_end(&self) -> Result<()> {
        let path = self.directory().join(RESERVE);
        let file = File::create(&path).with_context(|| format!("make {}", path.display()))?;
        match fallocate(&file, FallocateFlags::empty(), 0, RESERVED) {
            Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()), // some file systems cannot promise anything
            Err(error) => Err(error).with_context(|| format!("reserve {RESERVED} bytes for {}", path.display())),
        }
    }

    fn write_reserved(&self, state: &State) -> Result<()> {
        let reserve = self.directory().join(RESERVE);
        let mut file = OpenOptions::new().write(true).open(&reserve)?;
        let bytes = serde_json::to_vec_pretty(state)?;
        file.write_all(&bytes)?;
        file.set_len(bytes.len() as u64)?;
        Ok(fs::rename(&reserve, self.directory().join("state.json"))?)
    }

    /// Waits until what it is and what has happened to it is on the disk, and survives a power failure.
    ///
    /// To flush each file before it is renamed would cost as much as all the rest of a start (8 ms on a virtual disk,
    /// many times that on one that turns), which is why it is done here, when nobody waits any more: after the end of a
    /// container that stays, and when one was made only. One that was started less than about half a minute before a
    /// power failure, the kernel's own delay, may be found damaged; nothing is lost with it but what it wrote in that
    /// time. Containers made with `--rm` are not there after a failure anyway. What an update or a new name would replace
    /// has been there for long: that is flushed first.
    pub fn flush(&self) {
        for file in ["container.json", "state.json", "."] {
            let _ = File::open(self.directory().join(file)).and_then(|file| file.sync_all()); // it may be removed by now
        }
    }

    /// Writes down what will have to be undone, before any of it exists.
    pub fn write_records(&self, records: &[Record]) -> Result<()> {
        self.write("records.json", &records)
    }

    /// Undoes what was written down, whoever did it; twice does no harm. If that cannot be read, it is what any container
    /// may have: an address and a cgroup.
    pub fn undo_records(&self) -> Result<()> {
        let Ok(records) = self.read::<Vec<Record>>("records.json") else {
            let cgroup = Group::find(&self.cgroup()).and_then(|group| group.remove());
            return network::release(&self.root.bridge(), &self.id).and(cgroup);
        };
        let mut result = Ok(());
        for record in records.unwrap_or_default().iter().rev() {
            result = result.and(network::undo(record));
        }
        result
    }

    /// Its cgroup: the usual one if what it is cannot be read.
    pub fn cgroup(&self) -> String {
        let usual = |_| format!("{}/{}", self.root.cgroup(), self.id);
        self.description().map_or_else(usual, |description| description.cgroup)
    }

    /// The start is over, well or not: it is no longer among those that a kill would leave half-made.
    pub fn settle(&self) {
        let _ = fs::remove_file(self.root.starting().join(&self.id));
    }

    /// Removes it from the disk. Its process must be dead and its records undone. The volumes that were made for it stay,
    /// unless it was made with `--rm`.
    pub fn delete(&self) -> Result<()> {
        self.take_away(|description| description.auto_remove)?.delete()
    }

    /// Removes it from the disk, and the volumes that were made for it.
    pub fn delete_with_volumes(&self) -> Result<()> {
        self.discard()?.delete()
    }

    /// Takes it out of the list, and its name back: from then on there is no such container, however long deleting its
    /// files takes and whether or not that is finished. The volumes that were made for it go as well, except those that
    /// another container has (`--volumes-from`).
    pub fn discard(&self) -> Result<Discarded> {
        self.take_away(|_| true)
    }

    fn take_away(&self, with_volumes: impl FnOnce(&Description) -> bool) -> Result<Discarded> {
        let directory = self.directory();
        // By its name as it is now: it may have got another one since it was started.
        let description = self.description().ok();
        let volumes = description.as_ref().filter(|it| with_volumes(it)).map(Description::own_volumes);
        let mut discarded = Discarded::default();
        match Discarded::take(&self.root, &directory) {
            Ok(container) => {
                discarded = container;
                discarded.add(VolumeStore::of(&self.root).remove_unused(&volumes.unwrap_or_default()));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("remove {}", directory.display())),
        }
        match &description {
            Some(description) => drop(self.release(&description.name)),
            None => self.release_all(),
        }
        self.settle();
        Ok(discarded)
    }

    fn read<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>> {
        let path = self.directory().join(file);
        match fs::read(&path) {
            Ok(bytes) => {
                let damaged = || format!("{} is damaged (minidocker rm -f removes the container)", path.display());
                Ok(Some(serde_json::from_slice(&bytes).with_context(damaged)?))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    fn write<T: Serialize>(&self, file: &str, content: &T) -> Result<()> {
        self.replace(file, content, |_| Ok(()))
    }

    /// Replaces a file as a whole: readers see the old one or the new one. `flush` is called in between.
    fn replace<T: Serialize>(&self, file: &str, content: &T, flush: fn(&File) -> io::Result<()>) -> Result<()> {
        let path = self.directory().join(file);
        // Two who write at once must not write into one file.
        let new = self.directory().join(format!("{file}.{:x}.new", fastrand::u64(..)));
        let bytes = serde_json::to_vec_pretty(content).with_context(|| format!("encode {file}"))?;
        let written = OpenOptions::new().write(true).create(true).truncate(true).open(&new);
        written
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| flush(&file)))
            .and_then(|()| fs::rename(&new, &path))
            .inspect_err(|_| drop(fs::remove_file(&new)))
            .with_context(|| format!("write {}", path.display()))
    }
}

fn read_name(path: &Path) -> Option<String> {
    let id = fs::read_link(path).ok()?.into_os_string().into_string().ok()?;
    id::is_id(&id).then_some(id)
}

/// Tidies what killed starts have left. Called by every start: it looks at nothing but `starting/`, which is empty as a
/// rule.
pub fn tidy(root: &Root) -> Result<()> {
    let directory = root.starting();
    let entries = fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))?;
    for entry in entries.flatten() {
        let Ok(id) = entry.file_name().into_string() else { continue };
        let container = Container::with_id(root, &id);
        if owner_lives(&entry.path()) || alive::holder(&container.directory()).is_some() {
            continue;
        }
        let runs = |state: &State| state.running && process_started(state.pid) == Some(state.pid_started);
        if container.state().is_ok_and(|state| runs(&state)) {
            container.settle(); // its monitor was killed after the start, not during it
            continue;
        }
        abandon(&container)?;
    }
    Ok(())
}

/// Undoes a container whose start was cut short. A second process that tidies the same one finds it locked.
fn abandon(container: &Container) -> Result<()> {
    if !container.directory().exists() {
        container.settle();
        return Ok(());
    }
    let Some(_lock) = AliveLock::take(&container.directory())? else { return Ok(()) };
    container.undo_records()?;
    let Ok(state) = container.state() else {
        container.settle(); // damaged: nothing of it is left but its files, and it must not be in the way of other starts
        return Ok(());
    };
    let has_a_past = !state.started.is_empty() || !state.finished.is_empty();
    let kept = has_a_past && container.description().is_ok_and(|description| !description.auto_remove);
    if kept {
        container.settle(); // a restart was cut short: the container itself stays
        return Ok(());
    }
    container.delete_with_volumes()
}

/// Whether the process that wrote a marker still runs.
fn owner_lives(marker: &Path) -> bool {
    let Ok(owner) = fs::read_link(marker) else { return true }; // gone this moment, or not ours to judge
    let owner = owner.to_string_lossy();
    let mut numbers = owner.split(' ');
    let pid = numbers.next().and_then(|pid| pid.parse().ok());
    let started = numbers.next().and_then(|ticks| ticks.parse().ok());
    pid.is_some_and(|pid| process_started(pid) == started && started.is_some())
}

/// Marks a container as being made or started by us. A symbolic link is there with its content or not at all; whoever
/// reads it never finds half a process number. A marker that is there already, of somebody who starts it too, is as good.
pub fn mark_starting(container: &Container) -> Result<()> {
    let path = container.root.starting().join(&container.id);
    let pid = std::process::id() as i32;
    let owner = format!("{pid} {}", process_started(pid).unwrap_or_default());
    match symlink(owner, &path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("make {}", path.display()))
        }
        _ => Ok(()),
    }
}
