//! What the `main` functions of the chapters share.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clap::error::ErrorKind;
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::failure::{ENGINE_FAILED, exit_code};
use crate::wait::Forwarder;
use crate::{Container, Exit, Isolation, Process, Record};

/// A program's `main`: reads the command line, runs, prints the one error that there may be, and gives the exit status
/// (Docker's: that of the payload, or 125 where the program itself failed, 126, 127).
pub fn main<C: Parser>(run: impl FnOnce(C) -> Result<i32>) -> ExitCode {
    main_with(|_| ENGINE_FAILED, run)
}

/// The same, with an exit status that depends on the mistake in the command line.
pub fn main_with<C: Parser>(mistake: impl FnOnce(&clap::Error) -> u8, run: impl FnOnce(C) -> Result<i32>) -> ExitCode {
    // Rust's runtime ignores SIGPIPE, and then `ex01 list | head` is told of an error that is none.
    // SAFETY: the default action runs no code of ours.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    let arguments = match C::try_parse() {
        Ok(arguments) => arguments,
        // Nothing was asked for: help is the answer, on the side where answers to nothing go.
        Err(help) if help.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprint!("{help}");
            return ExitCode::from(mistake(&help));
        }
        Err(error) if error.use_stderr() => {
            eprintln!("{}: {}", name(), usage(&error.to_string()));
            return ExitCode::from(mistake(&error));
        }
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    match run(arguments) {
        // A status is 0 to 255, and wait(2) gives no other.
        Ok(code) => ExitCode::from(code as u8),
        Err(error) => {
            eprintln!("{}: {}", name(), sentence(&error));
            ExitCode::from(exit_code(&error))
        }
    }
}

/// A mistake in the command line in one line: what is wrong, what was perhaps meant, where to read on.
fn usage(text: &str) -> String {
    let mut said = Vec::new();
    let mut usage = "";
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once(": ") {
            Some(("error", what)) => said.push(what.to_string()),
            Some(("tip", tip)) if tip.contains("similar") => said.push(format!("({tip})")),
            Some(("tip", _)) => {}
            Some(("Usage", words)) => usage = words,
            _ if line.starts_with("For more information") => {}
            _ => said.push(line.to_string()),
        }
    }
    // `Usage: ex01 run [OPTIONS] <COMMAND>...`: the words before the first that stands for others.
    let program: Vec<&str> = usage.split(' ').take_while(|word| !word.starts_with(['[', '<', '-'])).collect();
    match program.is_empty() || usage.is_empty() {
        true => said.join(" "),
        false => format!("{}; see {} --help", said.join(" "), program.join(" ")),
    }
}

/// An error with its causes, in one line. The numbers and names that libraries add to the system's errors (`ENOENT: …`,
/// `… (os error 2)`) say nothing that the words do not.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut text = format!("{error:#}");
    while let Some((before, after)) = text.split_once(" (os error ") {
        match after.split_once(')') {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                text = format!("{before}{rest}")
            }
            _ => break,
        }
    }
    let parts: Vec<&str> = text.split(": ").collect();
    let last = parts.len() - 1;
    let is_name = |part: &str| (1..=133).any(|number| format!("{:?}", nix::Error::from_raw(number)) == part);
    let kept = parts.iter().enumerate().filter(|(index, part)| *index == last || !is_name(part));
    kept.map(|(_, part)| *part).collect::<Vec<_>>().join(": ")
}

/// The name by which the program was called.
fn name() -> String {
    let path = env::args_os().next().unwrap_or_default();
    Path::new(&path).file_name().unwrap_or(OsStr::new("?")).display().to_string()
}

/// Creates a container, runs it to its end, passing signals on, and undoes its records: the second half of every
/// chapter's `run`. The container ends with us even if we are killed.
pub fn run_to_end(
    mut process: Process,
    isolations: Vec<Box<dyn Isolation>>,
    undo: fn(&Record) -> Result<()>,
) -> Result<Exit> {
    process.die_with_parent = true;
    let forwarder = Forwarder::new()?;
    let running = Container::new(process, isolations, undo).create()?.start()?;
    forwarder.until_end(running.child())?;
    running.wait()
}
