//! Building: each instruction is a step from one state of the image to the next.

pub mod args;
pub mod builder;
pub mod cache;
pub mod clock;
pub mod copy;
pub mod copy_step;
pub mod metadata;
mod output;
pub mod plan;
pub mod progress;
pub mod run;
pub mod run_step;
pub mod scope;
pub mod source;
pub mod stage;
pub mod stubs;
pub mod workspace;
