//! Variables: `$x`, `${x}`, `${x:-default}`, `${x:+other}`, `${x:?message}` and the trimming forms.
//!
//! The builder replaces variables in most instructions itself
//! (<https://docs.docker.com/reference/dockerfile/#environment-replacement>); in RUN, CMD and ENTRYPOINT the shell does it.

use std::fmt;

use super::trim;

/// What is wrong with a word's quotes or variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpandError(String);

impl std::error::Error for ExpandError {}

impl fmt::Display for ExpandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

type Result<T> = std::result::Result<T, ExpandError>;

/// Nesting like `${a:-${b:-…}}` beyond this is an attack on the stack, not a Dockerfile.
const DEEPEST: usize = 32;

/// Replaces the variables of `text` by what `lookup` knows and takes quotes and escapes off. An unset variable is empty.
pub fn expand(text: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    Expander { rest: text, escape, quotes: true, lookup, depth: 0 }.until(None)
}

/// The same for the content of a heredoc: quotes are ordinary characters, and only `$` and the escape can be escaped.
pub fn expand_heredoc(text: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    Expander { rest: text, escape, quotes: false, lookup, depth: 0 }.until(None)
}

struct Expander<'a> {
    rest: &'a str,
    escape: char,
    quotes: bool,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    depth: usize,
}

impl<'a> Expander<'a> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    fn accept(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Everything up to `stop`, which is taken as well, or up to the end.
    fn until(&mut self, stop: Option<char>) -> Result<String> {
        let mut out = String::new();
        while let Some(c) = self.next() {
            match c {
                _ if Some(c) == stop => return Ok(out),
                '\'' if self.quotes => out.push_str(self.single_quoted()?),
                '"' if self.quotes => self.double_quoted(&mut out)?,
                '$' => self.variable(&mut out)?,
                _ if c == self.escape => match self.next() {
                    Some(next) if self.quotes || next == '$' || next == self.escape => out.push(next),
                    Some(next) => out.extend([c, next]),
                    None => out.push(c),
                },
                _ => out.push(c),
            }
        }
        match stop {
            Some(stop) => Err(ExpandError(format!("a {stop} is missing at the end"))),
            None => Ok(out),
        }
    }

    fn single_quoted(&mut self) -> Result<&'a str> {
        let missing = || ExpandError("a closing ' is missing".into());
        let (text, rest) = self.rest.split_once('\'').ok_or_else(missing)?;
        self.rest = rest;
        Ok(text)
    }

    fn double_quoted(&mut self, out: &mut String) -> Result<()> {
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('$') => self.variable(out)?,
                Some(c) if c == self.escape => match self.next() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => out.push(next),
                    Some(next) => out.extend([c, next]),
                    None => out.push(c),
                },
                Some(c) => out.push(c),
                None => return Err(ExpandError("a closing \" is missing".into())),
            }
        }
    }

    /// What follows a `$`.
    fn variable(&mut self, out: &mut String) -> Result<()> {
        if !self.accept("{") {
            match self.name() {
                "" => out.push('$'),
                name => out.push_str(&(self.lookup)(name).unwrap_or_default()),
            }
            return Ok(());
        }
        if self.depth == DEEPEST {
            return Err(ExpandError(format!("variables are nested more than {DEEPEST} deep")));
        }
        self.depth += 1;
        out.push_str(&self.braced()?);
        self.depth -= 1;
        Ok(())
    }

    /// What follows a `${`, up to its `}`.
    fn braced(&mut self) -> Result<String> {
        let name = self.name();
        if name.is_empty() {
            return Err(ExpandError("${ needs a variable's name".into()));
        }
        let value = (self.lookup)(name);
        if self.accept("}") {
            return Ok(value.unwrap_or_default());
        }
        // With a colon an empty value counts as none.
        let colon = self.accept(":");
        let set = value.clone().filter(|value| !(colon && value.is_empty()));
        match self.next() {
            Some('-') => {
                let default = self.until(Some('}'))?;
                Ok(set.unwrap_or(default))
            }
            Some('+') => {
                let other = self.until(Some('}'))?;
                Ok(if set.is_some() { other } else { String::new() })
            }
            Some('?') => {
                let message = self.until(Some('}'))?;
                let message = if message.is_empty() { "it is not set".to_owned() } else { message };
                set.ok_or_else(|| ExpandError(format!("{name}: {message}")))
            }
            Some(end @ ('#' | '%')) if !colon => {
                let most = self.accept(end.encode_utf8(&mut [0; 4]));
                let pattern = self.until(Some('}'))?;
                Ok(trim::cut(&value.unwrap_or_default(), &pattern, end == '#', most).to_owned())
            }
            Some('/') if !colon => {
                let all = self.accept("/");
                let pattern = self.until(Some('/'))?;
                let replacement = self.until(Some('}'))?;
                Ok(trim::replace(&value.unwrap_or_default(), &pattern, &replacement, all))
            }
            Some(other) => Err(ExpandError(format!("${{{name}{other}…}} is not supported"))),
            None => Err(ExpandError(format!("${{{name} has no closing }}"))),
        }
    }

    /// A name at the front: letters, digits, `_`; or a number; or one of the shell's special characters.
    fn name(&mut self) -> &'a str {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = match self.rest.chars().next() {
            Some(c) if c.is_ascii_digit() => self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len()),
            Some(c) if word(c) => self.rest.find(|c| !word(c)).unwrap_or(self.rest.len()),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            _ => 0,
        };
        let (name, rest) = self.rest.split_at(length);
        self.rest = rest;
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "x" => Some("ex".into()),
            "empty" => Some(String::new()),
            "path" => Some("/usr/local/file.tar.gz".into()),
            _ => None,
        }
    }

    fn expanded(text: &str) -> String {
        expand(text, '\\', &lookup).unwrap_or_else(|error| format!("error: {error}"))
    }

    #[test]
    fn plain_and_braced() {
        assert_eq!(expanded("$x-${x}y-$xy-$"), "ex-exy--$");
        assert_eq!(expanded("${x"), "error: ${x has no closing }");
        assert_eq!(expanded("${}"), "error: ${ needs a variable's name");
    }

    #[test]
    fn defaults_and_alternatives() {
        assert_eq!(expanded("${no:-a b}${empty:-c}${empty-d}${no-e}"), "a bce");
        assert_eq!(expanded("${x:+y}${no:+y}${empty:+y}${empty+z}"), "yz");
        assert_eq!(expanded("${no:-${no:-${x}}}"), "ex");
        assert_eq!(expanded("${no:?say it}"), "error: no: say it");
        assert_eq!(expanded("${x:?say it}"), "ex");
    }

    #[test]
    fn trimming_and_replacing() {
        assert_eq!(
            expanded("${path#*/} ${path##*/} ${path%.*} ${path%%.*}"),
            "usr/local/file.tar.gz file.tar.gz /usr/local/file.tar /usr/local/file"
        );
        assert_eq!(
            expanded("${path/l/L} ${path//l/L} ${path//[/x}"),
            "/usr/Local/file.tar.gz /usr/LocaL/fiLe.tar.gz /usr/local/file.tar.gz"
        );
    }

    #[test]
    fn quotes_and_escapes_come_off() {
        assert_eq!(expanded(r#"'$x' "$x y" \$x a\ b "\"\n""#), r#"$x ex y $x a b "\n"#);
        assert_eq!(expanded("\"open"), "error: a closing \" is missing");
        assert_eq!(expand("`$x \\", '`', &lookup).unwrap(), "$x \\");
    }

    #[test]
    fn a_heredoc_keeps_its_quotes() {
        assert_eq!(expand_heredoc("\"$x\" '\\$x' \\n", '\\', &lookup).unwrap(), "\"ex\" '$x' \\n");
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "${a:-".repeat(100_000);
        assert!(expand(&deep, '\\', &lookup).is_err());
    }
}
