//! `demo`, the image that is always there: made on the spot from what this machine has.
//!
//! Every Linux has a shell, so the first container needs no network and no registry. In reading order:
//!
//! | file | idea |
//! |---|---|
//! | [`programs`] | which programs: busybox, or a shell and some tools |
//! | [`applets`] | the commands that a busybox is, read from its own table |
//! | [`libraries`] | what else a program needs before its first instruction |
//! | [`tree`] | files and directories as a layer |
//!
//! No program of the host is executed for it, only read. The same programs give the same image, digest and all.

mod applets;
mod libraries;
mod programs;
mod tree;

use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use images::manifest::OCI_LAYER;
use images::{Descriptor, History, Image, ImageConfig, Reference, Store};
use jiff::Timestamp;

use programs::Programs;
use tree::Tree;

/// Its name.
pub const NAME: &str = "demo";

/// Where commands are looked for, on this machine and then in the image.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether a name means this image.
pub fn is_meant(name: &Reference) -> bool {
    NAME.parse().is_ok_and(|own: Reference| *name == own)
}

/// The image; made now, if the store has none of that name.
pub fn ensure(store: &Store) -> Result<Image> {
    if let Some(image) = store.find(NAME)? {
        return Ok(image);
    }
    make(store, &Programs::of_this_machine(PATH)?).context("make the image demo of this machine's own programs")
}

fn make(store: &Store, programs: &Programs) -> Result<Image> {
    let mut tree = Tree::default();
    programs.install(&mut tree)?;
    furnish(&mut tree, programs);

    // While it lives, nobody takes the layer for garbage, which belongs to no image yet.
    let _lease = store.lease()?;
    // Not compressed: it is read back at once, and never travels unless somebody pushes it.
    let mut blob = store.layout().writer()?;
    tree.write(&mut blob).context("write its layer")?;
    let layer = blob.commit(OCI_LAYER)?;
    store.add_image(&config(&layer, programs)?, &[layer], Some(&NAME.parse::<Reference>()?))
}

/// What a root directory has besides programs.
fn furnish(tree: &mut Tree, programs: &Programs) {
    for directory in ["dev", "etc", "mnt", "proc", "run", "sys", "usr/bin", "var"] {
        tree.directory(directory, 0o755);
    }
    tree.directory("root", 0o700);
    tree.directory("tmp", 0o1777);
    tree.file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n");
    tree.file("etc/group", 0o644, "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n");
    tree.file("etc/nsswitch.conf", 0o644, "passwd: files\ngroup: files\nhosts: files dns\n");
    // The shells of busybox and bash know what \h stands for; dash expands variables, and asks for the name once.
    let prompt = match programs.busybox {
        true => "PS1='\\h:\\w\\$ '\n",
        false => "PS1=\"$(hostname):\"'$PWD# '\n",
    };
    tree.file(
        "etc/profile",
        0o644,
        &format!("# Read by login shells, and by other interactive ones because of ENV.\n{prompt}"),
    );
}

fn config(layer: &Descriptor, programs: &Programs) -> Result<ImageConfig> {
    let mut config = ImageConfig::new();
    // As old as the newest of its programs: the same programs, the same image.
    let age = programs.changed.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let created = Timestamp::from_second(i64::try_from(age)?).context("a program's modification time")?.to_string();
    config.created = Some(created.clone());
    config.config.env = vec![format!("PATH={PATH}"), "ENV=/etc/profile".into()];
    config.config.cmd = Some(vec!["sh".into()]);
    config.rootfs.diff_ids = vec![layer.digest.clone()]; // not compressed: the blob is the tar
    let history = History { created: Some(created), created_by: Some(programs.origin()), ..History::default() };
    config.history = vec![history];
    Ok(config)
}
