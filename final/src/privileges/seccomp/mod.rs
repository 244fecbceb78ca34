//! Which system calls a container may make: a filter that the kernel runs before each of them, `seccomp(2)`.
//!
//! In reading order:
//!
//! | file | idea |
//! |---|---|
//! | [`syscall`] | system calls by name, and their numbers (the [`table`]) |
//! | [`policy`] | what happens to which call |
//! | [`default`](mod@default) | the policy for whoever does not choose |
//! | [`profile`] | policies in Docker's JSON |
//! | [`program`] | writing a program for the kernel's filter machine |
//! | [`compile`] | from a policy to such a program |
//! | [`load`] | giving it to the kernel |
//!
//! Everything but the last is a pure function, so the tests run every program through a filter machine of their own and
//! compare it with the policy, call by call.

pub mod compile;
pub mod default;
pub mod load;
pub mod policy;
pub mod profile;
pub mod program;
pub mod syscall;
mod table;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::capabilities::Capabilities;
use load::Filter;
use policy::Circumstances;
use syscall::Architecture;

/// What the user chose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The default policy.
    #[default]
    Default,
    /// No filter.
    Unconfined,
    /// A profile, as its text: the container can be started again when the file is gone.
    Profile(String),
}

/// The filter that was compiled last, and for what: a monitor asks for the same one with every `exec`.
static LAST: Mutex<Option<(Choice, Capabilities, Filter)>> = Mutex::new(None);

impl Choice {
    /// The filter, if there is to be one.
    pub fn filter(&self, capabilities: Capabilities) -> Result<Option<Filter>> {
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((choice, with, filter)) if (choice, *with) == (self, capabilities) => Ok(Some(filter.clone())),
            _ => {
                let filter = self.compile(capabilities)?;
                // No filter, as with `exec --privileged`, is no reason to forget the one that the others have.
                if let Some(filter) = &filter {
                    *last = Some((self.clone(), capabilities, filter.clone()));
                }
                Ok(filter)
            }
        }
    }

    /// Whether there can be such a filter. Of the default policy it is known, but for the architecture.
    pub fn check(&self, capabilities: Capabilities) -> Result<()> {
        match self {
            Choice::Unconfined => Ok(()),
            Choice::Default => has_table(),
            Choice::Profile(_) => self.filter(capabilities).map(drop),
        }
    }

    fn compile(&self, capabilities: Capabilities) -> Result<Option<Filter>> {
        let policy = match self {
            Choice::Unconfined => return Ok(None),
            Choice::Default => default::policy(),
            Choice::Profile(text) => profile::parse(text)?,
        };
        has_table()?;
        let release = rustix::system::uname();
        let kernel = profile::version(&release.release().to_string_lossy()).context("read the kernel's version")?;
        let program = compile::compile(&policy, Circumstances { capabilities, kernel });
        ensure!(
            program.len() <= load::LONGEST,
            "the seccomp profile makes a filter of {} instructions; the kernel takes {}",
            program.len(),
            load::LONGEST
        );
        Ok(Some(Filter { program, flags: policy.flags }))
    }
}

fn has_table() -> Result<()> {
    ensure!(
        !Architecture::OF_THIS_MACHINE.is_empty(),
        "there is no table of {}'s system calls yet, so they cannot be filtered (--security-opt seccomp=unconfined \
         runs the container without a filter)",
        std::env::consts::ARCH
    );
    Ok(())
}
