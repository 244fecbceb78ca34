//! The command line of `virtual-host`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// What a caller asks for.
pub struct Options {
    /// How long the program may run before all is killed.
    pub timeout: Duration,
    /// How long what is dying anyway may take before it counts as left behind.
    pub grace: Duration,
    /// Whether leftovers make the run fail; for programs of other people, which go with the host anyway.
    pub strict: bool,
    /// Bytes of memory for everything in it, files on its temporary file systems included.
    pub memory: u64,
    /// Processes and threads in it.
    pub pids: u64,
    /// How many processors' time it may use; as much as there is if `None`.
    pub cpus: Option<u64>,
    /// Whether to say, on standard error, what it is made of.
    pub announce: bool,
    /// A directory to be seen as `/tmp/suite/bin`, readable by every user whatever its own parents permit.
    pub bin: Option<PathBuf>,
    /// Directories that stay writable.
    pub keep: Vec<PathBuf>,
    /// An ordinary user who runs the program, from a cgroup that was delegated to them where there is v2 alone.
    pub user: Option<u32>,
    /// The program and its arguments.
    pub command: Vec<OsString>,
}

impl Options {
    /// Reads `[--timeout SECONDS] [--grace SECONDS] [--leftovers ignored] [--memory BYTES] [--pids N] [--cpus N] [--announce yes] [--bin DIR] [--keep DIR]… [--user UID] -- PROGRAM [ARGS…]`.
    pub fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Options> {
        let mut options = Options {
            timeout: Duration::from_secs(300),
            grace: Duration::from_secs(60),
            strict: true,
            memory: 2 << 30,
            pids: 512,
            cpus: None,
            announce: false,
            bin: None,
            keep: Vec::new(),
            user: None,
            command: Vec::new(),
        };
        while let Some(flag) = args.next() {
            let flag = flag.to_string_lossy().into_owned();
            if flag == "--" {
                options.command = args.by_ref().collect();
                break;
            }
            let value = args.next().with_context(|| format!("{flag} needs a value"))?;
            let number =
                || -> Result<u64> { value.to_string_lossy().parse().with_context(|| format!("{flag} needs a number")) };
            match flag.as_str() {
                "--timeout" => options.timeout = Duration::from_secs(number()?),
                "--grace" => options.grace = Duration::from_secs(number()?),
                "--memory" => options.memory = number()?,
                "--pids" => options.pids = number()?,
                "--cpus" => options.cpus = Some(number()?),
                "--announce" => options.announce = value == "yes",
                "--leftovers" => options.strict = value != "ignored",
                "--bin" => options.bin = Some(value.into()),
                "--user" => options.user = Some(number()? as u32),
                "--keep" => options.keep.push(value.into()),
                _ => bail!("unknown option {flag}"),
            }
        }
        if options.command.is_empty() {
            bail!("no program given: virtual-host [OPTIONS] -- PROGRAM [ARGS…]");
        }
        Ok(options)
    }
}
