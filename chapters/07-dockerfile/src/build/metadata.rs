//! The instructions that change only the config: ENV, LABEL, CMD and their like.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use images::{Execution, ImageConfig};
use namespaces::signals;
use serde_json::json;

use crate::syntax::{Command, Healthcheck, Kind};

/// What a config says of a stage that was built on nothing.
pub fn of_scratch() -> ImageConfig {
    let mut config = ImageConfig::new();
    config.config.env = vec![format!("PATH={}", namespaces::process::DEFAULT_PATH)];
    config.config.working_dir = "/".to_owned();
    config
}

/// A config to build on: what the base image notes about its own making is not true of the new one.
pub fn inherited(mut base: ImageConfig) -> ImageConfig {
    for field in ["container", "container_config", "docker_version", "id", "parent", "moby.buildkit.buildinfo.v1"] {
        base.other.remove(field);
    }
    base.config.on_build.clear();
    base
}

/// Does what an instruction says. `expand` replaces variables and takes quotes off; `cmd_set` remembers a CMD of this stage.
pub fn apply(
    kind: &Kind,
    config: &mut ImageConfig,
    cmd_set: &mut bool,
    expand: &dyn Fn(&str, &Execution) -> Result<String>,
) -> Result<()> {
    let author = &mut config.author;
    let config = &mut config.config;
    // All words of one instruction see the environment as it was before (so ENV a=1 b=$a gives b the old a).
    let before = config.clone();
    let expand = |text: &str| expand(text, &before);
    match kind {
        Kind::Env(pairs) => {
            for (key, value) in pairs {
                set_env(&mut config.env, &expand(key)?, &expand(value)?);
            }
        }
        Kind::Label(pairs) => {
            for (key, value) in pairs {
                config.labels.insert(expand(key)?, expand(value)?);
            }
        }
        Kind::User(user) => config.user = expand(user)?,
        Kind::Expose(ports) => {
            for text in ports {
                for word in expand(text)?.split_whitespace() {
                    for port in ports_of(word)? {
                        config.exposed_ports.insert(port, json!({}));
                    }
                }
            }
        }
        Kind::Volume(paths) => {
            for path in paths {
                let path = expand(path)?;
                if path.trim().is_empty() {
                    bail!("VOLUME needs a path");
                }
                config.volumes.insert(path, json!({}));
            }
        }
        Kind::Entrypoint(command) => {
            config.entrypoint = Some(argv(command, config));
            // The CMD of the base was meant as arguments of the base's entrypoint.
            if !*cmd_set {
                config.cmd = None;
            }
        }
        Kind::Cmd(command) => {
            config.cmd = Some(argv(command, config));
            *cmd_set = true;
        }
        Kind::Shell(shell) => config.shell = Some(shell.clone()),
        Kind::Stopsignal(signal) => config.stop_signal = Some(signal_name(&expand(signal)?)?),
        Kind::Maintainer(name) => *author = Some(name.clone()),
        Kind::Healthcheck(check) => config.healthcheck = Some(healthcheck(check, config)),
        Kind::Onbuild(trigger) => config.on_build.push(trigger.clone()),
        // These are the builder's.
        Kind::Run(_) | Kind::Copy(_) | Kind::Add(_) | Kind::Workdir(_) | Kind::Arg(_) => {}
    }
    Ok(())
}

/// The argument list of a command: the exec form as it is, the shell form behind the stage's shell.
pub fn argv(command: &Command, config: &Execution) -> Vec<String> {
    match command {
        Command::Exec(argv) => argv.clone(),
        Command::Shell(line) => {
            let shell = config.shell.clone().unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
            shell.into_iter().chain([line.clone()]).collect()
        }
    }
}

fn set_env(env: &mut Vec<String>, key: &str, value: &str) {
    let entry = format!("{key}={value}");
    match env.iter_mut().find(|entry| entry.split_once('=').is_some_and(|(own, _)| own == key)) {
        Some(former) => *former = entry,
        None => env.push(entry),
    }
}

/// `80`, `80/udp`, `8000-8010/tcp` → what the config lists.
fn ports_of(text: &str) -> Result<Vec<String>> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_lowercase();
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let (Some(low), Some(high)) = (number(low), number(high)) else {
        bail!("EXPOSE {text}: a port is a number from 1 to 65535, or a range of them");
    };
    if low > high || !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        bail!("EXPOSE {text}: expected PORT[-PORT][/tcp|udp|sctp]");
    }
    Ok((low..=high).map(|port| format!("{port}/{protocol}")).collect())
}

/// Checked now rather than when somebody stops a container of this image.
fn signal_name(text: &str) -> Result<String> {
    signals::parse(text).with_context(|| format!("STOPSIGNAL {text}: no such signal"))?;
    Ok(text.trim().to_owned())
}

fn healthcheck(check: &Healthcheck, config: &Execution) -> images::Healthcheck {
    let test = match &check.command {
        None => vec!["NONE".to_owned()],
        Some(Command::Shell(line)) => vec!["CMD-SHELL".to_owned(), line.clone()],
        Some(exec) => ["CMD".to_owned()].into_iter().chain(argv(exec, config)).collect(),
    };
    images::Healthcheck {
        test,
        interval: check.interval.unwrap_or_default(),
        timeout: check.timeout.unwrap_or_default(),
        start_period: check.start_period.unwrap_or_default(),
        start_interval: check.start_interval.unwrap_or_default(),
        retries: check.retries.unwrap_or_default(),
    }
}

/// `--label`s of the command line.
pub fn add_labels(labels: &[String], to: &mut BTreeMap<String, String>) {
    for label in labels {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        to.insert(key.to_owned(), value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::{expand, parse};

    fn built(text: &str) -> Result<Execution> {
        let file = parse(&format!("FROM scratch\n{text}"), "Dockerfile").unwrap();
        let mut config = of_scratch();
        config.config.cmd = Some(vec!["inherited".into()]);
        let mut cmd_set = false;
        let lookup = |text: &str, config: &Execution| {
            let get = |name: &str| {
                config.env.iter().find_map(|entry| entry.strip_prefix(&format!("{name}=")).map(str::to_owned))
            };
            Ok(expand(text, '\\', &get)?)
        };
        for instruction in &file.stages[0].instructions {
            apply(&instruction.kind, &mut config, &mut cmd_set, &lookup)?;
        }
        Ok(config.config)
    }

    #[test]
    fn environment_is_replaced_in_place_and_seen_by_the_next_instruction() {
        let config = built("ENV a=1\nENV a=2 b=$a\nENV c=${b}x PATH=$PATH:/x").unwrap();
        assert_eq!(config.env[1..], ["a=2", "b=1", "c=1x"]);
        assert!(config.env[0].ends_with("/bin:/x"));
    }

    #[test]
    fn entrypoint_forgets_an_inherited_cmd_but_not_the_stages_own() {
        assert_eq!(built("ENTRYPOINT [\"a\"]").unwrap().cmd, None);
        assert_eq!(built("CMD b\nENTRYPOINT [\"a\"]").unwrap().cmd.unwrap(), ["/bin/sh", "-c", "b"]);
        assert_eq!(built("SHELL [\"bash\", \"-ec\"]\nCMD b").unwrap().cmd.unwrap(), ["bash", "-ec", "b"]);
    }

    #[test]
    fn ports_signals_volumes() {
        let config =
            built("ENV p=\"81 82\"\nEXPOSE 80 $p/udp 90-91/TCP\nVOLUME [\"/a b\"]\nSTOPSIGNAL SIGQUIT").unwrap();
        let ports: Vec<&String> = config.exposed_ports.keys().collect();
        assert_eq!(ports, ["80/tcp", "81/tcp", "82/udp", "90/tcp", "91/tcp"]);
        assert!(config.volumes.contains_key("/a b"));
        assert_eq!(built("STOPSIGNAL RTMIN+3").unwrap().stop_signal.as_deref(), Some("RTMIN+3"));
        let signals = ["STOPSIGNAL SIGNOPE", "STOPSIGNAL 65", "STOPSIGNAL SIGRTMIN+x"];
        for bad in ["EXPOSE 0", "EXPOSE 70000", "EXPOSE 2-1", "EXPOSE 80/icmp"].into_iter().chain(signals) {
            assert!(built(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn healthchecks_as_the_config_has_them() {
        let check = built("HEALTHCHECK --retries=2 CMD curl x").unwrap().healthcheck.unwrap();
        assert_eq!((check.test, check.retries), (vec!["CMD-SHELL".to_owned(), "curl x".to_owned()], 2));
        assert_eq!(built("HEALTHCHECK NONE").unwrap().healthcheck.unwrap().test, ["NONE"]);
    }
}
