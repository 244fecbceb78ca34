//! Who the process inside is: the user that the image or the command line names, looked up in the container's own files.

use anyhow::{Context, Result};
use namespaces::{Credentials, Process};

use crate::privileges::{FindUser, Privileges, Settings};
use crate::streams::give_streams_to;

/// The privileges of a container's process, for the user `spec`.
pub fn privileges(settings: Settings, spec: &str) -> Privileges {
    let groups = settings.groups.clone();
    Privileges::new(settings, find_user(spec.to_string(), groups))
}

/// Finds the user in the current root, which is the container's by then; sets `HOME`, and gives the user its streams.
fn find_user(spec: String, groups: Vec<String>) -> FindUser {
    Box::new(move |process: &mut Process| -> Result<Credentials> {
        let root = rootfs::open_root("/".as_ref()).context("open the container's root")?;
        let mut user = images::resolve_user(std::os::fd::AsFd::as_fd(&root), &spec)?;
        for group in &groups {
            user.credentials.groups.push(images::resolve_group(std::os::fd::AsFd::as_fd(&root), group)?);
        }
        process.set_env_default("HOME", &user.home);
        give_streams_to(user.credentials.uid)?;
        Ok(user.credentials)
    })
}
