//! Chapter 7: building images from a Dockerfile.
//!
//! A build is *run + commit*: each instruction starts from a tree of layers, changes it in a container, and what changed is
//! the next layer. In reading order:
//!
//! | module | idea |
//! |---|---|
//! | [`syntax`] | text → logical lines → instructions; variables; errors with a caret |
//! | [`context`] | the files that COPY and ADD may take: patterns, `.dockerignore`, looking without being led out, digests |
//! | [`fingerprint`] | one digest of many fields |
//! | [`build::plan`], [`build::scope`] | which stages are needed; which variables an instruction sees |
//! | [`build::cache`] | what a step made the last time |
//! | [`build::metadata`] | instructions that change only the config |
//! | [`build::copy`] | putting files into the tree, by Docker's rules |
//! | [`build::run`], [`build::stubs`] | a command in a container whose writable layer is kept |
//! | [`build::builder`] | the whole: stages, steps, the image |
//!
//! Invariants: `syntax` reads nothing but the text it is given. Nothing here follows a link out of the context or out of the
//! image under construction. A build that fails or is killed leaves nothing but results of finished steps in the cache.

pub mod build;
pub mod context;
pub mod fingerprint;
pub mod syntax;

pub use build::args::{BuildArg, BuildArgs};
pub use build::builder::Builder;
pub use build::progress::{Plain, Progress, Quiet, tell_failure};
pub use build::run::{Extra, Failed, RunStep, plain_user};
pub use syntax::{Dockerfile, ParseError, parse};
