//! Chapter 7: building images from a Dockerfile.
//!
//! [`syntax`]: the file's text becomes instructions.
pub mod syntax;
