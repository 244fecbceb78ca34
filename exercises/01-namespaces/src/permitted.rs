//! Whether this kernel lets an ordinary user make user namespaces, and who to ask if not.

use std::fs;

use anyhow::{Result, bail};

/// Fails where it does not, with the reason and the way out. Asked when the kernel has refused: it says no more than
/// ENOSPC or EPERM.
pub fn check_permitted() -> Result<()> {
    check(|file| fs::read_to_string(file).ok())
}

fn check(read: impl Fn(&str) -> Option<String>) -> Result<()> {
    let value = |file: &str| read(file).map(|text| text.trim().to_string());
    let limit = "/proc/sys/user/max_user_namespaces";
    match value(limit).as_deref() {
        Some("0") => bail!("no user namespaces here: {limit} is 0 (as root: sysctl user.max_user_namespaces=15000)"),
        None => bail!("this kernel has no user namespaces; run as root"),
        _ => {}
    }
    // Debian's switch of old, and Ubuntu's since 23.10: without an AppArmor profile that says userns, no capabilities.
    let refused = [
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ];
    for (file, no, mend) in refused {
        if value(file).as_deref() == Some(no) {
            bail!("ordinary users may not make user namespaces here: {file} is {no} (as root: sysctl {mend})");
        }
    }
    Ok(())
}
