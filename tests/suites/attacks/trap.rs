//! A root that an attacker has made, and somebody who runs a command in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use suite::image::{Image, tar_of};
use suite::{Host, Subject, root};

/// Those that give a container a root of its own: the chapters of this suite and the engine.
pub const ROOTED: [Subject; 3] = [Subject::Chapter(3), Subject::Chapter(4), Subject::Engine];

/// A hostile root in the form that a subject takes.
pub struct Trap<'h> {
    host: &'h Host,
    subject: Subject,
    /// The directory, for chapters.
    pub root: PathBuf,
    image: String,
}

impl<'h> Trap<'h> {
    /// The system of the suites, after `make` has worked on it.
    pub fn set(host: &'h Host, subject: Subject, make: impl Fn(&Path)) -> Trap<'h> {
        Trap::with_config(host, subject, &[], make)
    }

    /// The same; an image made of it has these keys in its config.
    pub fn with_config(
        host: &'h Host,
        subject: Subject,
        config: &[(&str, serde_json::Value)],
        make: impl Fn(&Path),
    ) -> Trap<'h> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let image = format!("trap-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let root = host.work().join(&image);
        root::fill(&root, &host.bin("payload"));
        make(&root);
        if subject == Subject::Engine {
            let mut all = json!({ "Env": ["PATH=/bin:/usr/bin"], "Cmd": ["sh"] });
            config.iter().for_each(|(key, value)| all[*key] = value.clone());
            let archive = host.work().join(format!("{image}.tar"));
            Image { layers: vec![tar_of(&root)], config: all }.archive(&archive, &format!("{image}:latest"));
            host.minidocker(["load", "-i"]).arg(&archive).assert().success();
            fs::remove_file(archive).expect("remove the archive");
        }
        Trap { host, subject, root, image }
    }

    /// `run ARGS… ARGV…` in it.
    pub fn run(&self, args: &[&str], argv: &[&str]) -> assert_cmd::Command {
        assert_cmd::Command::from_std(self.command(args, argv))
    }

    /// The same, to be started by other means.
    pub fn command(&self, args: &[&str], argv: &[&str]) -> Command {
        let mut command = match self.subject {
            Subject::Chapter(number) => Command::new(self.host.bin(&format!("ch{number:02}"))),
            _ => Command::new(self.host.bin("minidocker")),
        };
        command.arg("run");
        match self.subject {
            Subject::Chapter(3) => command.arg("--rootfs").arg(&self.root).args(args),
            Subject::Chapter(4) => command.arg("--layer").arg(&self.root).args(args),
            Subject::Engine => command.args(["--rm", "--network", "none"]).args(args).arg(&self.image),
            other => panic!("{other:?} takes no root"),
        };
        command.args(argv);
        command
    }
}

/// Puts a link in the place of whatever is at `path` in a root.
pub fn link(root: &Path, path: &str, target: impl AsRef<Path>) {
    remove(root, path);
    std::os::unix::fs::symlink(target, root.join(path)).expect("make a link");
}

/// Puts a file there.
pub fn file(root: &Path, path: &str, text: &str) {
    remove(root, path);
    fs::write(root.join(path), text).expect("write a file");
}

/// Takes away what is there.
pub fn remove(root: &Path, path: &str) {
    let path = root.join(path);
    match fs::symlink_metadata(&path) {
        Ok(it) if it.is_dir() => fs::remove_dir_all(&path).expect("remove a directory"),
        Ok(_) => fs::remove_file(&path).expect("remove a file"),
        Err(_) => fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory"),
    }
}
