//! The store: an OCI layout with the images, and beside it their layers, unpacked once and shared by all.
//!
//! ```text
//! ROOT/images/           the layout
//! ROOT/layers/<diff ID>  see `layers::LayerStore`
//! ROOT/tmp/images/       files in the making
//! ```

use std::collections::HashSet;
use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use layers::{Digest, LayerStore};

use crate::image::{self, Image, Listed, REPO_DIGEST};
use crate::layout::{Entry, Layout};
use crate::manifest::{Descriptor, MAX_CONFIG, MAX_MANIFEST, OCI_CONFIG, OCI_MANIFEST};
use crate::{ImageConfig, Manifest, Reference};

/// Where everything lies unless told otherwise: `$MINIDOCKER_ROOT`, else `/var/lib/minidocker` for root, else
/// `$XDG_DATA_HOME/minidocker`, else `~/.local/share/minidocker`.
pub fn default_root() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(root) = set("MINIDOCKER_ROOT") {
        return Ok(root);
    }
    if !namespaces::rootless() {
        return Ok(PathBuf::from("/var/lib/minidocker"));
    }
    // A relative one is to be ignored, says the XDG Base Directory Specification.
    let data = set("XDG_DATA_HOME").filter(|path| path.is_absolute());
    let data = data.or_else(|| Some(set("HOME")?.join(".local/share")));
    let data = data.context("no place for state: set MINIDOCKER_ROOT, XDG_DATA_HOME or HOME")?;
    Ok(data.join("minidocker"))
}

/// The images of one ROOT.
pub struct Store {
    pub(crate) layout: Layout,
    pub(crate) layers: LayerStore,
    tmp: PathBuf,
}

/// While it lives, nothing is collected as garbage: what is being brought in, or was just looked up to be run, looks
/// like garbage to others. Several may be held at once; a killed process lets go of its own.
#[derive(Debug)]
pub struct Lease {
    _lock: File,
}

impl Store {
    /// Opens the store of `root`, making it if it is not there.
    pub fn open(root: &Path) -> Result<Store> {
        let tmp = root.join("tmp/images");
        let layout = Layout::open(&root.join("images"), &tmp)?;
        let layers = LayerStore::open(root)?;
        Ok(Store { layout, layers, tmp })
    }

    /// The layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The unpacked layers.
    pub fn layers(&self) -> &LayerStore {
        &self.layers
    }

    /// Keeps the garbage collection away. Whoever resolves an image and then uses its layers holds one meanwhile.
    pub fn lease(&self) -> Result<Lease> {
        let lock = self.gc_lock()?;
        lock.lock_shared().context("lock the image store")?;
        Ok(Lease { _lock: lock })
    }

    pub(crate) fn gc_lock(&self) -> Result<File> {
        File::create(self.tmp.join("gc.lock")).context("open the lock of the image store")
    }

    /// Finds an image by name, ID, unambiguous start of an ID, or digest of its manifest.
    pub fn get(&self, what: &str) -> Result<Image> {
        let missing = || match what.parse::<Reference>() {
            Ok(name) => format!("No such image: {}", name.familiar()),
            Err(_) => format!("No such image: {what}"),
        };
        self.find(what)?.with_context(missing)
    }

    /// The same, with `None` where there is none: what tells `run` to pull.
    pub fn find(&self, what: &str) -> Result<Option<Image>> {
        let entries = self.sound_entries()?;
        if let Ok(name) = what.parse::<Reference>()
            && let Some(entry) = entry_of(&entries, &name)
        {
            return self.load_image(entry, &entries).map(Some);
        }
        let prefix = what.strip_prefix("sha256:").unwrap_or(what);
        if prefix.is_empty()
            || prefix.len() > 64
            || !prefix.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            // An invalid name is the caller's mistake; a valid one that is not there is no error yet.
            return what.parse::<Reference>().map(|_| None);
        }
        self.find_by_id(prefix, &entries)
    }

    fn find_by_id(&self, prefix: &str, entries: &[Descriptor]) -> Result<Option<Image>> {
        let mut found: Option<(&Descriptor, Digest)> = None;
        for entry in entries {
            let by_digest = entry.digest.hex().starts_with(prefix);
            let Ok(manifest) = self.manifest(entry) else { continue };
            if !by_digest && !manifest.config.digest.hex().starts_with(prefix) {
                continue;
            }
            match &found {
                Some((_, id)) if *id != manifest.config.digest => bail!("the image ID {prefix} is ambiguous"),
                Some(_) => {}
                None => found = Some((entry, manifest.config.digest)),
            }
        }
        found.map(|(entry, _)| self.load_image(entry, entries)).transpose()
    }

    /// All images, newest first, each once, with the damaged ones.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let entries = self.sound_entries()?;
        let mut seen = HashSet::new();
        let mut images = Vec::new();
        let mut damaged = Vec::new();
        for entry in entries.iter().filter(|entry| seen.insert(&entry.digest)) {
            match self.load_image(entry, &entries) {
                Ok(image) => images.push(image),
                Err(error) => {
                    let title = image::name_of(entry).map_or_else(|| entry.digest.to_string(), |name| name.familiar());
                    damaged.push(Listed::Damaged { title, reason: format!("{error:#}") });
                }
            }
        }
        for entry in self.layout.entries()? {
            if let Entry::Damaged(value) = entry {
                let title = value["digest"].as_str().unwrap_or("?").to_owned();
                damaged.push(Listed::Damaged { title, reason: "its entry in index.json is malformed".to_owned() });
            }
        }
        // RFC 3339 in UTC sorts as text.
        images.sort_by(|a, b| b.config.created.cmp(&a.config.created));
        Ok(images.into_iter().map(Box::new).map(Listed::Image).chain(damaged).collect())
    }

    /// Gives an image a further name. An image that had this name before keeps living without.
    pub fn tag(&self, image: &Image, name: &Reference) -> Result<()> {
        ensure!(name.digest().is_none(), "refusing to create a tag with a digest reference");
        self.set_name(name, &self.descriptor(image)?, None)
    }

    /// Adds an image of layers that are in the store already ([`Store::add_layer`]), and gives it a name.
    pub fn add_image(&self, config: &ImageConfig, layers: &[Descriptor], name: Option<&Reference>) -> Result<Image> {
        let (count, ids) = (layers.len(), config.rootfs.diff_ids.len());
        ensure!(count == ids, "the image has {count} layers, and {ids} diff IDs in its config");
        let config = self.layout.put(OCI_CONFIG, &serde_json::to_vec(config)?)?;
        let manifest = serde_json::to_vec(&Manifest::new(config, layers.to_vec()))?;
        let mut entry = self.layout.put(OCI_MANIFEST, &manifest)?;
        entry.annotations.extend(self.measured(&self.load_image(&entry, &[])?));
        match name {
            Some(name) => self.set_name(name, &entry, None)?,
            None => self.keep_nameless(&entry)?,
        }
        self.load_image(&entry, &self.sound_entries()?)
    }

    /// The directories of an image's layers, base first. Layers that are not unpacked yet are unpacked now.
    pub fn layer_dirs(&self, image: &Image) -> Result<Vec<PathBuf>> {
        let layers = image.manifest.layers.iter().zip(image.diff_ids());
        layers.map(|(blob, diff_id)| self.layer_dir(blob, diff_id)).collect()
    }

    /// Makes `entry` what `name` means. `digest`: what the registry says the name means.
    pub(crate) fn set_name(&self, name: &Reference, entry: &Descriptor, digest: Option<&Digest>) -> Result<()> {
        let mut named = entry.clone();
        named.annotations.retain(|key, _| key == image::UNPACKED_SIZE);
        let nameless = named.clone();
        named.annotations.extend(image::naming(name));
        named.annotations.extend(digest.map(|digest| (REPO_DIGEST.to_owned(), digest.to_string())));
        self.layout.update(|entries| {
            let former = entries.iter().position(|other| matches!(other, Entry::Sound(other) if is_named(other, name)));
            let former = former.map(|position| entries.remove(position));
            entries.retain(|other| !matches!(other, Entry::Sound(other) if is_nameless(other, &nameless.digest)));
            entries.push(Entry::Sound(named));
            if let Some(Entry::Sound(mut former)) = former
                && !entries.iter().any(|other| matches!(other, Entry::Sound(other) if other.digest == former.digest))
            {
                former.annotations.retain(|key, _| key == image::UNPACKED_SIZE);
                entries.push(Entry::Sound(former));
            }
            Ok(())
        })
    }

    /// Lists an image that has no name, so that it is not garbage.
    pub(crate) fn keep_nameless(&self, entry: &Descriptor) -> Result<()> {
        self.layout.update(|entries| {
            if !entries.iter().any(|other| matches!(other, Entry::Sound(other) if other.digest == entry.digest)) {
                entries.push(Entry::Sound(entry.clone()));
            }
            Ok(())
        })
    }

    /// Reads manifest and config of an entry; `entries` tell its names.
    pub(crate) fn load_image(&self, entry: &Descriptor, entries: &[Descriptor]) -> Result<Image> {
        let manifest = self.manifest(entry)?;
        let config = ImageConfig::parse(&self.layout.read(&manifest.config, MAX_CONFIG)?)?;
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        ensure!(layers == diff_ids, "the manifest lists {layers} layers, the config {diff_ids}");
        let mut image = Image {
            id: manifest.config.digest.clone(),
            digest: entry.digest.clone(),
            manifest_size: entry.size,
            names: Vec::new(),
            repo_digests: Vec::new(),
            size: entry.size + manifest.config.size + manifest.layers.iter().map(|layer| layer.size).sum::<u64>(),
            manifest,
            config,
        };
        if let Some(size) = entry.annotations.get(image::UNPACKED_SIZE).and_then(|size| size.parse().ok()) {
            image.size = size;
        }
        for other in entries.iter().filter(|other| other.digest == entry.digest) {
            let Some(name) = image::name_of(other) else { continue };
            if let Some(digest) = other.annotations.get(REPO_DIGEST).and_then(|digest| digest.parse().ok()) {
                image.repo_digests.push(name.with_digest(&digest));
            }
            image.names.push(name);
        }
        Ok(image)
    }

    pub(crate) fn manifest(&self, entry: &Descriptor) -> Result<Manifest> {
        Manifest::parse(&self.layout.read(entry, MAX_MANIFEST)?)
    }

    pub(crate) fn sound_entries(&self) -> Result<Vec<Descriptor>> {
        let entries = self.layout.entries()?.into_iter();
        Ok(entries.filter_map(|entry| if let Entry::Sound(entry) = entry { Some(entry) } else { None }).collect())
    }

    /// The entry of an image in the index, without its name.
    fn descriptor(&self, image: &Image) -> Result<Descriptor> {
        let entries = self.sound_entries()?;
        let entry = entries.into_iter().find(|entry| entry.digest == image.digest);
        entry.with_context(|| format!("No such image: {}", image.title()))
    }

    /// Where files and directories are made that are not part of the store; what is left there is garbage once nobody
    /// holds a [`Lease`].
    pub fn tmp(&self) -> &Path {
        &self.tmp
    }
}

fn is_named(entry: &Descriptor, name: &Reference) -> bool {
    image::name_of(entry).is_some_and(|other| other == *name)
}

fn is_nameless(entry: &Descriptor, digest: &Digest) -> bool {
    entry.digest == *digest && image::name_of(entry).is_none()
}

/// What a name means: the entry of that name, or with a digest, of that repository and digest whatever its tag.
fn entry_of<'a>(entries: &'a [Descriptor], name: &Reference) -> Option<&'a Descriptor> {
    let by_digest = |entry: &&Descriptor| {
        let Some(digest) = name.digest() else { return false };
        let known = image::name_of(entry).is_some_and(|other| other.repository() == name.repository());
        let registry = entry.annotations.get(REPO_DIGEST).is_some_and(|known| known == digest.as_str());
        known && (registry || entry.digest == *digest)
    };
    entries.iter().find(|entry| is_named(entry, name)).or_else(|| entries.iter().find(by_digest))
}
