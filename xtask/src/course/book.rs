//! `cargo x book`: starts the book's builder through cargo.
//!
//! It is a program of its own (`xtask/book`), because mdBook as a library is a hundred crates that no learner's check needs.

use std::process::Command;

use anyhow::{Context, Result};

use crate::{Outcome, workspace};

/// Build the book, check it, or show it in a browser
#[derive(clap::Args)]
pub struct Args {
    /// Check includes, anchors, fences, links and figures, then build
    #[arg(long)]
    check: bool,
    /// Serve it on this machine alone, and build again whenever a page or a chapter changes
    #[arg(long, conflicts_with = "check")]
    serve: bool,
    /// The port to serve on
    #[arg(long, default_value_t = 3000)]
    port: u16,
}

/// `cargo x book`.
pub fn run(args: &Args) -> Outcome {
    let mut command = builder()?;
    if args.check {
        command.arg("--check");
    }
    if args.serve {
        command.args(["--serve", &args.port.to_string()]);
    }
    let status = command.status().context("start the book's builder")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Whether the book is in order. What is not, is printed.
pub fn check() -> Result<bool> {
    Ok(builder()?.arg("--check").status().context("start the book's builder")?.success())
}

fn builder() -> Result<Command> {
    let mut command = workspace::cargo(&["run", "--quiet", "--package", "book-builder", "--"]);
    command.arg("--root").arg(workspace::root()).arg("--out").arg(workspace::cache("book")?);
    Ok(command)
}
