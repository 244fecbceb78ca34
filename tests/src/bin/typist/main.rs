//! `typist`: types a session into shells and prints what a reader would see.
//!
//! The session comes in the variable `SUITE_SESSION` (`cargo x transcripts` reads it from `book/transcripts`). The typist runs in
//! a virtual host. Each terminal of the session is a shell with a terminal as its input and a pipe as its output: a terminal hands
//! out one line at a time, so a line is read by whichever program is in front, a shell within a shell too; and a shell whose
//! output is a pipe prints no prompts and controls no jobs.
//!
//! In reading order:
//!
//! * [`session`]: what is to be typed.
//! * [`shell`]: one terminal.

mod session;
mod shell;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result};

use session::Step;
use shell::Shell;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("typist: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let text = std::env::var("SUITE_SESSION").context("no session in SUITE_SESSION")?;
    nix::unistd::sethostname("host").context("name the host")?;
    let mut shells: BTreeMap<String, Shell> = BTreeMap::new();
    let mut user = session::User::Root;
    let mut holds = None;
    for (number, step) in session::steps(&text)? {
        let at = || format!("line {number}");
        match step {
            Step::Part(name) => println!("@@part {name}"),
            Step::User(name) => user = name,
            Step::Holds(text) => holds = Some(text),
            Step::Returns(terminal) => {
                let shell =
                    shells.get_mut(&terminal).with_context(|| format!("line {number}: no terminal {terminal:?}"))?;
                print!("{}", shell.output().with_context(at)?);
            }
            Step::Until { terminal, command } => {
                let shell =
                    shells.get_mut(&terminal).with_context(|| format!("line {number}: no terminal {terminal:?}"))?;
                shell.repeat(&command).with_context(at)?;
            }
            Step::Type { terminal, shown, command } => {
                print!("{shown}");
                if !shells.contains_key(&terminal) {
                    shells.insert(terminal.clone(), Shell::start(user).with_context(at)?);
                }
                let shell = shells.get_mut(&terminal).context("a shell")?;
                shell.type_line(&command).with_context(at)?;
                let output = match holds.take() {
                    Some(text) => shell.output_up_to(&text),
                    None => shell.output(),
                };
                print!("{}", output.with_context(at)?);
            }
        }
    }
    Ok(())
}
