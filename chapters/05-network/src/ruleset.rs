//! The rules of a bridge, as a plan.
//!
//! They are written once and never grow: what changes with every container is two maps. In nft's words:
//!
//! ```text
//! table ip md-1a2b3c4d {
//!   map published     { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }
//!   map published_any { type inet_proto . inet_service : ipv4_addr . inet_service }
//!   chain prerouting  { type nat hook prerouting priority dstnat;
//!     fib daddr type local jump published }
//!   chain output      { type nat hook output priority dstnat;
//!     ip daddr 127.0.0.0/8 return
//!     fib daddr type local jump published }
//!   chain published   {
//!     dnat to ip daddr . meta l4proto . th dport map @published
//!     dnat to meta l4proto . th dport map @published_any }
//!   chain postrouting { type nat hook postrouting priority srcnat;
//!     ip saddr 172.18.0.0/16 oifname != "md-1a2b3c4d" masquerade
//!     ip saddr 172.18.0.0/16 oifname "md-1a2b3c4d" ct status dnat masquerade }
//!   chain forward     { type filter hook forward priority filter;
//!     oifname != "md-1a2b3c4d" accept
//!     iifname "md-1a2b3c4d" accept
//!     ct state established,related accept
//!     ct status dnat accept
//!     drop } }
//! ```
//!
//! * Loopback is left out of `output`: a packet from 127.0.0.1 would have to leave the machine's loopback, which the
//!   kernel allows only with `route_localnet`, and that opens 127.0.0.1 of the host to the containers. The
//!   [`proxy`](crate::proxy) serves it.
//! * The second masquerade is the *hairpin*: a container that calls another (or itself) by the host's address must see
//!   the answer come back through the host, or it would not know it for its answer.
//! * `forward` keeps others out: only answers and what came to a published port may enter the bridge, neither the
//!   neighbours on the host's network (who could set a route to it) nor the containers of other bridges.

use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr};

use crate::nft::{Change, Expression, Hook, KEY, MapTypes, Register};
use crate::publish::Port;
use crate::subnet::Subnet;
use Expression::*;

const PUBLISHED: &CStr = c"published";
const PUBLISHED_ANY: &CStr = c"published_any";

/// All of a bridge's table, to be applied at once.
pub fn table(bridge: &str, subnet: Subnet) -> Vec<Change> {
    let nat = |number, priority| Some(Hook { kind: c"nat", number, priority });
    let filter = Some(Hook { kind: c"filter", number: libc::NF_INET_FORWARD, priority: libc::NF_IP_PRI_FILTER });
    let value = (ADDRESS << 6 | SERVICE, 8);
    let specific = MapTypes { key: (ADDRESS << 12 | PROTOCOL << 6 | SERVICE, 12), value };
    let any = MapTypes { key: (PROTOCOL << 6 | SERVICE, 8), value };
    let to_published = [to_this_host(), vec![Jump(PUBLISHED)]].concat();
    let leaves_subnet = [from(subnet), vec![leaving(), Differs(KEY, name(bridge)), Masquerade]].concat();
    let hairpin = [from(subnet), vec![leaving(), Equal(KEY, name(bridge))], translated(), vec![Masquerade]].concat();
    let accept = Verdict(libc::NF_ACCEPT);
    vec![
        Change::NewTable,
        Change::NewMap(PUBLISHED, specific),
        Change::NewMap(PUBLISHED_ANY, any),
        Change::NewChain(PUBLISHED, None),
        Change::NewChain(c"prerouting", nat(libc::NF_INET_PRE_ROUTING, libc::NF_IP_PRI_NAT_DST)),
        Change::NewChain(c"output", nat(libc::NF_INET_LOCAL_OUT, libc::NF_IP_PRI_NAT_DST)),
        Change::NewChain(c"postrouting", nat(libc::NF_INET_POST_ROUTING, libc::NF_IP_PRI_NAT_SRC)),
        Change::NewChain(c"forward", filter),
        Change::Append(
            PUBLISHED,
            vec![destination(KEY), transport(KEY + 1), port(KEY + 2), Lookup(PUBLISHED), TranslateDestination],
        ),
        Change::Append(PUBLISHED, vec![transport(KEY), port(KEY + 1), Lookup(PUBLISHED_ANY), TranslateDestination]),
        Change::Append(c"prerouting", to_published.clone()),
        Change::Append(c"output", to_loopback()),
        Change::Append(c"output", to_published),
        Change::Append(c"postrouting", leaves_subnet),
        Change::Append(c"postrouting", hairpin),
        Change::Append(c"forward", vec![leaving(), Differs(KEY, name(bridge)), accept.clone()]),
        Change::Append(c"forward", vec![entering(), Equal(KEY, name(bridge)), accept.clone()]),
        Change::Append(c"forward", [known(), vec![accept.clone()]].concat()),
        Change::Append(c"forward", [translated(), vec![accept]].concat()),
        Change::Append(c"forward", vec![Verdict(libc::NF_DROP)]),
    ]
}

/// What leads the published ports to a container's address: one element of a map each.
pub fn publish(address: Ipv4Addr, ports: &[Port]) -> Vec<Change> {
    let add = |port: &Port| {
        let (map, key) = key_of(port)?;
        let value = [padded(&address.octets()), padded(&port.container_port.to_be_bytes())].concat();
        Some(Change::AddElement(map, key, value))
    };
    ports.iter().filter_map(add).collect()
}

/// The reverse of [`publish`].
pub fn unpublish(ports: &[Port]) -> Vec<Change> {
    ports.iter().filter_map(key_of).map(|(map, key)| Change::DeleteElement(map, key)).collect()
}

/// The two rules that let this bridge through a `FORWARD` chain of others, with their comments.
pub fn let_through(bridge: &str) -> [(Vec<Expression>, String); 2] {
    let accept = Verdict(libc::NF_ACCEPT);
    [
        (vec![entering(), Equal(KEY, name(bridge)), accept.clone()], format!("{bridge} from its containers")),
        (vec![leaving(), Equal(KEY, name(bridge)), accept], format!("{bridge} to its containers")),
    ]
}

/// The element that a port needs: none for loopback and IPv6 addresses of the host, which the proxy serves alone.
fn key_of(port: &Port) -> Option<(&'static CStr, Vec<u8>)> {
    let service = [padded(&[port.protocol.number()]), padded(&port.host_port.to_be_bytes())].concat();
    match port.host_ip {
        None => Some((PUBLISHED_ANY, service)),
        Some(IpAddr::V4(ip)) if ip.is_unspecified() => Some((PUBLISHED_ANY, service)),
        Some(IpAddr::V4(ip)) if !ip.is_loopback() => Some((PUBLISHED, [ip.octets().to_vec(), service].concat())),
        Some(_) => None,
    }
}

/// A field of a concatenated key: filled up to whole registers of four bytes.
fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut field = bytes.to_vec();
    field.resize(bytes.len().next_multiple_of(4), 0);
    field
}

/// An interface's name as a register holds it: 16 bytes (IFNAMSIZ).
fn name(interface: &str) -> Vec<u8> {
    let mut bytes = interface.as_bytes().to_vec();
    bytes.resize(libc::IFNAMSIZ, 0);
    bytes
}

fn entering() -> Expression {
    Meta(libc::NFT_META_IIFNAME as u32, KEY)
}

fn leaving() -> Expression {
    Meta(libc::NFT_META_OIFNAME as u32, KEY)
}

fn transport(to: Register) -> Expression {
    Meta(libc::NFT_META_L4PROTO as u32, to)
}

/// The destination port, at the same place in TCP's header and UDP's.
fn port(to: Register) -> Expression {
    Payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER as u32, 2, 2, to)
}

fn destination(to: Register) -> Expression {
    Payload(libc::NFT_PAYLOAD_NETWORK_HEADER as u32, 16, 4, to)
}

fn from(subnet: Subnet) -> Vec<Expression> {
    let source = Payload(libc::NFT_PAYLOAD_NETWORK_HEADER as u32, 12, 4, KEY);
    vec![source, Mask(KEY, subnet.mask().octets()), Equal(KEY, subnet.network.octets().to_vec())]
}

fn to_loopback() -> Vec<Expression> {
    vec![destination(KEY), Mask(KEY, [255, 0, 0, 0]), Equal(KEY, vec![127, 0, 0, 0]), Return]
}

fn to_this_host() -> Vec<Expression> {
    vec![DestinationType(KEY), Equal(KEY, u32::from(libc::RTN_LOCAL).to_ne_bytes().to_vec())]
}

/// Part of a connection that has been answered, or related to one.
fn known() -> Vec<Expression> {
    // enum ip_conntrack_info, as bits: established is 2, related 4.
    any_bit(Connection(libc::NFT_CT_STATE as u32, KEY), 2 | 4)
}

/// Part of a connection whose destination was translated: it came to a published port.
fn translated() -> Vec<Expression> {
    any_bit(Connection(libc::NFT_CT_STATUS as u32, KEY), IPS_DST_NAT)
}

fn any_bit(load: Expression, bits: u32) -> Vec<Expression> {
    vec![load, Mask(KEY, bits.to_ne_bytes()), Differs(KEY, vec![0; 4])]
}

/// `linux/netfilter/nf_conntrack_common.h`
const IPS_DST_NAT: u32 = 1 << 5;
/// nft's numbers for data types, by which it knows how to print a map; a concatenation takes six bits for each.
const ADDRESS: u32 = 7;
const PROTOCOL: u32 = 12;
const SERVICE: u32 = 13;

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(texts: &[&str]) -> Vec<Port> {
        texts.iter().flat_map(|text| Port::parse(text).unwrap_or_else(|error| panic!("{error:#}"))).collect()
    }

    #[test]
    fn elements_by_where_a_port_is_published() {
        let address = Ipv4Addr::new(172, 18, 0, 2);
        let plan = publish(address, &ports(&["8080:80", "192.0.2.1:53:5353/udp", "127.0.0.1:81:81", "[::]:82:82"]));
        let any =
            Change::AddElement(PUBLISHED_ANY, vec![6, 0, 0, 0, 0x1f, 0x90, 0, 0], vec![172, 18, 0, 2, 0, 80, 0, 0]);
        let specific = Change::AddElement(
            PUBLISHED,
            vec![192, 0, 2, 1, 17, 0, 0, 0, 0, 53, 0, 0],
            vec![172, 18, 0, 2, 0x14, 0xe9, 0, 0],
        );
        assert_eq!(plan, [any, specific]);
    }

    #[test]
    fn what_is_published_can_be_taken_back() {
        let ports = ports(&["8080:80", "127.0.0.1:81:81", "192.0.2.1:53:53/udp"]);
        let keys = |plan: Vec<Change>| -> Vec<_> {
            plan.into_iter()
                .map(|change| match change {
                    Change::AddElement(map, key, _) | Change::DeleteElement(map, key) => (map, key),
                    other => panic!("{other:?}"),
                })
                .collect()
        };
        assert_eq!(keys(publish(Ipv4Addr::LOCALHOST, &ports)), keys(unpublish(&ports)));
    }

    #[test]
    fn the_table_is_static_and_ends_in_a_drop() {
        let plan = table("md-00000000", Subnet::around(Ipv4Addr::new(172, 18, 0, 0), 16));
        assert!(!plan.iter().any(|change| matches!(change, Change::AddElement(..))));
        assert_eq!(plan.last(), Some(&Change::Append(c"forward", vec![Verdict(libc::NF_DROP)])));
        // Rules refer to chains and maps that stand before them in the batch.
        let position = |wanted: &Change| plan.iter().position(|change| change == wanted);
        let chain = position(&Change::NewChain(PUBLISHED, None));
        let first_rule = plan.iter().position(|change| matches!(change, Change::Append(..)));
        assert!(chain < first_rule && chain.is_some());
    }
}
