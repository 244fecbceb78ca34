//! The flags, with Docker's spellings.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::capabilities::Grant;
use super::limits::Ulimit;
use super::seccomp::{self, Choice};
use super::sysctl::Sysctl;

/// The longest seccomp profile, in bytes. Docker's own has 13000.
const PROFILE_MAX: u64 = 1 << 20;

/// What the process inside may do.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Privileges")]
pub struct PrivilegeArgs {
    /// Give the user one more group, by name or number
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,
    /// Give root inside one more capability, as in NET_ADMIN, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_add: Vec<String>,
    /// Take a capability from root inside, as in NET_RAW, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_drop: Vec<String>,
    /// Give root inside all the power of root outside (a container no longer)
    #[arg(long)]
    pub privileged: bool,
    /// no-new-privileges, seccomp=FILE, seccomp=unconfined, systempaths=unconfined
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
    /// Limit a resource of each process, as in nofile=1024:2048 (-1: no limit)
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<Ulimit>,
    /// How readily the kernel picks the container when memory runs out, from -1000 to 1000
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, value_parser = clap::value_parser!(i16).range(-1000..=1000))]
    pub oom_score_adj: Option<i16>,
    /// Set a kernel setting that is the container's own, as in net.ipv4.ip_forward=1
    #[arg(long, value_name = "NAME=VALUE")]
    pub sysctl: Vec<Sysctl>,
}

/// The same as data, resolved as far as it can be without the container: it is kept with the container's description
/// and holds for whatever is executed in it later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// More groups, as they were written, to be looked up in the container's own `/etc/group`.
    pub groups: Vec<String>,
    /// Capabilities.
    pub grant: Grant,
    /// All of root's power: also every device, and nothing masked.
    pub privileged: bool,
    /// Which system calls.
    pub seccomp: Choice,
    /// Nothing that is executed may gain rights: set-uid bits and file capabilities count for nothing.
    pub no_new_privileges: bool,
    /// Do not mask paths of /proc and /sys, nor make them read-only.
    pub unmasked: bool,
    /// Limits of each process.
    pub ulimits: Vec<Ulimit>,
    /// What to add to its badness when memory runs out, −1000 to 1000.
    pub oom_score_adj: Option<i16>,
    /// Settings of the kernel in its own namespaces.
    #[serde(default)]
    pub sysctls: Vec<Sysctl>,
}

impl PrivilegeArgs {
    /// The settings that the flags mean. Reads the seccomp profile, if one is named.
    pub fn settings(&self) -> Result<Settings> {
        let grant = Grant::new(self.privileged, &self.cap_add, &self.cap_drop)?;
        let mut settings = Settings {
            groups: self.group_add.clone(),
            grant,
            privileged: self.privileged,
            seccomp: if self.privileged { Choice::Unconfined } else { Choice::Default },
            no_new_privileges: false,
            unmasked: self.privileged,
            ulimits: self.ulimit.clone(),
            oom_score_adj: self.oom_score_adj,
            sysctls: self.sysctl.clone(),
        };
        for option in &self.security_opt {
            settings.apply(option).with_context(|| format!("--security-opt {option}"))?;
        }
        // Found now, not when the container is started: an unreadable profile, an unknown architecture.
        settings.seccomp.check(grant.capabilities)?;
        Ok(settings)
    }
}

impl Settings {
    /// One `--security-opt`. Docker writes `name=value` and, of old, `name:value`.
    fn apply(&mut self, option: &str) -> Result<()> {
        let (name, value) = match option.split_once(['=', ':']) {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        match (name, value) {
            ("no-new-privileges", None | Some("true")) => self.no_new_privileges = true,
            ("no-new-privileges", Some("false")) => self.no_new_privileges = false,
            ("seccomp", Some("unconfined")) => self.seccomp = Choice::Unconfined,
            ("seccomp", Some("builtin")) => self.seccomp = Choice::Default,
            ("seccomp", Some(path)) => self.seccomp = Choice::Profile(read_profile(path)?),
            ("systempaths", Some("unconfined")) => self.unmasked = true,
            // True as it stands: this engine puts no container under either of them.
            ("apparmor", Some("unconfined")) | ("label", Some("disable")) => {}
            ("apparmor" | "label", Some(_)) => bail!("AppArmor and SELinux are not supported yet"),
            _ => bail!(
                "there is no such option (no-new-privileges, seccomp=FILE, seccomp=unconfined, systempaths=unconfined)"
            ),
        }
        Ok(())
    }
}

fn read_profile(path: &str) -> Result<String> {
    let mut text = String::new();
    let file = File::open(path).with_context(|| format!("open {path}"))?;
    let length = file.take(PROFILE_MAX + 1).read_to_string(&mut text).with_context(|| format!("read {path}"))?;
    ensure!(length as u64 <= PROFILE_MAX, "{path} is longer than any seccomp profile (1 MiB)");
    seccomp::profile::parse(&text).with_context(|| path.to_string())?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        privileges: PrivilegeArgs,
    }

    fn settings(args: &[&str]) -> Result<Settings> {
        let args = ["test"].iter().chain(args);
        Command::try_parse_from(args).context("parse")?.privileges.settings()
    }

    #[test]
    fn nothing_asked_means_dockers_default() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.grant, Grant::new(false, &[], &[]).unwrap());
        assert_eq!(settings.seccomp, Choice::Default);
        assert!(!settings.no_new_privileges && !settings.unmasked && !settings.privileged);
    }

    #[test]
    fn privileged_is_everything_unless_said_otherwise() {
        let open = settings(&["--privileged"]).unwrap();
        assert!(open.unmasked && open.seccomp == Choice::Unconfined);
        let filtered = settings(&["--privileged", "--security-opt", "seccomp=builtin"]).unwrap();
        assert_eq!(filtered.seccomp, Choice::Default);
    }

    #[test]
    fn security_options_in_all_spellings() {
        for spelling in ["no-new-privileges", "no-new-privileges=true", "no-new-privileges:true"] {
            assert!(settings(&["--security-opt", spelling]).unwrap().no_new_privileges);
        }
        assert!(settings(&["--security-opt", "systempaths=unconfined"]).unwrap().unmasked);
        let error = |option| format!("{:#}", settings(&["--security-opt", option]).unwrap_err());
        assert!(error("seccomp=/no/such/file").contains("open /no/such/file"));
        assert!(error("apparmor=docker-default").contains("not supported"));
        assert!(error("no-new-privs").contains("no such option"));
        assert!(error("no-new-privileges=maybe").contains("no such option"));
    }

    #[test]
    fn settings_survive_being_written_down() {
        let args = ["--group-add", "5", "--cap-add", "SYS_TIME", "--ulimit", "nofile=5:6", "--oom-score-adj", "-5"];
        let settings = settings(&args).unwrap();
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
    }

    #[test]
    fn limits_are_checked_at_once() {
        assert!(settings(&["--ulimit", "nofile=2:1"]).is_err());
        assert!(settings(&["--oom-score-adj", "1001"]).is_err());
        assert!(settings(&["--cap-drop", "CAP_NONSENSE"]).is_err());
    }
}
