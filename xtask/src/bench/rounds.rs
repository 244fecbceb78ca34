//! Interleaved runs, medians and the table.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::peers::Peer;
use super::stage::Stage;

/// What is measured: each is a whole command, from its start to its exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `run --rm --network none IMAGE true`.
    Run,
    /// The same with the default bridge.
    RunWithNetwork,
    /// `exec CONTAINER true`.
    Exec,
    /// Ten of the first at once, until the last has ended.
    Ten,
    /// `pull` from a registry on the loopback, before a build holds on to the same layers.
    Pull,
    /// `build` without the cache.
    BuildCold,
    /// `build` when nothing has changed.
    BuildCached,
}

impl Operation {
    /// In the order of the table.
    pub const ALL: &[Operation] = &[
        Operation::Run,
        Operation::RunWithNetwork,
        Operation::Exec,
        Operation::Ten,
        Operation::Pull,
        Operation::BuildCold,
        Operation::BuildCached,
    ];

    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Run => "run, no network",
            Operation::RunWithNetwork => "run, bridge",
            Operation::Exec => "exec",
            Operation::Ten => "ten runs at once",
            Operation::BuildCold => "build, cold",
            Operation::BuildCached => "build, cached",
            Operation::Pull => "pull",
        }
    }

    /// Whether it takes milliseconds rather than seconds.
    pub fn is_quick(self) -> bool {
        matches!(self, Operation::Run | Operation::RunWithNetwork | Operation::Exec)
    }
}

/// One engine's times for one operation.
struct Line {
    operation: Operation,
    peer: &'static str,
    times: Result<Vec<Duration>, String>,
}

/// All results.
#[derive(Default)]
pub struct Table {
    lines: Vec<Line>,
}

/// Between two runs. A daemon still tidies when its command has ended, docker's for some 50 ms: that would count for
/// whoever comes next.
const SETTLE: Duration = Duration::from_millis(100);

impl Table {
    /// Does one operation in rounds: each engine once in each.
    pub fn measure(&mut self, operation: Operation, peers: &[Peer], stage: &Stage, rounds: usize) -> Result<()> {
        eprintln!("{} ({rounds} rounds)", operation.name());
        let able: Vec<&Peer> = peers.iter().filter(|peer| peer.operation(operation, stage, 0).is_some()).collect();
        let mut times: Vec<Result<Vec<Duration>, String>> = able.iter().map(|_| Ok(Vec::new())).collect();
        // The first round fills caches and is not counted.
        for round in 0..=rounds {
            for (peer, times) in able.iter().zip(&mut times) {
                let Ok(known) = times else { continue };
                sleep(SETTLE);
                match once(peer, operation, stage, round) {
                    Ok(time) if round > 0 => known.push(time),
                    Ok(_) => {}
                    Err(error) => *times = Err(format!("{error:#}")),
                }
            }
        }
        for peer in &able {
            peer.restore(operation, stage);
        }
        let lines = able.iter().zip(times).map(|(peer, times)| Line { operation, peer: peer.name, times });
        self.lines.extend(lines);
        Ok(())
    }

    /// The table: times in milliseconds, ratios to bubblewrap's plain run.
    pub fn text(&self) -> String {
        let measure = self.measure_of_all();
        let mut text = format!("{:<18} {:<11} {:>10} {:>10} {:>8}\n", "", "", "median ms", "p95 ms", "ratio");
        let mut last = None;
        for line in &self.lines {
            let title = if last == Some(line.operation) { "" } else { line.operation.name() };
            last = Some(line.operation);
            let row = match &line.times {
                Ok(times) => {
                    let (median, p95) = (quantile(times, 50), quantile(times, 95));
                    let ratio = measure.map_or_else(|| "-".to_owned(), |one| format!("{:.2}", median / one));
                    format!("{title:<18} {:<11} {median:>10.2} {p95:>10.2} {ratio:>8}\n", line.peer)
                }
                Err(why) => format!("{title:<18} {:<11} failed: {why}\n", line.peer),
            };
            text += &row;
        }
        text + "ratio: to the median of bwrap's run"
    }

    /// The same as data, in milliseconds.
    pub fn json(&self) -> Value {
        let measure = self.measure_of_all();
        let lines = self.lines.iter().map(|line| match &line.times {
            Ok(times) => {
                let median = quantile(times, 50);
                json!({
                    "operation": line.operation.name(), "engine": line.peer, "runs": times.len(),
                    "median_ms": median, "p95_ms": quantile(times, 95), "ratio_to_bwrap_run": measure.map(|one| median / one),
                })
            }
            Err(why) => json!({ "operation": line.operation.name(), "engine": line.peer, "failed": why }),
        });
        Value::Array(lines.collect())
    }

    /// The median of bubblewrap's run.
    fn measure_of_all(&self) -> Option<f64> {
        let line = self.lines.iter().find(|line| line.operation == Operation::Run && line.peer == "bwrap")?;
        line.times.as_ref().ok().map(|times| quantile(times, 50))
    }
}

/// One run, or ten at once; how long until the last has ended.
fn once(peer: &Peer, operation: Operation, stage: &Stage, round: usize) -> Result<Duration> {
    peer.undo(operation, stage);
    let count = if operation == Operation::Ten { 10 } else { 1 };
    let mut commands: Vec<Command> = (0..count)
        .filter_map(|number| peer.operation(operation, stage, round * 10 + number))
        .map(|mut command| {
            command.stderr(Stdio::piped());
            command
        })
        .collect();
    let start = Instant::now();
    let children = commands.iter_mut().map(Command::spawn).collect::<Result<Vec<_>, _>>().context("start it")?;
    for child in children {
        let output = child.wait_with_output().context("wait for it")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{}: {}", output.status, said.trim().lines().last().unwrap_or("no word"));
        }
    }
    Ok(start.elapsed())
}

/// A quantile in milliseconds, the nearest rank.
fn quantile(times: &[Duration], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).clamp(1, sorted.len().max(1));
    sorted.get(rank - 1).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_times() {
        let times: Vec<Duration> = [5, 1, 4, 2, 3].map(Duration::from_millis).into();
        assert!((quantile(&times, 50) - 3.0).abs() < 1e-9);
        assert!((quantile(&times, 95) - 5.0).abs() < 1e-9);
        assert!(quantile(&[], 50).abs() < 1e-9);
    }
}
