//! Whole files in, instructions or error messages out.

use proptest::prelude::*;

use super::*;

fn only(text: &str) -> Kind {
    parse(&format!("FROM scratch\n{text}"), "Dockerfile").unwrap().stages.remove(0).instructions.remove(0).kind
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn stages_and_globals() {
    let file = parse("ARG V=1\nFROM --platform=linux/amd64 a:$V AS Build\nRUN x\nfrom scratch\n", "f").unwrap();
    assert_eq!(file.globals.len(), 1);
    assert_eq!(file.stages[0].name.as_deref(), Some("build"));
    assert_eq!(file.stages[0].from, From { image: "a:$V".into(), platform: Some("linux/amd64".into()) });
    assert_eq!((file.stages[1].from.image.as_str(), file.stages[1].line), ("scratch", 4));
}

#[test]
fn shell_and_exec_form() {
    assert_eq!(only("CMD echo  hi"), Kind::Cmd(Command::Shell("echo  hi".into())));
    assert_eq!(only("CMD [\"echo\", \"hi\"]"), Kind::Cmd(Command::Exec(strings(&["echo", "hi"]))));
    assert_eq!(only("ENTRYPOINT []"), Kind::Entrypoint(Command::Exec(vec![])));
    let file = parse("FROM a\nCMD ['echo']", "f").unwrap();
    assert_eq!(file.stages[0].instructions[0].kind, Kind::Cmd(Command::Shell("['echo']".into())));
    assert_eq!(file.notes.len(), 1);
}

#[test]
fn env_in_both_forms() {
    let pairs = |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(only("ENV a=1 b=\"x y\" c=d\\ e"), Kind::Env(pairs(&[("a", "1"), ("b", "\"x y\""), ("c", "d\\ e")])));
    assert_eq!(only("ENV a  b = c"), Kind::Env(pairs(&[("a", "b = c")])));
    assert_eq!(only("LABEL a.b=c"), Kind::Label(pairs(&[("a.b", "c")])));
    assert_eq!(only("ARG a b=c"), Kind::Arg(vec![("a".into(), None), ("b".into(), Some("c".into()))]));
}

#[test]
fn copy_with_flags_and_heredocs() {
    let Kind::Copy(copy) = only("COPY --from=0 --chown=1:2 --chmod=644 a b c/") else { panic!() };
    assert_eq!((copy.sources, copy.destination), (strings(&["a", "b"]), "c/".into()));
    assert_eq!(
        (copy.from.as_deref(), copy.chown.as_deref(), copy.chmod.as_deref()),
        (Some("0"), Some("1:2"), Some("644"))
    );
    let Kind::Add(add) = only("ADD <<motd x /etc/\nhello\nmotd\n") else { panic!() };
    assert_eq!((add.sources, add.heredocs[0].name.as_str()), (strings(&["x"]), "motd"));
    let Kind::Copy(copy) = only("COPY [\"a b\", \"c d\"]") else { panic!() };
    assert_eq!((copy.sources, copy.destination), (strings(&["a b"]), "c d".into()));
}

#[test]
fn run_with_heredoc_and_network() {
    let Kind::Run(run) = only("RUN --network=none <<-EOF\n\tone\n\tEOF\n") else { panic!() };
    assert_eq!(run.network.as_deref(), Some("none"));
    assert_eq!(run.heredocs[0].content, "one\n");
    assert_eq!(run.command, Command::Shell("<<-EOF".into()));
}

#[test]
fn healthchecks() {
    let Kind::Healthcheck(check) = only("HEALTHCHECK --interval=1m30s --retries=3 CMD curl x") else { panic!() };
    assert_eq!((check.interval, check.retries), (Some(90_000_000_000), Some(3)));
    assert_eq!(check.command, Some(Command::Shell("curl x".into())));
    assert_eq!(only("HEALTHCHECK none"), Kind::Healthcheck(Healthcheck::default()));
}

#[test]
fn onbuild_keeps_the_text() {
    assert_eq!(only("ONBUILD COPY . /app"), Kind::Onbuild("COPY . /app".into()));
    assert!(matches!(parse_trigger("COPY . /app").unwrap().kind, Kind::Copy(_)));
    assert!(parse_trigger("RUN a\nRUN b").is_err());
}

/// What an author sees, for every kind of mistake.
#[test]
fn error_messages() {
    let files = [
        "",
        "# just a comment\n",
        "RUN x\nFROM a",
        "FROM a\nRUNN make",
        "FROM a\nBANANA",
        "FROM a b",
        "FROM a AS 1x",
        "FROM",
        "FROM a\nCOPY x",
        "FROM a\nCOPY a \\\n  # why\n  b c",
        "FROM a\nCOPY --form=x a b",
        "FROM a\nCOPY --chown a b",
        "FROM a\nCOPY --from=a --from=b a b",
        "FROM a\nCOPY --link a b",
        "FROM a\nRUN --mount=type=cache,target=/x make",
        "FROM a\nENV",
        "FROM a\nENV a",
        "FROM a\nENV a=1 b",
        "FROM a\nENV a=\"1",
        "FROM a\nENV =1",
        "FROM a\nSHELL bash",
        "FROM a\nRUN <<EOF\nx",
        "FROM a\nHEALTHCHECK curl x",
        "FROM a\nHEALTHCHECK --interval=3 CMD x",
        "FROM a\nHEALTHCHECK --retries=many CMD x",
        "FROM a\nONBUILD FROM b",
        "FROM a\nONBUILD \\\n   CPOY a b",
        "# escape=x\nFROM a",
        "# escape=`\n# escape=`\nFROM a",
        "FROM a\n\0",
        "FROM a\nRUN --network=bridge x",
        "#!/bin/sh\necho this is no Dockerfile\n",
    ];
    let shown: Vec<String> = files
        .iter()
        .map(|text| match parse(text, "Dockerfile") {
            Ok(_) => format!("no error for {text:?}"),
            Err(error) => error.to_string(),
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n\n"));
}

proptest! {
    /// Any text is a Dockerfile or an error, and the error can be shown.
    #[test]
    fn any_text_is_parsed_or_refused(text in "(?s).{0,200}") {
        if let Err(error) = parse(&text, "f") {
            let _ = error.to_string();
        }
    }

    /// The same for text made of what the grammar gives a meaning to.
    #[test]
    fn hostile_pieces(pieces in prop::collection::vec(prop::sample::select(vec![
        "FROM", "RUN", "COPY", "ENV", "ONBUILD", "HEALTHCHECK", "SHELL", "ARG", "a", "é", " ", " ", "\t", "\n", "\n", "\\\n", "\\", "`",
        "'", "\"", "=", "--", "--from=", "--chown", "<<EOF", "<<-'x'", "EOF", "[", "\"a\"]", "#", "# escape=`", "$", "${", "}", ":-", "CMD",
        "\u{feff}", "\r\n", "\0", "\u{2003}",
    ]), 0..40)) {
        let text = pieces.concat();
        for text in [text.clone(), format!("FROM a\n{text}"), format!("FROM a\nCOPY {text}"), format!("FROM a\nONBUILD {text}")] {
            if let Err(error) = parse(&text, "f") {
                let _ = error.to_string();
            }
        }
        let _ = parse_trigger(&text);
    }

    /// Any word is expanded or refused.
    #[test]
    fn any_word_is_expanded_or_refused(text in "[$\\{\\}:+?#%/*x'\"\\\\é -]{0,60}") {
        let lookup = |name: &str| (name == "x").then(|| "aéb/c".to_owned());
        let _ = expand(&text, '\\', &lookup);
        let _ = expand_heredoc(&text, '`', &lookup);
    }
}
