//! Whose namespace a container gets: one of its own, the host's, or that of another.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail, ensure};
use nix::unistd::Pid;

/// The value of `--pid`, `--ipc`, `--uts`, `--cgroupns` and `--userns`: `private`, `host` or `container:X`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A new one.
    Private,
    /// The host's: whoever starts the container stays in it.
    Host,
    /// That of a process that runs already.
    Of(Target),
}

/// Who is to share a namespace with us, as the user names it.
///
/// The chapters know containers by the number of a process in them ([`Target::pid`]). The engine has names for them, and
/// finds the process itself ([`Target::as_str`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(String);

impl Target {
    /// What stands after `container:`; not empty.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The process that it is the number of.
    pub fn pid(&self) -> Result<Pid> {
        match self.0.parse() {
            Ok(pid) if pid > 0 => Ok(Pid::from_raw(pid)),
            _ => bail!("container:{} names no process (give the pid of one in it, as in container:4711)", self.0),
        }
    }
}

impl FromStr for Mode {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Mode> {
        match text.split_once(':') {
            None if text == "private" => Ok(Mode::Private),
            None if text == "host" => Ok(Mode::Host),
            Some(("container", target)) => {
                ensure!(!target.is_empty(), "container: is followed by nothing (write container:X)");
                Ok(Mode::Of(Target(target.to_owned())))
            }
            _ => bail!("there is no mode {text:?} (there are: private, host, container:X)"),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Private => f.write_str("private"),
            Mode::Host => f.write_str("host"),
            Mode::Of(Target(target)) => write!(f, "container:{target}"),
        }
    }
}
