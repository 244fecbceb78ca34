//! Options with an empty value, which Docker takes as not given: scripts write `--hostname "$NAME"`, set or not.

use std::ffi::OsString;

use clap::{Arg, Command, CommandFactory};

use super::Cli;

/// The options that an empty value leaves at their default; of others it is a value (`--entrypoint ""`), or a mistake.
const OPTIONAL: [&str; 18] = [
    "cgroup-parent",
    "cgroupns",
    "cidfile",
    "domainname",
    "hostname",
    "ipc",
    "name",
    "network",
    "pid",
    "platform",
    "pull",
    "signal",
    "stop-signal",
    "user",
    "userns",
    "uts",
    "volume-driver",
    "workdir",
];

/// A command line without these options where they are empty: `run --hostname "" demo` is `run demo`.
///
/// Done to the words, since what an option's value may be is the chapters' to say, and there an empty one is none.
pub fn without(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let words: Vec<OsString> = words.collect();
    if !words.iter().any(|word| word.is_empty() || word.as_encoded_bytes().ends_with(b"=")) {
        return words; // nearly always, and to ask clap for all options takes longer than a start may
    }
    let mut all = Cli::command();
    all.build();
    let mut command = &all;
    let mut words = words.into_iter().peekable();
    let mut kept: Vec<OsString> = words.next().into_iter().collect(); // our own name
    while let Some(word) = words.next() {
        let text = word.to_str().unwrap_or_default();
        if let Some(subcommand) = command.find_subcommand(&word) {
            command = subcommand;
        } else if !text.starts_with('-') || text == "--" {
            // An image or a container: what follows is not ours.
            kept.push(word);
            break;
        } else if let Some((option, before, value)) = option(command, text) {
            let empty = value.map_or_else(|| words.peek().is_some_and(|next| next.is_empty()), str::is_empty);
            let next = if value.is_none() { words.next() } else { None };
            match empty && option.get_long().is_some_and(|name| OPTIONAL.contains(&name)) {
                // Of `-itw ""` the rest.
                true => kept.extend((before.len() > 1).then(|| before.into())),
                false => kept.extend([Some(word), next].into_iter().flatten()),
            }
            continue;
        }
        kept.push(word);
    }
    kept.extend(words);
    kept
}

/// The option of a word that takes a value, what stands before it in the same word (`-it` of `-itw`), and the value if
/// that is in this word too.
fn option<'a, 'b>(command: &'a Command, word: &'b str) -> Option<(&'a Arg, &'b str, Option<&'b str>)> {
    let takes_value = |arg: &&Arg| arg.get_action().takes_values();
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        let named = |arg: &&Arg| {
            arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
        };
        return command.get_arguments().find(named).filter(takes_value).map(|arg| (arg, "", value));
    }
    word.char_indices().skip(1).find_map(|(place, letter)| {
        let arg = command.get_arguments().find(|arg| arg.get_short() == Some(letter)).filter(takes_value)?;
        let rest = &word[place + letter.len_utf8()..];
        let value = (!rest.is_empty()).then(|| rest.strip_prefix('=').unwrap_or(rest));
        Some((arg, &word[..place], value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(line: &[&str]) -> Vec<String> {
        let words = ["minidocker"].into_iter().chain(line.iter().copied()).map(OsString::from);
        without(words).into_iter().skip(1).map(|word| word.into_string().expect("UTF-8")).collect()
    }

    #[test]
    fn what_is_empty_is_not_given() {
        assert_eq!(left(&["run", "--hostname", "", "--net=", "-w", "", "demo"]), ["run", "demo"]);
        assert_eq!(left(&["--root", "/r", "run", "-itw", "", "-h=", "demo"]), ["--root", "/r", "run", "-it", "demo"]);
        assert_eq!(left(&["exec", "-w", "", "c", "ls"]), ["exec", "c", "ls"]);
        assert_eq!(left(&["kill", "--signal=", "c"]), ["kill", "c"]);
    }

    #[test]
    fn all_else_stays() {
        for line in [
            &["run", "--entrypoint", "", "demo"][..],
            &["run", "--rm", "demo", "--hostname", "", "-w", ""],
            &["run", "--hostname", "demo", ""],
            &["run", "-e", "--hostname=", "demo"],
            &["run", "--", "demo", "--pid="],
            &["run", "-m", "", "demo"],
            &["run", ""],
            &["run", "--hostname"],
            &["nosuch", "--hostname="],
            &["--bogus=", "run", "--label", "", "demo"],
        ] {
            assert_eq!(left(line), line);
        }
    }
}
