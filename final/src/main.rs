//! `minidocker`: a container engine without a daemon, put together from the seven chapters.
//!
//! In reading order:
//!
//! | file | idea |
//! |---|---|
//! | [`cli`] | one command, one file; `cli::run` is the whole of `run` |
//! | [`description`], [`assembly`] | a container as data, and from data to a list of isolations |
//! | [`monitor`] | the process that looks after one running container |
//! | [`exec`] | another process in it |
//! | [`container`], [`state`], [`status`], [`alive`], [`root`], [`id`] | containers on disk, and how they are |
//! | [`life`], [`discard`] | stopping, signalling and removing containers |
//! | [`readable`] | waiting for a descriptor, but not for ever |
//! | [`streams`], [`terminal`] | standard streams, and a terminal |
//! | [`attach`], [`raw_mode`] | the client's side of a connection with a monitor |
//! | [`privileges`], [`user`] | what the process inside may do, and who it is |
//! | [`sharing`], [`shared_memory`] | whose namespaces a container has |
//! | [`volumes`] | volumes on disk, and mounts as data |
//! | [`demo`] | the image that is always there |
//! | [`format`](mod@format) | tables, times and sizes as Docker prints them |
//!
//! Invariants: no threads where a container is started, nothing is done at start-up that the command does not need, and
//! nothing that a killed command leaves is in anybody's way.

mod alive;
mod assembly;
mod attach;
mod cli;
mod container;
mod demo;
mod description;
mod discard;
mod exec;
mod format;
mod full;
mod id;
mod life;
mod monitor;
mod privileges;
mod raw_mode;
mod readable;
mod root;
mod shared_memory;
mod sharing;
mod state;
mod status;
mod streams;
mod terminal;
mod user;
mod volumes;

use std::process::ExitCode;

use cli::ForeignCode;
use namespaces::program::{sentence, tell};
use privileges::own_binary;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    if words.next().is_some_and(|name| name == monitor::NAME) {
        return monitor::main();
    }
    // Both before the command line is parsed: what executes itself again would do that twice, and what is executed
    // meanwhile need not be waited for.
    let foreign = cli::foreign_code(words);
    if foreign == Some(ForeignCode::Here)
        && let Err(error) = own_binary::protect()
    {
        tell(format!("minidocker: {}", sentence(&error)));
        return ExitCode::from(namespaces::failure::ENGINE_FAILED);
    }
    let monitor = (foreign == Some(ForeignCode::UnderMonitor)).then(monitor::summon);
    let words = cli::empty::without(std::env::args_os());
    namespaces::program::main_with(words, cli::status_of_mistake, |cli| cli::run(cli, monitor))
}
