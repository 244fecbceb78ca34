//! A host name of its own, `uts_namespaces(7)`.

use anyhow::{Context, Result, ensure};
use nix::unistd::sethostname;

use crate::{Birth, Gate, Isolation, Kind, Process};

/// The longest host name, in bytes (`HOST_NAME_MAX` of `gethostname(2)`).
const HOST_NAME_MAX: usize = 64;

/// Gives the container its own host name, and a NIS domain name.
#[derive(Clone, Debug, Default)]
pub struct HostName {
    /// The host name. Left as it is when there is none.
    pub hostname: Option<String>,
    /// The NIS domain name, `setdomainname(2)` (not the DNS domain).
    pub domainname: Option<String>,
}

impl HostName {
    /// A host name.
    pub fn new(hostname: impl Into<String>) -> HostName {
        HostName { hostname: Some(hostname.into()), domainname: None }
    }
}

impl Isolation for HostName {
    fn prepare(&mut self) -> Result<()> {
        for name in self.hostname.iter().chain(&self.domainname) {
            let length = name.len();
            ensure!((1..=HOST_NAME_MAX).contains(&length), "a host name has 1 to 64 bytes, {name:?} has {length}");
        }
        Ok(())
    }

    fn births(&self) -> Vec<Birth> {
        vec![Birth::New(Kind::Uts)]
    }

    fn inside(&mut self, _: &Gate, _: &mut Process) -> Result<()> {
        // ANCHOR: ex-hostname
        // Exercise 1.2, 15 minutes. The page: 01-namespaces/hostname.md; hints: cargo x hint 1.2
        todo!("exercise 1.2: Give the container a name of its own")
        // ANCHOR_END: ex-hostname
    }
}
