//! Removing an image: its names first, with the last name the image, with the image what nobody else uses.

use std::collections::HashSet;
use std::fs;

use anyhow::{Context, Result, bail};
use layers::Digest;

use crate::image::{self, Image};
use crate::layout::Entry;
use crate::{Reference, Store};

/// One line of `rmi`'s output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// The image lost this name.
    Untagged(String),
    /// The image, or one of its layers, is gone.
    Deleted(Digest),
}

impl std::fmt::Display for Removed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Removed::Untagged(name) => write!(f, "Untagged: {name}"),
            Removed::Deleted(digest) => write!(f, "Deleted: {digest}"),
        }
    }
}

/// Tells which layers (diff IDs) containers stand on. Asked while nobody can look an image up to run it.
pub type LayersInUse<'a> = &'a dyn Fn() -> Result<Vec<Digest>>;

impl Store {
    /// Removes what `what` names, by Docker's rules: a name is taken away, and the image with its last name; an ID
    /// stands for the image and all its names, which needs `force` if they are of several repositories.
    ///
    /// Whether a container uses the image is for the caller to refuse. Layers in `in_use` stay.
    pub fn remove(&self, what: &str, force: bool, in_use: LayersInUse<'_>) -> Result<Vec<Removed>> {
        let image = match self.get(what) {
            Ok(image) => image,
            Err(error) => return self.remove_damaged(what, in_use)?.ok_or(error),
        };
        let by_name = match what.parse::<Reference>() {
            Ok(name) => image.names.iter().find(|known| **known == name).cloned(),
            Err(_) => None,
        };
        // One config may have several manifests: the same layers, compressed differently.
        let mut same = self.images_with_id(&image.id)?;
        let mut removed = match by_name {
            Some(name) if image.names.len() > 1 => return self.untag(&image, &[name]),
            Some(name) => {
                let removed = self.untag(&image, &[name])?;
                self.unlist(&image)?;
                same.retain(|other| other.digest != image.digest);
                if !same.is_empty() {
                    self.collect_garbage(in_use)?;
                    return Ok(removed);
                }
                removed
            }
            None => {
                let names = same.iter().flat_map(|image| &image.names);
                let repositories: HashSet<_> = names.map(Reference::repository).collect();
                if repositories.len() > 1 && !force {
                    let id = image.short_id();
                    bail!(
                        "conflict: unable to delete {id} (must be forced) - image is referenced in multiple repositories"
                    );
                }
                let mut removed = Vec::new();
                for image in &same {
                    removed.extend(self.untag(image, &image.names)?);
                    self.unlist(image)?;
                }
                removed
            }
        };
        removed.push(Removed::Deleted(image.id));
        removed.extend(self.collect_garbage(in_use)?.into_iter().map(Removed::Deleted));
        Ok(removed)
    }

    fn images_with_id(&self, id: &Digest) -> Result<Vec<Image>> {
        let entries = self.sound_entries()?;
        let mut seen = HashSet::new();
        let unique = entries.iter().filter(|entry| seen.insert(&entry.digest));
        let images = unique.filter_map(|entry| self.load_image(entry, &entries).ok());
        Ok(images.filter(|image| image.id == *id).collect())
    }

    fn unlist(&self, image: &Image) -> Result<()> {
        self.layout.update(|entries| {
            entries.retain(|entry| !matches!(entry, Entry::Sound(entry) if entry.digest == image.digest));
            Ok(())
        })
    }

    fn untag(&self, image: &Image, names: &[Reference]) -> Result<Vec<Removed>> {
        self.layout.update(|entries| {
            entries.retain(|entry| {
                let Entry::Sound(entry) = entry else { return true };
                entry.digest != image.digest || !image::name_of(entry).is_some_and(|name| names.contains(&name))
            });
            Ok(())
        })?;
        Ok(names.iter().map(|name| Removed::Untagged(name.familiar())).collect())
    }

    /// Takes an entry away whose manifest or config cannot be read, by its name or the digest that `list` shows.
    fn remove_damaged(&self, what: &str, in_use: LayersInUse<'_>) -> Result<Option<Vec<Removed>>> {
        let name = what.parse::<Reference>().ok();
        let gone = self.layout.update(|entries| {
            let before = entries.len();
            entries.retain(|entry| match entry {
                Entry::Sound(entry) => {
                    let named = name.is_some() && image::name_of(entry) == name;
                    !(named || entry.digest.as_str() == what) || self.load_image(entry, &[]).is_ok()
                }
                Entry::Damaged(value) => value["digest"].as_str().unwrap_or("?") != what,
            });
            Ok(entries.len() < before)
        })?;
        if !gone {
            return Ok(None);
        }
        let layers = self.collect_garbage(in_use)?.into_iter().map(Removed::Deleted);
        Ok(Some([Removed::Untagged(what.to_owned())].into_iter().chain(layers).collect()))
    }

    /// Deletes blobs and layers that no image and no container needs, and gives the layers' diff IDs.
    ///
    /// Does nothing while anybody holds a [`Lease`](crate::Lease): the next collection will find what is left.
    pub fn collect_garbage(&self, in_use: LayersInUse<'_>) -> Result<Vec<Digest>> {
        let lock = self.gc_lock()?;
        if lock.try_lock().is_err() {
            return Ok(Vec::new());
        }
        let mut blobs = HashSet::new();
        let mut layers: HashSet<Digest> = in_use()?.into_iter().collect();
        for entry in self.sound_entries()? {
            // What a damaged image needs cannot be told, nor can it be used; its blobs go when it is removed.
            match self.load_image(&entry, &[]) {
                Ok(image) => {
                    blobs.extend(image.manifest.layers.iter().map(|layer| layer.digest.clone()));
                    blobs.insert(image.manifest.config.digest.clone());
                    layers.extend(image.config.rootfs.diff_ids);
                }
                Err(_) => {
                    blobs.extend(self.manifest(&entry).into_iter().flat_map(|manifest| {
                        manifest.layers.into_iter().chain([manifest.config]).map(|blob| blob.digest)
                    }))
                }
            }
            blobs.insert(entry.digest);
        }
        for (path, digest) in self.layout.blobs()? {
            if !digest.is_some_and(|digest| blobs.contains(&digest)) {
                fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            }
        }
        self.remove_leftovers()?;
        self.remove_layers(&layers)
    }

    /// What a killed process left half made: with the lock held alone, nobody is making any.
    fn remove_leftovers(&self) -> Result<()> {
        let tmp = self.tmp();
        for file in fs::read_dir(tmp).with_context(|| format!("list {}", tmp.display()))? {
            let path = file?.path();
            if !path.ends_with("gc.lock") {
                let _ = layers::remove_tree(&path);
            }
        }
        Ok(())
    }
}
