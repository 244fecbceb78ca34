//! Pulling an image: name → manifest → config → layers, each checked against the digest that led to it.

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Error, Result, ensure};
use layers::Digest;

use crate::download::{Download, Tee};
use crate::image::Image;
use crate::manifest::{Descriptor, Document, MAX_CONFIG, MAX_MANIFEST, Manifest, OCI_MANIFEST, Platform};
use crate::progress::{Event, Progress};
use crate::registry::Registry;
use crate::transport::Connection;
use crate::{ImageConfig, Reference, Store};

/// How many layers travel at once (Docker's `max-concurrent-downloads`).
const DOWNLOADS: usize = 3;

/// How to pull.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// The platform to take of an index; this machine's if none is given.
    pub platform: Option<Platform>,
    /// How to reach the registry.
    pub connection: Connection,
}

impl Store {
    /// Fetches an image from its registry and gives it `name`.
    ///
    /// Nothing is listed before everything is there. What was fetched before a failure stays, unlisted, and is not
    /// fetched again.
    pub fn pull(&self, name: &Reference, options: &PullOptions, progress: &dyn Progress) -> Result<Image> {
        self.pull_unexplained(name, options, progress).with_context(|| format!("cannot pull {}", name.familiar()))
    }

    fn pull_unexplained(&self, name: &Reference, options: &PullOptions, progress: &dyn Progress) -> Result<Image> {
        let _lease = self.lease()?;
        let registry = Registry::connect(name, &options.connection, "pull")?;
        let (repository, tag) = (name.path().to_owned(), name.tag_or_digest());
        progress.event(Event::Started { repository, tag: tag.clone() });

        let (bytes, promised) = registry.manifest(&tag)?;
        let (bytes, manifest) = match Document::parse(&bytes)? {
            Document::Manifest(manifest) => (bytes, manifest),
            Document::Index(index) => {
                let chosen = index.select(&options.platform.clone().unwrap_or_else(Platform::host))?;
                ensure!(chosen.size <= MAX_MANIFEST, "the manifest is larger than {MAX_MANIFEST} bytes");
                let (bytes, _) = registry.manifest(chosen.digest.as_str())?;
                let manifest = Manifest::parse(&bytes)?;
                (bytes, manifest)
            }
        };
        let config = self.pull_config(&registry, &manifest, options.platform.as_ref())?;
        let new = self.pull_layers(&registry, &manifest, config.diff_ids()?, progress)?;

        let kind = manifest.media_type.as_deref().unwrap_or(OCI_MANIFEST);
        let mut entry = self.layout.put(kind, &bytes)?;
        let image = self.load_image(&entry, &[])?;
        entry.annotations.extend(self.measured(&image));
        let known = self.find(&name.to_string())?.is_some_and(|known| known.digest == entry.digest);
        self.set_name(name, &entry, Some(&promised))?;
        progress.event(Event::Digest(promised));
        progress.event(Event::Pulled { name: name.clone(), new: new || !known });
        self.load_image(&entry, &self.sound_entries()?)
    }

    fn pull_config(&self, registry: &Registry, manifest: &Manifest, wanted: Option<&Platform>) -> Result<Checked> {
        let blob = &manifest.config;
        ensure!(blob.size <= MAX_CONFIG, "the image config is larger than {MAX_CONFIG} bytes");
        let bytes = match self.layout.read(blob, MAX_CONFIG) {
            Ok(bytes) => bytes,
            Err(_) => {
                let mut writer = self.layout.writer()?;
                let mut bytes = Vec::new();
                let never = AtomicBool::new(false);
                let download = Download::new(registry, blob, &crate::progress::Silent, &never);
                Tee::new(download, &mut writer).read_to_end(&mut bytes).context("fetch the image config")?;
                writer.commit_as(blob)?;
                bytes
            }
        };
        let config = ImageConfig::parse(&bytes)?;
        if let Some(wanted) = wanted {
            let offered = config.platform();
            let same = offered.os == wanted.os && offered.architecture == wanted.architecture;
            ensure!(same, "there is no image for {wanted}, only one for {offered}");
        }
        Ok(Checked { config, layers: manifest.layers.len() })
    }

    /// Fetches what is missing of the layers, several at a time; gives whether there was anything.
    fn pull_layers(
        &self,
        registry: &Registry,
        manifest: &Manifest,
        diff_ids: &[Digest],
        progress: &dyn Progress,
    ) -> Result<bool> {
        // The same layer may be listed twice (an empty one, often).
        let mut seen = HashSet::new();
        let layers = manifest.layers.iter().zip(diff_ids).filter(|(blob, _)| seen.insert(&blob.digest));
        let layers: Vec<_> = layers.collect();
        let next = AtomicUsize::new(0);
        let new = AtomicBool::new(false);
        let cancelled = AtomicBool::new(false);
        let failure: Mutex<Option<Error>> = Mutex::new(None);
        thread::scope(|scope| {
            for _ in 0..DOWNLOADS.min(layers.len()) {
                scope.spawn(|| {
                    while !cancelled.load(Ordering::Relaxed) {
                        let Some((blob, diff_id)) = layers.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                        match self.pull_layer(registry, blob, diff_id, progress, &cancelled) {
                            Ok(fetched) => new.fetch_or(fetched, Ordering::Relaxed),
                            Err(error) => {
                                // The first failure is the cause; the others are cancelled by it.
                                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                                cancelled.swap(true, Ordering::Relaxed)
                            }
                        };
                    }
                });
            }
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(new.into_inner()),
        }
    }

    /// Fetches a layer. It is unpacked while it arrives: when the last byte is there, so is the directory.
    fn pull_layer(
        &self,
        registry: &Registry,
        blob: &Descriptor,
        diff_id: &Digest,
        progress: &dyn Progress,
        cancelled: &AtomicBool,
    ) -> Result<bool> {
        let layer = blob.digest.clone();
        if self.layout.has(blob) {
            self.layer_dir(blob, diff_id)?;
            progress.event(Event::Exists { layer });
            return Ok(false);
        }
        let mut writer = self.layout.writer()?;
        let download = Download::new(registry, blob, progress, cancelled);
        let (unpacked, received) = {
            let mut source = Tee::new(download, &mut writer);
            let unpacked = self.unpack_layer(&mut source, diff_id);
            // The tar may end before the blob does, and the digest covers all of it; nor do we stop at a tar that cannot
            // be read, since a wrong digest explains that.
            (unpacked, io::copy(&mut source, &mut io::sink()))
        };
        let step = || format!("layer {}", &blob.digest.hex()[..12]);
        received.with_context(step)?;
        writer.commit_as(blob).with_context(step)?;
        unpacked.with_context(step)?;
        progress.event(Event::Complete { layer });
        Ok(true)
    }
}

/// A config whose number of layers is to be compared with its manifest's.
struct Checked {
    config: ImageConfig,
    layers: usize,
}

impl Checked {
    fn diff_ids(&self) -> Result<&[Digest]> {
        let ids = &self.config.rootfs.diff_ids;
        ensure!(ids.len() == self.layers, "the manifest lists {} layers, the config {}", self.layers, ids.len());
        Ok(ids)
    }
}
