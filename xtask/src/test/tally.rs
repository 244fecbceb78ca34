//! Counting what libtest prints, and the one line at the end.

/// All results so far.
#[derive(Default)]
pub struct Tally {
    passed: usize,
    attacks: usize,
    failures: Vec<Failure>,
    skips: Vec<String>,
    notes: Vec<String>,
}

/// What failed, and what it said about it.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    name: String,
    said: Vec<String>,
}

/// Of what a failure said, the verdict repeats so many lines: who sees only the end of a long output shall see why.
const REPEATED: usize = 12;

/// How the line of a test begins that is an attack; `tests/suites/attacks` has the list.
const ATTACK: &str = "test attacks::";

/// Hears the lines of one or several test programs.
#[derive(Default)]
pub struct Listener {
    passed: usize,
    attacks: usize,
    failed: usize,
    ignored: Vec<String>,
    failures: Vec<Failure>,
    in_failures: bool,
    /// What each failed test has said; the last one may be saying it now.
    said: Vec<Failure>,
}

impl Listener {
    /// Takes a line, and shows it unless it says nothing.
    pub fn hear(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.in_failures = false;
            self.said.clear();
            self.passed += number_before(counts, " passed");
            self.failed += number_before(counts, " failed");
            return;
        }
        if let Some((name, reason)) = line.split_once(" ... ignored") {
            let name = name.trim_start_matches("test ");
            let reason = if reason.is_empty() { "ignored by its author" } else { reason.trim_start_matches(", ") };
            self.ignored.push(format!("{name}: {reason}"));
        }
        if line.starts_with(ATTACK) && line.ends_with(" ... ok") && is_held_off(line) {
            self.attacks += 1;
        }
        // The list of names, which comes twice: first with each one's output.
        if line == "failures:" {
            self.in_failures = true;
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----")) {
            self.said.push(Failure { name: name.to_owned(), said: Vec::new() });
            println!("{line}");
        } else if let Some(name) = line.strip_prefix("    ").filter(|name| self.in_failures && !name.contains(' ')) {
            if !self.failures.iter().any(|known| known.name == name) {
                let said = self.said.iter().position(|failure| failure.name == name);
                let said = said.map(|place| self.said.swap_remove(place).said).unwrap_or_default();
                self.failures.push(Failure { name: name.to_owned(), said });
            }
        } else if !line.trim().is_empty() && !line.starts_with("running ") {
            if let Some(failure) = self.said.last_mut().filter(|_| self.in_failures) {
                failure.said.push(line.to_owned());
            }
            println!("{line}");
        }
    }
}

/// Whether an attack is one that must fail: those in `real` show that attacks work, those in no module are about the list.
fn is_held_off(line: &str) -> bool {
    line.matches("::").count() > 1 && !line.contains("::real::")
}

/// The number that stands directly before a word: `12 passed; 0 failed`.
fn number_before(text: &str, word: &str) -> usize {
    let digits = text.split(word).next().filter(|before| before.len() < text.len()).unwrap_or_default();
    digits.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

impl Tally {
    /// One check that is no program of tests, and that has said what is wrong.
    pub fn check(&mut self, name: &str, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.fail(name, Vec::new());
        }
    }

    /// One check that found what is wrong, if it found any.
    pub fn report(&mut self, name: &str, wrong: Vec<String>) {
        for line in &wrong {
            println!("{line}");
        }
        if wrong.is_empty() {
            self.passed += 1;
        } else {
            self.fail(name, wrong);
        }
    }

    fn fail(&mut self, name: &str, said: Vec<String>) {
        self.failures.push(Failure { name: name.to_owned(), said });
    }

    /// One check that could not be made.
    pub fn skip(&mut self, name: &str, reason: &str) {
        self.skips.push(format!("{name}: {reason}"));
    }

    /// What explains skips, without being one.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// What a program of tests has said; it must have failed by a test, or not at all.
    pub fn add(&mut self, name: &str, heard: Listener, success: bool) {
        self.passed += heard.passed;
        self.attacks += heard.attacks;
        self.skips.extend(heard.ignored);
        let named = heard.failures.len();
        for failure in heard.failures {
            self.fail(&format!("{name}: {}", failure.name), failure.said);
        }
        for _ in named..heard.failed {
            self.fail(&format!("{name}: a test without a name"), Vec::new());
        }
        if !success && heard.failed == 0 {
            self.fail(&format!("{name}: ended badly (see above)"), Vec::new());
        }
    }

    /// The skips that the suites have put on record, `NAME\tREASON` a line: libtest has counted them as passed.
    pub fn skips_from(&mut self, prefix: &str, record: &str) {
        for line in record.lines() {
            let (name, reason) = line.split_once('\t').unwrap_or((line, "no reason given"));
            self.passed = self.passed.saturating_sub(1);
            self.attacks = self.attacks.saturating_sub(usize::from(name.starts_with("attacks::")));
            self.skips.push(format!("{prefix}{name}: {reason}"));
        }
    }

    /// Prints what was skipped and what failed, and the line with the numbers; the exit code.
    pub fn verdict(self) -> u8 {
        for note in &self.notes {
            println!("note: {note}");
        }
        for skip in &self.skips {
            println!("skipped: {skip}");
        }
        for failure in &self.failures {
            println!("FAILED: {}", failure.name);
            for line in failure.said.iter().take_while(|line| *line != "stack backtrace:").take(REPEATED) {
                println!("  | {line}");
            }
        }
        if self.attacks > 0 {
            println!("{} attacks held off", self.attacks);
        }
        println!("{} passed, {} failed, {} skipped", self.passed, self.failures.len(), self.skips.len());
        u8::from(!self.failures.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_the_last_line() {
        let mut listener = Listener::default();
        listener.hear("test result: ok. 20 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.48s");
        listener.hear("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s");
        listener.hear("test a::b ... ignored, takes a day");
        assert_eq!((listener.passed, listener.failed), (22, 1));
        assert_eq!(listener.ignored, ["a::b: takes a day"]);
    }

    #[test]
    fn attacks_are_counted_without_the_ones_that_succeed() {
        let mut listener = Listener::default();
        listener.hear("test attacks::links::dev_is_a_link ... ok");
        listener.hear("test attacks::the_table_names_every_attack ... ok");
        listener.hear("test attacks::links::proc_is_a_link ... FAILED");
        listener.hear("test attacks::real::a_program_is_overwritten ... ok");
        listener.hear("test attacks::names::an_id_is_a_path ... ok");
        let mut tally = Tally::default();
        tally.add("x", listener, true);
        tally.skips_from("", "attacks::names::an_id_is_a_path\tneeds x\n");
        assert_eq!(tally.attacks, 1);
    }

    #[test]
    fn failures_are_named_once() {
        let mut listener = Listener::default();
        let lines = ["---- a::b stdout ----", "", "thread 'a::b' panicked at a.rs:1:1:", "    no    space", ""];
        for line in ["failures:", ""].iter().chain(&lines).chain(&["failures:", "    a::b", "    c::d", ""]) {
            listener.hear(line);
        }
        let said = ["thread 'a::b' panicked at a.rs:1:1:", "    no    space"].map(str::to_owned).to_vec();
        let failure = |name: &str, said| Failure { name: name.to_owned(), said };
        assert_eq!(listener.failures, [failure("a::b", said), failure("c::d", Vec::new())]);
    }

    #[test]
    fn skips_are_not_passes() {
        let mut tally = Tally::default();
        tally.add("x", Listener { passed: 3, ..Listener::default() }, true);
        tally.skips_from("", "a::b\tneeds x\n");
        assert_eq!((tally.passed, tally.skips.len(), tally.failures.len()), (2, 1, 0));
        tally.add("y", Listener::default(), false);
        assert_eq!(tally.failures.len(), 1);
    }
}
