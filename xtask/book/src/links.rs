//! Links and images, as they stand in the finished HTML: what a reader can follow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::pages::{self, normal};

/// A line for each link that leads nowhere.
pub fn check(root: &Path, out: &Path) -> Result<Vec<String>> {
    let source = root.join("book/src");
    let mut html = BTreeMap::new();
    for path in pages::files(out, Path::new(""))? {
        if path.extension().is_some_and(|extension| extension == "html") {
            let text = fs::read_to_string(out.join(&path))?;
            html.insert(path, text);
        }
    }
    let ids: BTreeMap<&Path, BTreeSet<&str>> =
        html.iter().map(|(path, text)| (path.as_path(), values(text, "id").collect())).collect();
    let mut wrong = Vec::new();
    for (path, text) in &html {
        // The page for printing and the one for errors repeat the others.
        let Some(page) = page_of(&source, path) else { continue };
        for target in ["href", "src"].iter().flat_map(|name| values(content(text), name)) {
            let complain =
                |why: &str| format!("{}: the link to {target} {why}", Path::new("book/src").join(&page).display());
            let target = target.replace("&amp;", "&");
            if target.contains("://") || target.starts_with("mailto:") || target.starts_with("data:") {
                continue;
            }
            let (file, fragment) = target.split_once('#').unwrap_or((&target, ""));
            let file = file.split('?').next().unwrap_or_default();
            let there = match file {
                "" => path.clone(),
                file => normal(&path.parent().unwrap_or(Path::new("")).join(file)),
            };
            let there = if out.join(&there).is_dir() { there.join("index.html") } else { there };
            if there.starts_with("..") || !out.join(&there).exists() {
                wrong.push(complain("leads nowhere"));
            } else if !fragment.is_empty() && !ids.get(there.as_path()).is_some_and(|ids| ids.contains(fragment)) {
                wrong.push(complain("names a place that is not on that page"));
            }
        }
    }
    Ok(wrong)
}

/// The Markdown page that a file of the book was made from.
fn page_of(source: &Path, html: &Path) -> Option<PathBuf> {
    let page = html.with_extension("md");
    let readme = html.with_file_name("README.md");
    [page, readme]
        .into_iter()
        .enumerate()
        .find(|(index, page)| source.join(page).exists() && (*index == 0 || html.ends_with("index.html")))
        .map(|(_, page)| page)
}

/// The page itself, without what mdBook puts around it.
fn content(html: &str) -> &str {
    let begun = html.split_once("<main>").map_or(html, |(_, rest)| rest);
    begun.split_once("</main>").map_or(begun, |(main, _)| main)
}

/// The values of an attribute, in tags only.
fn values<'a>(html: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let name = name.to_owned();
    html.split('<').skip(1).flat_map(move |tag| {
        let tag = tag.split('>').next().unwrap_or_default();
        let attribute = format!(" {name}=\"");
        tag.match_indices(&attribute)
            .map(|(place, found)| tag[place + found.len()..].split('"').next().unwrap_or_default())
            .collect::<Vec<_>>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_from_tags() {
        let html =
            "<main><a href=\"x.html#y\" id=\"z\">a href=\"no\"</a><img alt=\"\" src=\"f.svg\"></main><a href=\"out\">";
        assert_eq!(values(content(html), "href").collect::<Vec<_>>(), ["x.html#y"]);
        assert_eq!(values(content(html), "src").collect::<Vec<_>>(), ["f.svg"]);
        assert_eq!(values(html, "id").collect::<Vec<_>>(), ["z"]);
    }
}
