//! Interfaces, addresses and routes, by netlink: what `ip link`, `ip address` and `ip route` do.
//!
//! A netlink message is a header, a fixed struct and attributes that may nest (netlink(7), rtnetlink(7)). The kernel's
//! answers come on the same socket: an acknowledgement, an error with its reason in words, or the objects asked for.
//! A socket belongs to the network namespace in which it was opened, for good.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use anyhow::{Context, Result};
use netlink_bindings::traits::{NetlinkRequest, Pusher};
use netlink_bindings::utils::{finalize_nested_header, push_header, push_nested_header};
use netlink_bindings::{rt_addr, rt_link, rt_route};
use netlink_socket2::{NetlinkSocket, ReplyError};
use rt_link::Ifinfomsg;

use crate::subnet::Subnet;

const IFF_UP: u32 = libc::IFF_UP as u32;

/// A socket for one network namespace.
#[derive(Default)]
pub struct Links {
    socket: NetlinkSocket,
}

/// An interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Whether it is up.
    pub up: bool,
}

/// A veth pair to be made: two interfaces, and what enters one comes out of the other (veth(4)).
pub struct Veth<'a> {
    /// The name of the end that stays here.
    pub name: &'a str,
    /// The bridge that this end becomes a port of, by number.
    pub bridge: u32,
    /// The name of the other end.
    pub peer_name: &'a str,
    /// Its hardware address.
    pub peer_mac: [u8; 6],
    /// The network namespace in which the other end is born.
    pub peer_namespace: BorrowedFd<'a>,
}

impl Links {
    /// Opens no socket yet: the first request does, in the namespace of that moment.
    pub fn new() -> Links {
        Links::default()
    }

    /// Looks an interface up; `None` if there is none of that name.
    pub fn find(&mut self, name: &str) -> Result<Option<Link>> {
        let mut request = rt_link::Request::new().op_getlink_do(&Ifinfomsg::new());
        request.encode().push_ifname_bytes(name.as_bytes());
        let mut reply = self.socket.request(&request).context("ask for an interface")?;
        match reply.recv_one() {
            Ok((header, _)) => Ok(Some(Link { index: header.ifi_index as u32, up: header.ifi_flags & IFF_UP != 0 })),
            Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("look for the interface {name}")),
        }
    }

    /// The names of all interfaces.
    pub fn names(&mut self) -> Result<Vec<String>> {
        let request = rt_link::Request::new().op_getlink_dump(&Ifinfomsg::new());
        let mut reply = self.socket.request(&request).context("list the interfaces")?;
        let mut names = Vec::new();
        while let Some(answer) = reply.recv() {
            let (_, attributes) = answer.context("list the interfaces")?;
            names.extend(attributes.get_ifname().map(|name| name.to_string_lossy().into_owned()));
        }
        Ok(names)
    }

    /// Makes a bridge, down, and gives its number.
    ///
    /// Its hardware address is set by hand: otherwise a bridge takes the smallest of its ports', changes it as
    /// containers come and go, and their ARP caches are wrong for a minute.
    pub fn create_bridge(&mut self, name: &str, mac: [u8; 6]) -> Result<u32> {
        let mut request = rt_link::Request::new().set_create().set_excl().op_newlink_do(&Ifinfomsg::new());
        request
            .encode()
            .push_ifname_bytes(name.as_bytes())
            .push_address(&mac)
            .nested_linkinfo()
            .push_kind(c"bridge")
            .end_nested();
        self.ask(&request).with_context(|| format!("make the bridge {name}"))?;
        let link = self.find(name)?.with_context(|| format!("the bridge {name} is gone again"))?;
        Ok(link.index)
    }

    /// Makes a veth pair in one message: this end a port of the bridge and up, the other born in its namespace, under
    /// its name, with its hardware address, down.
    ///
    /// # Errors
    /// Among others EEXIST, if an interface of that name exists.
    pub fn create_veth(&mut self, veth: &Veth<'_>) -> Result<(), ReplyError> {
        let header = Ifinfomsg { ifi_flags: IFF_UP, ifi_change: IFF_UP, ..Ifinfomsg::new() };
        let mut request = rt_link::Request::new().set_create().set_excl().op_newlink_do(&header);
        let mut attributes = request
            .encode()
            .push_ifname_bytes(veth.name.as_bytes())
            .push_master(veth.bridge)
            .nested_linkinfo()
            .push_kind(c"veth");
        // The bindings have no veth: the kernel's description of the protocol lacks it. IFLA_INFO_DATA holds
        // VETH_INFO_PEER, and that the same struct and attributes as an interface of its own.
        let message = attributes.as_vec_mut();
        let data = push_nested_header(message, libc::IFLA_INFO_DATA);
        let peer = push_nested_header(message, VETH_INFO_PEER);
        message.extend_from_slice(Ifinfomsg::new().as_slice());
        rt_link::PushLinkAttrs::new(&mut *message)
            .push_ifname_bytes(veth.peer_name.as_bytes())
            .push_address(&veth.peer_mac)
            .push_net_ns_fd(veth.peer_namespace.as_raw_fd() as u32);
        finalize_nested_header(message, peer);
        finalize_nested_header(message, data);
        attributes.end_nested();
        self.ask(&request)
    }

    /// Lets a port of a bridge send a frame back where it came from.
    pub fn set_hairpin(&mut self, name: &str) -> Result<()> {
        let link = self.find(name)?.with_context(|| format!("the interface {name} is gone"))?;
        let header = Ifinfomsg { ifi_family: libc::AF_BRIDGE as u8, ifi_index: link.index as i32, ..Ifinfomsg::new() };
        let mut request = rt_link::Request::new().op_setlink_do(&header);
        let mut attributes = request.encode();
        let message = attributes.as_vec_mut();
        let port = push_nested_header(message, libc::IFLA_PROTINFO);
        push_header(message, IFLA_BRPORT_MODE, 1);
        message.push(1);
        finalize_nested_header(message, port);
        drop(attributes);
        self.ask(&request).with_context(|| format!("set the hairpin mode of {name}"))
    }

    /// Sets an interface up.
    pub fn set_up(&mut self, index: u32) -> Result<()> {
        let header = Ifinfomsg { ifi_index: index as i32, ifi_flags: IFF_UP, ifi_change: IFF_UP, ..Ifinfomsg::new() };
        let request = rt_link::Request::new().op_setlink_do(&header);
        self.ask(&request).context("set an interface up")
    }

    /// Gives an interface an address; nothing happens if it has it. The route into the subnet comes with it.
    pub fn add_address(&mut self, index: u32, address: Ipv4Addr, subnet: Subnet) -> Result<()> {
        let header = rt_addr::Ifaddrmsg {
            ifa_family: libc::AF_INET as u8,
            ifa_prefixlen: subnet.prefix,
            ifa_index: index,
            ..Default::default()
        };
        let mut request = rt_addr::Request::new().set_create().set_replace().op_newaddr_do(&header);
        request.encode().push_local(IpAddr::V4(address)).push_broadcast(subnet.broadcast());
        self.ask(&request).with_context(|| format!("add the address {address}/{}", subnet.prefix))
    }

    /// Sends everything that no other route takes to `gateway`.
    pub fn add_default_route(&mut self, index: u32, gateway: Ipv4Addr) -> Result<()> {
        let header = rt_route::Rtmsg {
            rtm_family: libc::AF_INET as u8,
            rtm_table: libc::RT_TABLE_MAIN,
            rtm_protocol: libc::RTPROT_BOOT,
            rtm_scope: libc::RT_SCOPE_UNIVERSE,
            rtm_type: libc::RTN_UNICAST,
            ..Default::default()
        };
        let mut request = rt_route::Request::new().set_create().set_excl().op_newroute_do(&header);
        request.encode().push_gateway(IpAddr::V4(gateway)).push_oif(index);
        self.ask(&request).with_context(|| format!("add the default route by {gateway}"))
    }

    /// The subnets into which this host has a route, the default route left out.
    pub fn routes(&mut self) -> Result<Vec<Subnet>> {
        let header = rt_route::Rtmsg { rtm_family: libc::AF_INET as u8, ..Default::default() };
        let request = rt_route::Request::new().op_getroute_dump(&header);
        let mut reply = self.socket.request(&request).context("list the routes")?;
        let mut subnets = Vec::new();
        while let Some(answer) = reply.recv() {
            let (header, attributes) = answer.context("list the routes")?;
            if let (1.., Ok(IpAddr::V4(network))) = (header.rtm_dst_len, attributes.get_dst()) {
                subnets.push(Subnet::around(network, header.rtm_dst_len));
            }
        }
        Ok(subnets)
    }

    /// Takes an interface away; nothing happens if there is none.
    pub fn delete(&mut self, name: &str) -> Result<()> {
        let mut request = rt_link::Request::new().op_dellink_do(&Ifinfomsg::new());
        request.encode().push_ifname_bytes(name.as_bytes());
        match self.ask(&request) {
            Err(error) if errno(&error) != Some(libc::ENODEV) => {
                Err(error).with_context(|| format!("take the interface {name} away"))
            }
            _ => Ok(()),
        }
    }

    fn ask<R: NetlinkRequest>(&mut self, request: &R) -> Result<(), ReplyError> {
        self.socket.request(request)?.recv_ack()
    }
}

/// The system's error number in a netlink answer.
pub(crate) fn errno(error: &ReplyError) -> Option<i32> {
    error.as_io_error().raw_os_error()
}

/// `linux/veth.h`
const VETH_INFO_PEER: u16 = 1;
/// `linux/if_link.h`: the hairpin mode of a bridge's port.
const IFLA_BRPORT_MODE: u16 = 4;
