//! The distribution's kernel, downloaded and unpacked below `target/`: nothing is installed, /boot stays as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{tools, workspace};

/// An unpacked kernel.
pub struct Kernel {
    /// `…/boot/vmlinuz-VERSION`.
    pub image: PathBuf,
    /// `…/lib/modules/VERSION`, with `modules.dep`.
    pub modules: PathBuf,
    /// The version, as `uname -r` says it.
    pub version: String,
}

/// Names under which a kernel for virtual machines is published, best first: Debian's, then Ubuntu's.
const NAMES: &[&str] = &["linux-image-cloud-amd64", "linux-image-amd64", "linux-image-virtual", "linux-image-generic"];

/// The kernel from an earlier run, or a fresh download.
pub fn get() -> Result<Kernel> {
    let cache = workspace::cache("vm")?;
    let tree = cache.join("kernel");
    if !tree.join("complete").exists() {
        let _ = fs::remove_dir_all(&tree);
        fs::create_dir_all(&tree).with_context(|| format!("make {}", tree.display()))?;
        download(&tree)?;
        index(&tree)?;
        fs::write(tree.join("complete"), "").context("note that the kernel is there")?;
    }
    find(&tree)
}

fn download(tree: &Path) -> Result<()> {
    if tools::find("apt-get").is_none() {
        bail!("no kernel for the virtual machine: this system has no apt-get to fetch one with");
    }
    let mut packages = wanted();
    if packages.is_empty() {
        tools::apt(&["update"])?;
        packages = wanted();
    }
    if packages.is_empty() {
        bail!("apt knows none of {}", NAMES.join(", "));
    }
    eprintln!("  fetching {}", packages.join(" "));
    let fetch = || {
        let names = packages.iter().map(String::as_str);
        let done = Command::new("apt-get")
            .args(["--quiet=2", "download"])
            .args(names)
            .current_dir(tree)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        done.is_ok_and(|status| status.success())
    };
    let fetched = fetch() || (tools::apt(&["update"])? && fetch());
    if !fetched {
        bail!("apt-get cannot download {}", packages.join(" "));
    }
    for entry in fs::read_dir(tree)? {
        let package = entry?.path();
        let done = Command::new("dpkg-deb").arg("-x").arg(&package).arg(tree).status().context("start dpkg-deb")?;
        if !done.success() {
            bail!("dpkg-deb cannot unpack {}", package.display());
        }
        fs::remove_file(package)?;
    }
    Ok(())
}

/// The packages behind the first of [`NAMES`] that apt knows: the image, and the modules where they are apart.
fn wanted() -> Vec<String> {
    NAMES
        .iter()
        .map(|name| depends(name))
        .find(|packages| !packages.is_empty())
        .map(|images| {
            let modules =
                images.iter().flat_map(|image| depends(image)).filter(|name| name.starts_with("linux-modules-"));
            let modules: Vec<String> = modules.collect();
            images.into_iter().chain(modules).collect()
        })
        .unwrap_or_default()
}

/// The kernel packages on which a package depends, from lines like `  Depends: linux-image-6.1.0-56-cloud-amd64`.
fn depends(package: &str) -> Vec<String> {
    let output = Command::new("apt-cache").args(["depends", package]).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .filter(|name| name.starts_with("linux-image-") || name.starts_with("linux-modules-"))
        .map(str::to_owned)
        .collect()
}

/// Unpacks compressed modules, which busybox does not load, and writes `modules.dep`, which packages leave to their scripts.
fn index(tree: &Path) -> Result<()> {
    let kernel = find(tree)?;
    for (suffix, program) in [("xz", "xz"), ("zst", "zstd")] {
        let names: Vec<PathBuf> =
            workspace::files(&kernel.modules)?.into_iter().filter(|path| has_suffix(path, suffix)).collect();
        for chunk in names.chunks(200) {
            let mut command = Command::new(program);
            command
                .current_dir(&kernel.modules)
                .args(["-d", "-q"])
                .args(["--rm"].iter().filter(|_| program == "zstd"))
                .args(chunk);
            if !command.status().with_context(|| format!("start {program}"))?.success() {
                bail!("{program} cannot unpack the kernel's modules");
            }
        }
    }
    let depmod = tools::find("depmod").context("depmod is not installed (package kmod)")?;
    let done = Command::new(depmod).arg("-b").arg(base(&kernel.modules)?).arg(&kernel.version).status();
    if !done.context("start depmod")?.success() {
        bail!("depmod fails");
    }
    Ok(())
}

/// What `lib/modules/VERSION` is below, `usr` being part of it where the distribution has merged it.
fn base(modules: &Path) -> Result<&Path> {
    modules.ancestors().nth(3).context("modules are three levels down")
}

fn has_suffix(path: &Path, suffix: &str) -> bool {
    path.extension().is_some_and(|extension| extension == suffix)
}

fn find(tree: &Path) -> Result<Kernel> {
    let boot = fs::read_dir(tree.join("boot")).context("the package has no /boot")?;
    let image = boot
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")))
        .context("the package has no kernel")?;
    let version = image.file_name().map(|name| name.to_string_lossy().replacen("vmlinuz-", "", 1)).unwrap_or_default();
    let modules = ["lib/modules", "usr/lib/modules"]
        .map(|place| tree.join(place).join(&version))
        .into_iter()
        .find(|path| path.is_dir())
        .context("the package has no modules")?;
    Ok(Kernel { image, modules, version })
}
