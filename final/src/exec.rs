//! Another process in a running container: the same mechanism with another list of isolations.

use std::time::Duration;

use anyhow::Result;
use cgroups::{Group, Join};
use namespaces::{Container, Enter, Isolation, Process, StartError};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::description::Description;
use crate::privileges::{PrivilegeArgs, Settings};
use crate::streams::EndsHandle;
use crate::terminal::{self, Terminal, WindowSize};
use crate::user;

/// How long a process may take to stand in the container: a millisecond, if nobody inside stops it. The monitor does nothing
/// else meanwhile.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Docker's exit status for an `exec` in a container that is not there, does not run or is paused.
pub const REFUSED: u8 = 1;

/// What `exec` is to run, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecDescription {
    /// The command and its arguments.
    pub argv: Vec<String>,
    /// Environment variables on top of the container's, `KEY=VALUE`.
    pub env: Vec<String>,
    /// The working directory, else the container's.
    pub cwd: Option<String>,
    /// The user, else the container's.
    pub user: Option<String>,
    /// Whether it gets input.
    pub interactive: bool,
    /// A terminal of this size.
    pub terminal: Option<WindowSize>,
    /// All capabilities and no seccomp filter.
    pub privileged: bool,
}

/// The process and the isolations for it, ready to be created, and where its streams will be found.
///
/// `init` is the container's main process, whose namespaces and cgroup it is born in.
///
/// # Errors
/// With [`REFUSED`] if the container is paused: the process would stand still before it came to its command. The text
/// begins after the container's name, which may have changed since it was described.
pub fn assemble(exec: &ExecDescription, container: &Description, init: Pid) -> Result<(Container, EndsHandle)> {
    let mut process = Process::new(exec.argv.iter().map(Into::into).collect());
    process.env = container.env.iter().map(Into::into).collect();
    for entry in &exec.env {
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        process.set_env(key, value);
    }
    process.cwd = exec.cwd.as_ref().map_or_else(|| container.cwd.clone(), Into::into);
    let mut isolations: Vec<Box<dyn Isolation>> = vec![Box::new(Enter::all(init)?)];
    // Without root and without a delegated cgroup there is none to join.
    let group = Group::find(&container.cgroup)?;
    if !group.is_nowhere() {
        if cgroups::freezer::is_frozen(&group) {
            return Err(StartError::new(REFUSED, None, "is paused, unpause the container before exec").into());
        }
        isolations.push(Box::new(Join::new(group)));
    }
    let (streams, ends) = terminal::streams(exec.terminal.map(Terminal::new), exec.interactive);
    isolations.push(streams);
    let user = exec.user.as_deref().unwrap_or(&container.user);
    isolations.push(Box::new(user::privileges(settings(exec, container)?, user)));
    Ok((Container::new(process, isolations, network::undo).patience(PATIENCE), ends))
}

/// The container's own, or with `--privileged` all there are. What is no power to be given stays the container's: limits of
/// resources, groups, and the promise that nobody gains rights.
fn settings(exec: &ExecDescription, container: &Description) -> Result<Settings> {
    if !exec.privileged {
        return Ok(container.privileges.clone());
    }
    let all = PrivilegeArgs { privileged: true, ..PrivilegeArgs::default() };
    let own = &container.privileges;
    Ok(Settings {
        ulimits: own.ulimits.clone(),
        groups: own.groups.clone(),
        no_new_privileges: own.no_new_privileges,
        oom_score_adj: own.oom_score_adj,
        ..all.settings()?
    })
}
