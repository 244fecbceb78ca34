//! What suites say about a program's end in one line.

use assert_cmd::assert::Assert;

/// What was printed to standard output, without the last newline.
pub fn text(assert: &Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stdout).trim_end().to_owned()
}

/// What was printed to standard error, without the last newline.
pub fn complaint(assert: &Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stderr).trim_end().to_owned()
}

/// The program failed with `code` and said so in one sentence that has all of `words` in it.
///
/// What `run` tells of a pull before that is no part of the sentence.
#[track_caller]
pub fn refused(assert: Assert, code: i32, words: &[&str]) {
    let assert = assert.code(code);
    let said = complaint(&assert);
    let progress = |line: &&str| ["Unable to find image", "Pull", "Retrying"].iter().any(|word| line.contains(word));
    let sentences: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty() && !progress(line)).collect();
    assert_eq!(sentences.len(), 1, "one sentence, not:\n{said}");
    for word in words {
        assert!(said.to_lowercase().contains(&word.to_lowercase()), "{word:?} is not in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// The value of one `key value` line of `payload facts`.
#[track_caller]
pub fn fact(facts: &str, key: &str) -> String {
    let line = facts.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {key} in:\n{facts}")).to_owned()
}
