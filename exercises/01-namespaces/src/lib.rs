//! Chapter 1: a process in its own world.
//!
//! A container is an ordinary process that was born into namespaces of its own. This crate makes such a process, and
//! lays the core that every later chapter builds on. In reading order:
//!
//! | file | idea |
//! |---|---|
//! | [`kind`] | the eight kinds of namespaces |
//! | [`isolation`] | the [`Isolation`] trait: one thing that sets a container apart, as the story of a start |
//! | [`container`] | [`Container`]: a process and its isolations, from `clone3` to `execve` and back |
//! | [`clone`](mod@clone) | the only `clone3(2)` |
//! | `birth` | into which namespaces a child is born: new ones, existing ones, one whose clocks are set |
//! | [`gate`] | the channel between the outside and the child, and its few messages |
//! | [`failure`] | the error that crosses the gate, and the exit status that it becomes |
//! | [`process`] | what the child executes: arguments, environment, directory |
//! | [`diagnose`] | why an `execve(2)` failed, in words |
//! | [`child`] | the child seen from outside: a pidfd |
//! | [`wait`](mod@wait), [`signals`] | waiting for it, and passing signals on |
//! | [`uts`], [`pid`], [`clock`] | host name; process ids; clocks |
//! | [`init`], `title` | the duties of pid 1, and the name that it goes by |
//! | [`user`], [`id_map`], `subordinate`, `permitted` | user namespace; its maps; what an ordinary user may map |
//! | [`credentials`] | who the process is |
//! | [`enter`](mod@enter), [`share`] | joining the namespaces of a running process |
//! | [`list`] | who shares which namespace (what `lsns` shows) |
//! | [`args`], [`program`] | the flags, and what the chapters' `main` functions share |
//! | [`spelling`] | "did you mean", for every later chapter |
//!
//! Invariants: this crate never mounts anything and never changes a file of the host other than below `/proc`. It
//! assumes that the process is single-threaded when a [`Container`] is created (`clone3` copies one thread only).

pub mod args;
mod birth;
pub mod child;
pub mod clock;
pub mod clone;
pub mod container;
pub mod credentials;
pub mod diagnose;
pub mod enter;
pub mod failure;
pub mod gate;
pub mod id_map;
pub mod init;
pub mod isolation;
pub mod kind;
pub mod list;
mod permitted;
pub mod pid;
pub mod process;
pub mod program;
pub mod share;
pub mod signals;
pub mod spelling;
mod subordinate;
mod title;
pub mod user;
pub mod uts;
pub mod wait;

pub use args::Fresh;
pub use args::NamespaceArgs;
pub use child::Child;
pub use container::{Container, Created, Running};
pub use credentials::Credentials;
pub use enter::Enter;
pub use failure::StartError;
pub use gate::Gate;
pub use isolation::{Birth, Isolation, Record};
pub use kind::Kind;
pub use pid::PidNamespace;
pub use process::Process;
pub use program::{main, run_to_end};
pub use share::{Mode, Target};
pub use user::{UserNamespace, rootless};
pub use uts::HostName;
pub use wait::Exit;

/// Undoes what a record of this chapter names: nothing, since namespaces end with their last process.
///
/// Every later chapter's `undo` handles its own records and hands the others down, so that the last one knows them all.
pub fn undo(record: &Record) -> anyhow::Result<()> {
    anyhow::bail!("a record of an unknown kind: {:?} (was it written by a newer version?)", record.kind)
}
