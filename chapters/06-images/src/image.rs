//! An image as the store knows it.

use std::collections::BTreeMap;

use layers::Digest;
use serde_json::{Value, json};

use crate::manifest::Descriptor;
use crate::{ImageConfig, Manifest, Reference};

/// Annotation with the whole name of an image, as containerd and `docker save` write it.
pub(crate) const NAME: &str = "io.containerd.image.name";
/// Annotation with the name by which skopeo and umoci find an image in a layout.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation with the digest that the name had in the registry: the index's, where there was one.
pub(crate) const REPO_DIGEST: &str = "io.minidocker.repo.digest";
/// Annotation with the bytes that the image's files take, unpacked.
pub(crate) const UNPACKED_SIZE: &str = "io.minidocker.unpacked.size";

/// An image: everything about it but the bytes of its layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// What Docker shows as IMAGE ID: the digest of the config.
    pub id: Digest,
    /// The digest of the manifest.
    pub digest: Digest,
    /// Bytes of the manifest.
    pub manifest_size: u64,
    /// Its names, none for an image that lost its own to a newer one.
    pub names: Vec<Reference>,
    /// `repository@digest` of the registries it came from or went to.
    pub repo_digests: Vec<Reference>,
    /// Which blobs it is made of.
    pub manifest: Manifest,
    /// What it runs.
    pub config: ImageConfig,
    /// Bytes of its files, unpacked (what Docker shows as SIZE); bytes of its blobs as long as that is not known.
    pub size: u64,
}

impl Image {
    /// The first 12 hex digits of the ID, as Docker's tables show it.
    pub fn short_id(&self) -> &str {
        &self.id.hex()[..12]
    }

    /// The digests of its layers' uncompressed tars, base first.
    pub fn diff_ids(&self) -> &[Digest] {
        &self.config.rootfs.diff_ids
    }

    /// What `inspect` shows, with Docker's field names.
    pub fn inspect(&self) -> Value {
        let tags = self.names.iter().filter(|name| name.tag().is_some()).map(Reference::familiar);
        let digests = self.repo_digests.iter().map(Reference::familiar);
        json!({
            "Id": self.id,
            "RepoTags": tags.collect::<Vec<_>>(),
            "RepoDigests": digests.collect::<Vec<_>>(),
            "Comment": self.config.history.last().and_then(|step| step.comment.clone()).unwrap_or_default(),
            "Created": self.config.created,
            "Author": self.config.author.clone().unwrap_or_default(),
            "Architecture": self.config.architecture,
            "Variant": self.config.variant,
            "Os": self.config.os,
            "Size": self.size,
            "Config": self.config.config,
            "RootFS": {"Type": self.config.rootfs.kind, "Layers": self.config.rootfs.diff_ids},
            "Descriptor": {
                "mediaType": self.manifest.media_type, "digest": self.digest, "size": self.manifest_size,
            },
        })
    }

    /// What to call it in a message: a name if it has one.
    pub fn title(&self) -> String {
        self.names.first().map_or_else(|| self.short_id().to_owned(), Reference::familiar)
    }
}

/// One line of `images`: an image, or what is left of one.
#[derive(Clone, Debug)]
pub enum Listed {
    /// It can be used.
    Image(Box<Image>),
    /// Some part of it is missing or damaged; it can be removed.
    Damaged {
        /// What to call it for removing it: a name, else its digest.
        title: String,
        /// What is wrong.
        reason: String,
    },
}

/// The name that an entry of the index gives its manifest. A layout made by other tools may have a bare tag there
/// (`latest`), which names nothing in a store of many images.
pub(crate) fn name_of(entry: &Descriptor) -> Option<Reference> {
    let whole = |name: &String| name.parse().ok();
    let annotations = &entry.annotations;
    annotations
        .get(NAME)
        .and_then(whole)
        .or_else(|| annotations.get(REF_NAME).filter(|n| n.contains('/')).and_then(whole))
}

/// The annotations that give a manifest a name.
pub(crate) fn naming(name: &Reference) -> BTreeMap<String, String> {
    BTreeMap::from([NAME, REF_NAME].map(|key| (key.to_owned(), name.to_string())))
}
