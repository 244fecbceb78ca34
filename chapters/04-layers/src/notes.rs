//! What the disk could not keep of a layer, written down beside it.
//!
//! An ordinary user's files all belong to that user, devices cannot be made, and some extended attributes not be set. What
//! the archive said of them goes into `.diff.notes` beside the directory `diff`: a tar of headers without bytes, one for each
//! file of which something is missing. Packing reads it, so that a layer has the same digest whoever unpacked it, and a
//! change made by a container of that user does not take a file from its owner.
//!
//! In the container everything belongs to root, and the devices are missing: it gets a `/dev` from the engine anyway.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::entry::{Entries, Entry, EntryKind};
use crate::ids::beside;
use crate::write::{END, blocks_of};

/// Notes on so many files fit into memory; an archive with more that an ordinary user cannot keep is refused.
const MAX_NOTES: usize = 1 << 20;

/// What is missing, by path.
#[derive(Debug, Default)]
pub(crate) struct Notes(BTreeMap<PathBuf, Entry>);

impl Notes {
    /// Those written down beside `directory`; none if there are none.
    pub(crate) fn beside(directory: &Path) -> Result<Notes> {
        let Some(path) = beside(directory, "notes")? else { return Ok(Notes::default()) };
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Notes::default()),
            file => file.with_context(|| format!("open {}", path.display()))?,
        };
        let mut notes = Notes::default();
        let mut entries = Entries::new(BufReader::new(file));
        while let Some(entry) = entries.next().with_context(|| format!("read {}", path.display()))? {
            notes.add(PathBuf::from(OsStr::from_bytes(&entry.name)), entry)?;
        }
        Ok(notes)
    }

    /// Writes them down, if there are any.
    pub(crate) fn write_beside(&self, directory: &Path) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let path = beside(directory, "notes")?.context("the root directory cannot be a layer")?;
        let write = || -> Result<()> {
            let mut file = BufWriter::new(File::create(&path)?);
            for entry in self.0.values() {
                file.write_all(&blocks_of(entry)?)?;
            }
            file.write_all(END)?;
            Ok(file.flush()?)
        };
        write().inspect_err(|_| drop(fs::remove_file(&path))).with_context(|| format!("write {}", path.display()))
    }

    /// Notes what the archive said of the file at `path`.
    pub(crate) fn add(&mut self, path: PathBuf, entry: Entry) -> Result<()> {
        ensure!(
            self.0.len() < MAX_NOTES,
            "more than {MAX_NOTES} files whose owners, devices or attributes only root can keep"
        );
        let name = path.as_os_str().as_bytes().to_vec();
        self.0.insert(path, Entry { name, size: 0, extents: None, ..entry });
        Ok(())
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, path: &Path) -> Option<&Entry> {
        self.0.get(path)
    }

    /// Takes the note on `path`, if it is of something of that kind.
    pub(crate) fn take(&mut self, path: &Path, kind: EntryKind) -> Option<Entry> {
        self.0.remove(path).filter(|note| note.kind == kind)
    }

    /// Forgets `path` and all that was in it: it was replaced.
    pub(crate) fn forget(&mut self, path: &Path) {
        let gone: Vec<PathBuf> = self
            .0
            .range(path.to_owned()..)
            .map(|(path, _)| path.clone())
            .take_while(|found| found.starts_with(path))
            .collect();
        gone.iter().for_each(|path| drop(self.0.remove(path)));
    }

    /// Takes the devices that come before `path` in the order of paths, or all: they are not on disk, and have their turn in
    /// a layer tar all the same.
    pub(crate) fn take_devices(&mut self, before: Option<&Path>) -> Vec<Entry> {
        let is_device = |entry: &Entry| matches!(entry.kind, EntryKind::CharDevice(..) | EntryKind::BlockDevice(..));
        let next: Vec<PathBuf> = self
            .0
            .iter()
            .take_while(|(path, _)| before.is_none_or(|before| path.as_path() < before))
            .map(|(path, _)| path.clone())
            .collect();
        // What else is before it was not found by the walk, and is gone.
        next.iter().filter_map(|path| self.0.remove(path)).filter(is_device).collect()
    }
}
