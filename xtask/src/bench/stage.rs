//! What all engines are given: the same busybox as a directory, as a bundle, as an image and in a registry.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::must;
use crate::tools;

/// Everything below the virtual host's scratch directory.
pub struct Stage {
    /// Our programs.
    pub bin: PathBuf,
    /// A root directory with busybox.
    pub root: PathBuf,
    /// A bundle with that root and `true`; another with `sleep`.
    pub bundles: [PathBuf; 2],
    /// The image as an archive that `load` takes, and its name there.
    pub archive: PathBuf,
    /// A directory with a Dockerfile.
    pub context: PathBuf,
    /// `127.0.0.1:5000/demo:latest`, where a registry is installed.
    pub pulled: Option<String>,
    /// For the engines' own state.
    pub state: PathBuf,
    registry: Option<Child>,
}

/// The name of the image everywhere.
pub const IMAGE: &str = "demo";
/// crun does not start where v2 lies beside v1.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

impl Stage {
    /// Makes it all.
    pub fn set(bin: &Path) -> Result<Stage> {
        let work = Path::new("/tmp/suite/work");
        if Path::new(UNIFIED).exists() {
            must(Command::new("umount").arg(UNIFIED))?;
        }
        for directory in ["etc", "var/cache", "var/lib"] {
            make_writable(directory, work)?;
        }
        let root = work.join("root");
        make_root(&root)?;
        let bundles = [
            bundle(&work.join("bundle-true"), &root, &["true"])?,
            bundle(&work.join("bundle-sleep"), &root, &["sleep", "1000000"])?,
        ];
        let engine = bin.join("minidocker");
        let archive = work.join("demo.tar");
        must(Command::new(&engine).args(["run", "--rm", "--network", "none", IMAGE, "true"]))?;
        must(Command::new(&engine).args(["save", "-o"]).arg(&archive).arg(IMAGE))?;
        let context = work.join("context");
        fs::create_dir(&context)?;
        fs::write(context.join("page"), "a page\n")?;
        let dockerfile = format!("FROM {IMAGE}\nCOPY page /page\nRUN echo built > /built\nCMD [\"cat\", \"/page\"]\n");
        fs::write(context.join("Dockerfile"), dockerfile)?;
        let state = work.join("state");
        fs::create_dir(&state)?;
        let mut stage =
            Stage { bin: bin.to_owned(), root, bundles, archive, context, pulled: None, state, registry: None };
        stage.start_registry(work)?;
        Ok(stage)
    }

    fn start_registry(&mut self, work: &Path) -> Result<()> {
        if tools::find("docker-registry").is_none() || tools::find("skopeo").is_none() {
            return Ok(());
        }
        let (store, config) = (work.join("registry"), work.join("registry.yml"));
        let text = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\nhttp: {{ addr: '127.0.0.1:5000' }}\n",
            store.display()
        );
        fs::write(&config, text)?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.registry = Some(command.spawn().context("start the registry")?);
        for _ in 0..1000 {
            if TcpStream::connect("127.0.0.1:5000").is_ok() {
                let name = format!("127.0.0.1:5000/{IMAGE}:latest");
                must(
                    Command::new("skopeo")
                        .args(["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"])
                        .arg(format!("docker-archive:{}", self.archive.display()))
                        .arg(format!("docker://{name}")),
                )?;
                self.pulled = Some(name);
                return Ok(());
            }
            sleep(Duration::from_millis(10));
        }
        bail!("the registry does not answer")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut registry) = self.registry.take() {
            let _ = registry.kill();
            let _ = registry.wait();
        }
    }
}

/// Other engines write where we do not: what they write stays above the machine's files, in memory.
fn make_writable(directory: &str, work: &Path) -> Result<()> {
    let (upper, scratch) = (work.join("above").join(directory), work.join("scratch").join(directory));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&scratch)?;
    let options = format!("lowerdir=/{directory},upperdir={},workdir={}", upper.display(), scratch.display());
    must(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options, &format!("/{directory}")]))?;
    Ok(())
}

fn make_root(root: &Path) -> Result<()> {
    for directory in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(root.join(directory))?;
    }
    let busybox = tools::find("busybox").context("busybox is not installed (package busybox-static)")?;
    fs::copy(busybox, root.join("bin/busybox"))?;
    for applet in ["sh", "true", "sleep", "echo", "cat"] {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    Ok(())
}

/// A bundle as the runtime-spec has it, with Docker's namespaces and mounts.
fn bundle(directory: &Path, root: &Path, argv: &[&str]) -> Result<PathBuf> {
    fs::create_dir(directory)?;
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": kind, "options": options });
    let kinds = ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({ "type": kind }));
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 }, "args": argv, "env": ["PATH=/bin"], "cwd": "/",
            "capabilities": { "bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"] },
        },
        "root": { "path": root, "readonly": false },
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {
            "namespaces": kinds,
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    fs::write(directory.join("config.json"), config.to_string())?;
    Ok(directory.to_owned())
}
