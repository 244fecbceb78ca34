//! What `-p` means: which port of the host leads to which port of the container.
//!
//! ```text
//! 80                    any free port of the host  →  80/tcp
//! 8080:80               all addresses, 8080        →  80/tcp
//! 127.0.0.1:8080:80     that address only          →  80/tcp
//! [::1]:8080:80/udp     an IPv6 address, in brackets
//! 8000-8002:80-82       three pairs
//! 8000-8010:80          the first free one of eleven
//! ```
//!
//! The spellings are Docker's (`docker run --help`, *Publish a container's port(s) to the host*).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// The transport a port belongs to. TCP port 53 and UDP port 53 are two different ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// `tcp`, the default.
    #[default]
    Tcp,
    /// `udp`.
    Udp,
}

impl Protocol {
    /// The number in the IP header (`/etc/protocols`).
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => libc::IPPROTO_TCP as u8,
            Protocol::Udp => libc::IPPROTO_UDP as u8,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

impl FromStr for Protocol {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            "sctp" => bail!("sctp ports cannot be published: only tcp and udp can"),
            _ => bail!("unknown protocol {text:?}: tcp and udp can be published"),
        }
    }
}

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The host's address it is published on; `None` is all of them, IPv4 and IPv6.
    pub host_ip: Option<IpAddr>,
    /// The host's port; 0 lets the kernel choose a free one.
    pub host_port: u16,
    /// The last port to try when `host_port` is taken; usually `host_port` itself.
    pub host_port_end: u16,
    /// The port inside.
    pub container_port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl Port {
    /// Reads one `-p` argument; a range gives several ports.
    ///
    /// # Errors
    /// What is wrong with the text, in one sentence that quotes it.
    pub fn parse(text: &str) -> Result<Vec<Port>> {
        parse(text).with_context(|| format!("invalid published port {text:?}"))
    }

    /// Where it is published: `0.0.0.0:8080`, `[::1]:8080`.
    pub fn outside(&self) -> SocketAddr {
        SocketAddr::new(self.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), self.host_port)
    }

    /// Where it leads: `80/tcp`.
    pub fn inside(&self) -> String {
        format!("{}/{}", self.container_port, self.protocol)
    }
}

/// As `docker ps` prints it: `0.0.0.0:8080->80/tcp`.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.outside())?;
        if self.host_port_end != self.host_port {
            write!(f, "-{}", self.host_port_end)?;
        }
        write!(f, "->{}", self.inside())
    }
}

fn parse(text: &str) -> Result<Vec<Port>> {
    let (rest, protocol) = match text.rsplit_once('/') {
        Some((rest, protocol)) => (rest, protocol.parse()?),
        None => (text, Protocol::Tcp),
    };
    let (host_ip, ports) = split_address(rest)?;
    let (host, container) = ports.rsplit_once(':').unwrap_or(("", ports));
    let container = port_range(container).context("container port")?;
    ensure!(*container.start() != 0, "container port 0 does not exist");
    let host = if host.is_empty() { 0..=0 } else { port_range(host).context("host port")? };

    let (hosts, containers) = (host.len(), container.len());
    let port =
        |host_port, host_port_end, container_port| Port { host_ip, host_port, host_port_end, container_port, protocol };
    if *host.start() == 0 {
        ensure!(*host.end() == 0, "host port 0 cannot begin a range");
        return Ok(container.map(|inner| port(0, 0, inner)).collect());
    }
    if containers == 1 {
        return Ok(vec![port(*host.start(), *host.end(), *container.start())]);
    }
    ensure!(
        hosts == containers,
        "{hosts} host ports for {containers} container ports: the two ranges must be of one length"
    );
    Ok(host.zip(container).map(|(outer, inner)| port(outer, outer, inner)).collect())
}

/// Takes the host address off the front: `[::1]:8080:80` → (`::1`, `8080:80`).
fn split_address(text: &str) -> Result<(Option<IpAddr>, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, ports) = rest.split_once(']').context("the bracket before the address is never closed")?;
        let address = address.parse().ok().with_context(|| format!("{address:?} is not an IPv6 address"))?;
        let ports = ports.strip_prefix(':').context("a port must follow the address: [::1]:8080:80")?;
        return Ok((Some(IpAddr::V6(address)), ports));
    }
    match text.matches(':').count() {
        0 | 1 => Ok((None, text)),
        2 => {
            let (address, ports) = text.split_once(':').unwrap_or(("", text));
            if address.is_empty() {
                return Ok((None, ports));
            }
            let parsed = address
                .parse()
                .ok()
                .with_context(|| format!("{address:?} is not an IP address (HOST-ADDRESS:HOST-PORT:CONTAINER-PORT)"))?;
            Ok((Some(parsed), ports))
        }
        _ => bail!("too many colons (an IPv6 address goes into brackets: [::1]:8080:80)"),
    }
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>> {
    let number = |text: &str| {
        // `parse` alone would take "+80".
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse::<u16>().ok() } else { None };
        number.with_context(|| format!("{text:?} is not a number from 0 to 65535"))
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    ensure!(first <= last, "the range {text} runs backwards");
    Ok(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> String {
        let ports = Port::parse(text).unwrap_or_else(|error| panic!("{text}: {error:#}"));
        ports.iter().map(Port::to_string).collect::<Vec<_>>().join(" ")
    }

    fn refused(text: &str) -> String {
        format!("{:#}", Port::parse(text).expect_err(text))
    }

    #[test]
    fn dockers_spellings() {
        assert_eq!(one("80"), "0.0.0.0:0->80/tcp");
        assert_eq!(one("8080:80"), "0.0.0.0:8080->80/tcp");
        assert_eq!(one("8080:80/udp"), "0.0.0.0:8080->80/udp");
        assert_eq!(one("53:53/UDP"), "0.0.0.0:53->53/udp");
        assert_eq!(one("127.0.0.1:8080:80"), "127.0.0.1:8080->80/tcp");
        assert_eq!(one("127.0.0.1::80"), "127.0.0.1:0->80/tcp");
        assert_eq!(one(":8080:80"), "0.0.0.0:8080->80/tcp");
        assert_eq!(one("[::1]:8080:80"), "[::1]:8080->80/tcp");
        assert_eq!(one("[::]::80"), "[::]:0->80/tcp");
        assert_eq!(one("0:80"), "0.0.0.0:0->80/tcp");
    }

    #[test]
    fn ranges() {
        assert_eq!(one("80-81"), "0.0.0.0:0->80/tcp 0.0.0.0:0->81/tcp");
        assert_eq!(one("8000-8001:80-81"), "0.0.0.0:8000->80/tcp 0.0.0.0:8001->81/tcp");
        assert_eq!(one("8000-8010:80"), "0.0.0.0:8000-8010->80/tcp");
        assert_eq!(Port::parse("1-65535:1-65535").map(|ports| ports.len()).ok(), Some(65535));
    }

    #[test]
    fn refusals_say_why() {
        assert!(refused("8080:80/sctp").contains("sctp"));
        assert!(refused("80:80/icmp").contains("unknown protocol"));
        assert!(refused("::1:8080:80").contains("brackets"));
        assert!(refused("[::1:80:80").contains("never closed"));
        assert!(refused("[::1]8080:80").contains("must follow"));
        assert!(refused("[1.2.3.4]:80:80").contains("not an IPv6 address"));
        assert!(refused("localhost:80:80").contains("not an IP address"));
        assert!(refused("70000:80").contains("70000"));
        assert!(refused("8080:").contains("container port"));
        assert!(refused("").contains("container port"));
        assert!(refused("8080:0").contains("does not exist"));
        assert!(refused("90-80:80").contains("backwards"));
        assert!(refused("8000-8002:80-81").contains("3 host ports for 2"));
        assert!(refused("0-9:80").contains("cannot begin a range"));
        assert!(refused("+80:80").contains("+80"));
        assert!(refused("80-:80").contains("host port"));
    }
}
