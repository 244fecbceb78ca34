//! `${x#pattern}`, `${x%pattern}`, `${x/pattern/new}`: the shell's ways of changing a value, with `*` and `?`.

/// `value` without the shortest (or with `most` the longest) match of `pattern` at its front, or else at its end.
pub(crate) fn cut<'a>(value: &'a str, pattern: &str, front: bool, most: bool) -> &'a str {
    let mut cuts: Vec<usize> = boundaries(value).collect();
    // From the shortest removal to the longest, or the other way round.
    if front == most {
        cuts.reverse();
    }
    let matching = |at: &usize| matches(pattern, if front { &value[..*at] } else { &value[*at..] });
    match cuts.into_iter().find(matching) {
        Some(at) if front => &value[at..],
        Some(at) => &value[..at],
        None => value,
    }
}

/// `value` with the first match of `pattern` (or all) replaced. The longest match at a place counts.
pub(crate) fn replace(value: &str, pattern: &str, new: &str, all: bool) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some(first) = rest.chars().next() {
        let ends: Vec<usize> = boundaries(rest).skip(1).collect();
        match ends.into_iter().rev().find(|end| matches(pattern, &rest[..*end])) {
            Some(end) => {
                out.push_str(new);
                rest = &rest[end..];
                if !all {
                    break;
                }
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out + rest
}

fn boundaries(text: &str) -> impl Iterator<Item = usize> {
    text.char_indices().map(|(at, _)| at).chain([text.len()])
}

/// Whether `pattern` matches the whole of `text`. When a `*` took too little, it takes one more and the rest is tried again.
fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    let mut retry: Option<(&str, &str)> = None;
    loop {
        let (mut p, mut t) = (pattern.chars(), text.chars());
        match (p.next(), t.next()) {
            (Some('*'), _) => {
                (pattern, retry) = (p.as_str(), Some((p.as_str(), text)));
                continue;
            }
            (Some(want), Some(have)) if want == '?' || want == have => {
                (pattern, text) = (p.as_str(), t.as_str());
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        let Some((after, from)) = retry else { return false };
        let mut longer = from.chars();
        if longer.next().is_none() {
            return false;
        }
        (pattern, text, retry) = (after, longer.as_str(), Some((after, longer.as_str())));
    }
}
