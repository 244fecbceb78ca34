//! `load`: images from a tar, as `docker save`, `podman save` and `skopeo` write it: an OCI layout, a list in
//! `manifest.json`, or both; compressed or not.
//!
//! No name in the archive ever becomes a path. Each file goes into the store under the digest that it has, and the names,
//! with the links between them, are kept in a table; so there is nothing to climb out of.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Component, Path};

use anyhow::{Context, Result, bail, ensure};
use layers::{Compression, Decompressed, Digest};
use serde::Deserialize;
use tar::{Archive, EntryType};

use crate::image::{self, Image};
use crate::manifest::{
    Descriptor, Document, Index, MAX_CONFIG, MAX_MANIFEST, Manifest, OCI_CONFIG, OCI_LAYER, OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD, OCI_MANIFEST, Platform,
};
use crate::{ImageConfig, Reference, Store};

/// The most files that an archive may have. Docker's have a few for each layer, and its overlay2 driver stops at 128.
const MAX_ENTRIES: usize = 1 << 16;
/// The most links from one name to the next.
const MAX_LINKS: usize = 8;

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The names it was given; none if the archive says none.
    pub names: Vec<Reference>,
    /// Its ID.
    pub id: Digest,
}

/// One image in `manifest.json`. Paths are relative to the archive's root.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// What a name in the archive stands for.
enum File {
    Blob(Descriptor),
    Link(String),
}

impl Store {
    /// Reads an archive. An image is listed only once all of it is there and its layers are unpacked and checked.
    pub fn load(&self, input: impl Read + Send) -> Result<Vec<Loaded>> {
        let _lease = self.lease()?;
        let files = self.take_in(input).context("read the archive")?;
        let saved = self.saved(&files)?;
        if files.contains_key("oci-layout") && files.contains_key("index.json") {
            return self.load_layout(&files, &saved);
        }
        ensure!(
            files.contains_key("manifest.json"),
            "this is no archive of images: there is neither index.json nor manifest.json in it"
        );
        saved.iter().map(|saved| self.load_saved(&files, saved)).collect()
    }

    /// Stores the files of the archive as blobs; gives what their names stand for.
    fn take_in(&self, input: impl Read) -> Result<HashMap<String, File>> {
        let mut archive = Archive::new(Decompressed::new(input)?);
        let mut files = HashMap::new();
        for entry in archive.entries()? {
            let mut entry = match entry {
                Err(_) if files.is_empty() => bail!("this is no tar archive"),
                entry => entry?,
            };
            let Some(name) = clean(Path::new(""), &entry.path()?) else { continue };
            let file = match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                    let mut writer = self.layout.writer()?;
                    let (size, copied) = (entry.size(), io::copy(&mut entry, &mut writer)?);
                    ensure!(size == copied, "the archive is cut off within {name}");
                    File::Blob(writer.commit("")?)
                }
                kind @ (EntryType::Symlink | EntryType::Link) => {
                    let Some(target) = entry.link_name()? else { continue };
                    // A symbolic link counts from its directory, a hard link from the archive's root.
                    let from = if kind == EntryType::Symlink { Path::new(&name).parent() } else { None };
                    let Some(target) = clean(from.unwrap_or(Path::new("")), &target) else { continue };
                    File::Link(target)
                }
                _ => continue,
            };
            files.insert(name, file);
            ensure!(files.len() <= MAX_ENTRIES, "the archive has more than {MAX_ENTRIES} files");
        }
        Ok(files)
    }

    fn saved(&self, files: &HashMap<String, File>) -> Result<Vec<Saved>> {
        if !files.contains_key("manifest.json") {
            return Ok(Vec::new());
        }
        let bytes = self.layout.read(find(files, "manifest.json")?, MAX_MANIFEST)?;
        serde_json::from_slice(&bytes).context("read the archive's manifest.json")
    }

    fn load_layout(&self, files: &HashMap<String, File>, saved: &[Saved]) -> Result<Vec<Loaded>> {
        let bytes = self.layout.read(find(files, "index.json")?, MAX_MANIFEST)?;
        let index: Index = serde_json::from_slice(&bytes).context("read the archive's index.json")?;
        let mut loaded: Vec<Loaded> = Vec::new();
        for entry in &index.manifests {
            if entry.annotations.contains_key("vnd.docker.reference.type") {
                continue; // what a build says about itself, not an image
            }
            let (entry_of_image, manifest) = self.manifest_in_archive(entry)?;
            let mut names: Vec<Reference> = name_in_archive(entry).into_iter().collect();
            let same = |saved: &&Saved| saved.config.ends_with(manifest.config.digest.hex());
            let tags = saved.iter().filter(same).flat_map(|saved| saved.repo_tags.iter().flatten());
            names.extend(tags.filter_map(|tag| tag.parse().ok()));
            names.sort();
            names.dedup();
            let image = self.finish_load(&entry_of_image, &names)?;
            match loaded.iter_mut().find(|other| other.id == image.id) {
                Some(other) => {
                    other.names.extend(names.into_iter().filter(|name| !other.names.contains(name)).collect::<Vec<_>>())
                }
                None => loaded.push(Loaded { names, id: image.id }),
            }
        }
        ensure!(!loaded.is_empty(), "the archive's index.json lists no image");
        Ok(loaded)
    }

    fn manifest_in_archive(&self, entry: &Descriptor) -> Result<(Descriptor, Manifest)> {
        let lacks = || format!("the archive lacks manifest {}", entry.digest);
        let bytes = self.layout.read(entry, MAX_MANIFEST).with_context(lacks)?;
        match Document::parse(&bytes)? {
            Document::Manifest(manifest) => {
                let kind = manifest.media_type.as_deref().unwrap_or(OCI_MANIFEST);
                Ok((Descriptor::new(kind, entry.digest.clone(), entry.size), manifest))
            }
            Document::Index(index) => {
                let chosen = index.select(&Platform::host())?;
                let lacks = || format!("the archive lacks manifest {}", chosen.digest);
                let manifest = self.manifest(chosen).with_context(lacks)?;
                let kind = manifest.media_type.as_deref().unwrap_or(OCI_MANIFEST);
                Ok((Descriptor::new(kind, chosen.digest.clone(), chosen.size), manifest))
            }
        }
    }

    /// An image that has no manifest but a line in `manifest.json`: it gets one.
    fn load_saved(&self, files: &HashMap<String, File>, saved: &Saved) -> Result<Loaded> {
        let config = find(files, &saved.config)?;
        let config = Descriptor::new(OCI_CONFIG, config.digest.clone(), config.size);
        let mut layers = Vec::new();
        for name in saved.layers.iter().flatten() {
            let blob = find(files, name)?;
            let mut start = Vec::new();
            self.layout
                .open_blob(&blob.digest)?
                .take(Compression::START as u64)
                .read_to_end(&mut start)
                .context("read the start of a layer")?;
            let kind = match Compression::of(&start) {
                Compression::Gzip => OCI_LAYER_GZIP,
                Compression::Zstd => OCI_LAYER_ZSTD,
                Compression::None | Compression::Unsupported(_) => OCI_LAYER,
            };
            layers.push(Descriptor::new(kind, blob.digest.clone(), blob.size));
        }
        let manifest = serde_json::to_vec(&Manifest::new(config, layers))?;
        let entry = self.layout.put(OCI_MANIFEST, &manifest)?;
        let names = saved.repo_tags.iter().flatten().map(|tag| tag.parse()).collect::<Result<Vec<Reference>>>()?;
        let image = self.finish_load(&entry, &names)?;
        Ok(Loaded { names, id: image.id })
    }

    fn finish_load(&self, entry: &Descriptor, names: &[Reference]) -> Result<Image> {
        let manifest = self.manifest(entry)?;
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            ensure!(self.layout.has(blob), "the archive lacks blob {}, or has it with other bytes", blob.digest);
        }
        ImageConfig::parse(&self.layout.read(&manifest.config, MAX_CONFIG)?)?;
        let image = self.load_image(entry, &[])?;
        self.layer_dirs(&image)?;
        let mut entry = entry.clone();
        entry.annotations.extend(self.measured(&image));
        for name in names {
            self.set_name(name, &entry, None)?;
        }
        if names.is_empty() {
            self.keep_nameless(&entry)?;
        }
        Ok(image)
    }
}

/// The name that an entry of an archive's index asks for. A bare word is a tag of nothing.
fn name_in_archive(entry: &Descriptor) -> Option<Reference> {
    let short = entry.annotations.get(image::REF_NAME).filter(|name| name.contains([':', '/']));
    image::name_of(entry).or_else(|| short?.parse().ok())
}

/// Follows the links from a name to its content.
fn find<'a>(files: &'a HashMap<String, File>, name: &str) -> Result<&'a Descriptor> {
    let mut at = clean(Path::new(""), Path::new(name)).unwrap_or_default();
    for _ in 0..=MAX_LINKS {
        match files.get(&at) {
            Some(File::Blob(blob)) => return Ok(blob),
            Some(File::Link(target)) => at.clone_from(target),
            None => bail!("the archive lacks {name:?}"),
        }
    }
    bail!("the archive has too many links from {name:?} on")
}

/// `base/path` without `.` and `..`; `None` if it would lead out of the archive, or is no text.
fn clean(base: &Path, path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in base.components().chain(path.components()) {
        match component {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::ParentDir => drop(parts.pop()?),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use tar::{Builder, Header};

    /// A tar of (name, content); a name that starts with `->` is a symbolic link called by its content.
    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = Builder::new(Vec::new());
        for (name, content) in entries {
            let mut header = Header::new_gnu();
            header.set_mode(0o644);
            match name.strip_prefix("->") {
                Some(target) => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_size(0);
                    tar.append_link(&mut header, std::str::from_utf8(content).unwrap(), target).unwrap();
                }
                None => {
                    header.set_size(content.len() as u64);
                    // `append_data` refuses the names that an attacker uses.
                    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
                    header.set_cksum();
                    tar.append(&header, *content).unwrap();
                }
            }
        }
        tar.into_inner().unwrap()
    }

    fn layer() -> Vec<u8> {
        archive(&[("hello", b"world\n")])
    }

    fn config() -> Vec<u8> {
        let mut config = ImageConfig::new();
        config.config.cmd = Some(vec!["/hello".to_owned()]);
        config.rootfs.diff_ids = vec![Digest::of(layer())];
        serde_json::to_vec(&config).unwrap()
    }

    const LIST: &[u8] = br#"[{"Config":"c.json","RepoTags":["test/x:1"],"Layers":["a/layer.tar"]}]"#;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    #[test]
    fn archives_of_old_and_new_form_are_read_and_written() {
        let (_dir, old) = store();
        let text = archive(&[
            ("manifest.json", LIST),
            ("c.json", &config()),
            ("->../b/layer.tar", b"a/layer.tar"),
            ("b/layer.tar", &layer()),
        ]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let loaded = old.load(gzip.finish().unwrap().as_slice()).unwrap();
        assert_eq!(loaded[0].names[0].familiar(), "test/x:1");

        let image = old.get("test/x:1").unwrap();
        assert_eq!(old.get(image.short_id()).unwrap(), image);
        let dir = &old.layer_dirs(&image).unwrap()[0];
        assert_eq!(std::fs::read(dir.join("hello")).unwrap(), b"world\n");
        assert_eq!(image.size, 6);

        let mut saved = Vec::new();
        old.save(&["test/x:1".to_owned()], &mut saved).unwrap();
        let (_dir, new) = store();
        assert_eq!(new.load(saved.as_slice()).unwrap(), loaded);
        assert_eq!(new.get("test/x:1").unwrap().digest, image.digest);
        let mut again = Vec::new();
        new.save(&["test/x:1".to_owned()], &mut again).unwrap();
        assert_eq!(again, saved);

        // Removing it leaves nothing.
        let removed = new.remove("test/x:1", false, &|| Ok(vec![])).unwrap();
        assert_eq!(removed.len(), 3, "{removed:?}");
        assert!(new.list().unwrap().is_empty());
        assert!(new.layout().blobs().unwrap().is_empty());
        assert!(new.layers().list().unwrap().is_empty());
    }

    #[test]
    fn hostile_archives_are_errors() {
        let list = |config: &str| format!(r#"[{{"Config":{config:?},"Layers":[]}}]"#);
        let wrong = {
            let mut config = ImageConfig::new();
            config.rootfs.diff_ids = vec![Digest::of("something else")];
            serde_json::to_vec(&config).unwrap()
        };
        let cases: Vec<(Vec<u8>, &str)> = vec![
            (vec![], "no archive of images"),
            (vec![0; 1024], "no archive of images"),
            (archive(&[("x", b"y")]), "no archive of images"),
            (archive(&[("manifest.json", b"{}")]), "manifest.json"),
            (archive(&[("manifest.json", list("../../etc/passwd").as_bytes())]), "lacks"),
            (archive(&[("manifest.json", list("/etc/passwd").as_bytes()), ("->/etc/passwd", b"c")]), "lacks"),
            (archive(&[("manifest.json", list("c").as_bytes()), ("->c", b"c")]), "too many links"),
            (archive(&[("manifest.json", LIST), ("c.json", &wrong), ("a/layer.tar", &layer())]), "diff ID"),
            (archive(&[("manifest.json", LIST), ("c.json", &config())]), "lacks"),
            (layer()[..700].to_vec(), "read the archive"),
            (archive(&[("oci-layout", b"{}"), ("index.json", b"{\"schemaVersion\":2}")]), "lists no image"),
            (archive(&[("../../escape", b"x"), ("manifest.json", LIST)]), "lacks"),
        ];
        for (bytes, reason) in cases {
            let (dir, store) = store();
            let error = format!("{:#}", store.load(bytes.as_slice()).unwrap_err());
            assert!(error.contains(reason), "{error:?} does not say {reason:?}");
            assert!(store.list().unwrap().is_empty());
            assert!(!dir.path().join("escape").exists() && !dir.path().parent().unwrap().join("escape").exists());
        }
    }
}
