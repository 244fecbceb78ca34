//! `save`: images as one tar, for people without a registry.
//!
//! The tar is an OCI layout and a `docker save` archive at once, as Docker itself writes it since version 25: one reads
//! `index.json`, the other `manifest.json`, and both lead to the same blobs.
//!
//! ```text
//! blobs/sha256/4bcf…      configs, manifests, layers
//! index.json, oci-layout  the OCI layout
//! manifest.json           [{"Config": "blobs/sha256/…", "RepoTags": ["busybox:latest"], "Layers": ["blobs/sha256/…"]}]
//! repositories            {"busybox": {"latest": "<top layer>"}}, for Docker before 1.10
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use anyhow::{Context, Result};
use layers::Digest;
use serde::Serialize;
use tar::{Builder, EntryType, Header};

use crate::image::{Image, NAME, REF_NAME};
use crate::layout::MARKER;
use crate::manifest::{Descriptor, Index, OCI_MANIFEST};
use crate::{Reference, Store};

/// One image in `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

impl Store {
    /// Writes images as a tar. What is named by a tag is saved under that tag, what is named by its ID without a name.
    ///
    /// The same images give the same bytes: times, owners and order are fixed.
    pub fn save(&self, names: &[String], out: impl Write) -> Result<()> {
        let _lease = self.lease()?;
        let mut selected: Vec<(Image, Vec<Reference>)> = Vec::new();
        for what in names {
            let image = self.get(what)?;
            let name = what.parse::<Reference>().ok().filter(|name| image.names.contains(name));
            let name = name.filter(|name| name.tag().is_some());
            match selected.iter_mut().find(|(other, _)| other.digest == image.digest) {
                Some((_, names)) => names.extend(name.filter(|name| !names.contains(name))),
                None => selected.push((image, name.into_iter().collect())),
            }
        }
        self.write_archive(&selected, out).context("write the archive")
    }

    fn write_archive(&self, images: &[(Image, Vec<Reference>)], out: impl Write) -> Result<()> {
        let mut tar = Builder::new(out);
        directory(&mut tar, "blobs/")?;
        directory(&mut tar, "blobs/sha256/")?;
        let mut blobs = BTreeSet::new();
        for (image, _) in images {
            let layers = image.manifest.layers.iter().map(|layer| &layer.digest);
            blobs.extend(layers.chain([&image.id, &image.digest]));
        }
        for digest in blobs {
            let file = self.layout.open_blob(digest)?;
            let size = file.metadata().with_context(|| format!("look at blob {digest}"))?.len();
            // A file that shrinks meanwhile must not shift what follows.
            entry(&mut tar, &path(digest), size, file.take(size))?;
        }
        json(&mut tar, "index.json", &index(images))?;
        json(&mut tar, "manifest.json", &manifest_json(images))?;
        entry(&mut tar, "oci-layout", MARKER.len() as u64, MARKER.as_bytes())?;
        let repositories = repositories(images);
        if !repositories.is_empty() {
            json(&mut tar, "repositories", &repositories)?;
        }
        tar.into_inner()?.flush()?;
        Ok(())
    }
}

fn index(images: &[(Image, Vec<Reference>)]) -> Index {
    let mut index = Index::default();
    for (image, names) in images {
        let kind = image.manifest.media_type.as_deref().unwrap_or(OCI_MANIFEST);
        let mut plain = Descriptor::new(kind, image.digest.clone(), image.manifest_size);
        plain.platform = Some(image.config.platform());
        let named = names.iter().map(|name| {
            let tag = name.tag().unwrap_or_default().to_owned();
            let annotations = [(NAME.to_owned(), name.to_string()), (REF_NAME.to_owned(), tag)].into();
            Descriptor { annotations, ..plain.clone() }
        });
        index.manifests.extend(named);
        if names.is_empty() {
            index.manifests.push(plain);
        }
    }
    index
}

fn manifest_json(images: &[(Image, Vec<Reference>)]) -> Vec<Saved> {
    let saved = images.iter().map(|(image, names)| Saved {
        config: path(&image.id),
        repo_tags: names.iter().map(Reference::familiar).collect(),
        layers: image.manifest.layers.iter().map(|layer| path(&layer.digest)).collect(),
    });
    saved.collect()
}

fn repositories(images: &[(Image, Vec<Reference>)]) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (image, names) in images {
        let Some(top) = image.manifest.layers.last() else { continue };
        for name in names {
            let tags = repositories.entry(name.familiar_repository()).or_default();
            tags.insert(name.tag().unwrap_or_default().to_owned(), top.digest.hex().to_owned());
        }
    }
    repositories
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn json(tar: &mut Builder<impl Write>, name: &str, document: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(document)?;
    entry(tar, name, bytes.len() as u64, bytes.as_slice())
}

fn directory(tar: &mut Builder<impl Write>, name: &str) -> Result<()> {
    let mut header = header(EntryType::Directory, 0o755, 0);
    tar.append_data(&mut header, name, std::io::empty()).with_context(|| format!("append {name}"))
}

fn entry(tar: &mut Builder<impl Write>, name: &str, size: u64, content: impl Read) -> Result<()> {
    let mut header = header(EntryType::Regular, 0o644, size);
    tar.append_data(&mut header, name, content).with_context(|| format!("append {name}"))
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
