//! Where a container is to be found: what a start finds out and others want to know.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

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

/// What the caller can ask about a [`Network`](crate::Network) that has been put into a container's list.
#[derive(Clone, Default)]
pub struct Handle(pub(crate) Rc<RefCell<(Endpoint, Option<Proxy>)>>);

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
