//! The commands that a busybox is.
//!
//! One program, many names: it does what the name says that it was called by. Which names it knows was decided when it
//! was built, and stands in it as one table of strings, each ended by NUL, in the order of the alphabet, since it is
//! searched by halves:
//!
//! ```text
//! …[\0[[\0acpid\0adjtimex\0ar\0arch\0arp\0…\0zcat\0…
//! ```
//!
//! So the longest ascending run of words is the table. (`busybox --list` would print it; but the program is another
//! user's on a shared machine, or of another architecture, and reading is enough.)

/// The longest name of an applet, with room to spare.
const LONGEST: usize = 24;

/// The fewest applets that make a busybox.
const FEWEST: usize = 20;

/// The names that a busybox answers to; `None` if these bytes are of no busybox, or of one without a shell.
pub fn applets(program: &[u8]) -> Option<Vec<&str>> {
    let (mut longest, mut run) = (Vec::new(), Vec::<&str>::new());
    for string in program.split(|byte| *byte == 0).chain([&[][..]]) {
        let name = name(string);
        if name.is_none_or(|name| run.last().is_some_and(|before| *before >= name)) {
            if run.len() > longest.len() {
                std::mem::swap(&mut run, &mut longest);
            }
            run.clear();
        }
        run.extend(name);
    }
    let usable = longest.len() >= FEWEST && ["cat", "ls", "sh"].iter().all(|name| longest.contains(name));
    usable.then_some(longest)
}

fn name(string: &[u8]) -> Option<&str> {
    let letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.[".contains(byte);
    let possible = (1..=LONGEST).contains(&string.len()) && string.iter().all(letter) && !string.starts_with(b".");
    if possible { std::str::from_utf8(string).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(names: &[&str]) -> Vec<u8> {
        format!("\x7fELF\0usage: cat\0zz\0{}\0%s: error\0abc\0abd\0", names.join("\0")).into_bytes()
    }

    #[test]
    fn the_table_is_found() {
        let mut names: Vec<String> = (0..30).map(|number| format!("tool{number:02}")).collect();
        names.extend(["[", "[[", "cat", "ls", "sh"].map(String::from));
        names.sort();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(applets(&program(&names)).unwrap(), names);
    }

    #[test]
    fn other_programs_have_none() {
        assert_eq!(applets(b""), None);
        assert_eq!(applets(&program(&["cat", "ls", "sh"])), None);
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(applets(&own), None);
    }
}
