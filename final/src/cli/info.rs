//! `minidocker info`.

use anyhow::Result;
use cgroups::Hierarchies;
use clap::Args;
use images::Listed;
use namespaces::rootless;
use nix::sys::utsname::uname;

use crate::container::Container;
use crate::root::Root;
use crate::state;

/// Show what this engine has and what this machine can.
#[derive(Args)]
pub struct Info {}

/// Carries the command out.
pub fn run(root: &Root, _: &Info) -> Result<i32> {
    let containers = Container::all(root)?;
    let running = containers.iter().filter(|c| state::status(c).is_ok_and(|(status, _)| status.is_running())).count();
    let images = root.store()?.list()?.into_iter().filter(|listed| matches!(listed, Listed::Image(_))).count();
    let kernel = uname()?;
    println!("Containers: {}", containers.len());
    println!(" Running: {running}");
    println!(" Stopped: {}", containers.len() - running);
    println!("Images: {images}");
    println!("Server Version: {} (no daemon)", env!("CARGO_PKG_VERSION"));
    println!("Storage Driver: overlay");
    println!("State Directory: {}", root.path().display());
    println!("Rootless: {}", rootless());
    match Hierarchies::detect() {
        Ok(found) => {
            println!("Cgroup Version: {}", found.kind());
            println!("Cgroup Parent: {}", root.cgroup());
        }
        Err(error) => println!("Cgroup Version: unknown ({error:#})"),
    }
    println!("Kernel Version: {}", kernel.release().to_string_lossy());
    println!("Architecture: {}", kernel.machine().to_string_lossy());
    println!("CPUs: {}", std::thread::available_parallelism().map_or(1, usize::from));
    println!("Kept on this host (minidocker system reset takes it away):");
    match network::host_objects(&root.bridge()) {
        Ok(objects) if objects.is_empty() => println!(" nothing"),
        Ok(objects) => objects.iter().for_each(|object| println!(" {object}")),
        Err(error) => println!(" unknown ({error:#})"),
    }
    Ok(0)
}
