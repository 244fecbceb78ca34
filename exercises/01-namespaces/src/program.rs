//! What the `main` functions of the chapters share.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use clap::error::ErrorKind;
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::failure::{ENGINE_FAILED, exit_code};
use crate::wait::Forwarder;
use crate::{Container, Exit, Isolation, Process, Record};

/// A program's `main`: reads the command line, runs, prints the one error that there may be, and gives the exit status
/// (Docker's: that of the payload, or 125 where the program itself failed, 126, 127).
pub fn main<C: Parser>(run: impl FnOnce(C) -> Result<i32>) -> ExitCode {
    main_with(env::args_os(), |_| ENGINE_FAILED, run)
}

/// The same for a command line of these words, with an exit status that depends on the mistake in it.
pub fn main_with<C: Parser>(
    words: impl IntoIterator<Item = OsString>,
    mistake: impl FnOnce(&clap::Error) -> u8,
    run: impl FnOnce(C) -> Result<i32>,
) -> ExitCode {
    // Rust's runtime ignores SIGPIPE, and then `ex01 list | head` is told of an error that is none.
    // SAFETY: the default action runs no code of ours.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    let arguments = match C::try_parse_from(words) {
        Ok(arguments) => arguments,
        // Nothing was asked for: help is the answer, on the side where answers to nothing go.
        Err(help) if help.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            tell_lines(&help.to_string());
            return ExitCode::from(mistake(&help));
        }
        Err(error) if error.use_stderr() => {
            tell(format!("{}: {}", name(), usage(&error.to_string())));
            return ExitCode::from(mistake(&error));
        }
        Err(help) => return ended(help.print().context("write to standard output").map(|()| 0)),
    };
    ended(run(arguments))
}

/// The exit status of what has ended, with its one error told.
fn ended(result: Result<i32>) -> ExitCode {
    match result {
        // A status is 0 to 255, and wait(2) gives no other.
        Ok(code) => ExitCode::from(code as u8),
        Err(error) => {
            tell(format!("{}: {}", name(), sentence(&error)));
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Prints a line on standard error. Where that cannot be written (a full disk behind `2> FILE`, a terminal that is gone)
/// nobody is left to be told, and the exit status has to say it; `eprintln!` panics.
///
/// A line it stays: of what it quotes of an image, a registry or a file, nothing reaches the terminal as a command to it
/// (CVE-2003-0063), and no newline makes it look like two.
pub fn tell(line: impl Display) {
    tell_lines(&printable(&line.to_string()));
}

/// The same for a text of several lines, which is our own or has been made [`printable`] line by line.
pub fn tell_lines(text: &str) {
    let _ = io::stderr().write_all(format!("{}\n", text.trim_end()).as_bytes());
}

/// A text with its control characters, the newline among them, written as Rust writes them: `\n`, `\u{1b}`.
pub fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
        shown
    })
}

/// Prints a line of a program's answer. A full disk behind `> FILE` is an error like any other here; `println!` panics.
pub fn say(line: impl Display) -> Result<()> {
    writeln!(io::stdout(), "{line}").context("write to standard output")
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
