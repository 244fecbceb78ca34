//! From a Dockerfile's text to instructions. Reads nothing but the text it is given, and never panics on it.

mod diagnostic;
mod expand;
mod flags;
mod healthcheck;
mod heredoc;
mod instruction;
mod lexer;
mod parser;
mod trim;
mod words;

#[cfg(test)]
mod tests;

pub use diagnostic::{ParseError, Source, did_you_mean};
pub use expand::{ExpandError, expand, expand_heredoc};
pub use heredoc::Heredoc;
pub(crate) use heredoc::is_heredoc;
pub use instruction::{Command, Copy, Dockerfile, From, Healthcheck, Instruction, Kind, Run, Stage};
pub(crate) use parser::is_directory;
pub use parser::{parse, parse_trigger};
