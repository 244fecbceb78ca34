//! The programs of other people that tests and benchmarks need.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// A program, and the Debian package that has it.
pub struct Tool {
    /// The name in PATH.
    pub program: &'static str,
    /// The package.
    pub package: &'static str,
    /// What cannot be tested without it.
    pub purpose: &'static str,
}

const fn tool(program: &'static str, package: &'static str, purpose: &'static str) -> Tool {
    Tool { program, package, purpose }
}

/// All that `cargo x test` uses where it is there.
pub const TOOLS: &[Tool] = &[
    tool("busybox", "busybox-static", "roots and images of the suites; the virtual machine"),
    tool("skopeo", "skopeo", "images to and from another program"),
    tool("docker-registry", "docker-registry", "pull and push with a real registry"),
    tool("umoci", "umoci", "our image layout read by another program"),
    tool("nft", "nftables", "rules as another program sees them"),
    tool("ip", "iproute2", "links and addresses as another program sees them"),
    tool("newuidmap", "uidmap", "ranges of ids for ordinary users"),
    tool("mmdebstrap", "mmdebstrap", "an image of a whole distribution"),
    tool("runc", "runc", "the suites held against another runtime"),
    tool("bwrap", "bubblewrap", "the measure of the benchmark"),
    tool("qemu-system-x86_64", "qemu-system-x86", "the virtual machine with cgroup v2"),
    tool("depmod", "kmod", "the kernel modules of the virtual machine"),
    tool("xz", "xz-utils", "compressed kernel modules"),
    tool("zstd", "zstd", "compressed kernel modules"),
];

/// Where a program is.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    places.map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// Whether a tool is there and of use: a busybox that needs libraries is not.
pub fn usable(tool: &Tool) -> bool {
    let Some(path) = find(tool.program) else { return false };
    tool.program != "busybox" || is_static(&path)
}

/// Whether an ELF file names no loader in its first page.
pub fn is_static(path: &Path) -> bool {
    let bytes = fs::read(path).unwrap_or_default();
    let head = &bytes[..bytes.len().min(4096)];
    head.starts_with(b"\x7fELF") && !head.windows(4).any(|window| window == b"/ld-")
}

/// The tools that are missing.
pub fn missing() -> Vec<&'static Tool> {
    TOOLS.iter().filter(|tool| !usable(tool)).collect()
}

/// Whether this is root, on a system with apt.
pub fn can_install() -> bool {
    is_root() && find("apt-get").is_some() && find("dpkg").is_some()
}

/// Whether we are root.
pub fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

/// Installs packages by apt-get, updating its lists only if it does not find them. No service is started.
pub fn install(packages: &[&str]) -> Result<bool> {
    let _services_stay_down = Policy::set();
    let install = || apt(&[&["install", "--yes", "--no-install-recommends"], packages].concat());
    Ok(install()? || (apt(&["update"])? && install()?))
}

/// `apt-get ARGS…` with nobody to ask.
pub fn apt(args: &[&str]) -> Result<bool> {
    let output = Command::new("apt-get")
        .args(["--quiet=2", "-o", "DPkg::Lock::Timeout=300"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("start apt-get")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        eprintln!("  apt-get {}: {}", args.join(" "), said.trim().lines().last().unwrap_or("failed"));
    }
    Ok(output.status.success())
}

/// While it lives, packages do not start their services: `policy-rc.d` is how Debian asks.
struct Policy;

impl Policy {
    const FILE: &str = "/usr/sbin/policy-rc.d";

    fn set() -> Option<Policy> {
        use std::os::unix::fs::PermissionsExt;
        if Path::new(Policy::FILE).exists() {
            return None; // Somebody else decides.
        }
        fs::write(Policy::FILE, "#!/bin/sh\nexit 101\n").ok()?;
        fs::set_permissions(Policy::FILE, fs::Permissions::from_mode(0o755)).ok()?;
        Some(Policy)
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        let _ = fs::remove_file(Policy::FILE);
    }
}
