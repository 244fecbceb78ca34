//! Images, made by hand as the image-spec has them: so that a wrong reading of it cannot hide behind our own writer.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::Host;

/// An image that is being put together.
pub struct Image {
    /// Tars, base first, not compressed.
    pub layers: Vec<Vec<u8>>,
    /// The `config` object of the image config: `Env`, `Cmd` and so on.
    pub config: Value,
}

impl Image {
    /// One layer with the system of [`root`](crate::root), `PATH` and `CMD ["sh"]`.
    pub fn system(host: &Host) -> Image {
        Image {
            layers: vec![tar_of(&host.rootfs("image-root"))],
            config: json!({ "Env": ["PATH=/bin:/usr/bin", "FROM_IMAGE=yes"], "Cmd": ["sh"] }),
        }
    }

    /// Adds a layer.
    pub fn layer(mut self, tar: Vec<u8>) -> Image {
        self.layers.push(tar);
        self
    }

    /// Sets one key of the config.
    pub fn set(mut self, key: &str, value: Value) -> Image {
        self.config[key] = value;
        self
    }

    /// All blobs by digest, and the manifest's descriptor. Layers are gzip'ed.
    pub fn blobs(&self) -> Blobs {
        let mut blobs = Blobs::default();
        let mut layers = Vec::new();
        let mut diff_ids = Vec::new();
        for tar in &self.layers {
            diff_ids.push(digest(tar));
            layers.push(blobs.add("application/vnd.oci.image.layer.v1.tar+gzip", gzip(tar)));
        }
        let config = json!({
            "created": "2026-01-02T03:04:05Z",
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": self.layers.iter().map(|_| json!({ "created_by": "suite" })).collect::<Vec<_>>(),
        });
        blobs.config = blobs.add("application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blobs.config,
            "layers": layers,
        });
        blobs.layers = layers;
        blobs.manifest = blobs.add("application/vnd.oci.image.manifest.v1+json", manifest.to_string().into_bytes());
        blobs
    }

    /// Writes an archive that is an OCI image layout and a `docker save` archive at once, as Docker's own are.
    pub fn archive(&self, path: &Path, name: &str) {
        let blobs = self.blobs();
        let mut manifest = blobs.manifest.clone();
        manifest["annotations"] = json!({
            "io.containerd.image.name": format!("docker.io/library/{name}"),
            "org.opencontainers.image.ref.name": name.rsplit(':').next(),
        });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [manifest],
        });
        let docker = json!([{
            "Config": blob_path(&blobs.config),
            "RepoTags": [name],
            "Layers": blobs.layers.iter().map(blob_path).collect::<Vec<_>>(),
        }]);
        let mut tar = tar::Builder::new(fs::File::create(path).expect("create the archive"));
        let mut add = |name: &str, bytes: &[u8]| append(&mut tar, name, bytes, 0o644);
        add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        add("index.json", index.to_string().as_bytes());
        add("manifest.json", docker.to_string().as_bytes());
        for (digest, bytes) in &blobs.all {
            add(&format!("blobs/sha256/{}", &digest["sha256:".len()..]), bytes);
        }
        tar.finish().expect("finish the archive");
    }
}

impl Host {
    /// The archive of [`Image::system`] under the name `suite:latest`.
    pub fn image_archive(&self) -> PathBuf {
        let path = self.work().join("suite.tar");
        if !path.exists() {
            Image::system(self).archive(&path, "suite:latest");
        }
        path
    }

    /// `minidocker load` of it, the first time: the image `suite`.
    pub fn load_image(&self) {
        self.images.engines.get_or_init(|| {
            self.minidocker(["load", "-i"]).arg(self.image_archive()).assert().success();
        });
    }

    /// `minidocker ARGS…`, with that image loaded.
    pub fn with_image<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> assert_cmd::Command {
        self.load_image();
        self.minidocker(args)
    }

    /// `ch06 load` of it, the first time: the image `suite` for chapters 6 and 7.
    pub fn load_image_for_chapters(&self) {
        self.images.chapters.get_or_init(|| {
            self.chapter(6, ["load", "-i"]).arg(self.image_archive()).assert().success();
        });
    }
}

/// Into which stores the image has been loaded.
#[derive(Default)]
pub(crate) struct Images {
    engines: OnceLock<()>,
    chapters: OnceLock<()>,
}

/// The blobs of one image.
#[derive(Default)]
pub struct Blobs {
    /// Digest and content.
    pub all: Vec<(String, Vec<u8>)>,
    /// Descriptors.
    pub config: Value,
    /// Of the layers, base first.
    pub layers: Vec<Value>,
    /// Of the manifest.
    pub manifest: Value,
}

impl Blobs {
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = digest(&bytes);
        let descriptor = json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() });
        self.all.push((digest, bytes));
        descriptor
    }

    /// The content of one of them.
    pub fn content(&self, descriptor: &Value) -> &[u8] {
        let wanted = descriptor["digest"].as_str().expect("a digest");
        &self.all.iter().find(|(digest, _)| digest == wanted).expect("a blob of ours").1
    }
}

fn blob_path(descriptor: &Value) -> String {
    descriptor["digest"].as_str().expect("a digest").replace("sha256:", "blobs/sha256/")
}

/// `sha256:` and 64 hex digits.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Compressed at level 1: tests want it soon, not small.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("compress");
    encoder.finish().expect("compress")
}

/// A directory as a tar, links as links.
pub fn tar_of(directory: &Path) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.follow_symlinks(false);
    tar.mode(tar::HeaderMode::Complete);
    tar.append_dir_all(".", directory).expect("pack the directory");
    tar.into_inner().expect("finish the tar")
}

/// A tar of regular files.
pub fn tar_with(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in files {
        append(&mut tar, name, text.as_bytes(), 0o644);
    }
    tar.into_inner().expect("finish the tar")
}

/// A tar with one entry of any kind and any name, as no honest program writes it.
pub fn tar_entry(kind: tar::EntryType, name: &str, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    // Written into the header directly: the crate refuses `..` and absolute names.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, content).expect("write an entry");
    tar.into_inner().expect("finish the tar")
}

/// Several tars as one: the two empty blocks at the end of all but the last go.
pub fn concatenate(tars: &[Vec<u8>]) -> Vec<u8> {
    let mut all = Vec::new();
    for tar in tars {
        all.extend_from_slice(&tar[..tar.len() - 1024]);
    }
    all.extend([0; 1024]);
    all
}

fn append(tar: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_mtime(1_000_000_000);
    tar.append_data(&mut header, name, bytes).expect("write an entry");
}
