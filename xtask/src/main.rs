//! `cargo x …`: what learners and maintainers run.
//!
//! In reading order:
//!
//! * [`workspace`]: where things are, and calling cargo.
//! * [`tools`]: the programs that tests and benchmarks need, and getting them.
//! * [`test`](mod@test): every check there is, with one line at the end.
//! * [`vm`]: a machine with cgroup v2, in QEMU.
//! * [`bench`](mod@bench): whole commands beside those of other engines.
//! * [`fuzz`]: random input.
//! * [`doctor`]: what this machine can do.
//! * [`course`]: exercises, starters, the learners' runner, the proofs.
//!
//! It reads files and starts programs; it uses no other crate of this workspace.

mod bench;
mod course;
mod doctor;
mod fuzz;
mod test;
mod tools;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Runs this project's checks
#[derive(Parser)]
#[command(bin_name = "cargo x", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Begin a chapter: its page, the files to edit, what the first red looks like
    Start(course::guide::Start),
    /// Run the tests of an exercise, or of a chapter's exercises up to the first that fails
    Check(course::check::Args),
    /// Check whenever you save
    Watch(course::check::Args),
    /// Show the hints of an exercise, one after the other
    Hint(course::guide::Hint),
    /// Show all exercises: what is done, and how many minutes are left
    List,
    /// Compare your solution with ours
    Diff(course::edit::Args),
    /// Fill in our solution, so that the rest can go on
    Solve(course::edit::Args),
    /// Put the stub back, after a copy of your version
    Reset(course::edit::Reset),
    /// Remove what the course has made, but for your solutions
    Clean(course::edit::Clean),
    /// Run all tests; as root on Debian or Ubuntu, install what they need first
    Test(test::Args),
    /// Say what this machine can do for the course and the tests, and what would mend the rest
    Doctor,
    /// Measure whole commands beside those of the engines installed here
    Bench(bench::Args),
    /// Write the starters in exercises/ from the chapters, or check that they are fresh
    Starters(course::starters::Args),
    /// Build the book, check it, or show it in a browser
    Book(course::book::Args),
    /// Prove that the tests of exercises test their exercises
    Verify,
    /// Make the book's transcripts by running their sessions, or compare them
    Transcripts(course::transcripts::Args),
    /// Print how long the course takes, by the exercises' minutes
    Schedule,
    /// Give random input to whatever reads what strangers wrote
    Fuzz(fuzz::Args),
    /// Run a command in a virtual machine with cgroup v2 alone
    Vm(vm::Args),
}

/// Ends when nobody reads on, as in `cargo x list | head`: `println!` would panic, at length.
fn end_with_the_reader() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str().is_some_and(|text| text.starts_with("failed printing to stdout")) {
            std::process::exit(128 + 13); // as SIGPIPE would have it
        }
        others(panic);
    }));
}

fn main() -> ExitCode {
    end_with_the_reader();
    let done = match Cli::parse().command {
        Command::Start(args) => course::guide::start(&args),
        Command::Check(args) => course::check::run(&args),
        Command::Watch(args) => course::check::watch(&args),
        Command::Hint(args) => course::guide::hint(&args),
        Command::List => course::guide::list(),
        Command::Diff(args) => course::edit::diff(&args),
        Command::Solve(args) => course::edit::solve(&args),
        Command::Reset(args) => course::edit::reset(&args),
        Command::Clean(args) => course::edit::clean(&args),
        Command::Test(args) => test::run(&args),
        Command::Doctor => doctor::run(),
        Command::Bench(args) => bench::run(&args),
        Command::Starters(args) => course::starters::run(&args),
        Command::Book(args) => course::book::run(&args),
        Command::Verify => course::verify::run(),
        Command::Transcripts(args) => course::transcripts::run(&args),
        Command::Schedule => course::schedule::run(),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Vm(args) => vm::run(&args),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("cargo x: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The exit code of a subcommand, or why it could not do its work.
type Outcome = Result<u8>;
