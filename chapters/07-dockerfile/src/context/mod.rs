//! Where COPY and ADD take files from: the build context, another stage, an image.

pub mod archive;
pub mod files;
pub mod ignore;
pub mod node;
pub mod pattern;

pub mod tree;
