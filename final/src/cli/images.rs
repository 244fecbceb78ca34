//! `minidocker images`.

use anyhow::Result;
use clap::Args;
use images::{Image, Listed, Reference};
use namespaces::program::tell;

use crate::format::{ago, say, size, table};
use crate::root::Root;

/// List images.
#[derive(Args)]
pub struct Images {
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Do not shorten ids
    #[arg(long)]
    no_trunc: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// All (images of this engine have no intermediate ones to hide)
    #[arg(short, long)]
    all: bool,
    /// Only this repository, or this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    only: Option<String>,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Images) -> Result<i32> {
    let only: Option<Reference> = args.only.as_deref().map(str::parse).transpose()?;
    let with_tag =
        args.only.as_deref().is_some_and(|text| text.rsplit('/').next().is_some_and(|last| last.contains(':')));
    let mut rows = Vec::new();
    for listed in root.store()?.list()? {
        match listed {
            Listed::Image(image) => rows.extend(of_image(&image, args, only.as_ref(), with_tag)),
            Listed::Damaged { title, reason } => {
                tell(format!("minidocker: the image {title} is damaged: {reason} (minidocker rmi {title} removes it)"));
            }
        }
    }
    if args.quiet {
        let mut ids: Vec<String> = rows.into_iter().map(|mut row| row.swap_remove(args.id_column())).collect();
        ids.dedup();
        ids.iter().try_for_each(say)?;
        return Ok(0);
    }
    let mut header = vec!["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"];
    if args.digests {
        header.insert(2, "DIGEST");
    }
    let header = header.into_iter().map(String::from).collect();
    say(table(&[vec![header], rows].concat()))?;
    Ok(0)
}

impl Images {
    fn id_column(&self) -> usize {
        if self.digests { 3 } else { 2 }
    }
}

/// A line for each name of an image, or one for an image without a name.
fn of_image(image: &Image, args: &Images, only: Option<&Reference>, with_tag: bool) -> Vec<Vec<String>> {
    let wanted = |name: &Reference| {
        only.is_none_or(|only| only.repository() == name.repository() && (!with_tag || only.tag() == name.tag()))
    };
    let id = if args.no_trunc { image.id.to_string() } else { image.short_id().to_string() };
    let created = image.config.created.as_deref().map_or_else(|| "N/A".to_string(), ago);
    let line = |repository: String, tag: String| {
        let mut row = vec![repository, tag, id.clone(), created.clone(), size(image.size)];
        if args.digests {
            let digest = image.repo_digests.first().and_then(|name| name.digest().map(ToString::to_string));
            row.insert(2, digest.unwrap_or_else(|| "<none>".into()));
        }
        row
    };
    if image.names.is_empty() && only.is_none() {
        return vec![line("<none>".into(), "<none>".into())];
    }
    let names = image.names.iter().filter(|name| wanted(name));
    names.map(|name| line(name.familiar_repository(), name.tag().unwrap_or("<none>").to_string())).collect()
}
