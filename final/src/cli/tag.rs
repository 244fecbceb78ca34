//! `minidocker tag`.

use anyhow::Result;
use clap::Args;
use images::Reference;

use crate::root::Root;

/// Give an image another name.
#[derive(Args)]
pub struct Tag {
    /// Its name or id
    image: String,
    /// The other name
    name: Reference,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Tag) -> Result<i32> {
    let store = root.store()?;
    let image = store.get(&args.image)?;
    store.tag(&image, &args.name)?;
    Ok(0)
}
