//! Pushing an image: first the blobs that the registry lacks, then the manifest that needs them.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use layers::Digest;
use ureq::http::Method;

use crate::manifest::{Descriptor, MAX_MANIFEST, OCI_MANIFEST};
use crate::progress::{Event, Progress};
use crate::registry::{Payload, Registry, header};
use crate::transport::Connection;
use crate::{Reference, Store};

impl Store {
    /// Sends an image to the registry that its name says; gives the digest it has there.
    pub fn push(&self, name: &Reference, connection: &Connection, progress: &dyn Progress) -> Result<Digest> {
        self.push_unexplained(name, connection, progress).with_context(|| format!("cannot push {}", name.familiar()))
    }

    fn push_unexplained(&self, name: &Reference, connection: &Connection, progress: &dyn Progress) -> Result<Digest> {
        let _lease = self.lease()?;
        let tag = name.tag().context("a digest cannot be pushed to, only a tag")?;
        let image = self.get(&name.to_string())?;
        let registry = Registry::connect(name, connection, "pull,push")?;
        progress.event(Event::Started { repository: name.repository(), tag: tag.to_owned() });
        let mut sent = HashSet::new();
        for blob in image.manifest.layers.iter().chain([&image.manifest.config]) {
            if sent.insert(&blob.digest) {
                self.push_blob(&registry, blob, progress)?;
            }
        }
        let kind = image.manifest.media_type.as_deref().unwrap_or(OCI_MANIFEST);
        let entry = Descriptor::new(kind, image.digest.clone(), image.manifest_size);
        let bytes = self.layout.read(&entry, MAX_MANIFEST)?;
        let url = registry.url(&format!("manifests/{tag}"));
        let response = registry.send(Method::PUT, &url, &[("Content-Type", kind)], &Payload::Bytes(&bytes))?;
        registry.expect(response, &[200, 201, 202], "the manifest")?;
        self.set_name(name, &entry, Some(&image.digest))?;
        let (digest, size) = (image.digest, image.manifest_size);
        progress.event(Event::Pushed { tag: tag.to_owned(), digest: digest.clone(), size });
        Ok(digest)
    }

    /// `HEAD` asks whether it is there; `POST` begins an upload and gives its URL; `PUT` there sends all at once.
    fn push_blob(&self, registry: &Registry, blob: &Descriptor, progress: &dyn Progress) -> Result<()> {
        let layer = blob.digest.clone();
        let url = registry.url(&format!("blobs/{layer}"));
        if registry.send(Method::HEAD, &url, &[], &Payload::Nothing)?.status() == 200 {
            progress.event(Event::Exists { layer });
            return Ok(());
        }
        ensure!(self.layout.has(blob), "blob {layer} is missing in the store (pull or build the image again)");
        let file = self.layout.open_blob(&layer)?;
        progress.event(Event::Transferred { layer: layer.clone(), done: 0, total: blob.size });

        let response = registry.send(Method::POST, &registry.url("blobs/uploads/"), &[], &Payload::Bytes(&[]))?;
        let response = registry.expect(response, &[202], &format!("the upload of blob {layer}"))?;
        let location =
            header(&response, "Location").with_context(|| format!("{} did not say where to upload", registry.host))?;
        let upload =
            if location.starts_with('/') { format!("{}{location}", registry.base) } else { location.to_owned() };
        let separator = if upload.contains('?') { '&' } else { '?' };
        let upload = format!("{upload}{separator}digest={layer}");
        let headers = [("Content-Type", "application/octet-stream")];
        let response = registry.send(Method::PUT, &upload, &headers, &Payload::File(&file, blob.size))?;
        registry.expect(response, &[200, 201, 202, 204], &format!("blob {layer}"))?;
        progress.event(Event::Complete { layer });
        Ok(())
    }
}
