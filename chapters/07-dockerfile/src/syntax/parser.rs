//! From logical lines to instructions: one function per shape of arguments.

use std::ops::Range;

use super::diagnostic::{ParseError, Source, did_you_mean};
use super::flags::{self, Flag};
use super::heredoc;
use super::instruction::{Command, Copy, Dockerfile, From, Instruction, Kind, Run, Stage};
use super::lexer::{Line, lex};
use super::words::{self, Word};

/// The instructions, as the reference lists them.
const INSTRUCTIONS: [&str; 18] = [
    "FROM",
    "RUN",
    "CMD",
    "LABEL",
    "MAINTAINER",
    "EXPOSE",
    "ENV",
    "ADD",
    "COPY",
    "ENTRYPOINT",
    "VOLUME",
    "USER",
    "WORKDIR",
    "ARG",
    "ONBUILD",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "SHELL",
];

pub(super) type Result<T> = std::result::Result<T, ParseError>;

/// Parses a Dockerfile. `name` is what errors call it.
///
/// # Errors
///
/// The first mistake, with its line, a caret and where possible what was meant.
pub fn parse(text: &str, name: &str) -> Result<Dockerfile> {
    let source = Source::new(name, text);
    let lexed = lex(&source)?;
    let mut file = Dockerfile {
        globals: Vec::new(),
        stages: Vec::new(),
        escape: lexed.escape,
        notes: lexed.notes,
        source: source.clone(),
    };
    for line in &lexed.lines {
        let mut parser = Parser::new(&source, line, lexed.escape)?;
        if parser.keyword == "FROM" {
            let (from, name) = parser.from()?;
            let (line, text) = (line.number(), line.text.clone());
            file.stages.push(Stage { from, name, line, text, instructions: Vec::new() });
            continue;
        }
        let instruction = parser.instruction()?;
        file.notes.extend(parser.notes.drain(..).map(|note| (line.number(), note)));
        match (file.stages.last_mut(), &instruction.kind) {
            (Some(stage), _) => stage.instructions.push(instruction),
            (None, Kind::Arg(_)) => file.globals.push(instruction),
            (None, _) => {
                let message = format!("{} before the first FROM", parser.keyword);
                return Err(parser.error(0..parser.keyword.len(), message).help("only ARG may stand here"));
            }
        }
    }
    if file.stages.is_empty() {
        let message = "the file has no FROM instruction, so there is nothing to build";
        return Err(source.error(source.lines.len().max(1), 0..1, message));
    }
    Ok(file)
}

/// Parses one instruction that an image kept for those built on it (ONBUILD).
pub fn parse_trigger(text: &str) -> Result<Instruction> {
    let source = Source::new("ONBUILD", text);
    let lexed = lex(&source)?;
    match lexed.lines.as_slice() {
        [line] => Parser::new(&source, line, lexed.escape)?.instruction(),
        _ => Err(source.error(1, 0..text.len(), "an ONBUILD trigger must be one instruction")),
    }
}

/// One logical line on its way to becoming an instruction.
pub(super) struct Parser<'a> {
    source: &'a Source,
    pub(super) line: &'a Line,
    escape: char,
    /// The instruction's name in capitals.
    keyword: String,
    pub(super) flags: Vec<Flag>,
    /// Where the arguments begin.
    pub(super) rest: usize,
    notes: Vec<String>,
}

impl<'a> Parser<'a> {
    fn new(source: &'a Source, line: &'a Line, escape: char) -> Result<Parser<'a>> {
        let text = &line.text;
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let keyword = text[..end].to_uppercase();
        if !INSTRUCTIONS.contains(&keyword.as_str()) {
            let error = line.error(source, 0..end, format!("unknown instruction {}", &text[..end]));
            return Err(match did_you_mean(&keyword, &INSTRUCTIONS) {
                Some(meant) => error.help(format!("did you mean {meant}?")),
                None => error,
            });
        }
        let (flags, rest) = match keyword.as_str() {
            // An ONBUILD's flags are those of its inner instruction; MAINTAINER is free text.
            "ONBUILD" | "MAINTAINER" => (Vec::new(), text.len() - text[end..].trim_start().len()),
            _ => flags::take(text, end, escape),
        };
        let parser = Parser { source, line, escape, keyword, flags, rest, notes: Vec::new() };
        parser.check_flags()?;
        if parser.arguments().is_empty() {
            return Err(parser.error(0..end, format!("{} needs arguments", parser.keyword)));
        }
        Ok(parser)
    }

    fn check_flags(&self) -> Result<()> {
        let known = flags::known(&self.keyword);
        let mut seen: Vec<&str> = Vec::new();
        for flag in &self.flags {
            let fail = |message: String| Err(self.error(flag.range.clone(), message));
            if flags::not_supported(&self.keyword, &flag.name) {
                return fail(format!("{} --{} is not supported by this builder", self.keyword, flag.name));
            }
            if !known.contains(&flag.name.as_str()) {
                let error = self.error(flag.range.clone(), format!("{} has no flag --{}", self.keyword, flag.name));
                return Err(match did_you_mean(&flag.name, known) {
                    Some(meant) => error.help(format!("did you mean --{meant}?")),
                    None => error,
                });
            }
            if flag.value.as_ref().is_none_or(String::is_empty) {
                return fail(format!("--{} needs a value: --{0}=…", flag.name));
            }
            if seen.contains(&flag.name.as_str()) && flag.name != "exclude" {
                return fail(format!("--{} is given twice", flag.name));
            }
            seen.push(&flag.name);
        }
        Ok(())
    }

    fn flag(&self, name: &str) -> Option<String> {
        self.flags.iter().find(|flag| flag.name == name).and_then(|flag| flag.value.clone())
    }

    pub(super) fn error(&self, range: Range<usize>, message: impl Into<String>) -> ParseError {
        self.line.error(self.source, range, message)
    }

    pub(super) fn arguments(&self) -> &'a str {
        &self.line.text[self.rest..]
    }

    fn whole(&self) -> Range<usize> {
        self.rest..self.line.text.len()
    }

    /// The same error for a word of the arguments.
    fn word_error(&self, word: &Word<'_>, message: impl Into<String>) -> ParseError {
        self.error(self.rest + word.start..self.rest + word.range().end, message)
    }

    fn instruction(&mut self) -> Result<Instruction> {
        let arguments = self.arguments().to_owned();
        let kind = match self.keyword.as_str() {
            "RUN" => Kind::Run(self.run()?),
            "COPY" => Kind::Copy(self.copy()?),
            "ADD" => Kind::Add(self.copy()?),
            "ENV" => Kind::Env(self.pairs()?),
            "LABEL" => Kind::Label(self.pairs()?),
            "ARG" => Kind::Arg(self.arg()?),
            "CMD" => Kind::Cmd(self.command(self.rest)),
            "ENTRYPOINT" => Kind::Entrypoint(self.command(self.rest)),
            "SHELL" => Kind::Shell(self.shell()?),
            "EXPOSE" => Kind::Expose(arguments.split_whitespace().map(str::to_owned).collect()),
            "VOLUME" => Kind::Volume(self.list()),
            "WORKDIR" => Kind::Workdir(arguments),
            "USER" => Kind::User(arguments),
            "STOPSIGNAL" => Kind::Stopsignal(arguments),
            "MAINTAINER" => Kind::Maintainer(arguments),
            "HEALTHCHECK" => Kind::Healthcheck(self.healthcheck()?),
            "ONBUILD" => Kind::Onbuild(self.onbuild()?),
            // FROM is read by the caller: it opens a stage. What remains is FROM inside an ONBUILD trigger.
            other => return Err(self.error(0..other.len(), format!("{other} cannot stand here"))),
        };
        Ok(Instruction { line: self.line.number(), text: self.line.text.clone(), kind })
    }

    fn from(&self) -> Result<(From, Option<String>)> {
        let words = words::plain(self.arguments());
        let name = match words.as_slice() {
            [_] => None,
            [_, r#as, name] if r#as.text.eq_ignore_ascii_case("as") => Some(self.stage_name(name)?),
            [_, extra, ..] => {
                let error = self.word_error(extra, "FROM takes an image and perhaps AS and a name");
                return Err(error.help("expected: FROM image [AS name]"));
            }
            [] => return Err(self.error(self.whole(), "FROM needs an image")),
        };
        let image = words[0].text.trim_matches(['"', '\'']).to_owned();
        Ok((From { image, platform: self.flag("platform") }, name))
    }

    fn stage_name(&self, word: &Word<'_>) -> Result<String> {
        let name = word.text.to_lowercase();
        let letters = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
        if !letters || name == "scratch" {
            let error = self.word_error(word, format!("{} cannot be a stage's name", word.text));
            return Err(error.help("a letter, then letters, digits, - _ ."));
        }
        Ok(name)
    }

    fn run(&mut self) -> Result<Run> {
        let command = self.command(self.rest);
        let network = self.flag("network");
        if let Some(other) = network.as_deref().filter(|mode| !["default", "none", "host"].contains(mode)) {
            let range = self.flags.iter().find(|flag| flag.name == "network").map_or(0..1, |flag| flag.range.clone());
            return Err(self.error(range, format!("--network={other}: use default, none or host")));
        }
        Ok(Run { command, heredocs: self.line.heredocs.clone(), network })
    }

    /// Exec form if the text from `at` on is a JSON array of strings, else a line for the shell.
    pub(super) fn command(&mut self, at: usize) -> Command {
        let text = &self.line.text[at..];
        if let Some(argv) = words::json_array(text) {
            return Command::Exec(argv);
        }
        if text.starts_with("['") || text.starts_with("[\"") {
            let note = "looks like the exec form, but is no JSON array of strings, so the shell runs it as it stands";
            self.notes.push(format!("{}: {note}", self.keyword));
        }
        Command::Shell(text.to_owned())
    }

    /// A JSON array or words between blanks.
    fn list(&self) -> Vec<String> {
        let text = self.arguments();
        words::json_array(text).unwrap_or_else(|| text.split_whitespace().map(str::to_owned).collect())
    }

    fn copy(&self) -> Result<Copy> {
        let list = self.list();
        let Some((destination, given)) = list.split_last().filter(|(_, given)| !given.is_empty()) else {
            let error =
                self.error(self.whole(), format!("{} needs at least one source and a destination", self.keyword));
            return Err(error.help(format!("expected: {} source… destination", self.keyword)));
        };
        let mut sources = given.to_vec();
        sources.retain(|source| heredoc::opening(source).is_none());
        let heredocs = self.line.heredocs.clone();
        if sources.len() + heredocs.len() > 1 && !destination.contains('$') && !is_directory(destination) {
            let at = self.line.text.rfind(destination.as_str()).unwrap_or(self.rest);
            let message = format!("with several sources, {}'s destination must be a directory", self.keyword);
            let error = self.error(at..at + destination.len(), message);
            return Err(error.help(format!("end it in a slash: {destination}/")));
        }
        let exclude = self.flags.iter().filter(|flag| flag.name == "exclude").filter_map(|flag| flag.value.clone());
        Ok(Copy {
            sources,
            heredocs,
            destination: destination.clone(),
            from: self.flag("from"),
            chown: self.flag("chown"),
            chmod: self.flag("chmod"),
            exclude: exclude.collect(),
        })
    }

    fn split(&self) -> Result<Vec<Word<'a>>> {
        words::split(self.arguments(), self.escape).map_err(|at| {
            let at = self.rest + at;
            self.error(at..at + 1, "this quote is never closed")
        })
    }

    /// `name=value …`, or the old form `name the rest of the line`.
    fn pairs(&self) -> Result<Vec<(String, String)>> {
        let text = self.arguments();
        let words = self.split()?;
        let Some(first) = words.first().filter(|word| !word.text.contains('=')) else {
            let pair = |word: &Word<'_>| match word.text.split_once('=') {
                Some(("", _)) => Err(self.word_error(word, format!("{}: no name before the =", self.keyword))),
                Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
                None => {
                    let error = self.word_error(word, format!("{} needs name=value", self.keyword));
                    Err(error.help("a value with blanks needs quotes"))
                }
            };
            return words.iter().map(pair).collect();
        };
        let value = text[first.range().end..].trim();
        if value.is_empty() {
            return Err(self.word_error(first, format!("{} needs a value: {}=…", self.keyword, first.text)));
        }
        Ok(vec![(first.text.to_owned(), value.to_owned())])
    }

    fn arg(&self) -> Result<Vec<(String, Option<String>)>> {
        let one = |word: &Word<'a>| match word.text.split_once('=') {
            Some(("", _)) => Err(self.word_error(word, "ARG: no name before the =")),
            Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
            None => Ok((word.text.to_owned(), None)),
        };
        self.split()?.iter().map(one).collect()
    }

    fn shell(&self) -> Result<Vec<String>> {
        match words::json_array(self.arguments()) {
            Some(argv) if !argv.is_empty() => Ok(argv),
            _ => {
                let error = self.error(self.whole(), "SHELL takes a JSON array of strings");
                Err(error.help("for example: SHELL [\"/bin/bash\", \"-c\"]"))
            }
        }
    }

    /// Checks the inner instruction now, so that the mistake shows here and not in somebody else's build.
    fn onbuild(&self) -> Result<String> {
        let text = self.arguments();
        let inner = text.split_whitespace().next().unwrap_or_default().to_uppercase();
        let range = self.rest..self.rest + inner.len();
        if ["FROM", "ONBUILD", "MAINTAINER"].contains(&inner.as_str()) {
            return Err(self.error(range, format!("{inner} cannot be an ONBUILD trigger")));
        }
        if !self.line.heredocs.is_empty() {
            return Err(self.error(range, "a heredoc cannot be an ONBUILD trigger: the image keeps one line"));
        }
        let line = self.line.tail(self.rest);
        Parser::new(self.source, &line, self.escape)?.instruction()?;
        Ok(text.to_owned())
    }
}

/// Whether a destination says of itself that it is a directory.
pub(crate) fn is_directory(destination: &str) -> bool {
    destination.ends_with('/') || matches!(destination.rsplit('/').next(), Some("." | ".."))
}
