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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_switch_is_named_with_its_mend() {
        let told = |set: &[(&str, &str)]| {
            let read = |file: &str| {
                let name = file.rsplit('/').next().unwrap();
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| format!("{value}\n"))
            };
            check(read).map_or_else(|error| error.to_string(), |()| String::new())
        };
        let limit = ("max_user_namespaces", "15000");
        assert_eq!(told(&[limit]), "");
        assert!(told(&[]).contains("this kernel has no user namespaces"));
        assert!(told(&[("max_user_namespaces", "0")]).contains("sysctl user.max_user_namespaces=15000"));
        let debian = told(&[limit, ("unprivileged_userns_clone", "0")]);
        assert!(debian.ends_with("(as root: sysctl kernel.unprivileged_userns_clone=1)"), "{debian}");
        let ubuntu = told(&[limit, ("apparmor_restrict_unprivileged_userns", "1")]);
        assert!(ubuntu.ends_with("(as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0)"), "{ubuntu}");
        assert_eq!(told(&[limit, ("apparmor_restrict_unprivileged_userns", "0")]), "");
    }
}
