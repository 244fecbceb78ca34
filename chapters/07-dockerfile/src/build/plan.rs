//! Which stages there are to build, and what each is built on.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};

use crate::syntax::{Copy, Dockerfile, Instruction, Kind, ParseError, did_you_mean, expand};

use super::scope::Globals;

/// What a stage is built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage, by number.
    Stage(usize),
    /// An image, by name.
    Image(String),
}

/// The stages to build, earlier ones first, each with its base. Stages that the target does not need are not in it.
pub fn plan(file: &Dockerfile, globals: &Globals, target: Option<&str>) -> Result<Vec<(usize, Base)>> {
    let bases = file.stages.iter().enumerate().map(|(index, _)| base(file, globals, index));
    let bases: Vec<Base> = bases.collect::<Result<_, ParseError>>()?;
    let target = match target {
        Some(name) => find(file, name, file.stages.len()).with_context(|| unknown_target(file, name))?,
        None => file.stages.len() - 1,
    };
    let mut needed = BTreeSet::new();
    let mut waiting = vec![target];
    while let Some(index) = waiting.pop() {
        if !needed.insert(index) {
            continue;
        }
        if let Base::Stage(base) = bases[index] {
            waiting.push(base);
        }
        for instruction in &file.stages[index].instructions {
            if let Some(from) = copied_from(instruction) {
                waiting.extend(source_stage(file, from, index, instruction.line)?);
            }
        }
    }
    Ok(needed.into_iter().map(|index| (index, bases[index].clone())).collect())
}

/// The stage before number `before` that `name` means: its name, or its number.
pub fn find(file: &Dockerfile, name: &str, before: usize) -> Option<usize> {
    let named = |stage: &crate::syntax::Stage| stage.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name));
    let by_number = || name.parse().ok().filter(|index| *index < before);
    // The last of several with one name, as they shadow each other.
    file.stages[..before].iter().rposition(named).or_else(by_number)
}

/// The stage that `COPY --from` in stage `index` means, or `None` for an image.
pub fn source_stage(file: &Dockerfile, from: &str, index: usize, line: usize) -> Result<Option<usize>, ParseError> {
    if let Some(stage) = find(file, from, index) {
        return Ok(Some(stage));
    }
    if find(file, from, file.stages.len()).is_some() || from.parse::<usize>().is_ok() {
        let error = file.error(line, format!("--from={from}: there is no such stage before this one"));
        return Err(error.help("only earlier stages can be copied from"));
    }
    Ok(None)
}

fn copied_from(instruction: &Instruction) -> Option<&str> {
    match &instruction.kind {
        Kind::Copy(Copy { from: Some(from), .. }) => Some(from),
        _ => None,
    }
}

fn base(file: &Dockerfile, globals: &Globals, index: usize) -> Result<Base, ParseError> {
    let stage = &file.stages[index];
    let lookup = |name: &str| globals.lookup(name);
    let image =
        expand(&stage.from.image, file.escape, &lookup).map_err(|error| file.error(stage.line, error.to_string()))?;
    if image.is_empty() {
        let error =
            file.error(stage.line, format!("FROM {} is empty once its variables are replaced", stage.from.image));
        return Err(error.help("FROM sees only ARGs before the first FROM"));
    }
    if image == "scratch" {
        return Ok(Base::Scratch);
    }
    let named =
        |stage: &crate::syntax::Stage| stage.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(&image));
    Ok(match file.stages[..index].iter().rposition(named) {
        Some(earlier) => Base::Stage(earlier),
        None => Base::Image(image),
    })
}

fn unknown_target(file: &Dockerfile, name: &str) -> String {
    let names: Vec<&str> = file.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
    let known = match did_you_mean(name, &names) {
        Some(meant) => format!("did you mean {meant}?"),
        None if names.is_empty() => "no stage has a name".to_owned(),
        None => format!("there are {}", names.join(", ")),
    };
    format!("--target {name}: no such stage ({known})")
}

/// Refuses what would need another machine.
pub fn check_platform(wanted: Option<&str>, globals: &Globals, escape: char) -> Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    let wanted: images::Platform = expand(wanted, escape, &|name| globals.lookup(name))?.parse()?;
    let host = images::Platform::host();
    if (&wanted.os, &wanted.architecture) != (&host.os, &host.architecture) {
        bail!("--platform={wanted}: this machine builds for {host} only");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::parse;

    const FILE: &str =
        "ARG BASE=alpine\nFROM $BASE AS a\nFROM scratch AS b\nCOPY --from=A /x /\nFROM b\nFROM a AS unused\nFROM 2\n";

    fn planned(text: &str, target: Option<&str>) -> Result<Vec<(usize, Base)>> {
        let file = parse(text, "Dockerfile").unwrap();
        let mut globals = Globals::new(&[], &images::Platform::host());
        globals.declare("BASE", Some("alpine"), '\\').unwrap();
        plan(&file, &globals, target)
    }

    #[test]
    fn only_needed_stages_are_built() {
        let image = Base::Image("alpine".into());
        assert_eq!(planned(FILE, Some("2")).unwrap(), [(0, image.clone()), (1, Base::Scratch), (2, Base::Stage(1))]);
        assert_eq!(planned(FILE, Some("UNUSED")).unwrap(), [(0, image), (3, Base::Stage(0))]);
        // FROM takes names, not numbers: "2" is an image.
        assert_eq!(planned(FILE, None).unwrap(), [(4, Base::Image("2".into()))]);
    }

    #[test]
    fn unknown_and_later_stages_are_errors() {
        let error = planned(FILE, Some("unsued")).unwrap_err().to_string();
        assert_eq!(error, "--target unsued: no such stage (did you mean unused?)");
        let later =
            planned("FROM a\nCOPY --from=b / /\nFROM a AS b\nFROM 0\nCOPY --from=0 / /", Some("0")).unwrap_err();
        assert!(later.to_string().contains("no such stage before this one"));
        assert!(planned("FROM a\nCOPY --from=0 / /", None).is_err());
        assert!(planned("FROM $NOTHING", None).is_err());
    }
}
