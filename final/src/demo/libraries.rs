//! What a program needs before its first instruction runs: its interpreter, and libraries, and theirs.
//!
//! The kernel maps the program and the interpreter that it names (`PT_INTERP`); that one, `ld.so(8)`, finds and maps what
//! the program's dynamic section lists (`DT_NEEDED`). Here the same search is made by reading. `ldd` would make it by
//! executing the program with a special variable set, which is no way to treat a program one does not trust.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use goblin::elf::Elf;

/// Where every loader looks last. Debian's also looks in directories of one architecture each.
const USUAL: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// The most files that an `include` of `ld.so.conf` may lead to.
const MOST_INCLUDES: usize = 200;

/// Where libraries are looked for on this machine.
pub struct Search {
    directories: Vec<PathBuf>,
    known: HashMap<PathBuf, Vec<Needed>>,
}

/// A file that a program needs: the path where the loader will look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// The path, as the loader would write it.
    pub path: PathBuf,
    /// It lies where a loader without a cache of its own does not look.
    pub out_of_the_way: bool,
}

impl Needed {
    fn where_it_is(path: PathBuf) -> Needed {
        Needed { path, out_of_the_way: false }
    }
}

impl Search {
    /// The directories of `/etc/ld.so.conf` (glibc), `/etc/ld-musl-ARCH.path` (musl), and the usual ones.
    pub fn of_this_machine() -> Search {
        let mut directories = Vec::new();
        let mut read = 0;
        configured(Path::new("/etc/ld.so.conf"), &mut directories, &mut read);
        let musl = format!("/etc/ld-musl-{}.path", std::env::consts::ARCH);
        let musl = fs::read_to_string(musl).unwrap_or_default();
        directories.extend(musl.split([':', '\n']).filter(|line| line.starts_with('/')).map(PathBuf::from));
        directories.extend(Self::usual());
        Search { directories, known: HashMap::new() }
    }

    fn usual() -> Vec<PathBuf> {
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let debian = ["/lib", "/usr/lib"].map(|directory| Path::new(directory).join(&triplet));
        debian.into_iter().chain(USUAL.map(PathBuf::from)).collect()
    }

    /// All that the program at `path` needs, and what that needs, each once; nothing if it is static.
    pub fn needed(&mut self, path: &Path) -> Result<Vec<Needed>> {
        let mut found: Vec<Needed> = Vec::new();
        let mut queue = vec![path.to_path_buf()];
        while let Some(file) = queue.pop() {
            for needed in self.directly_needed(&file)? {
                // What is loaded already is not looked for again, whoever asks for it.
                if found.iter().all(|known| known.path.file_name() != needed.path.file_name()) {
                    queue.push(needed.path.clone());
                    found.push(needed);
                }
            }
        }
        Ok(found)
    }

    /// What a file itself asks for. Nearly every program asks for the same few libraries, so the answers are kept.
    fn directly_needed(&mut self, file: &Path) -> Result<Vec<Needed>> {
        if let Some(known) = self.known.get(file) {
            return Ok(known.clone());
        }
        let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let elf = Elf::parse(&bytes).with_context(|| format!("read {} as an ELF file", file.display()))?;
        // Static programs may name an interpreter that they never use, and that need not exist.
        let interpreter = elf.interpreter.map(PathBuf::from).filter(|path| path.is_absolute() && path.exists());
        let mut needed: Vec<Needed> = interpreter.into_iter().map(Needed::where_it_is).collect();
        for name in &elf.libraries {
            needed.push(self.find(name, file, &elf)?);
        }
        self.known.insert(file.to_path_buf(), needed.clone());
        Ok(needed)
    }

    /// A library by its name, as a program would ask for it that loads it later, and all that it needs.
    pub fn named(&mut self, name: &str, program: &Path) -> Result<Vec<Needed>> {
        let bytes = fs::read(program).with_context(|| format!("read {}", program.display()))?;
        let elf = Elf::parse(&bytes).with_context(|| format!("read {} as an ELF file", program.display()))?;
        let library = self.find(name, program, &elf)?;
        let mut needed = self.needed(&library.path)?;
        needed.push(library);
        Ok(needed)
    }

    /// One library, for the file that asks for it: first in the directories that the file names itself.
    fn find(&self, name: &str, asking: &Path, elf: &Elf) -> Result<Needed> {
        if name.contains('/') {
            return Ok(Needed::where_it_is(PathBuf::from(name)));
        }
        let real = asking.canonicalize().with_context(|| format!("resolve {}", asking.display()))?;
        let origin = real.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
        let named = if elf.runpaths.is_empty() { &elf.rpaths } else { &elf.runpaths };
        let named = named.iter().flat_map(|paths| paths.split(':')).filter(|path| !path.is_empty());
        let named = named.map(|path| path.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin));
        for directory in named.map(PathBuf::from) {
            if fits(&directory.join(name), elf) {
                return Ok(Needed::where_it_is(directory.join(name)));
            }
        }
        let usual = Self::usual();
        for directory in &self.directories {
            if fits(&directory.join(name), elf) {
                return Ok(Needed { path: directory.join(name), out_of_the_way: !usual.contains(directory) });
            }
        }
        bail!("{} needs {name}, which is in no library directory of this machine", asking.display())
    }
}

/// Whether a library can be loaded by a file: 64-bit machines keep those of their 32-bit programs too.
fn fits(library: &Path, by: &Elf) -> bool {
    let header = || -> Result<_> {
        use std::io::Read;
        let mut bytes = [0; 64];
        fs::File::open(library)?.read_exact(&mut bytes)?;
        let header = Elf::parse_header(&bytes)?;
        ensure!(header.e_machine == by.header.e_machine && header.container()?.is_big() == by.is_64);
        Ok(())
    };
    header().is_ok()
}

/// The directories of a file in the form of `ld.so.conf`: one a line, and `include` with a pattern.
fn configured(file: &Path, directories: &mut Vec<PathBuf>, read: &mut usize) {
    *read += 1;
    let Ok(text) = fs::read_to_string(file) else { return };
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        match line.strip_prefix("include") {
            Some(pattern) if pattern.starts_with(char::is_whitespace) => {
                for included in matches(file, pattern.trim()) {
                    if *read < MOST_INCLUDES {
                        configured(&included, directories, read);
                    }
                }
            }
            _ if line.starts_with('/') => directories.push(PathBuf::from(line)),
            _ => {}
        }
    }
}

/// The files that a pattern means. Patterns in use are all of the form `DIRECTORY/*.conf`.
fn matches(file: &Path, pattern: &str) -> Vec<PathBuf> {
    let pattern = file.parent().unwrap_or(Path::new("/")).join(pattern);
    let name = pattern.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some((before, after)) = name.split_once('*') else { return vec![pattern] };
    let Some(Ok(entries)) = pattern.parent().map(fs::read_dir) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        })
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_shell_needs_is_there() {
        let needed = Search::of_this_machine().needed(Path::new("/bin/sh")).unwrap();
        for file in &needed {
            assert!(file.path.is_absolute() && file.path.exists(), "{file:?}");
        }
    }

    #[test]
    fn what_is_no_program_is_said() {
        let error = format!("{:#}", Search::of_this_machine().needed(Path::new("/etc/passwd")).unwrap_err());
        assert!(error.contains("read /etc/passwd as an ELF file"), "{error}");
    }

    #[test]
    fn configuration_files_include_others_and_end() {
        let directory = std::env::temp_dir().join(format!("minidocker-ld-{}", std::process::id()));
        fs::create_dir_all(directory.join("d")).unwrap();
        fs::write(directory.join("main"), "include d/*.conf\n/opt/lib # mine\nnonsense\ninclude main\n").unwrap();
        fs::write(directory.join("d/b.conf"), "/b\n").unwrap();
        fs::write(directory.join("d/a.conf"), "/a\n").unwrap();
        fs::write(directory.join("d/c.other"), "/c\n").unwrap();
        let (mut directories, mut read) = (Vec::new(), 0);
        configured(&directory.join("main"), &mut directories, &mut read);
        assert_eq!(directories[..2], [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert!(!directories.contains(&PathBuf::from("/c")));
        assert!(directories.contains(&PathBuf::from("/opt/lib")));
        fs::remove_dir_all(&directory).unwrap();
    }
}
