//! `cargo x book`: builds the book, checks it, serves it.
//!
//! mdBook does not protect a book: a missing anchor gives an empty block and exit 0, a missing file an error line and exit 0.
//! So everything is looked at before and after. In reading order:
//!
//! * [`pages`]: the pages, and where a line is.
//! * [`includes`]: what pages take from the code, from transcripts and from figures; nothing that waits to be taken is left.
//! * [`fences`]: code blocks have a language, and no console's output is typed by hand.
//! * [`summary`]: every page is in the table of contents, and the other way round.
//! * [`links`]: links, fragments and images of the finished pages.
//! * [`serve`]: the book in a browser.

mod fences;
mod includes;
mod links;
mod pages;
mod serve;
mod summary;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use mdbook_driver::MDBook;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cargo x book: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is asked for.
struct Options {
    root: PathBuf,
    out: PathBuf,
    check: bool,
    serve: Option<u16>,
}

/// `book-builder --root DIR --out DIR [--check | --serve PORT]`, as `cargo x book` calls it.
fn options() -> Result<Options> {
    let mut options =
        Options { root: PathBuf::from("."), out: PathBuf::from("target/book"), check: false, serve: None };
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let mut value = || args.next().with_context(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--root" => options.root = value()?.into(),
            "--out" => options.out = value()?.into(),
            "--check" => options.check = true,
            "--serve" => options.serve = Some(value()?.parse().context("--serve needs a port")?),
            _ => bail!("unknown option {flag}"),
        }
    }
    ensure!(
        options.root.join("book/src/SUMMARY.md").exists(),
        "there is no book/src/SUMMARY.md in {}: the book is missing (git restore book brings it back)",
        options.root.display()
    );
    Ok(options)
}

fn run() -> Result<ExitCode> {
    let options = options()?;
    if let Some(port) = options.serve {
        serve::serve(&options.root, &options.out, port)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut wrong = if options.check { check(&options.root)? } else { Vec::new() };
    build(&options.root, &options.out)?;
    if options.check {
        wrong.extend(links::check(&options.root, &options.out)?);
    }
    for line in &wrong {
        println!("{line}");
    }
    if wrong.is_empty() {
        println!("The book is in {}", options.out.join("index.html").display());
        return Ok(ExitCode::SUCCESS);
    }
    match wrong.len() {
        1 => println!("One thing is wrong in the book"),
        count => println!("{count} things are wrong in the book"),
    }
    Ok(ExitCode::FAILURE)
}

/// All that can be seen before it is built: a line for each thing that is wrong.
fn check(root: &Path) -> Result<Vec<String>> {
    let pages = pages::read(root)?;
    let mut wrong = summary::check(root, &pages)?;
    wrong.extend(includes::check(root, &pages)?);
    wrong.extend(fences::check(root, &pages)?);
    Ok(wrong)
}

/// Builds it with mdBook.
fn build(root: &Path, out: &Path) -> Result<()> {
    let mut book = MDBook::load(root.join("book")).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    book.config.build.build_dir = std::path::absolute(out).context("the output directory")?;
    // The index for the search would be most of this program.
    book.config.set("output.html.search.enable", false).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    book.build().map_err(|error| anyhow::anyhow!("build the book: {error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A small book in which all is well, in a directory of its own.
    struct Small(PathBuf);

    impl Small {
        fn new(name: &str) -> Small {
            let root = std::env::temp_dir().join(format!("book-check-{}-{name}", std::process::id()));
            let small = Small(root);
            small.write("book/book.toml", "[book]\ntitle = \"t\"\n[build]\ncreate-missing = false\n");
            small.write("book/src/SUMMARY.md", "# Summary\n\n- [One](one.md)\n- [Two](two/README.md)\n");
            small.write(
                "book/src/one.md",
                "# One\n\n```rust\n{{#include ../../chapters/01/src/a.rs:part}}\n```\n\n\
                 ```console\n{{#include ../transcripts/talk.txt}}\n```\n\n[two](two/index.html#the-second)\n",
            );
            small.write("book/src/two/README.md", "# The second\n\n![a figure](../figures/f.svg)\n");
            small.write("book/src/figures/f.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n");
            small.write("book/transcripts/talk.session", "# echo\n");
            small.write("book/transcripts/talk.txt", "# echo\n");
            small.write("chapters/01/src/a.rs", "// ANCHOR: part\nfn a() {}\n// ANCHOR_END: part\n// ANCHOR: ex-b\n");
            small
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn wrong(&self) -> Vec<String> {
            let out = self.0.join("out");
            let mut wrong = check(&self.0).unwrap();
            build(&self.0, &out).unwrap();
            wrong.extend(links::check(&self.0, &out).unwrap());
            wrong
        }
    }

    impl Drop for Small {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_book_in_order() {
        assert_eq!(Small::new("order").wrong(), [""; 0]);
    }

    #[test]
    fn what_is_broken_is_named() {
        let two = "book/src/two/README.md";
        let cases = [
            (
                "chapters/01/src/a.rs",
                "fn a() {}\n",
                "book/src/one.md:4: there is no anchor part in chapters/01/src/a.rs",
            ),
            (
                "chapters/01/src/a.rs",
                "// ANCHOR: part\nfn a() {}\n// ANCHOR_END: part\n// ANCHOR: new\n",
                "chapters/01/src/a.rs:4: no page includes the anchor new",
            ),
            (
                two,
                "# The first\n\n![a](../figures/f.svg)\n",
                "book/src/one.md: the link to two/index.html#the-second names a place",
            ),
            (two, "# The second\n", "book/src/figures/f.svg: no page shows it"),
            (
                two,
                "# The second\n![a](../figures/f.svg) ![b](../figures/g.svg)\n",
                "README.md: the link to ../figures/g.svg leads nowhere",
            ),
            (
                two,
                "# The second\n![a](../figures/f.svg)\n\n```\nx\n```\n",
                "book/src/two/README.md:4: a code block without a language",
            ),
            ("book/src/three.md", "# Three\n", "book/src/three.md: is not in SUMMARY.md"),
            ("book/transcripts/hand.txt", "# id\nroot\n", "book/transcripts/hand.txt: no session makes it"),
            (
                "chapters/01/exercises.toml",
                "page = \"x.md\"\n",
                "chapters/01/exercises.toml:1: the book has no page x.md",
            ),
        ];
        for (number, (path, text, told)) in cases.into_iter().enumerate() {
            let small = Small::new(&format!("broken-{number}"));
            small.write(path, text);
            let wrong = small.wrong();
            assert!(wrong.iter().any(|line| line.contains(told)), "{told:?} is not in {wrong:#?}");
        }
    }
}
