//! `ch06`: pull images, keep them, run them.

use std::fs::File;
use std::io::{IsTerminal, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use images::{Connection, Lines, Listed, Platform, PullOptions, Reference, Store, default_root};
use namespaces::program::say;

mod run;

/// A process whose root comes from an image, and the image from a registry or an archive.
#[derive(Parser)]
#[command(name = "ch06", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Keep images and layers here [default: $MINIDOCKER_ROOT, else /var/lib/minidocker, for users
    /// ~/.local/share/minidocker]
    #[arg(long, global = true, value_name = "DIR")]
    store: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  ch06 pull busybox                              docker.io/library/busybox:latest
  ch06 run busybox echo hello                    pulls it if it is not there
  ch06 run -p 8080:80 127.0.0.1:5000/web:1       from a registry on this machine, by plain HTTP if need be
  ch06 save -o box.tar busybox                   for `docker load`, `skopeo copy docker-archive:box.tar …`
  ch06 load -i box.tar                           from `docker save`
  ch06 push 127.0.0.1:5000/web:1
  skopeo inspect --raw oci:/var/lib/minidocker/images:docker.io/library/busybox:latest

The store is a standard OCI image layout. Passwords are those that `docker login` stored.";

#[derive(Subcommand)]
enum Command {
    /// Fetch an image from a registry
    Pull(Pull),
    /// Send an image to the registry that its name says
    Push(Push),
    /// List the images
    Images,
    /// Show all about an image, as JSON
    Inspect(Name),
    /// Give an image another name
    Tag(Tag),
    /// Remove images, by name or ID
    Rmi(Remove),
    /// Write images to a tar
    Save(Save),
    /// Read images from a tar
    Load(Load),
    /// Run a command in a container made from an image
    #[command(disable_help_flag = true)]
    Run(Box<run::Run>),
}

#[derive(Args)]
struct Wire {
    /// Accept plain HTTP and certificates that nobody vouches for
    #[arg(long)]
    insecure: bool,
    /// Seconds without a byte after which the registry counts as dead
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

impl Wire {
    fn connection(&self) -> Connection {
        Connection { insecure: self.insecure, timeout: Duration::from_secs(self.timeout) }
    }
}

#[derive(Args)]
struct Pull {
    /// NAME[:TAG|@DIGEST]
    image: Reference,
    /// Platform to choose from an image for several
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    #[command(flatten)]
    wire: Wire,
}

#[derive(Args)]
struct Push {
    /// NAME[:TAG]
    image: Reference,
    #[command(flatten)]
    wire: Wire,
}

#[derive(Args)]
struct Name {
    /// Name, ID or digest
    image: String,
}

#[derive(Args)]
struct Tag {
    /// Name, ID or digest
    image: String,
    /// The further name
    name: Reference,
}

#[derive(Args)]
struct Remove {
    /// Names, IDs or digests
    #[arg(required = true)]
    images: Vec<String>,
    /// Also if the image has names in several repositories
    #[arg(short, long)]
    force: bool,
}

#[derive(Args)]
struct Save {
    /// Names, IDs or digests
    #[arg(required = true)]
    images: Vec<String>,
    /// Write to this file [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Args)]
struct Load {
    /// Read this file [default: standard input]
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
}

fn main() -> ExitCode {
    namespaces::main(|cli: Cli| {
        let root = cli.store.map_or_else(default_root, Ok)?;
        let store = Store::open(&root)?;
        match cli.command {
            Command::Pull(args) => {
                let options = PullOptions { platform: args.platform, connection: args.wire.connection() };
                store.pull(&args.image, &options, &Lines::of_pull(stdout()))?;
                say(args.image)?;
            }
            Command::Push(args) => {
                store.push(&args.image, &args.wire.connection(), &Lines::of_push(stdout()))?;
            }
            Command::Images => list(&store)?,
            Command::Inspect(args) => {
                say(serde_json::to_string_pretty(&[store.get(&args.image)?.inspect()])?)?;
            }
            Command::Tag(args) => store.tag(&store.get(&args.image)?, &args.name)?,
            Command::Rmi(args) => {
                for image in &args.images {
                    // Nothing of ours outlives its container: who runs an image holds a lease instead.
                    let removed = store.remove(image, args.force, &|| Ok(Vec::new()))?;
                    removed.iter().try_for_each(say)?;
                }
            }
            Command::Save(args) => save(&store, &args)?,
            Command::Load(args) => load(&store, &args)?,
            Command::Run(args) => return run::run(&root, &store, *args),
        }
        Ok(0)
    })
}

fn list(store: &Store) -> Result<()> {
    say(format!("{:<40} {:<20} {:<14} SIZE", "REPOSITORY", "TAG", "IMAGE ID"))?;
    for listed in store.list()? {
        let image = match listed {
            Listed::Image(image) => image,
            Listed::Damaged { title, reason } => {
                say(format!("{title:<40} {:<20} {:<14} {reason}", "<damaged>", "-"))?;
                continue;
            }
        };
        let names: Vec<_> = image.names.iter().map(|name| (name.familiar_repository(), name.tag())).collect();
        let nameless = vec![("<none>".to_owned(), None)];
        for (repository, tag) in if names.is_empty() { nameless } else { names } {
            let megabytes = image.size as f64 / 1e6;
            let (tag, id) = (tag.unwrap_or("<none>"), image.short_id());
            say(format!("{repository:<40} {tag:<20} {id:<14} {megabytes:.2}MB"))?;
        }
    }
    Ok(())
}

fn save(store: &Store, args: &Save) -> Result<()> {
    match &args.output {
        Some(path) => {
            let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
            store.save(&args.images, std::io::BufWriter::new(file))
        }
        None => {
            ensure!(!stdout().is_terminal(), "a tar is nothing for a terminal (use -o FILE, or > FILE)");
            store.save(&args.images, stdout().lock())
        }
    }
}

fn load(store: &Store, args: &Load) -> Result<()> {
    let loaded = match &args.input {
        Some(path) => {
            let cannot = || format!("cannot load {}", path.display());
            store.load(File::open(path).with_context(cannot)?).with_context(cannot)?
        }
        None => {
            ensure!(!stdin().is_terminal(), "an archive is expected on standard input (or use -i FILE)");
            store.load(stdin())?
        }
    };
    for image in loaded {
        match image.names.as_slice() {
            [] => say(format!("Loaded image ID: {}", image.id))?,
            names => names.iter().try_for_each(|name| say(format!("Loaded image: {}", name.familiar())))?,
        }
    }
    Ok(())
}
