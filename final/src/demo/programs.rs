//! Which programs `demo` is made of: the machine's busybox, or its shell and some tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::applets::applets;
use super::libraries::{Needed, Search};
use super::tree::Tree;

/// What is taken where there is no busybox. All but the shell may be missing.
const TOOLS: &[&str] = &[
    "[", "awk", "basename", "cat", "chmod", "chown", "clear", "cp", "cut", "date", "dd", "df", "dirname", "dmesg",
    "du", "echo", "env", "expr", "false", "find", "free", "grep", "head", "hostname", "id", "ip", "kill", "less", "ln",
    "ls", "mkdir", "mknod", "mount", "mv", "nproc", "ping", "printf", "ps", "pwd", "readlink", "rm", "rmdir", "sed",
    "seq", "sh", "sleep", "sort", "stat", "tail", "tee", "test", "top", "touch", "tr", "true", "tty", "umount",
    "uname", "uniq", "wc", "which", "whoami", "xargs", "yes",
];

/// Libraries that glibc loads by name, without anybody listing them, to look up a user (before 2.34).
const NAME_SERVICE: &str = "libnss_files.so.2";

/// A set of programs, and all that they need.
pub struct Programs {
    /// Name in `/bin`, and the file on this machine: the real one, no link.
    commands: Vec<(String, PathBuf)>,
    /// Files that are needed where they are.
    needed: Vec<Needed>,
    /// It is one busybox under many names.
    pub busybox: bool,
    /// When the newest of its files was changed.
    pub changed: SystemTime,
}

impl Programs {
    /// Busybox if there is one that has a shell, static or not, else the shell and the tools, looked for in `path`.
    pub fn of_this_machine(path: &str) -> Result<Programs> {
        match look_for("busybox", path).map(|file| Self::of_busybox(&file)) {
            Some(Ok(Some(programs))) => Ok(programs),
            // None, one without a shell, or one that cannot be read.
            _ => Self::of_tools(path),
        }
    }

    fn of_busybox(file: &Path) -> Result<Option<Programs>> {
        let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let Some(names) = applets(&bytes) else { return Ok(None) };
        let commands = names.iter().chain(&["busybox"]).map(|name| (name.to_string(), file.to_path_buf())).collect();
        let needed = Search::of_this_machine().needed(file)?;
        Ok(Some(Programs { commands, needed, busybox: true, changed: UNIX_EPOCH }.dated()))
    }

    fn of_tools(path: &str) -> Result<Programs> {
        let mut search = Search::of_this_machine();
        let mut programs = Programs { commands: vec![], needed: vec![], busybox: false, changed: UNIX_EPOCH };
        let shell = look_for("sh", path).with_context(|| format!("there is no busybox and no sh in {path}"))?;
        programs.add("sh", shell, &mut search).context("take the shell along")?;
        for name in TOOLS.iter().filter(|name| **name != "sh") {
            // A script, or a program whose libraries are not all there: the demo does without it.
            let _ = look_for(name, path).map(|file| programs.add(name, file, &mut search));
        }
        if let Ok(needed) = search.named(NAME_SERVICE, &programs.commands[0].1) {
            programs.need(needed);
        }
        Ok(programs.dated())
    }

    fn add(&mut self, name: &str, file: PathBuf, search: &mut Search) -> Result<()> {
        let needed = match self.commands.iter().any(|(_, known)| *known == file) {
            true => vec![], // a program under many names
            false => search.needed(&file)?,
        };
        self.need(needed);
        self.commands.push((name.to_string(), file));
        Ok(())
    }

    fn need(&mut self, needed: Vec<Needed>) {
        let unknown = |one: &Needed| !self.needed.contains(one);
        let new: Vec<Needed> = needed.into_iter().filter(unknown).collect();
        self.needed.extend(new);
    }

    fn dated(mut self) -> Programs {
        let files = self.commands.iter().map(|(_, file)| file).chain(self.needed.iter().map(|needed| &needed.path));
        let changed = files.filter_map(|file| fs::metadata(file).and_then(|data| data.modified()).ok()).max();
        self.changed = changed.unwrap_or(UNIX_EPOCH);
        self
    }

    /// Puts everything in its place: real files where they are on this machine, links to them where they are looked for.
    pub fn install(&self, tree: &mut Tree) -> Result<()> {
        for (name, file) in &self.commands {
            tree.copy_of(file, 0o755)?;
            tree.link_to(&Path::new("/bin").join(name), file);
        }
        for Needed { path, out_of_the_way } in &self.needed {
            let real = path.canonicalize().with_context(|| format!("resolve {}", path.display()))?;
            tree.copy_of(&real, 0o755)?;
            tree.link_to(path, &real);
            if *out_of_the_way && let Some(name) = path.file_name() {
                // The image has no loader's cache, so it must be found in a directory that every loader looks into.
                tree.link_to(&Path::new("/lib").join(name), &real);
                tree.link_to(&Path::new("/lib64").join(name), &real);
            }
        }
        Ok(())
    }

    /// One line on where they come from, for `history`.
    pub fn origin(&self) -> String {
        match self.busybox {
            true => "minidocker: this machine's busybox".to_string(),
            false => format!("minidocker: this machine's shell and {} tools", self.commands.len() - 1),
        }
    }
}

/// The real file of a command.
fn look_for(name: &str, path: &str) -> Option<PathBuf> {
    let files = path.split(':').map(|directory| Path::new(directory).join(name));
    files.filter(|file| file.is_file()).find_map(|file| file.canonicalize().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_busybox_the_shell_is_taken_and_what_it_needs() {
        let directory = std::env::temp_dir().join(format!("minidocker-path-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        std::os::unix::fs::symlink("/bin/sh", directory.join("sh")).unwrap();
        fs::write(directory.join("cat"), "#!/bin/sh\n").unwrap(); // a script, which is left out
        let programs = Programs::of_this_machine(directory.to_str().unwrap()).unwrap();
        fs::remove_dir_all(&directory).unwrap();
        assert!(!programs.busybox);
        assert_eq!(programs.commands, [("sh".to_string(), fs::canonicalize("/bin/sh").unwrap())]);
        programs.install(&mut Tree::default()).unwrap();
        assert!(programs.changed > UNIX_EPOCH);
    }

    #[test]
    fn without_a_shell_there_is_no_demo() {
        let error = Programs::of_this_machine("/no/such/directory").err().unwrap().to_string();
        assert!(error.contains("no busybox and no sh in /no/such/directory"), "{error}");
    }
}
