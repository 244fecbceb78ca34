//! The flags of this chapter, with Docker's spellings.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::mode::Mode;
use crate::publish::Port;
use crate::resolv::Dns;

/// How the container is connected: `--network`, `--publish`, `--dns`, `--add-host`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// Connect the container: none, host, bridge or container:ID [default: bridge, without root none]
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    pub network: Option<Mode>,

    /// Publish a port: [[HOST-IP:]HOST-PORT:]PORT[/udp], ranges allowed
    #[arg(short = 'p', long, value_name = "PORT")]
    pub publish: Vec<String>,

    /// Ask this DNS server instead of the host's
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<IpAddr>,

    /// Search names in this domain ("." for none)
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,

    /// An option for resolv.conf, such as ndots:2
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    pub dns_option: Vec<String>,

    /// A line for /etc/hosts: NAME:ADDRESS, where the address may be host-gateway
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub add_host: Vec<ExtraHost>,
}

/// What the flags ask for, checked; it goes into a container's description on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkOptions {
    /// How it is connected.
    pub mode: Mode,
    /// The ports to publish.
    pub ports: Vec<Port>,
    /// What changes in resolv.conf.
    pub dns: Dns,
    /// Additional lines of /etc/hosts.
    pub extra_hosts: Vec<ExtraHost>,
}

impl NetworkArgs {
    /// Checks the flags. Without `--network`, `default` is chosen.
    ///
    /// # Errors
    /// A flag that cannot be read, or ports that the network chosen cannot publish.
    pub fn options(&self, default: Mode) -> Result<NetworkOptions> {
        let mut ports = Vec::new();
        for text in &self.publish {
            ports.extend(Port::parse(text)?);
        }
        let mode = self.network.clone().unwrap_or(default);
        check_publishable(&mode, &ports)?;
        let dns = Dns { servers: self.dns.clone(), search: self.dns_search.clone(), options: self.dns_option.clone() };
        dns.check()?;
        Ok(NetworkOptions { mode, ports, dns, extra_hosts: self.add_host.clone() })
    }
}

/// Refuses a `-p` that would do nothing. On the host's own network a port is already where it is published, if the two
/// numbers agree; Docker discards all others there with a warning.
fn check_publishable(mode: &Mode, ports: &[Port]) -> Result<()> {
    let Some(port) = ports.first() else { return Ok(()) };
    match mode {
        Mode::Bridge => Ok(()),
        Mode::Host => match ports.iter().find(|port| port.host_port != 0 && port.host_port != port.container_port) {
            None => Ok(()),
            Some(port) => bail!(
                "port {} cannot be published as {} on the host's own network: what listens there is reached under its \
                 own number (leave -p out, or use --network bridge)",
                port.container_port,
                port.host_port
            ),
        },
        Mode::None => {
            bail!("port {} cannot be published with --network none: the container has no network", port.container_port)
        }
        Mode::Container(_) => bail!(
            "port {} cannot be published with --network {mode}: publish it on the container whose network is shared",
            port.container_port
        ),
    }
}

/// A line for /etc/hosts that the user asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// Its address; `None` is `host-gateway`, the host as the container sees it.
    pub address: Option<IpAddr>,
}

impl FromStr for ExtraHost {
    type Err = anyhow::Error;

    /// `NAME:ADDRESS` or `NAME=ADDRESS`; an IPv6 address may stand in brackets.
    fn from_str(text: &str) -> Result<Self> {
        let (name, address) = text
            .split_once('=')
            .or_else(|| text.split_once(':'))
            .with_context(|| format!("{text:?} has no address (NAME:ADDRESS)"))?;
        check_name(name)?;
        let address = match address {
            "host-gateway" => None,
            _ => {
                let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
                Some(bare.parse().ok().with_context(|| format!("{address:?} is not an IP address"))?)
            }
        };
        Ok(ExtraHost { name: name.to_owned(), address })
    }
}

impl fmt::Display for ExtraHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{}:{address}", self.name),
            None => write!(f, "{}:host-gateway", self.name),
        }
    }
}

impl ExtraHost {
    /// The address to write, given the one of the host.
    ///
    /// # Errors
    /// `host-gateway` where the container has no way to the host.
    pub fn resolve(&self, gateway: Option<Ipv4Addr>) -> Result<IpAddr> {
        self.address.or(gateway.map(IpAddr::V4)).with_context(|| {
            format!(
                "--add-host {self}: the container's network does not reach the host (it would with --network bridge)"
            )
        })
    }
}

/// Refuses what would add words or lines of its own to a file like /etc/hosts.
pub(crate) fn check_name(name: &str) -> Result<()> {
    ensure!(!name.is_empty(), "an empty host name");
    ensure!(
        name.len() <= 255,
        "the host name {:?}… is longer than 255 bytes",
        name.chars().take(20).collect::<String>()
    );
    let strange = |c: char| c.is_whitespace() || c.is_control() || c == '#';
    ensure!(!name.contains(strange), "the host name {name:?} contains a character that no name has");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(network: &str, publish: &str) -> Result<NetworkOptions> {
        let publish = publish.split_whitespace().map(str::to_owned).collect();
        NetworkArgs { network: Some(network.parse()?), publish, ..Default::default() }.options(Mode::None)
    }

    #[test]
    fn ports_need_a_network_that_can_publish_them() {
        assert!(options("bridge", "8080:80").is_ok());
        assert!(options("host", "80:80 81").is_ok());
        assert!(options("none", "").is_ok());
        for (network, publish) in [("none", "80"), ("container:1", "80:80"), ("host", "8080:80")] {
            assert!(options(network, publish).is_err(), "{network} {publish}");
        }
    }

    #[test]
    fn extra_hosts() {
        let read = |text: &str| text.parse::<ExtraHost>().map(|host| host.to_string()).ok();
        assert_eq!(read("db:10.0.0.1").as_deref(), Some("db:10.0.0.1"));
        assert_eq!(read("db=10.0.0.1").as_deref(), Some("db:10.0.0.1"));
        assert_eq!(read("db:::1").as_deref(), Some("db:::1"));
        assert_eq!(read("db=[fe80::1]").as_deref(), Some("db:fe80::1"));
        assert_eq!(read("h:host-gateway").as_deref(), Some("h:host-gateway"));
        for text in
            ["db", "db:", ":10.0.0.1", "a b:10.0.0.1", "db\n6.6.6.6 bank:10.0.0.1", "db:10.0.0.1 x", "#:1.1.1.1"]
        {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
