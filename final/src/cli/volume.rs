//! `minidocker volume`: files that outlive containers.

mod filters;
mod shown;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, BufRead, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use namespaces::spelling::did_you_mean;

use self::filters::filtered;
use self::shown::{formatted, listed, shown};
use super::for_each;
use crate::format::{say, size, table};
use crate::id;
use crate::root::Root;
use crate::volumes::VolumeStore;
use crate::volumes::store::{ANONYMOUS, Volume as Kept};

/// Manage volumes.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Volume {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  minidocker volume create db
  minidocker run -v db:/var/lib/db …     makes it as well, if it is not there
  minidocker volume ls -qf dangling=true
  minidocker volume prune -a             removes all that no container has";

#[derive(Subcommand)]
enum Command {
    /// Make a volume and print its name
    Create(Create),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Show all there is to know of volumes, as JSON
    Inspect(Inspect),
    /// Remove volumes that no container has
    #[command(visible_alias = "remove")]
    Rm(Rm),
    /// Remove the volumes without a name that no container has
    Prune(Prune),
}

#[derive(Args)]
struct Create {
    /// Its name; without one it gets a number
    name: Option<String>,
    /// Who keeps it; there is local only
    #[arg(short, long, value_name = "DRIVER", default_value = "local")]
    driver: String,
    /// Anything to find it by later, KEY=VALUE
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// type=none, o=bind and device=DIR together make it stand for a directory of the host
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    options: Vec<String>,
}

#[derive(Args)]
struct Ls {
    /// Names only
    #[arg(short, long)]
    quiet: bool,
    /// Only those with name=PART, label=KEY[=VALUE], dangling=true|false, driver=local
    #[arg(short, long = "filter", value_name = "FILTER")]
    filters: Vec<String>,
    /// How to show each: json, or text with {{.Name}} and the like
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

#[derive(Args)]
struct Inspect {
    /// How to show each: json, or text with {{.Name}} and the like
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,
}

#[derive(Args)]
struct Rm {
    /// Names that do not exist are no error
    #[arg(short, long)]
    force: bool,
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,
}

#[derive(Args)]
struct Prune {
    /// Those with a name as well
    #[arg(short, long)]
    all: bool,
    /// Only those with label=KEY[=VALUE], or without: label!=KEY[=VALUE]
    #[arg(long = "filter", value_name = "FILTER")]
    filters: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Volume) -> Result<i32> {
    let store = VolumeStore::of(root);
    match &args.command {
        Command::Create(args) => create(&store, args).map(|()| 0),
        Command::Ls(args) => list(&store, args).map(|()| 0),
        Command::Inspect(args) => inspect(&store, args),
        Command::Rm(args) => for_each(&args.names, |name| {
            if args.force && store.find(name)?.is_none() {
                return say(name);
            }
            store.remove(name).with_context(|| format!("remove {name}"))?;
            say(name)
        }),
        Command::Prune(args) => prune(&store, args).map(|()| 0),
    }
}

fn create(store: &VolumeStore, args: &Create) -> Result<()> {
    ensure!(args.driver == "local", "there is no volume driver {:?}: the only one is local", args.driver);
    let mut labels = pairs(&args.labels).context("--label")?;
    let name = match args.name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => {
            rootfs::volume::named(name)?;
            name.to_owned()
        }
        None => {
            labels.insert(ANONYMOUS.into(), String::new());
            id::new_id()?
        }
    };
    let mut volume = Kept::new(&name, labels);
    volume.options = pairs(&args.options).context("--opt")?;
    check_options(&volume.options)?;
    // As in Docker: to make one that is there is no error, unless it would have to be another.
    if !store.ensure(&volume)?
        && let Some(there) = store.find(&name)?
    {
        ensure!(
            volume.options.is_empty() || there.options == volume.options,
            "the volume {name} exists with other options (minidocker volume inspect {name}): choose another name"
        );
    }
    say(name)
}

/// The local driver of Docker mounts anything. Here it is a directory, ours or one that is named.
fn check_options(options: &BTreeMap<String, String>) -> Result<()> {
    const KNOWN: [&str; 4] = ["type", "o", "device", "size"];
    for key in options.keys() {
        ensure!(KNOWN.contains(&key.as_str()), "unknown option {key:?}{}", did_you_mean(key, KNOWN.into_iter()));
    }
    if options.is_empty() {
        return Ok(());
    }
    let option = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
    let bind =
        matches!(option("type"), "none" | "bind" | "") && option("o").split(',').any(|o| matches!(o, "bind" | "rbind"));
    ensure!(
        bind && !options.contains_key("size"),
        "such a volume is not supported: it can be a directory of the host (-o type=none -o o=bind -o device=/DIR); \
         for one in memory use run --tmpfs"
    );
    let device = option("device");
    ensure!(Path::new(device).is_absolute(), "device={device:?} is not an absolute path");
    ensure!(Path::new(device).is_dir(), "device={device}: there is no such directory");
    Ok(())
}

fn list(store: &VolumeStore, args: &Ls) -> Result<()> {
    let volumes = filtered(store, &args.filters)?;
    if args.quiet {
        return volumes.iter().try_for_each(|volume| say(&volume.name));
    }
    if let Some(format) = &args.format {
        return volumes.iter().try_for_each(|volume| say(formatted(&listed(store, volume), format)?));
    }
    let header = ["DRIVER", "VOLUME NAME"].map(String::from).to_vec();
    let rows = volumes.into_iter().map(|volume| vec!["local".into(), volume.name]);
    say(table(&[header].into_iter().chain(rows).collect::<Vec<_>>()))
}

fn inspect(store: &VolumeStore, args: &Inspect) -> Result<i32> {
    let mut found = Vec::new();
    let code = for_each(&args.names, |name| {
        let volume = store.find(name)?.with_context(|| format!("no such volume: {name}"))?;
        found.push(shown(store, &volume));
        Ok(())
    })?;
    match &args.format {
        Some(format) => found.iter().try_for_each(|volume| say(formatted(volume, format)?))?,
        None => say(serde_json::to_string_pretty(&found)?)?,
    }
    Ok(code)
}

fn prune(store: &VolumeStore, args: &Prune) -> Result<()> {
    for filter in &args.filters {
        let key = filter.split_once('=').map_or(filter.as_str(), |(key, _)| key);
        ensure!(matches!(key, "label" | "label!"), "invalid filter {filter:?} (write label=KEY or label!=KEY)");
    }
    if !args.force {
        let which = if args.all { "all local volumes" } else { "anonymous local volumes" };
        write!(
            io::stdout(),
            "WARNING! This will remove {which} not used by at least one container.\n\
             Are you sure you want to continue? [y/N] "
        )
        .and_then(|()| io::stdout().flush())
        .context("ask")?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).context("read the answer")?;
        if !matches!(answer.trim(), "y" | "Y") {
            return say("Total reclaimed space: 0B");
        }
    }
    let used: HashSet<String> = store.used()?.into_iter().collect();
    let mut volumes = filtered(store, &args.filters)?;
    volumes.retain(|volume| !used.contains(&volume.name) && (args.all || volume.is_anonymous()));
    let (mut deleted, mut bytes) = (Vec::new(), 0);
    for volume in volumes {
        let taken = disk_usage(&store.data(&volume.name));
        // Somebody may have taken it into use since we looked: then it stays.
        if store.remove(&volume.name).is_ok() {
            deleted.push(volume.name);
            bytes += taken;
        }
    }
    if !deleted.is_empty() {
        say(format!("Deleted Volumes:\n{}\n", deleted.join("\n")))?;
    }
    say(format!("Total reclaimed space: {}", size(bytes)))
}

fn pairs(words: &[String]) -> Result<BTreeMap<String, String>> {
    words
        .iter()
        .map(|word| {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            ensure!(!key.is_empty(), "{word:?} has no name (write KEY=VALUE)");
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect()
}

/// What a directory takes on the disk, in bytes; a file with several names once. What cannot be read counts for nothing.
fn disk_usage(directory: &Path) -> u64 {
    let mut seen = HashSet::new();
    let mut bytes = 0;
    let mut directories = vec![directory.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                directories.push(entry.path());
            }
            if metadata.nlink() == 1 || metadata.is_dir() || seen.insert((metadata.dev(), metadata.ino())) {
                bytes += metadata.blocks() * 512;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_volume_may_stand_for() {
        let check =
            |words: &[&str]| check_options(&pairs(&words.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap());
        assert!(check(&[]).is_ok() && check(&["type=none", "o=bind", "device=/"]).is_ok());
        assert!(check(&["type=tmpfs", "device=tmpfs"]).unwrap_err().to_string().contains("--tmpfs"));
        assert!(check(&["type=none", "o=bind", "device=/no/such"]).is_err());
        assert!(check(&["tpye=none"]).unwrap_err().to_string().contains("did you mean type?"));
    }
}
