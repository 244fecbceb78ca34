//! What a Dockerfile says, as types. Variables are not replaced yet: their values are known only while building.

use super::diagnostic::{ParseError, Source};
use super::heredoc::Heredoc;

/// A parsed Dockerfile.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    /// ARG instructions before the first FROM: what FROM lines may use, and the defaults of the same names in stages.
    pub globals: Vec<Instruction>,
    /// The stages in order; at least one.
    pub stages: Vec<Stage>,
    /// The escape character, `\` or a backquote.
    pub escape: char,
    /// What the author should know though it is no error: line and sentence.
    pub notes: Vec<(usize, String)>,
    /// The text, for errors that are found later.
    pub source: Source,
}

impl Dockerfile {
    /// An error about the instruction that begins at `line`.
    pub fn error(&self, line: usize, message: impl Into<String>) -> ParseError {
        let text = self.source.lines.get(line.wrapping_sub(1)).map_or("", String::as_str);
        let start = text.len() - text.trim_start().len();
        let width = text[start..].split_whitespace().next().map_or(1, str::len);
        self.source.error(line, start..start + width, message)
    }
}

/// FROM and what follows up to the next FROM.
#[derive(Debug, Clone)]
pub struct Stage {
    /// What the stage is built on.
    pub from: From,
    /// `AS name`, in lower case.
    pub name: Option<String>,
    /// The FROM line itself.
    pub line: usize,
    /// The FROM line's text.
    pub text: String,
    /// The instructions below it.
    pub instructions: Vec<Instruction>,
}

/// `FROM [--platform=P] image`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// An image, an earlier stage, or `scratch`.
    pub image: String,
    /// `--platform`, as `os/arch[/variant]`.
    pub platform: Option<String>,
}

/// One instruction and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Its first line in the file, counted from 1.
    pub line: usize,
    /// Its text, continuations joined: what progress and errors show.
    pub text: String,
    /// What it does.
    pub kind: Kind,
}

/// The instructions of a stage, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "named after the instructions, which the Dockerfile reference describes")]
pub enum Kind {
    Run(Run),
    Copy(Copy),
    /// COPY that also unpacks local archives.
    Add(Copy),
    Env(Vec<(String, String)>),
    /// Names, with a default or without.
    Arg(Vec<(String, Option<String>)>),
    Workdir(String),
    User(String),
    Label(Vec<(String, String)>),
    Expose(Vec<String>),
    Entrypoint(Command),
    Cmd(Command),
    Volume(Vec<String>),
    Stopsignal(String),
    Shell(Vec<String>),
    Maintainer(String),
    Healthcheck(Healthcheck),
    /// An instruction's text, kept for the image that will be built on this one.
    Onbuild(String),
}

/// Shell form or exec form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A line for the shell (`SHELL`, `/bin/sh -c` by default).
    Shell(String),
    /// An argument list, executed as it is.
    Exec(Vec<String>),
}

/// `RUN [--network=…] command`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What to run.
    pub command: Command,
    /// The heredocs it opens.
    pub heredocs: Vec<Heredoc>,
    /// `--network`: `default`, `none` or `host`.
    pub network: Option<String>,
}

/// `COPY [flags] source… destination`, also ADD's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Paths in the context, or in what `from` names; with wildcards.
    pub sources: Vec<String>,
    /// Contents written into the Dockerfile itself.
    pub heredocs: Vec<Heredoc>,
    /// Where to.
    pub destination: String,
    /// `--from`: a stage by name or number, or an image.
    pub from: Option<String>,
    /// `--chown=user[:group]`, names as the image under construction knows them.
    pub chown: Option<String>,
    /// `--chmod`, octal.
    pub chmod: Option<String>,
    /// `--exclude` patterns, as in `.dockerignore`.
    pub exclude: Vec<String>,
}

/// `HEALTHCHECK [--interval=…] CMD …` or `HEALTHCHECK NONE`. Durations in nanoseconds, as the image config has them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Healthcheck {
    /// The command; `None` switches an inherited check off.
    pub command: Option<Command>,
    /// `--interval`.
    pub interval: Option<i64>,
    /// `--timeout`.
    pub timeout: Option<i64>,
    /// `--start-period`.
    pub start_period: Option<i64>,
    /// `--start-interval`.
    pub start_interval: Option<i64>,
    /// `--retries`.
    pub retries: Option<i64>,
}
