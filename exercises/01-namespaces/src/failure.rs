//! The error that crosses the gate, and the exit status that it becomes.

use std::error::Error;
use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// The engine itself failed (Docker's exit status for it).
pub const ENGINE_FAILED: u8 = 125;
/// The command was found and cannot be executed.
pub const CANNOT_EXECUTE: u8 = 126;
/// There is no such command.
pub const NOT_FOUND: u8 = 127;

/// Why a container did not start: what the child tells before it ends.
///
/// The chain of causes crosses as a list, the system's error number as a number, so that a caller can decide by them;
/// nothing is turned into one string before `main` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartError {
    /// The exit status: [`ENGINE_FAILED`], [`CANNOT_EXECUTE`] or [`NOT_FOUND`].
    pub code: u8,
    /// The system's error number at the root of it, if it has one.
    pub errno: Option<i32>,
    /// What was being done, from the outermost step to the cause.
    pub causes: Vec<String>,
}

impl StartError {
    /// A failure to execute the payload.
    pub fn new(code: u8, errno: Option<i32>, what: impl Into<String>) -> StartError {
        StartError { code, errno, causes: vec![what.into()] }
    }

    /// The same in moderately many words, for one that quotes what has no end: at most 12 KiB as JSON.
    pub(crate) fn shortened(&self) -> StartError {
        let short = |cause: &String| match cause.char_indices().nth(200) {
            Some((end, _)) => format!("{}…", &cause[..end]),
            None => cause.clone(),
        };
        StartError { causes: self.causes.iter().take(10).map(short).collect(), ..self.clone() }
    }
}

impl From<&anyhow::Error> for StartError {
    fn from(error: &anyhow::Error) -> StartError {
        if let Some(known) = error.downcast_ref::<StartError>() {
            return known.clone();
        }
        let errno = error.chain().find_map(errno);
        StartError { code: ENGINE_FAILED, errno, causes: error.chain().map(ToString::to_string).collect() }
    }
}

fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let of_io = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    let of_nix = error.downcast_ref::<nix::Error>().map(|errno| *errno as i32);
    let of_rustix = error.downcast_ref::<rustix::io::Errno>().map(|errno| errno.raw_os_error());
    of_io.or(of_nix).or(of_rustix)
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.causes.join(": "))
    }
}

impl Error for StartError {}

/// The exit status for an error: what it says of itself, else [`ENGINE_FAILED`].
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<StartError>().map_or(ENGINE_FAILED, |error| error.code)
}
