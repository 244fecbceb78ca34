//! The four ways a container can be connected.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// What `--network` chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A network namespace with nothing but `lo` in it.
    None,
    /// No network namespace: the host's own interfaces, ports and addresses.
    Host,
    /// A namespace joined to a bridge of the host by a veth pair, with an address, NAT and published ports.
    #[default]
    Bridge,
    /// The namespace of another container. The chapter reads it as a process id; an engine resolves names first
    /// ([`crate::Network::joining`]).
    Container(String),
}

impl FromStr for Mode {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Mode::None),
            "host" => Ok(Mode::Host),
            "bridge" | "default" => Ok(Mode::Bridge),
            _ => match text.strip_prefix("container:") {
                Some("") => bail!("container: must be followed by the container whose network is to be shared"),
                Some(target) => Ok(Mode::Container(target.to_owned())),
                None => bail!("no network {text:?}: there are none, host, bridge and container:ID"),
            },
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::None => f.write_str("none"),
            Mode::Host => f.write_str("host"),
            Mode::Bridge => f.write_str("bridge"),
            Mode::Container(target) => write!(f, "container:{target}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_and_printed_alike() {
        for text in ["none", "host", "bridge", "container:17"] {
            assert_eq!(text.parse::<Mode>().map(|mode| mode.to_string()).ok().as_deref(), Some(text));
        }
        for text in ["", "container:", "brigde", "container"] {
            assert!(text.parse::<Mode>().is_err(), "{text:?}");
        }
    }
}
