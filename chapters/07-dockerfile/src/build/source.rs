//! Opening what `build PATH` and `build -` name: the Dockerfile and the context.

use std::fs::File;
use std::io::{ErrorKind, stdin};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::context::archive::{Format, read_dockerfile, recognise, unpack_into};
use crate::context::ignore::Ignore;
use crate::context::tree::{Origin, Tree};
use crate::syntax::{Dockerfile, parse};

use super::args::BuildArgs;
use super::workspace::Workspace;

/// What a build starts from.
pub struct Source {
    /// The instructions.
    pub dockerfile: Dockerfile,
    /// The files; `None` when a Dockerfile came alone.
    pub context: Option<Tree>,
    /// By what the context is known from build to build.
    pub name: PathBuf,
}

/// Reads the Dockerfile and opens the context.
pub fn open(args: &BuildArgs, workspace: &Workspace) -> Result<Source> {
    let path = &args.context;
    let written = path.to_string_lossy();
    let remote = ["http://", "https://", "git://", "ssh://", "git@"].iter().any(|scheme| written.starts_with(scheme));
    if remote {
        bail!("{written}: a context on the network is not supported yet (fetch it first, and give its directory)");
    }
    if written != "-" {
        let name = path.canonicalize().with_context(|| format!("the context {written}"))?;
        if !name.is_dir() {
            bail!("the context {written} is not a directory");
        }
        return from_directory(name.clone(), name, args);
    }
    let (format, input) = recognise(stdin().lock()).context("read standard input")?;
    match format {
        Format::Tar => {
            if args.file.as_deref() == Some(Path::new("-")) {
                bail!("-f - and the context - cannot both be standard input");
            }
            let directory = workspace.path("context");
            unpack_into(input, &directory).context("unpack the context on standard input")?;
            from_directory(directory, PathBuf::from("-"), args)
        }
        Format::Unreadable(name) => {
            bail!("the context on standard input is compressed by {name} (use gzip, zstd or none)")
        }
        Format::Other if args.file.is_some() => {
            bail!("-f with a Dockerfile on standard input: one of the two is too many")
        }
        Format::Other => {
            let text = read_dockerfile(input, "the Dockerfile on standard input")?;
            Ok(Source { dockerfile: parse(&text, "-")?, context: None, name: PathBuf::from("-") })
        }
    }
}

fn from_directory(directory: PathBuf, name: PathBuf, args: &BuildArgs) -> Result<Source> {
    let (text, file, shown) = match args.file.as_deref() {
        Some(file) if file == Path::new("-") => {
            (read_dockerfile(stdin().lock(), "the Dockerfile on standard input")?, None, "-".to_owned())
        }
        // In an archive the path is one of the archive's; else it is the caller's.
        Some(file) => {
            let file = if name == Path::new("-") { directory.join(file) } else { file.to_owned() };
            (read(&file)?, Some(file.clone()), file.display().to_string())
        }
        None => {
            let file = directory.join("Dockerfile");
            (read(&file)?, Some(file), "Dockerfile".to_owned())
        }
    };
    let dockerfile = parse(&text, &shown)?;
    let ignore = ignore_file(file.as_deref(), &directory)?;
    let context = Tree::open(&directory, Origin::Context, ignore)?;
    Ok(Source { dockerfile, context: Some(context), name })
}

fn read(file: &Path) -> Result<String> {
    let open =
        File::open(file).with_context(|| format!("read the Dockerfile {} (name another with -f)", file.display()));
    read_dockerfile(open?, &file.display().to_string())
}

/// `<Dockerfile>.dockerignore` beside the Dockerfile, else `.dockerignore` in the context.
fn ignore_file(dockerfile: Option<&Path>, context: &Path) -> Result<Ignore> {
    let own = dockerfile.map(|file| {
        let mut name = file.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    for path in own.into_iter().chain([context.join(".dockerignore")]) {
        match std::fs::read(&path) {
            Ok(bytes) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                return Ignore::parse(&String::from_utf8_lossy(&bytes), &name);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        }
    }
    Ok(Ignore::default())
}
