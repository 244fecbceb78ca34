//! The documents that tie an image together: descriptor, manifest, index.
//!
//! ```text
//! index ──▶ manifest (one for each platform) ──▶ config
//!                                            └─▶ layer, layer, … (base first)
//! ```
//!
//! Every arrow is a *descriptor*: type, digest and size of the thing pointed at, so whoever follows it can check what
//! came. The OCI image-spec and Docker's "schema 2" differ in media types only; we read both and write OCI's.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use layers::Digest;
use serde::{Deserialize, Serialize};

/// OCI image index: one image for several platforms, also the table of contents of a layout.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A layer as a plain tar.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer as a tar, compressed with gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer as a tar, compressed with zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker's name of an index.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's name of a manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's name of a config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// The most bytes of a manifest or an index we take into memory. The distribution-spec asks registries for as much.
pub const MAX_MANIFEST: u64 = 4 << 20;
/// The most bytes of a config we take into memory.
pub const MAX_CONFIG: u64 = 8 << 20;

/// A typed, checkable pointer to a blob.
/// <https://github.com/opencontainers/image-spec/blob/main/descriptor.md>
///
/// ```json
/// {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:4bcf…", "size": 1459}
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where else it could be fetched from. We refuse to: such hosts are chosen by whoever made the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// In an index: the platform that the manifest is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Anything; in a layout's index, the name of the image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// A descriptor with nothing beyond the three fields that each has.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Descriptor {
        let (urls, platform, annotations) = Default::default();
        Descriptor { media_type: media_type.to_owned(), digest, size, urls, platform, annotations }
    }
}

/// One image for one platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2, always.
    pub schema_version: u32,
    /// [`OCI_MANIFEST`] or [`DOCKER_MANIFEST`]; OCI permits to leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The image's config.
    pub config: Descriptor,
    /// Its layers, base first.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// Anything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// An OCI manifest.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
        let media_type = Some(OCI_MANIFEST.to_owned());
        Manifest { schema_version: 2, media_type, config, layers, annotations: BTreeMap::new() }
    }

    /// Reads a manifest and makes sure that it is an image we can make a container of.
    pub fn parse(bytes: &[u8]) -> Result<Manifest> {
        match Document::parse(bytes)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => bail!("an index stands where a manifest should be"),
        }
    }

    fn check(self) -> Result<Manifest> {
        let config = self.config.media_type.as_str();
        ensure!(
            config.is_empty() || config == OCI_CONFIG || config == DOCKER_CONFIG,
            "this is not a container image: its config is of type {config}"
        );
        for layer in &self.layers {
            let kind = layer.media_type.as_str();
            ensure!(
                !kind.contains("nondistributable") && !kind.contains("foreign") && layer.urls.is_empty(),
                "layer {} is to be fetched from another host; such foreign layers are refused",
                layer.digest
            );
            ensure!(kind.contains(".tar") || kind.is_empty(), "layer {} is not a tar but {kind}", layer.digest);
        }
        Ok(self)
    }
}

/// One image for several platforms, or a layout's table of contents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// 2, always.
    pub schema_version: u32,
    /// [`OCI_INDEX`] or [`DOCKER_INDEX`]; OCI permits to leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What it points at.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    /// Anything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Default for Index {
    fn default() -> Self {
        let media_type = Some(OCI_INDEX.to_owned());
        Index { schema_version: 2, media_type, manifests: Vec::new(), annotations: BTreeMap::new() }
    }
}

impl Index {
    /// The manifest for `platform`: an exact match, else one that says nothing of the variant, else any variant.
    pub fn select(&self, platform: &Platform) -> Result<&Descriptor> {
        let fits = |descriptor: &&Descriptor| {
            let Some(offered) = &descriptor.platform else { return false };
            offered.os == platform.os && offered.architecture == platform.architecture
        };
        let rank = |descriptor: &&Descriptor| {
            let offered = descriptor.platform.as_ref().and_then(|offered| offered.variant.as_ref());
            match (offered, &platform.variant) {
                (offered, wanted) if offered == wanted.as_ref() => 0,
                (None, _) => 1,
                (Some(_), _) => 2,
            }
        };
        // min_by_key gives the first of equals, and an index lists what it prefers first.
        let best = self.manifests.iter().filter(fits).min_by_key(rank);
        best.with_context(|| {
            // Build attestations sit in the index as images for the platform unknown/unknown.
            let known = self.manifests.iter().filter_map(|descriptor| descriptor.platform.as_ref());
            let offered: Vec<_> = known.filter(|offered| offered.os != "unknown").map(Platform::to_string).collect();
            format!("there is no image for {platform}; there is one for: {}", offered.join(", "))
        })
    }
}

/// What a registry may answer when asked for a manifest.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several.
    Index(Index),
}

impl Document {
    /// Tells what the bytes are from what they say, not from the Content-Type: the bytes are what the digest covers.
    pub fn parse(bytes: &[u8]) -> Result<Document> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Probe {
            #[serde(default)]
            schema_version: u32,
            media_type: Option<String>,
            config: Option<serde::de::IgnoredAny>,
            manifests: Option<serde::de::IgnoredAny>,
        }
        let probe: Probe = serde_json::from_slice(bytes).context("the manifest is not JSON of the known form")?;
        ensure!(
            probe.schema_version != 1,
            "the manifest is of schema 1, the format of Docker before 1.10, which Docker itself no longer accepts \
             (push the image again with a current one)"
        );
        ensure!(probe.schema_version == 2, "the manifest's schemaVersion is {}, not 2", probe.schema_version);
        match (probe.config, probe.manifests, probe.media_type.as_deref()) {
            (None, Some(_), None | Some(OCI_INDEX | DOCKER_INDEX)) => Ok(Document::Index(read(bytes)?)),
            (Some(_), None, None | Some(OCI_MANIFEST | DOCKER_MANIFEST)) => {
                Ok(Document::Manifest(read::<Manifest>(bytes)?.check()?))
            }
            // One text that is a manifest to one reader and an index to another: CVE-2021-41190.
            (Some(_), Some(_), _) => bail!("the manifest is ambiguous: it has both a config and manifests"),
            (_, _, Some(kind)) => bail!("the manifest is of type {kind}, which is not an image"),
            (None, None, None) => bail!("the manifest has neither a config nor manifests"),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).context("the manifest is malformed")
}

/// Operating system, processor and, where processors of one family differ, the variant: `linux/arm64/v8`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// As Go spells it: `linux`.
    pub os: String,
    /// As Go spells it: `amd64`, `arm64`.
    pub architecture: String,
    /// `v6`, `v7`, `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// What this machine runs.
    pub fn host() -> Platform {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        let variant = variant.map(str::to_owned);
        Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split('/').map(str::to_lowercase);
        let (Some(os), Some(architecture), variant, None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            bail!("{text:?} is not a platform (write OS/ARCHITECTURE, such as linux/arm64)");
        };
        ensure!(os == "linux", "images for {os} do not run on Linux");
        let architecture = match architecture.as_str() {
            "x86_64" | "x86-64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            "i386" => "386".to_owned(),
            _ => architecture,
        };
        Ok(Platform { os, architecture, variant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn index(platforms: &[&str]) -> Index {
        let manifests = platforms.iter().enumerate().map(|(number, text)| {
            let mut descriptor = Descriptor::new(OCI_MANIFEST, DIGEST.parse().unwrap(), number as u64);
            descriptor.platform = Some(text.parse().unwrap());
            descriptor
        });
        Index { manifests: manifests.collect(), ..Index::default() }
    }

    fn chosen(offered: &[&str], wanted: &str) -> Option<u64> {
        index(offered).select(&wanted.parse().unwrap()).ok().map(|descriptor| descriptor.size)
    }

    #[test]
    fn platforms_are_selected() {
        assert_eq!(chosen(&["linux/arm64", "linux/amd64"], "linux/amd64"), Some(1));
        assert_eq!(chosen(&["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"), Some(1));
        assert_eq!(chosen(&["linux/arm64/v9", "linux/arm64"], "linux/arm64/v8"), Some(1));
        assert_eq!(chosen(&["linux/arm64/v8"], "linux/arm64"), Some(0));
        assert_eq!(chosen(&["linux/arm64"], "linux/amd64"), None);
        let error = index(&["linux/arm64", "linux/386"]).select(&"linux/amd64".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "there is no image for linux/amd64; there is one for: linux/arm64, linux/386");
    }

    #[test]
    fn documents_that_are_no_images_are_refused() {
        let config = format!(r#"{{"mediaType":"{OCI_CONFIG}","digest":"{DIGEST}","size":2}}"#);
        let ok = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}}"#);
        assert!(matches!(Document::parse(ok.as_bytes()), Ok(Document::Manifest(_))));
        let foreign = format!(
            r#"{{"schemaVersion":2,"config":{config},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"{DIGEST}","size":2}}]}}"#
        );
        let chart = ok.replace(OCI_CONFIG, "application/vnd.cncf.helm.config.v1+json");
        let both = ok.replace("\"layers\":[]", "\"manifests\":[]");
        let old = r#"{"schemaVersion":1,"name":"x","fsLayers":[]}"#.to_owned();
        for (text, reason) in
            [(foreign, "foreign layers"), (chart, "not a container image"), (both, "ambiguous"), (old, "schema 1")]
        {
            let error = format!("{:#}", Document::parse(text.as_bytes()).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
        for text in ["", "[]", "{}", "null", "{\"schemaVersion\":2}", "{\"schemaVersion\":-1}"] {
            assert!(Document::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
