//! The solution with a switch before each region ([`Fill::Switch`]), for the proofs that open one hole at a time.
//!
//! It is built once: a variant for each exercise would take a compiler's time for each, and would prove the same.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::starter::{self, Fill};
use super::table::Chapter;
use crate::workspace;

/// Builds the solution with a switch before each region, in a workspace of its own beside cargo's programs; gives the name
/// of the program. The dependencies are those of the workspace, already built.
pub fn build(root: &Path, chapter: &Chapter) -> Result<String> {
    let place = workspace::cache("proofs")?;
    let program = format!("proof{:02}", chapter.number);
    let package = format!("proof-{}", chapter.directory);
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("read Cargo.toml")?;
    write(&place.join("Cargo.toml"), &workspace_manifest(&manifest, root, &program))?;
    fs::copy(root.join("Cargo.lock"), place.join("Cargo.lock")).context("copy Cargo.lock")?;
    for (path, text) in starter::generate(root, chapter, Fill::Switch)? {
        let text = match path == Path::new("Cargo.toml") {
            // Other names, so that nothing of the learner's is overwritten; the sources know the library by its old one.
            true => text
                .replacen(&format!("name = \"{}\"", chapter.starter_package()), &format!("name = \"{package}\""), 1)
                .replacen("[lib]\n", &format!("[lib]\nname = \"{}\"\n", starter::library(chapter)), 1)
                .replacen(&format!("name = \"{}\"", chapter.program()), &format!("name = \"{program}\""), 1),
            false => text,
        };
        write(&place.join(&program).join(path), &text)?;
    }
    let manifest = place.join("Cargo.toml");
    let target = workspace::bin()?.ancestors().nth(2).context("the target directory")?.to_owned();
    let status = workspace::cargo(&["build", "--quiet", "--offline", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(target)
        .status()
        .context("start cargo")?;
    ensure!(status.success(), "the solution with switches does not build");
    Ok(program)
}

/// The workspace's manifest, for one member elsewhere.
fn workspace_manifest(text: &str, root: &Path, member: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if line.starts_with("members = ") {
            out += &format!("members = [\"{member}\"]");
        } else if !line.starts_with("default-members = ") {
            out += &line.replace("path = \"", &format!("path = \"{}/", root.display()));
        }
        out.push('\n');
    }
    out
}

/// Writes what is not there yet: an old time of change spares a build.
fn write(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().context("a directory")?)?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_of_one_member() {
        let text = "[workspace]\nmembers = [\"a/*\"]\ndefault-members = [\"f\"]\nx = { path = \"chapters/x\" }\n";
        assert_eq!(
            workspace_manifest(text, Path::new("/r"), "proof01"),
            "[workspace]\nmembers = [\"proof01\"]\n\nx = { path = \"/r/chapters/x\" }\n"
        );
    }
}
