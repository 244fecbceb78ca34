//! `minidocker stop`.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use super::describe::signal_number;
use super::for_each_at_once;
use crate::container::Container;
use crate::life;
use crate::root::Root;

/// Ask containers to stop, and kill those that do not.
#[derive(Args)]
pub struct Stop {
    /// Seconds to wait before killing; -1 waits for ever [default: the container's, 10]
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<i64>,
    /// Ask with this signal [default: the container's]
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Stop) -> Result<i32> {
    let how = args.how()?;
    for_each_at_once(&once_each(root, &args.containers), |name| how.stop(root, name))
}

/// The names without those of containers that have been named before: a container that is asked to stop twice at once may
/// take the second signal for impatience.
fn once_each(root: &Root, names: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut is_new = |name: &String| match Container::find(root, name) {
        Ok(container) => seen.insert(container.id().to_string()),
        Err(_) => true, // to be told when it is its turn
    };
    names.iter().filter(|name| is_new(name)).cloned().collect()
}

impl Stop {
    /// How they are to be stopped.
    pub fn how(&self) -> Result<How> {
        let signal = self.signal.as_deref().map(signal_number).transpose()?;
        Ok(How { patience: self.time.map(patience), signal })
    }
}

/// How a container is stopped: what is not said is the container's own.
pub struct How {
    patience: Option<Duration>,
    signal: Option<i32>,
}

impl How {
    /// Stops a container in this way.
    pub fn stop(&self, root: &Root, name: &str) -> Result<()> {
        let container = Container::find(root, name)?;
        life::stop(&container, self.patience, self.signal).with_context(|| format!("cannot stop {name}"))
    }
}

/// How long `-t` waits: negative numbers for ever.
fn patience(seconds: i64) -> Duration {
    // Longer than any machine is up.
    Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::from(u32::MAX)))
}
