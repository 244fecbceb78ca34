//! How a container is: what its state says, held against who is alive.

use anyhow::Result;

use crate::alive;
use crate::container::Container;
use crate::description::Description;
use crate::state::{State, process_started};

/// How a container is, for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Made and never started.
    Created,
    /// Being started just now.
    Starting,
    /// It runs, and its monitor looks after it.
    Running,
    /// It runs, but its monitor was killed: nobody reads its output or will see how it ends.
    Unmonitored,
    /// It has ended.
    Exited,
    /// Its monitor was killed and it has ended since: how, nobody saw.
    Lost,
}

impl Status {
    /// Docker's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Status::Created | Status::Starting => "created",
            Status::Running | Status::Unmonitored => "running",
            Status::Exited => "exited",
            Status::Lost => "dead",
        }
    }

    /// Whether its main process runs.
    pub fn is_running(self) -> bool {
        matches!(self, Status::Running | Status::Unmonitored)
    }
}

/// How a container is, with the state that says so. The monitor may change it between the two looks that this takes, so a
/// contradiction is looked at again.
pub fn of(container: &Container) -> Result<(Status, State)> {
    let mut state = container.state()?;
    for _ in 0..3 {
        let monitor = alive::holder(&container.directory());
        let status = match (state.running, monitor) {
            (true, Some(_)) => return Ok((Status::Running, state)),
            (false, Some(_)) => Status::Starting,
            (true, None) if process_started(state.pid) == Some(state.pid_started) => Status::Unmonitored,
            (true, None) => Status::Lost,
            (false, None) if state.started.is_empty() && state.error.is_empty() => return Ok((Status::Created, state)),
            (false, None) => return Ok((Status::Exited, state)),
        };
        let again = container.state()?;
        if again == state {
            return Ok((status, state));
        }
        state = again;
    }
    Ok((if state.running { Status::Running } else { Status::Exited }, state))
}

/// Whether the processes of a container that runs stand still. That is known to the kernel alone: whoever thaws the cgroup
/// by hand has unpaused it.
pub fn is_paused(description: &Description) -> bool {
    cgroups::is_frozen(&description.cgroup).unwrap_or(false)
}
