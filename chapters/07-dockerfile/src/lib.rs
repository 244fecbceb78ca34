//! Chapter 7: building images from a Dockerfile.
pub mod context;
pub mod fingerprint;
pub mod syntax;
