//! What the process inside may do: the isolation that comes last, when all that needs power is done.
//!
//! In reading order:
//!
//! | file | idea |
//! |---|---|
//! | [`args`] | the flags, and the same as data |
//! | [`capabilities`] | root's power in pieces |
//! | [`seccomp`] | which system calls |
//! | [`limits`] | limits of each process |
//! | [`session`] | what else a process inherits: the kernel's keyring, the out-of-memory score |
//! | [`sysctl`] | settings of the kernel that are a namespace's own |
//! | [`own_binary`] | the engine's own file, which must not be written to from inside |
//!
//! Invariant: nothing here asks whether we are root. In a user namespace of an ordinary user every step works as it
//! does for the host's root, since the power that it needs is the namespace's own.

pub mod args;
pub mod capabilities;
pub mod limits;
pub mod own_binary;
pub mod seccomp;
pub mod session;
pub mod sysctl;

pub use args::{PrivilegeArgs, Settings};

use anyhow::{Context, Result};
use namespaces::{Child, Credentials, Gate, Isolation, Process};
use rustix::thread::set_no_new_privs;
use seccomp::Choice;
use seccomp::load::Filter;

/// Finds out who the process is to be. Called inside, with the container's root as ours and all power still held; may
/// set `HOME`.
pub type FindUser = Box<dyn FnMut(&mut Process) -> Result<Credentials>>;

/// Takes from the child what it is not to have, and makes it the user.
///
/// The same for the first process of a container, for what is executed in it later, and for a build's `RUN`.
pub struct Privileges {
    settings: Settings,
    find_user: FindUser,
    filter: Option<Filter>,
}

impl Privileges {
    /// These settings, for the user that `find_user` finds.
    pub fn new(settings: Settings, find_user: FindUser) -> Privileges {
        Privileges { settings, find_user, filter: None }
    }

    fn load_filter(&self) -> Result<()> {
        self.filter.as_ref().map_or(Ok(()), seccomp::load::load)
    }
}

impl Isolation for Privileges {
    fn prepare(&mut self) -> Result<()> {
        self.filter = self.settings.seccomp.filter(self.settings.grant.capabilities)?;
        Ok(())
    }

    fn outside(&mut self, child: &Child) -> Result<()> {
        limits::set(child, &self.settings.ulimits)?;
        session::set_oom_score(child, self.settings.oom_score_adj)
    }

    /// The order is the point: each line needs power that a later one takes away.
    fn inside(&mut self, _: &Gate, process: &mut Process) -> Result<()> {
        session::new_keyring(self.filter.is_some())?;
        process.enter_cwd()?;
        let credentials = (self.find_user)(process)?;
        let grant = self.settings.grant;
        capabilities::drop_bounding(grant)?;
        if self.settings.no_new_privileges {
            // With this promise made anybody may load a filter: so it can come last, and need not allow our own steps.
            capabilities::assume(&credentials, grant)?;
            set_no_new_privs(true).context("set no_new_privs")?;
            self.load_filter()
        } else {
            // Without it the filter takes CAP_SYS_ADMIN, which the next step gives up. So it is in force for that step,
            // and for the few that follow until the payload is executed.
            self.load_filter()?;
            let profile = matches!(self.settings.seccomp, Choice::Profile(_));
            capabilities::assume(&credentials, grant).with_context(|| match profile {
                true => "the seccomp profile may forbid this (with no-new-privileges it would come last)",
                false => "become the user",
            })
        }
    }
}
