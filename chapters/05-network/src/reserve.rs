//! Reserving published ports: a socket on each, held as long as the container runs.
//!
//! The firewall would translate to a port that some other program listens on, and silently take its visitors away. Who
//! binds the port first finds out; and the socket is of use, since the rules do not reach everybody
//! ([`crate::proxy`]).

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use anyhow::{Result, anyhow};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt};

use crate::publish::{Port, Protocol};

/// A socket on a published port.
#[derive(Debug)]
pub enum Reserved {
    /// It listens: what comes before anybody accepts waits.
    Tcp(TcpListener),
    /// It is bound.
    Udp(UdpSocket),
}

/// A published port with its number chosen, and its sockets: two where it is published on all addresses.
#[derive(Debug)]
pub struct Reservation {
    /// The port, with the host's number really used.
    pub port: Port,
    /// What holds it.
    pub sockets: Vec<Reserved>,
}

/// Reserves every port, or none.
///
/// # Errors
/// A port that is in use, that this user may not bind, or an address that is not this host's: one sentence.
pub fn reserve(ports: &[Port]) -> Result<Vec<Reservation>> {
    ports.iter().map(reserve_one).collect()
}

fn reserve_one(port: &Port) -> Result<Reservation> {
    // Several attempts where the number is free to choose: what the kernel chose for IPv4 may be taken for IPv6.
    let numbers: Vec<u16> =
        if port.host_port == 0 { vec![0; 16] } else { (port.host_port..=port.host_port_end).collect() };
    let mut refusal = None;
    for number in numbers {
        match sockets(port, number) {
            Ok((number, sockets)) => {
                let port = Port { host_port: number, host_port_end: number, ..port.clone() };
                return Ok(Reservation { port, sockets });
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => refusal = Some(error),
            Err(error) => return Err(explain(port, &error)),
        }
    }
    Err(explain(port, &refusal.unwrap_or_else(|| ErrorKind::AddrInUse.into())))
}

fn sockets(port: &Port, number: u16) -> io::Result<(u16, Vec<Reserved>)> {
    if let Some(ip) = port.host_ip {
        let (number, socket) = open(SocketAddr::new(ip, number), port.protocol)?;
        return Ok((number, vec![socket]));
    }
    let (number, v4) = open((Ipv4Addr::UNSPECIFIED, number).into(), port.protocol)?;
    match open((Ipv6Addr::UNSPECIFIED, number).into(), port.protocol) {
        Ok((_, v6)) => Ok((number, vec![v4, v6])),
        // A host without IPv6.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {
            Ok((number, vec![v4]))
        }
        Err(error) => Err(error),
    }
}

fn open(address: SocketAddr, protocol: Protocol) -> io::Result<(u16, Reserved)> {
    let (family, v6) = match address.ip() {
        IpAddr::V4(_) => (AddressFamily::INET, false),
        IpAddr::V6(_) => (AddressFamily::INET6, true),
    };
    let (kind, transport) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
    };
    let socket: OwnedFd = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(transport))?;
    if v6 {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections of the container before this one may linger in TIME_WAIT; two that listen exclude each other still.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &address)?;
    Ok(match protocol {
        Protocol::Tcp => {
            listen(&socket, 1024)?;
            let socket = TcpListener::from(socket);
            (socket.local_addr()?.port(), Reserved::Tcp(socket))
        }
        Protocol::Udp => {
            let socket = UdpSocket::from(socket);
            (socket.local_addr()?.port(), Reserved::Udp(socket))
        }
    })
}

fn explain(port: &Port, error: &io::Error) -> anyhow::Error {
    let number = match (port.host_port, port.host_port_end) {
        (0, _) => "every port".to_owned(),
        (first, last) if first == last => format!("port {first}"),
        (first, last) => format!("every port from {first} to {last}"),
    };
    let why = match error.kind() {
        ErrorKind::AddrInUse => {
            format!("{number} is already in use on the host (publish another, or stop what listens there)")
        }
        ErrorKind::PermissionDenied => format!("{number} is reserved for root (publish one above 1023)"),
        ErrorKind::AddrNotAvailable => format!(
            "{} is not an address of this host",
            port.host_ip.map_or_else(|| "this".to_owned(), |ip| ip.to_string())
        ),
        _ => error.to_string(),
    };
    anyhow!("cannot publish {port}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    fn reserve_text(text: &str) -> Result<Reservation> {
        reserve(&Port::parse(text)?)?.pop().context("one port")
    }

    #[test]
    fn a_free_port_is_chosen_and_then_taken() -> Result<()> {
        let first = reserve_text("127.0.0.1::80")?;
        let number = first.port.host_port;
        assert_ne!(number, 0);
        let error = format!("{:#}", reserve_text(&format!("127.0.0.1:{number}:80")).err().context("taken")?);
        assert!(error.contains(&format!("port {number} is already in use")), "{error}");
        // The same number of the other protocol is another port; and a free port is free again.
        reserve_text(&format!("127.0.0.1:{number}:80/udp"))?;
        drop(first);
        reserve_text(&format!("127.0.0.1:{number}:80"))?;
        Ok(())
    }

    #[test]
    fn all_addresses_are_one_number() -> Result<()> {
        let all = reserve_text("0:80")?;
        assert!(!all.sockets.is_empty() && all.port.host_port != 0);
        let number = all.port.host_port;
        assert!(reserve_text(&format!("127.0.0.1:{number}:80")).is_err(), "all addresses include this one");
        Ok(())
    }

    #[test]
    fn ranges_give_the_first_free_one() -> Result<()> {
        let one = reserve_text("127.0.0.1::80")?.port.host_port;
        let (first, last) = (one.min(65000), one.min(65000) + 20);
        let range = format!("127.0.0.1:{first}-{last}:80");
        let (a, b) = (reserve_text(&range)?, reserve_text(&range)?);
        assert_ne!(a.port.host_port, b.port.host_port);
        assert_eq!(a.port.host_port_end, a.port.host_port);
        Ok(())
    }

    #[test]
    fn foreign_addresses_are_named() -> Result<()> {
        let error = format!("{:#}", reserve_text("192.0.2.1:0:80").err().context("refused")?);
        assert!(error.contains("192.0.2.1 is not an address of this host"), "{error}");
        Ok(())
    }
}
