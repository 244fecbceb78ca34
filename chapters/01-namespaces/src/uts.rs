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
    // ANCHOR: prepare
    fn prepare(&mut self) -> Result<()> {
        for name in self.hostname.iter().chain(&self.domainname) {
            let length = name.len();
            ensure!((1..=HOST_NAME_MAX).contains(&length), "a host name has 1 to 64 bytes, {name:?} has {length}");
        }
        Ok(())
    }
    // ANCHOR_END: prepare

    // ANCHOR: births
    fn births(&self) -> Vec<Birth> {
        vec![Birth::New(Kind::Uts)]
    }
    // ANCHOR_END: births

    // ANCHOR: inside
    fn inside(&mut self, _: &Gate, _: &mut Process) -> Result<()> {
        // ANCHOR: ex-hostname
        if let Some(name) = &self.hostname {
            sethostname(name).with_context(|| format!("set the host name {name:?}"))?;
        }
        if let Some(name) = &self.domainname {
            rustix::system::setdomainname(name.as_bytes()).with_context(|| format!("set the domain name {name:?}"))?;
        }
        Ok(())
        // ANCHOR_END: ex-hostname
    }
    // ANCHOR_END: inside
}
