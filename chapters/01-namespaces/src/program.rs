//! What the `main` functions of the chapters share.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::failure::{ENGINE_FAILED, exit_code};
use crate::wait::Forwarder;
use crate::{Container, Exit, Isolation, Process, Record};

/// A program's `main`: reads the command line, runs, prints the one error that there may be, and gives the exit status
/// (Docker's: that of the payload, or 125 where the program itself failed, 126, 127).
pub fn main<C: Parser>(run: impl FnOnce(C) -> Result<i32>) -> ExitCode {
    let arguments = match C::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(ENGINE_FAILED) } else { ExitCode::SUCCESS };
        }
    };
    match run(arguments) {
        // A status is 0 to 255, and wait(2) gives no other.
        Ok(code) => ExitCode::from(code as u8),
        Err(error) => {
            eprintln!("{}: {error:#}", name());
            ExitCode::from(exit_code(&error))
        }
    }
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
