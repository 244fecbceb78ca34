//! `minidocker port`.

use anyhow::{Context, Result, ensure};
use clap::Args;
use network::Port as Published;

use crate::container::Container;
use crate::format::say;
use crate::root::Root;
use crate::status;

/// List the ports that a container publishes, and where.
#[derive(Args)]
pub struct Port {
    /// Its name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Only where this port of the container is published
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Port) -> Result<i32> {
    let container = Container::find(root, &args.container)?;
    let (status, state) = status::of(&container)?;
    let published: &[Published] = if status.is_running() { &state.endpoint.ports } else { &[] };
    let Some(wanted) = &args.port else {
        for port in published {
            say(format!("{} -> {}", port.inside(), port.outside()))?;
        }
        return Ok(0);
    };
    let (number, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let number: u16 = number.parse().ok().with_context(|| format!("invalid port: {wanted} (write it as in 80/tcp)"))?;
    let found: Vec<&Published> = published
        .iter()
        .filter(|port| port.container_port == number && port.protocol.to_string() == protocol)
        .collect();
    ensure!(!found.is_empty(), "no public port '{wanted}' published for {}", args.container);
    found.into_iter().try_for_each(|port| say(port.outside()))?;
    Ok(0)
}
