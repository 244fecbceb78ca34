//! Where things are on disk.
//!
//! ```text
//! ROOT = --root, else $MINIDOCKER_ROOT, else /var/lib/minidocker (root) or $XDG_DATA_HOME/minidocker
//!   images/           an OCI image layout
//!   layers/<diffid>/  unpacked once, shared by all
//!   containers/<id>/  container.json state.json records.json log alive attach.sock
//!                     upper/ work/ rootfs/, and hosts hostname resolv.conf for /etc
//!   names/<name>      a symbolic link that says the id of the container of that name
//!   starting/<id>     there while a container is being made or started: what a kill -9 leaves, the next start tidies
//!   volumes/<name>/    volume.json, _data/
//!   networks/ build-cache/ tmp/
//!   swept             when somebody last looked for what was left behind
//! ```

use std::collections::hash_map::DefaultHasher;
use std::fs::DirBuilder;
use std::hash::{Hash, Hasher};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use images::{Store, default_root};
use network::Bridge;

/// The engine's state directory, and what is derived from it.
#[derive(Clone, Debug)]
pub struct Root {
    path: PathBuf,
}

impl Root {
    /// Opens the state directory, making it if it is missing.
    ///
    /// Its mode is 0700: layers hold set-uid programs that nobody outside a container should reach (CVE-2021-41091).
    pub fn open(chosen: Option<PathBuf>) -> Result<Root> {
        let path = chosen.map_or_else(default_root, Ok)?;
        // By its one true path, which the names of its bridge and cgroups are derived from: by way of a symbolic link or a
        // `..` the same containers would get a second bridge with the same addresses.
        let path = match path.canonicalize() {
            Err(error) if error.kind() == ErrorKind::NotFound => make(&path).and_then(|()| path.canonicalize()),
            found => found,
        }
        .with_context(|| format!("make the state directory {}", path.display()))?;
        let root = Root { path };
        if !root.containers().is_dir() {
            for directory in ["containers", "names", "starting", "tmp", "volumes"] {
                let directory = root.path.join(directory);
                make(&directory).with_context(|| format!("make the state directory {}", directory.display()))?;
            }
        }
        Ok(root)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The image store.
    pub fn store(&self) -> Result<Store> {
        Store::open(&self.path)
    }

    /// One directory for each container.
    pub fn containers(&self) -> PathBuf {
        self.path.join("containers")
    }

    /// One file for each name.
    pub fn names(&self) -> PathBuf {
        self.path.join("names")
    }

    /// One file for each container that is being made.
    pub fn starting(&self) -> PathBuf {
        self.path.join("starting")
    }

    /// One directory for each named volume.
    pub fn volumes(&self) -> PathBuf {
        self.path.join("volumes")
    }

    /// What is thrown away and has not been deleted yet.
    pub fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// A file that was written when somebody last looked for what killed processes have left.
    pub fn swept(&self) -> PathBuf {
        self.path.join("swept")
    }

    /// The default network.
    pub fn bridge(&self) -> Bridge {
        Bridge::derive(&self.path)
    }

    /// The parent of the containers' cgroups. Like every host-wide name it is derived from the path, so that two state
    /// directories never meet.
    pub fn cgroup(&self) -> String {
        format!("minidocker-{}", self.hash())
    }

    fn hash(&self) -> String {
        let mut hasher = DefaultHasher::new(); // its keys are fixed, unlike RandomState's
        self.path.hash(&mut hasher);
        format!("{:08x}", hasher.finish() as u32)
    }
}

fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_paths_to_it_are_the_same_root() {
        let temporary = tempfile::tempdir().unwrap();
        let (real, link) = (temporary.path().join("real"), temporary.path().join("link"));
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let root = Root::open(Some(real.clone())).unwrap();
        for path in [link, real.join("../real")] {
            assert_eq!(Root::open(Some(path)).unwrap().cgroup(), root.cgroup());
        }
    }
}
