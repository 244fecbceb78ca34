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

impl Choice {
    /// The filter, if there is to be one.
    pub fn filter(&self, capabilities: Capabilities) -> Result<Option<Filter>> {
        let policy = match self {
            Choice::Unconfined => return Ok(None),
            Choice::Default => default::policy(),
            Choice::Profile(text) => profile::parse(text)?,
        };
        ensure!(
            !Architecture::OF_THIS_MACHINE.is_empty(),
            "there is no table of {}'s system calls yet, so they cannot be filtered (--security-opt seccomp=unconfined \
             runs the container without a filter)",
            std::env::consts::ARCH
        );
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
