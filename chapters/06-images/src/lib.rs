//! Chapter 6: images, from registries and archives.
//!
//! An image is layers plus a config. This crate finds out what an image's name means, fetches it, keeps it, and makes
//! of its config a process. In reading order:
//!
//! | file | idea |
//! |---|---|
//! | [`reference`](mod@reference) | what a name means: `busybox` is `docker.io/library/busybox:latest` |
//! | [`manifest`], [`config`] | the documents that an image consists of |
//! | [`layout`], [`image`](mod@image), [`store`] | where they are kept, under the digests of their content |
//! | [`layer`], [`remove`] | layers, unpacked once and shared; how they go again |
//! | [`registry`], `transport`, `auth` | talking to a registry |
//! | [`pull`], `download`, [`progress`] | fetching, checking, going on after a cut |
//! | [`push`] | the way back |
//! | [`save`], [`load`] | archives |
//! | [`process`](mod@process), [`user`] | from config and command line to a process |
//!
//! Invariants: a blob is in the store under the digest that its bytes have, or not at all; nothing is listed that is not
//! complete; no name from outside (a tag, an archive's entry, a digest) ever becomes a path unchecked.

mod auth;
pub mod config;
mod download;
pub mod image;
pub mod layer;
pub mod layout;
pub mod load;
pub mod manifest;
pub mod process;
pub mod progress;
pub mod pull;
pub mod push;
pub mod reference;
mod registry;
pub mod remove;
pub mod save;
pub mod store;
mod transport;
pub mod user;

pub use auth::Credentials;
pub use config::{Execution, Healthcheck, History, ImageConfig, RootFs};
pub use image::{Image, Listed};
pub use layer::Layer;
pub use layers::Digest;
pub use load::Loaded;
pub use manifest::{Descriptor, Index, Manifest, Platform};
pub use process::{ImageArgs, Overrides, process, user};
pub use progress::{Event, Lines, Progress, Silent};
pub use pull::PullOptions;
pub use reference::Reference;
pub use remove::{LayersInUse, Removed};
pub use store::{Lease, Store, default_root};
pub use transport::Connection;
pub use user::{ResolvedUser, User, resolve_group, resolve_user};
