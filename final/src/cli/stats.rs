//! `minidocker stats`: what containers use, again every second.

use std::fs;
use std::io::IsTerminal;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cgroups::{Stats as Usage, format_bytes};
use clap::Args;
use network::Mode;

use crate::container::Container;
use crate::description::Description;
use crate::format::{say, size, table};
use crate::id;
use crate::root::Root;
use crate::status;

/// Show what containers use, every second anew.
#[derive(Args)]
pub struct Stats {
    /// Those that do not run as well
    #[arg(short, long)]
    all: bool,
    /// Only once
    #[arg(long)]
    no_stream: bool,
    /// Do not shorten ids
    #[arg(long)]
    no_trunc: bool,
    /// Names or ids [default: all that run]
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Between two looks: what a processor did is the difference.
const INTERVAL: Duration = Duration::from_secs(1);

/// A container at a moment.
struct Sample {
    id: String,
    name: String,
    /// `None` while it does not run.
    now: Option<Moment>,
}

struct Moment {
    at: Instant,
    usage: Usage,
    /// Received and sent, bytes.
    network: (u64, u64),
}

/// Carries the command out. A live picture goes on until it is interrupted.
pub fn run(root: &Root, args: &Stats) -> Result<i32> {
    for name in &args.containers {
        Container::find(root, name)?;
    }
    let machine = memory_of_machine();
    let mut before = look(root, args)?;
    loop {
        sleep(INTERVAL);
        let now = look(root, args)?;
        let rows: Vec<Vec<String>> = now.iter().map(|sample| row(sample, &before, machine, args)).collect();
        let header = ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"];
        let text = table(&[vec![header.map(String::from).to_vec()], rows].concat());
        if args.no_stream {
            say(text)?;
            return Ok(0);
        }
        match std::io::stdout().is_terminal() {
            // Over what was there, each line to its end, and what is left of it away: nothing flickers.
            true => say(format_args!("\x1b[H{}\x1b[K\n\x1b[J", text.replace('\n', "\x1b[K\n")))?,
            false => say(text)?,
        }
        before = now;
    }
}

fn look(root: &Root, args: &Stats) -> Result<Vec<Sample>> {
    let named = !args.containers.is_empty();
    let found: Vec<Container> = match named {
        // One that is removed while we watch drops out of the picture.
        true => args.containers.iter().filter_map(|name| Container::find(root, name).ok()).collect(),
        false => Container::all(root)?,
    };
    ensure!(!named || !found.is_empty(), "none of these containers is there any more");
    let described = found.into_iter().filter_map(|container| Some((container.description().ok()?, container)));
    let mut found: Vec<(Description, Container)> = described.collect();
    if !named {
        found.sort_by(|(one, _), (other, _)| one.created.cmp(&other.created));
    }
    let mut samples = Vec::new();
    for (description, container) in found {
        let Ok((status, state)) = status::of(&container) else { continue };
        if !status.is_running() && !args.all && !named {
            continue;
        }
        let now = status.is_running().then(|| Moment {
            at: Instant::now(),
            usage: cgroups::stats(&description.cgroup).unwrap_or_default(),
            network: transferred(&description, state.pid),
        });
        samples.push(Sample { id: description.id, name: description.name, now });
    }
    Ok(samples)
}

fn row(sample: &Sample, before: &[Sample], machine: u64, args: &Stats) -> Vec<String> {
    let id = if args.no_trunc { sample.id.clone() } else { id::short(&sample.id).to_string() };
    let mut row = vec![id, sample.name.clone()];
    let Some(now) = &sample.now else {
        row.extend(["0.00%", "0B / 0B", "0.00%", "0B / 0B", "0B / 0B", "0"].map(String::from));
        return row;
    };
    let earlier = before.iter().find(|other| other.id == sample.id).and_then(|other| other.now.as_ref());
    let usage = &now.usage;
    let limit = usage.memory_max.map_or(machine, |limit| limit.min(machine));
    row.push(match earlier {
        Some(earlier) if usage.cpu_usage_usec.is_some() => percent(processors(earlier, now)),
        _ => "--".into(), // it has just started, or nobody counts
    });
    match usage.memory_used() {
        Some(used) => {
            row.push(format!("{} / {}", format_bytes(used), format_bytes(limit)));
            row.push(percent(used as f64 / limit.max(1) as f64));
        }
        None => row.extend(["-- / --".into(), "--".into()]), // nobody counts: an ordinary user without a cgroup
    }
    row.push(format!("{} / {}", size(now.network.0), size(now.network.1)));
    row.push(match (usage.io_read_bytes, usage.io_write_bytes) {
        (Some(read), Some(written)) => format!("{} / {}", size(read), size(written)),
        _ => "-- / --".into(),
    });
    row.push(usage.pids_current.map_or("--".into(), |count| count.to_string()));
    row
}

/// How many processors were busy with it, on average, since.
fn processors(earlier: &Moment, now: &Moment) -> f64 {
    let used = |moment: &Moment| moment.usage.cpu_usage_usec.unwrap_or(0);
    let wall = now.at.duration_since(earlier.at).as_micros().max(1);
    used(now).saturating_sub(used(earlier)) as f64 / wall as f64
}

fn percent(part: f64) -> String {
    format!("{:.2}%", part * 100.0)
}

/// What all devices but the loopback of its network namespace have received and sent, bytes. Of the host's own, which a
/// container may share, nothing is the container's.
fn transferred(description: &Description, pid: i32) -> (u64, u64) {
    if matches!(description.network.mode, Mode::Host) {
        return (0, 0);
    }
    parse_devices(&fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default())
}

/// `proc_pid_net(5)`: two lines of headings, then `  eth0: RECEIVED packets … (8 in all) SENT packets …`.
fn parse_devices(text: &str) -> (u64, u64) {
    let mut sums = (0u64, 0u64);
    for line in text.lines().skip(2) {
        let Some((name, numbers)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let mut numbers = numbers.split_whitespace().map(|number| number.parse().unwrap_or(0));
        sums.0 += numbers.next().unwrap_or(0);
        sums.1 += numbers.nth(7).unwrap_or(0);
    }
    sums
}

fn memory_of_machine() -> u64 {
    let info = rustix::system::sysinfo();
    (info.totalram as u64).saturating_mul(info.mem_unit.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_no_network() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
                    face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop\n    \
                    lo: 999 9 0 0 0 0 0 0 999 9 0 0 0 0 0 0\n  \
                    eth0: 1200 10 0 0 0 0 0 0 34 2 0 0 0 0 0 0\n  eth1:5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0\n";
        assert_eq!(parse_devices(text), (1205, 40));
        assert_eq!(parse_devices(""), (0, 0));
        assert_eq!(parse_devices("a\nb\neth0: x\n"), (0, 0));
    }

    #[test]
    fn a_processor_for_half_the_time_is_fifty_per_cent() {
        let at = Instant::now();
        let moment = |after: u64, usec| Moment {
            at: at + Duration::from_micros(after),
            usage: Usage { cpu_usage_usec: Some(usec), ..Usage::default() },
            network: (0, 0),
        };
        assert_eq!(percent(processors(&moment(0, 100), &moment(1000, 600))), "50.00%");
    }
}
