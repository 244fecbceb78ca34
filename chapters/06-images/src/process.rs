//! From an image's config and a command line to a process: what is run, with which environment, where.
//!
//! | `ENTRYPOINT` | `CMD` | `run IMAGE` | `run IMAGE a` | `run --entrypoint e IMAGE a` |
//! |---|---|---|---|---|
//! | — | `c d` | `c d` | `a` | `e a` |
//! | `x y` | `c d` | `x y c d` | `x y a` | `e a` |
//!
//! `--entrypoint` also forgets the image's `CMD`: that was meant as arguments for the old one.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use namespaces::Process;

use crate::{ImageConfig, Platform};

/// Where commands are looked for if the image does not say.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The flags of `run` that replace what the image says.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ImageArgs {
    /// Run this instead of the image's entrypoint ("" for none)
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,

    /// Set an environment variable (KEY alone takes it from here)
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub env: Vec<String>,

    /// Read environment variables from a file, one KEY=VALUE to a line
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,

    /// User, and group, by name or number
    #[arg(short, long, value_name = "NAME|UID[:GROUP|GID]")]
    pub user: Option<String>,

    /// Platform to choose from an image for several
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
}

impl ImageArgs {
    /// What these flags and the rest of the command line change about an image. `workdir`: `--workdir`.
    pub fn overrides(&self, command: &[String], workdir: Option<PathBuf>) -> Result<Overrides> {
        let mut env = Vec::new();
        for file in &self.env_file {
            env.extend(read_env_file(file)?);
        }
        env.extend(self.env.iter().cloned());
        // As in Docker `--user ""`, a script's unset variable, is no wish: the image's user, and not root.
        let user = self.user.clone().filter(|user| !user.is_empty());
        let entrypoint = self.entrypoint.clone();
        Ok(Overrides { entrypoint, command: command.to_vec(), env, workdir, user })
    }
}

/// What somebody wants otherwise than the image has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Instead of the image's entrypoint; empty for none.
    pub entrypoint: Option<String>,
    /// Instead of the image's command, if it is not empty.
    pub command: Vec<String>,
    /// `KEY=VALUE`, or `KEY` to take the value from our own environment. The last of a key wins.
    pub env: Vec<String>,
    /// Instead of the image's working directory.
    pub workdir: Option<PathBuf>,
    /// Instead of the image's user.
    pub user: Option<String>,
}

/// The process that a container of this image runs.
///
/// Its environment has no HOSTNAME, TERM or HOME yet: those depend on the container ([`crate::User`] sets the last).
pub fn process(image: &ImageConfig, overrides: &Overrides) -> Result<Process> {
    let mut process = Process::new(argv(image, overrides)?);
    process.set_env("PATH", DEFAULT_PATH);
    for entry in &image.config.env {
        if let Some((key, value)) = entry.split_once('=') {
            process.set_env(key, value);
        }
    }
    for entry in &overrides.env {
        set(&mut process, entry)?;
    }
    let image_dir = Path::new(&image.config.working_dir);
    let directory = overrides.workdir.as_deref().unwrap_or(image_dir);
    ensure!(
        directory.is_absolute() || directory.as_os_str().is_empty(),
        "the working directory {:?} is invalid, it needs to be an absolute path",
        directory.display().to_string()
    );
    process.cwd = Path::new("/").join(directory);
    process.create_cwd = true;
    Ok(process)
}

/// The user that a container of this image runs as.
pub fn user(image: &ImageConfig, overrides: &Overrides) -> crate::User {
    crate::User::new(overrides.user.clone().unwrap_or_else(|| image.config.user.clone()))
}

fn argv(image: &ImageConfig, overrides: &Overrides) -> Result<Vec<OsString>> {
    let image = &image.config;
    let (entrypoint, default_command) = match &overrides.entrypoint {
        Some(command) if command.is_empty() => (vec![], vec![]),
        Some(command) => (vec![command.clone()], vec![]),
        None => (image.entrypoint.clone().unwrap_or_default(), image.cmd.clone().unwrap_or_default()),
    };
    let command = if overrides.command.is_empty() { default_command } else { overrides.command.clone() };
    let argv: Vec<OsString> = entrypoint.into_iter().chain(command).map(OsString::from).collect();
    ensure!(!argv.is_empty(), "no command specified (the image has none; give one after its name)");
    Ok(argv)
}

/// `-e KEY=VALUE`; `-e KEY` copies our own variable, and unsets the image's if we have none.
fn set(process: &mut Process, entry: &str) -> Result<()> {
    match entry.split_once('=') {
        Some(("", _)) => bail!("invalid environment variable: {entry}"),
        Some((key, value)) => process.set_env(key, value),
        None if entry.is_empty() => bail!("invalid environment variable: it has no name"),
        None => match env::var_os(entry) {
            Some(value) => process.set_env(entry, value),
            None => {
                let prefix = format!("{entry}=");
                process.env.retain(|other| !other.as_encoded_bytes().starts_with(prefix.as_bytes()));
            }
        },
    }
    Ok(())
}

/// The longest env file, in bytes: more than `execve(2)` takes of an environment, so that `/dev/zero` has an end.
const ENV_FILE_MAX: u64 = 8 * 1024 * 1024;

/// Docker's env files: a line is `KEY=VALUE` or `KEY`, `#` starts a comment line, nothing is quoted.
fn read_env_file(path: &Path) -> Result<Vec<String>> {
    let step = || format!("read the env file {}", path.display());
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(ENV_FILE_MAX + 1).read_to_string(&mut text)).with_context(step)?;
    ensure!(text.len() as u64 <= ENV_FILE_MAX, "{}: it is longer than {ENV_FILE_MAX} bytes", step());
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = line.split('=').next().unwrap_or_default();
        let place = || format!("{}:{}", path.display(), number + 1);
        ensure!(!key.is_empty(), "{}: no variable name on this line", place());
        ensure!(!key.contains(char::is_whitespace), "{}: the variable {key:?} contains whitespace", place());
        entries.push(line.to_owned());
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn image(entrypoint: &[&str], cmd: &[&str]) -> ImageConfig {
        let owned = |words: &[&str]| Some(words.iter().map(|word| word.to_string()).collect());
        let mut image = ImageConfig::new();
        image.config.entrypoint = owned(entrypoint);
        image.config.cmd = owned(cmd);
        image
    }

    fn argv_of(image: &ImageConfig, entrypoint: Option<&str>, command: &[&str]) -> Option<String> {
        let command = command.iter().map(|word| word.to_string()).collect();
        let overrides = Overrides { entrypoint: entrypoint.map(str::to_owned), command, ..Overrides::default() };
        let process = process(image, &overrides).ok()?;
        Some(process.argv.join(std::ffi::OsStr::new(" ")).into_string().unwrap())
    }

    #[test]
    fn entrypoint_and_command_combine_as_in_docker() {
        let both = image(&["x", "y"], &["c", "d"]);
        assert_eq!(argv_of(&both, None, &[]).as_deref(), Some("x y c d"));
        assert_eq!(argv_of(&both, None, &["a"]).as_deref(), Some("x y a"));
        assert_eq!(argv_of(&both, Some("e"), &["a"]).as_deref(), Some("e a"));
        assert_eq!(argv_of(&both, Some("e"), &[]).as_deref(), Some("e"));
        assert_eq!(argv_of(&both, Some(""), &["a"]).as_deref(), Some("a"));
        assert_eq!(argv_of(&both, Some(""), &[]), None);
        assert_eq!(argv_of(&image(&[], &["c"]), None, &[]).as_deref(), Some("c"));
        assert_eq!(argv_of(&ImageConfig::new(), None, &[]), None);
    }

    #[test]
    fn environment_is_the_images_changed() {
        let mut image = image(&[], &["c"]);
        image.config.env =
            vec!["A=1".to_owned(), "B=2".to_owned(), "PATH=/p".to_owned(), "NO_SUCH_VARIABLE=x".to_owned()];
        image.config.working_dir = "/w".to_owned();
        let env = vec!["A=3".to_owned(), "C=4=5".to_owned(), "NO_SUCH_VARIABLE".to_owned()];
        let process = process(&image, &Overrides { env, ..Overrides::default() }).unwrap();
        assert_eq!(process.env, ["PATH=/p", "A=3", "B=2", "C=4=5"].map(OsString::from));
        assert_eq!(process.cwd, Path::new("/w"));
    }

    #[test]
    fn env_files_are_read_as_docker_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        fs::write(&path, "# c\n\nA=1 # no comment\n  B=\"q\"\nC\n").unwrap();
        assert_eq!(read_env_file(&path).unwrap(), ["A=1 # no comment", "B=\"q\"", "C"]);
        for bad in ["=x\n", "A B=1\n"] {
            fs::write(&path, bad).unwrap();
            assert!(read_env_file(&path).is_err(), "{bad}");
        }
    }
}
