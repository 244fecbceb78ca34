//! "Did you mean …?"

/// The name that `written` was probably meant to be: at most a third of its letters (and one more) are wrong.
pub fn closest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = written.chars().count() / 3 + 1;
    let distances = names.map(|name| (distance(written, name), name));
    distances.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// The same as the end of a sentence, ` (did you mean ro?)`; empty if nothing comes near.
pub fn did_you_mean<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> String {
    closest(written, names).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default()
}

/// Levenshtein's distance, where two neighbours that changed places count as one mistake: the commonest typing error.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, _) => j,
                (_, 0) => i,
                _ => {
                    let changed = usize::from(a[i - 1] != b[j - 1]);
                    let mut least = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + changed);
                    if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                        least = least.min(rows[i - 2][j - 2] + 1);
                    }
                    least
                }
            };
        }
    }
    rows[a.len()][b.len()]
}
