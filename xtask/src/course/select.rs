//! Which exercise or chapter a learner means.

use anyhow::{Result, bail};

use super::progress::Progress;
use super::table::{Chapter, Exercise};

/// What was meant.
pub enum Selection<'a> {
    /// One exercise.
    One(&'a Chapter, &'a Exercise),
    /// All of a chapter.
    Chapter(&'a Chapter),
}

/// `1.2`, an anchor's name, a chapter's number, or nothing, which is the chapter that was started last.
pub fn select<'a>(chapters: &'a [Chapter], progress: &Progress, wish: Option<&str>) -> Result<Selection<'a>> {
    let Some(wish) = wish else {
        return Ok(Selection::Chapter(current(chapters, progress)?));
    };
    if wish.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Selection::Chapter(chapter(chapters, wish)?));
    }
    let (chapter, exercise) = exercise(chapters, wish)?;
    Ok(Selection::One(chapter, exercise))
}

/// The chapter that was started last, or the first.
pub fn current<'a>(chapters: &'a [Chapter], progress: &Progress) -> Result<&'a Chapter> {
    let started = chapters.iter().find(|chapter| Some(chapter.number) == progress.chapter);
    match started.or(chapters.first()) {
        Some(chapter) => Ok(chapter),
        None => bail!("no chapter has exercises yet"),
    }
}

/// A chapter by its number: `1`, `01`.
pub fn chapter<'a>(chapters: &'a [Chapter], wish: &str) -> Result<&'a Chapter> {
    if let Some(found) = chapters.iter().find(|chapter| wish.parse() == Ok(chapter.number)) {
        return Ok(found);
    }
    let numbers: Vec<String> = chapters.iter().map(|chapter| format!("{:02}", chapter.number)).collect();
    bail!("no exercises of a chapter {wish:?}; there are some of {}", numbers.join(", "))
}

/// An exercise by its id or its anchor.
pub fn exercise<'a>(chapters: &'a [Chapter], wish: &str) -> Result<(&'a Chapter, &'a Exercise)> {
    let all = || chapters.iter().flat_map(|chapter| chapter.exercises.iter().map(move |exercise| (chapter, exercise)));
    let normal = wish.trim_start_matches('0').replace(['-', '_', ',', '/'], ".");
    let found = all().find(|(_, exercise)| exercise.id == normal || exercise.anchor.trim_start_matches("ex-") == wish);
    if let Some(found) = found.or_else(|| all().find(|(_, exercise)| exercise.anchor == wish)) {
        return Ok(found);
    }
    let near: Vec<&str> = all().map(|(_, exercise)| exercise.id.as_str()).filter(|id| is_near(id, &normal)).collect();
    match &near[..] {
        [] => bail!("there is no exercise {wish:?}; cargo x list shows all"),
        near => bail!("there is no exercise {wish:?}; did you mean {}? cargo x list shows all", near.join(", ")),
    }
}

/// The same digits but for the dot, or the same chapter.
fn is_near(id: &str, wish: &str) -> bool {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    digits(id) == digits(wish) || id.split('.').next() == wish.split('.').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::table::example;

    #[test]
    fn what_is_meant_is_found() {
        let chapters = [example()];
        for wish in ["1.1", "01.1", "1-1", "ex-a", "a"] {
            assert_eq!(exercise(&chapters, wish).unwrap().1.id, "1.1", "{wish}");
        }
        assert_eq!(chapter(&chapters, "01").unwrap().number, 1);
    }

    #[test]
    fn what_is_not_there_is_said_so() {
        let chapters = [example()];
        let told = |wish| exercise(&chapters, wish).unwrap_err().to_string();
        assert_eq!(told("1.9"), "there is no exercise \"1.9\"; did you mean 1.1? cargo x list shows all");
        assert_eq!(told("nothing"), "there is no exercise \"nothing\"; cargo x list shows all");
        assert!(chapter(&chapters, "9").unwrap_err().to_string().ends_with("there are some of 01"));
    }
}
