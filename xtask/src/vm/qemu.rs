//! Starting the virtual machine and reading what it says.
//!
//! Software emulation even where /dev/kvm exists: in a virtual machine that is itself nested, KVM may start and then hang.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::{tools, workspace};

/// How it ended.
pub enum End {
    /// The command's exit code.
    Exited(u8),
    /// The machine ended without one; why.
    Died(String),
}

/// Boots a kernel with an archive; hands on each line from the second serial line.
pub fn boot(kernel: &Path, archive: &Path, timeout: Duration, print: &mut dyn FnMut(&str)) -> Result<End> {
    let qemu =
        tools::find("qemu-system-x86_64").context("qemu-system-x86_64 is not installed (package qemu-system-x86)")?;
    let console = workspace::cache("vm")?.join("console");
    let mut child = Command::new(qemu)
        .args(["-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "2", "-m", "2560"])
        .args(["-nodefaults", "-display", "none", "-no-reboot", "-net", "none"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(archive)
        .args(["-append", "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off cgroup_no_v1=all"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .args(["-serial", "stdio"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start QEMU")?;
    let out = child.stdout.take().context("QEMU's output")?;
    let err = child.stderr.take().context("QEMU's errors")?;
    let complaints = thread::spawn(move || BufReader::new(err).lines().map_while(Result::ok).collect::<Vec<_>>());
    let (send, lines) = channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(out);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if send.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    let deadline = Instant::now() + timeout;
    let mut code = None;
    let why = loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match line.strip_prefix("@@exit ") {
                Some(number) => code = number.parse().ok(),
                None => print(&line),
            },
            Err(RecvTimeoutError::Timeout) => break format!("killed after {} s", timeout.as_secs()),
            Err(RecvTimeoutError::Disconnected) => break "ended by itself".to_owned(),
        }
    };
    let _ = child.kill();
    let _ = child.wait();
    if let Some(code) = code {
        return Ok(End::Exited(code));
    }
    // A kernel panic, or a machine that did not start at all.
    let text = fs::read(&console).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let mut last: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    last.drain(..last.len().saturating_sub(15));
    let complaints = complaints.join().unwrap_or_default();
    Ok(End::Died(format!("the virtual machine {why}\n{}\n{}", complaints.join("\n"), last.join("\n"))))
}
