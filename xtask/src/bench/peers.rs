//! How each engine spells each command.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::must;
use super::rounds::Operation;
use super::stage::{IMAGE, Stage};
use crate::tools;

/// One engine, ready to be measured.
pub struct Peer {
    /// As it is shown.
    pub name: &'static str,
    daemon: Option<Child>,
}

/// `(name, why not)`.
type Missing = (&'static str, String);

const NAMES: [&str; 7] = ["minidocker", "bwrap", "unshare", "crun", "runc", "podman", "docker"];

impl Peer {
    /// Those that are installed and ready, and why the others are not.
    pub fn all(stage: &Stage) -> (Vec<Peer>, Vec<Missing>) {
        let (mut peers, mut missing) = (Vec::new(), Vec::new());
        for name in NAMES {
            match Peer::prepare(name, stage) {
                Ok(peer) => peers.push(peer),
                Err(error) => missing.push((name, format!("{error:#}"))),
            }
        }
        (peers, missing)
    }

    fn prepare(name: &'static str, stage: &Stage) -> Result<Peer> {
        if name == "docker" && tools::find("dockerd").is_none() {
            bail!("dockerd is not installed");
        }
        if name != "minidocker" && tools::find(name).is_none() {
            bail!("not installed");
        }
        let mut peer = Peer { name, daemon: None };
        match name {
            "docker" => peer.daemon = Some(start_dockerd(stage)?),
            "bwrap" | "unshare" => return Ok(peer),
            _ => {}
        }
        if matches!(name, "docker" | "podman") {
            must(peer.command(stage).args(["load", "-q", "-i"]).arg(&stage.archive))?;
        }
        // What exec joins.
        match name {
            "runc" | "crun" => {
                let mut command = peer.command(stage);
                command.args(["run", "-d", "-b"]).arg(&stage.bundles[1]).arg("joined");
                // A detached runtime leaves its streams to the container: pipes would never end.
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                if !command.status()?.success() {
                    bail!("it does not start a container here");
                }
            }
            _ => {
                let mut command = peer.command(stage);
                command.args(["run", "-d", "--name", "joined"]).args(limits(name)).args(["--network", "none"]);
                must(command.args([IMAGE, "sleep", "1000000"]))?;
            }
        }
        Ok(peer)
    }

    /// The engine's program with its private directories.
    fn command(&self, stage: &Stage) -> Command {
        let state = stage.state.join(self.name);
        let mut command = Command::new(self.name);
        match self.name {
            "minidocker" => command = Command::new(stage.bin.join("minidocker")),
            "docker" => {
                command.args(["-H", &socket(stage)]);
            }
            "podman" => {
                command.args(["--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
                command.arg("--network-config-dir").arg(state.join("networks"));
                command.arg("--root").arg(state.join("root")).arg("--runroot").arg(state.join("run"));
            }
            "runc" | "crun" => {
                command.arg("--root").arg(state);
            }
            _ => {}
        }
        command
    }

    /// The command of one operation; `None` where the engine has no such thing.
    pub fn operation(&self, operation: Operation, stage: &Stage, run: usize) -> Option<Command> {
        let mut command = self.command(stage);
        let engine = matches!(self.name, "minidocker" | "docker" | "podman");
        match (operation, self.name) {
            (Operation::Run, "bwrap") => {
                command.args(["--unshare-all", "--bind"]).arg(&stage.root);
                command.args(["/", "--proc", "/proc", "--dev", "/dev", "true"]);
            }
            (Operation::Run, "unshare") => {
                command.args(["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork", "chroot"]);
                command.arg(&stage.root).arg("true");
            }
            (Operation::Run, "runc" | "crun") => {
                command.args(["run", "-b"]).arg(&stage.bundles[0]).arg(format!("run{run}"));
            }
            (Operation::Run | Operation::Ten, _) if engine => {
                command.args(["run", "--rm"]).args(limits(self.name)).args(["--network", "none", IMAGE, "true"]);
            }
            (Operation::RunWithNetwork, _) if engine => {
                command.args(["run", "--rm"]).args(limits(self.name)).args([IMAGE, "true"]);
            }
            (Operation::Exec, "runc" | "crun") => {
                command.args(["exec", "joined", "true"]);
            }
            (Operation::Exec, _) if engine => {
                command.args(["exec", "joined", "true"]);
            }
            (Operation::Pull, _) if engine => {
                command.arg("pull").args((self.name == "podman").then_some("--tls-verify=false"));
                command.arg(stage.pulled.as_ref()?);
            }
            (Operation::BuildCold | Operation::BuildCached, _) if engine => {
                command.args(["build", "-q", "-t", "built"]);
                command.args((operation == Operation::BuildCold).then_some("--no-cache")).arg(&stage.context);
            }
            _ => return None,
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Some(command)
    }

    /// What must be undone before the operation can be done again; it is not measured.
    pub fn undo(&self, operation: Operation, stage: &Stage) {
        if let (Operation::Pull, Some(name)) = (operation, &stage.pulled) {
            // Its layers are those of the image that is always there: both go, or nothing would be fetched.
            let _ = must(self.command(stage).args(["rm", "-f", "joined"]));
            let _ = must(self.command(stage).args(["rmi", "-f", name, IMAGE]));
        }
    }
}

impl Peer {
    /// Gives the image the name back that [`Peer::undo`] has taken away.
    pub fn restore(&self, operation: Operation, stage: &Stage) {
        if let (Operation::Pull, Some(name)) = (operation, &stage.pulled) {
            let _ = must(self.command(stage).args(["tag", name, IMAGE]));
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            // SIGTERM: dockerd ends its containerd by itself.
            let _ = must(Command::new("kill").arg(daemon.id().to_string()));
            let _ = daemon.wait();
        }
    }
}

/// Podman sets limits that a virtual host may not raise, unless it is told smaller ones.
fn limits(name: &str) -> &'static [&'static str] {
    if name == "podman" { &["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"] } else { &[] }
}

fn socket(stage: &Stage) -> String {
    format!("unix://{}", stage.state.join("docker.sock").display())
}

/// A daemon of its own, with all its directories in the scratch directory.
fn start_dockerd(stage: &Stage) -> Result<Child> {
    let state = stage.state.join("docker");
    fs::create_dir_all(&state)?;
    let log = fs::File::create(stage.state.join("dockerd.log"))?;
    let child = Command::new("dockerd")
        .args(["-H", &socket(stage)])
        .arg("--data-root")
        .arg(state.join("data"))
        .arg("--exec-root")
        .arg(state.join("exec"))
        .arg("--pidfile")
        .arg(state.join("pid"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("start dockerd")?;
    for _ in 0..300 {
        if must(Command::new("docker").args(["-H", &socket(stage), "version"])).is_ok() {
            return Ok(child);
        }
        sleep(Duration::from_millis(100));
    }
    let mut child = child;
    let _ = child.kill();
    let _ = child.wait();
    let log = fs::read_to_string(stage.state.join("dockerd.log")).unwrap_or_default();
    bail!("dockerd does not start: {}", log.trim().lines().last().unwrap_or("no word"))
}
