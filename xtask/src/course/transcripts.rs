//! `cargo x transcripts`: the book's console blocks, made by running what they show.
//!
//! `book/transcripts/NAME.session` is what is typed; `NAME.txt`, or `NAME.PART.txt`, is what a reader sees and the book includes.
//! A session runs in a virtual host, so attacks may be shown. What varies from run to run and from machine to machine stands as
//! `[PID]`, `[INODE]`, `[KERNEL]` and the like; a second value of the same kind is `[PID-2]`, so that a reader sees what is the same.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use regex_lite::Regex;

use super::needs::{self, Need};
use super::sandbox::Sandbox;
use crate::test::tally::Tally;
use crate::{Outcome, workspace};

/// Make the book's transcripts by running their sessions
#[derive(clap::Args)]
pub struct Args {
    /// Only these, by name
    names: Vec<String>,
    /// Write nothing; fail when something differs
    #[arg(long)]
    check: bool,
}

/// Where sessions and transcripts are.
pub const DIRECTORY: &str = "book/transcripts";

/// How a comparison ended.
pub enum Verdict {
    /// As written.
    Same,
    /// Differs, with the first line that does.
    Differs(String),
    /// Not compared, and why.
    Skipped(String),
}

/// `cargo x transcripts`.
pub fn run(args: &Args) -> Outcome {
    let root = workspace::root();
    workspace::build()?;
    let sandbox = Sandbox::open()?;
    let all = sessions(&root)?;
    for name in &args.names {
        ensure!(all.contains(name), "there is no {DIRECTORY}/{name}.session");
    }
    let mut code = 0;
    for name in all.iter().filter(|name| args.names.is_empty() || args.names.contains(name)) {
        if !args.check {
            write(&root, &sandbox, name)?;
            continue;
        }
        match compare(&root, &sandbox, name) {
            Verdict::Same => println!("  ok      {name}"),
            Verdict::Skipped(why) => println!("  skipped {name}: {why}"),
            Verdict::Differs(what) => {
                println!("  differs {what}");
                code = 1;
            }
        }
    }
    Ok(code)
}

/// Compares all of them, a check each.
pub fn prove(root: &Path, tally: &mut Tally) -> Result<()> {
    let sandbox = match Sandbox::open() {
        Ok(sandbox) => sandbox,
        Err(error) => {
            tally.skip("the book's transcripts", &format!("{error:#}"));
            return Ok(());
        }
    };
    for name in sessions(root)? {
        let check = format!("transcript {name}");
        match compare(root, &sandbox, &name) {
            Verdict::Same => tally.report(&check, Vec::new()),
            Verdict::Skipped(why) => tally.skip(&check, &why),
            Verdict::Differs(what) => tally.report(&check, vec![what]),
        }
    }
    Ok(())
}

/// The names of all sessions.
pub fn sessions(root: &Path) -> Result<Vec<String>> {
    if !root.join(DIRECTORY).is_dir() {
        return Ok(Vec::new());
    }
    let files = super::files(&root.join(DIRECTORY))?;
    let names = files.iter().filter_map(|file| file.to_str()?.strip_suffix(".session"));
    Ok(names.map(str::to_owned).collect())
}

fn write(root: &Path, sandbox: &Sandbox, name: &str) -> Result<()> {
    let session = Session::read(root, name)?;
    if let Some(why) = needs::missing(&session.needs) {
        println!("  skipped {name}: {why}");
        return Ok(());
    }
    for (file, text) in session.transcripts(sandbox)? {
        let path = root.join(&file);
        let same = fs::read_to_string(&path).is_ok_and(|old| old == text);
        if !same {
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
        println!("  {} {}", if same { "same   " } else { "written" }, file.display());
    }
    Ok(())
}

/// Runs a session and holds it against what is written.
pub fn compare(root: &Path, sandbox: &Sandbox, name: &str) -> Verdict {
    let differs = |error: anyhow::Error| Verdict::Differs(format!("{DIRECTORY}/{name}.session: {error:#}"));
    let session = match Session::read(root, name) {
        Ok(session) => session,
        Err(error) => return differs(error),
    };
    if let Some(why) = needs::missing(&session.needs) {
        return Verdict::Skipped(why);
    }
    match session.transcripts(sandbox) {
        Err(error) => differs(error),
        Ok(transcripts) => transcripts
            .iter()
            .find_map(|(file, new)| {
                let old = fs::read_to_string(root.join(file)).unwrap_or_default();
                (old != *new).then(|| Verdict::Differs(difference(file, &old, new)))
            })
            .unwrap_or(Verdict::Same),
    }
}

fn difference(file: &Path, old: &str, new: &str) -> String {
    let line = old.lines().zip(new.lines()).take_while(|(old, new)| old == new).count();
    let show = |text: &str| text.lines().nth(line).unwrap_or("(the end)").to_owned();
    format!("{}:{}: written is `{}`, a run gives `{}`", file.display(), line + 1, show(old), show(new))
}

/// What is typed, and what is done with the result.
struct Session {
    name: String,
    text: String,
    needs: Vec<Need>,
    vary: Vec<(String, Regex)>,
    drop: Vec<Regex>,
}

impl Session {
    fn read(root: &Path, name: &str) -> Result<Session> {
        let path = root.join(DIRECTORY).join(format!("{name}.session"));
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let mut session = Session { name: name.to_owned(), needs: vec![], vary: built_in(), drop: vec![], text };
        for (index, line) in session.text.lines().enumerate() {
            let place = || format!("line {}", index + 1);
            if let Some(words) = line.strip_prefix("@needs ") {
                for word in words.split_whitespace() {
                    session.needs.extend(Need::parse(word).with_context(place)?);
                }
            } else if let Some(words) = line.strip_prefix("@vary ") {
                let (class, pattern) = words.split_once(' ').with_context(place).context("@vary CLASS REGEX")?;
                let regex = of_lines(pattern.trim()).with_context(place)?;
                ensure!(regex.captures_len() == 2, "{}: the pattern needs one group in brackets", place());
                session.vary.push((class.to_owned(), regex));
            } else if let Some(pattern) = line.strip_prefix("@drop ") {
                session.drop.push(Regex::new(pattern.trim()).with_context(place)?);
            }
        }
        Ok(session)
    }

    /// Runs it: each file and its text.
    fn transcripts(&self, sandbox: &Sandbox) -> Result<Vec<(PathBuf, String)>> {
        let mut command = sandbox.command("typist");
        let output = command.env("SUITE_SESSION", &self.text).output().context("start the sandbox")?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let text = self.replace(&String::from_utf8_lossy(&output.stdout));
        let mut parts: Vec<(PathBuf, String)> = Vec::new();
        let file = |name: &str| Path::new(DIRECTORY).join(format!("{name}.txt"));
        for line in text.lines() {
            if let Some(part) = line.strip_prefix("@@part ") {
                parts.push((file(&format!("{}.{part}", self.name)), String::new()));
                continue;
            }
            if parts.is_empty() {
                parts.push((file(&self.name), String::new()));
            }
            if let Some((_, part)) = parts.last_mut().filter(|_| !self.drop.iter().any(|regex| regex.is_match(line))) {
                part.push_str(line.trim_end());
                part.push('\n');
            }
        }
        Ok(parts)
    }

    fn replace(&self, text: &str) -> String {
        let mut text = text.replace(&kernel(), "[KERNEL]");
        let mut known: HashMap<String, Vec<String>> = HashMap::new();
        for (class, regex) in &self.vary {
            let values = known.entry(class.clone()).or_default();
            let mut out = String::new();
            let mut end = 0;
            for captures in regex.captures_iter(&text) {
                let Some(group) = captures.get(1) else { continue };
                // A number that stands at the right of its column has more blanks before it the smaller it is.
                let value = group.as_str().trim_start().to_owned();
                let blank = if value.len() < group.len() { " " } else { "" };
                let number = values.iter().position(|known| *known == value).unwrap_or_else(|| {
                    values.push(value);
                    values.len() - 1
                });
                out.push_str(&text[end..group.start()]);
                match number {
                    0 => out.push_str(&format!("{blank}[{class}]")),
                    number => out.push_str(&format!("{blank}[{class}-{}]", number + 1)),
                }
                end = group.end();
            }
            out.push_str(&text[end..]);
            text = out;
        }
        text
    }
}

/// A pattern in which `^` and `$` are the ends of a line.
fn of_lines(pattern: &str) -> Result<Regex> {
    Ok(Regex::new(&format!("(?m){pattern}"))?)
}

/// The number of a namespace varies from boot to boot.
fn built_in() -> Vec<(String, Regex)> {
    let inode = r"\b(?:mnt|pid|net|ipc|uts|user|cgroup|time)(?:_for_children)?:\[(\d+)\]";
    vec![("INODE".to_owned(), Regex::new(inode).expect("a pattern"))]
}

fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    if release.is_empty() { "no kernel".to_owned() } else { release.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(vary: &[(&str, &str)]) -> Session {
        let mut all = built_in();
        all.extend(vary.iter().map(|(class, regex)| ((*class).to_owned(), of_lines(regex).unwrap())));
        Session { name: "x".into(), text: String::new(), needs: vec![], vary: all, drop: vec![] }
    }

    #[test]
    fn what_varies_is_replaced_and_stays_comparable() {
        let text = "uts:[40] uts:[41] pid:[40]\npid 17, child 18, pid 17\n";
        assert_eq!(
            session(&[("PID", r"(?:pid|child) (\d+)")]).replace(text),
            "uts:[[INODE]] uts:[[INODE-2]] pid:[[INODE]]\npid [PID], child [PID-2], pid [PID]\n"
        );
    }

    #[test]
    fn a_column_is_as_wide_as_its_number() {
        let list = session(&[("PID", r"^uts( +\d+)"), ("PID", r"^pid (\d+)")]);
        for text in ["uts   7 sh\npid 7\n", "uts 117 sh\npid 117\n"] {
            assert_eq!(list.replace(text), "uts [PID] sh\npid [PID]\n");
        }
    }

    #[test]
    fn one_character_makes_a_difference() {
        let told = difference(Path::new("a.txt"), "# id\nroot\n", "# id\nroof\n");
        assert_eq!(told, "a.txt:2: written is `root`, a run gives `roof`");
        let told = difference(Path::new("a.txt"), "# id\n", "# id\nroof\n");
        assert_eq!(told, "a.txt:2: written is `(the end)`, a run gives `roof`");
    }
}
