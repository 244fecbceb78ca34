//! `minidocker pull`, and fetching an image for `run`.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use clap::Args;
use images::progress::Lines;
use images::{Digest, Event, Image, Platform, Progress, PullOptions, Reference, Silent, Store};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::format::say;
use crate::root::Root;

/// Fetch an image from its registry.
#[derive(Args)]
#[command(after_help = "Examples:\n  minidocker pull debian:bookworm\n  minidocker pull 127.0.0.1:5000/app@sha256:…")]
pub struct Pull {
    /// Print the image's name only
    #[arg(short, long)]
    quiet: bool,
    /// The platform to choose of an image for several [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// Name, with a tag or a digest
    name: Reference,
}

/// Where a transfer is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// To standard output: it is what the user asked for.
    ToStdout,
    /// To standard error: standard output belongs to the container.
    ToStderr,
    /// Nowhere.
    Nowhere,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Pull) -> Result<i32> {
    let store = root.store()?;
    let options = PullOptions { platform: args.platform.clone(), ..PullOptions::default() };
    let report = if args.quiet { Report::Nowhere } else { Report::ToStdout };
    fetch(&store, &args.name, &options, report)?;
    say(&args.name)?;
    Ok(0)
}

/// Fetches an image, and reports how it goes: with a bar for each layer on a terminal, in lines elsewhere.
pub fn fetch(store: &Store, name: &Reference, options: &PullOptions, report: Report) -> Result<Image> {
    match report {
        Report::Nowhere => store.pull(name, options, &Silent),
        _ if io::stderr().is_terminal() => {
            let bars = Bars::new(report);
            let result = store.pull(name, options, &bars);
            bars.end();
            result
        }
        Report::ToStdout => store.pull(name, options, &Lines::of_pull(io::stdout())),
        Report::ToStderr => store.pull(name, options, &Lines::of_pull(io::stderr())),
    }
}

/// A bar for each layer, on the terminal that is standard error.
struct Bars {
    all: MultiProgress,
    bars: Mutex<HashMap<Digest, ProgressBar>>,
    lines: Lines<Box<dyn io::Write + Send>>,
}

impl Bars {
    fn new(report: Report) -> Bars {
        let out: Box<dyn io::Write + Send> = match report {
            Report::ToStdout => Box::new(io::stdout()),
            _ => Box::new(io::stderr()),
        };
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Bars { all, bars: Mutex::default(), lines: Lines::of_pull(out) }
    }

    fn with_bar(&self, layer: &Digest, total: u64, act: impl FnOnce(&ProgressBar)) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bars.entry(layer.clone()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(total));
            let style =
                ProgressStyle::with_template("{prefix}: {msg} [{bar:30}] {decimal_bytes}/{decimal_total_bytes}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            bar.set_prefix(layer.hex()[..12].to_owned());
            bar.set_message("Downloading  ");
            bar
        });
        act(bar);
    }

    /// Leaves the bars as they are.
    fn end(&self) {
        for bar in self.bars.lock().unwrap_or_else(PoisonError::into_inner).values() {
            bar.abandon();
        }
    }
}

impl Progress for Bars {
    fn event(&self, event: Event) {
        match &event {
            Event::Transferred { layer, done, total } => self.with_bar(layer, *total, |bar| bar.set_position(*done)),
            Event::Complete { layer } => self.with_bar(layer, 0, |bar| {
                bar.set_message("Pull complete");
                bar.abandon();
            }),
            Event::Retrying { layer, reason } => {
                self.with_bar(layer, 0, |bar| bar.set_message(format!("Retry: {reason}")))
            }
            // What comes before the bars and after them is printed above and below.
            _ => self.all.suspend(|| self.lines.event(event)),
        }
    }
}
