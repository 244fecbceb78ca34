//! The network as one of a container's isolations.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::Result;
use namespaces::{Birth, Child, Gate, Isolation, Process, Record};
use serde::{Deserialize, Serialize};

use crate::args::NetworkOptions;
use crate::bridge::Bridge;
use crate::proxy::Proxy;
use crate::publish::Port;

/// Where a container is to be found, known after `prepare`. For `inspect`, and for `ps`' and `port`'s columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its address; only a bridge gives one.
    pub address: Option<Ipv4Addr>,
    /// The length of its subnet's prefix, in bits.
    pub prefix: u8,
    /// The host's address on the bridge, the way out.
    pub gateway: Option<Ipv4Addr>,
    /// Its hardware address, as `02:42:ac:12:00:02`.
    pub mac: Option<String>,
    /// The host's end of its veth pair.
    pub host_interface: Option<String>,
    /// The ports published, with the numbers really used.
    pub ports: Vec<Port>,
}

/// What the caller can ask about a [`Network`] that has been put into a container's list.
#[derive(Clone, Default)]
pub struct Handle(Rc<RefCell<(Endpoint, Option<Proxy>)>>);

impl Handle {
    /// Where the container is to be found; empty before `prepare`.
    pub fn endpoint(&self) -> Endpoint {
        self.0.borrow().0.clone()
    }

    /// The server for published ports, once; `None` if there are none. Whoever has it must [`turn`](Proxy::turn) it, or
    /// the ports answer from outside only.
    pub fn take_proxy(&self) -> Option<Proxy> {
        self.0.borrow_mut().1.take()
    }
}

/// A container's network.
pub struct Network {
    options: NetworkOptions,
    bridge: Bridge,
    container: String,
    hostname: String,
    files: Option<PathBuf>,
    shared: Option<Rc<OwnedFd>>,
    handle: Handle,
}

impl Network {
    /// The network of a container that is not there yet. `hosts`, `hostname` and `resolv.conf` are written into
    /// `files`, from where the root filesystem binds them over the image's own.
    pub fn new(options: NetworkOptions, bridge: Bridge, container: &str, hostname: &str, files: Option<PathBuf>) -> Network {
        Network {
            options,
            bridge,
            container: container.to_owned(),
            hostname: hostname.to_owned(),
            files,
            shared: None,
            handle: Handle::default(),
        }
    }

    /// For `container:`, the namespace to join, by a descriptor of its `/proc/PID/ns/net`; without it, the text after
    /// the colon is read as a process id.
    pub fn joining(mut self, namespace: OwnedFd) -> Network {
        self.shared = Some(Rc::new(namespace));
        self
    }

    /// What can be asked later.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Isolation for Network {
    fn record(&self) -> Option<Record> {
        None
    }
    fn prepare(&mut self) -> Result<()> {
        let _ = (&self.options, &self.bridge, &self.container, &self.hostname, &self.files);
        anyhow::bail!("the network of chapter 5 is not there yet")
    }
    fn births(&self) -> Vec<Birth> {
        Vec::new()
    }
    fn outside(&mut self, _child: &Child) -> Result<()> {
        Ok(())
    }
    fn inside(&mut self, _gate: &Gate, _process: &mut Process) -> Result<()> {
        Ok(())
    }
}
