//! RUN as a step: what the command and its surroundings are, and what its result depends on.

use anyhow::Result;
use network::Mode;

use crate::fingerprint::Fingerprint;
use crate::syntax::{Command, Run};

use super::builder::Build;
use super::metadata::argv;
use super::run::{self, RunStep, Surroundings};
use super::stage::State;

impl Build<'_> {
    /// The beginning of a step's key: what it is, what it starts from, and the fixed time if there is one.
    pub fn key(&self, kind: &str, state: &State) -> Fingerprint {
        let epoch = self.clock.epoch().map_or_else(String::new, |seconds| seconds.to_string());
        Fingerprint::new(kind).field(state.chain()).field(epoch)
    }

    /// RUN.
    pub fn run(&mut self, run: &Run, state: &mut State) -> Result<()> {
        let step = self.run_step(run, state);
        let key = self.key("run", state).list(&step.argv).field(&step.user).field(&step.workdir);
        // The order in which variables were set does not matter to a program; the proxies' values must not.
        let proxies = self.globals.proxies();
        let mut env = step.env.clone();
        env.retain(|entry| !proxies.iter().any(|(name, _)| entry.split_once('=').is_some_and(|(key, _)| key == name)));
        env.sort();
        let script = step.script.as_ref().map(|script| script.content.clone());
        let key = key.list(&env).field(run.network.as_deref().unwrap_or_default()).list(script).finish();
        let created_by = created_by(&step, state);
        self.step(&key, created_by, state, |build, state, upper| {
            let around = Surroundings {
                root: build.builder.root,
                workspace: build.workspace,
                scratch: build.workspace.directory(&format!("step-{}", build.steps.0))?,
                cgroup_parent: build.builder.cgroup_parent,
                lower: &state.dirs,
                extra: build.builder.extra,
                keep_output: build.progress.keeps_output(),
            };
            run::run(&step, &around, upper)
        })
    }

    fn run_step(&self, run: &Run, state: &State) -> RunStep {
        let config = &state.config.config;
        let (mut command, mut script) = (run.command.clone(), None);
        if let (Command::Shell(line), [first, ..]) = (&run.command, run.heredocs.as_slice()) {
            let alone = run.heredocs.len() == 1 && crate::syntax::is_heredoc(line.trim());
            match alone {
                true if first.content.starts_with("#!") => script = Some(first.clone()),
                // The heredoc is all there is: it is the line for the shell, also for one that knows no heredocs.
                true => command = Command::Shell(first.content.clone()),
                false => {
                    let contents = run.heredocs.iter().map(|heredoc| format!("\n{}{}", heredoc.content, heredoc.name));
                    command = Command::Shell(format!("{line}{}", contents.collect::<String>()));
                }
            }
        }
        // ENV wins over ARG, and both over a proxy that was only handed through.
        let mut env = config.env.clone();
        for (name, value) in state.args.list().iter().cloned().chain(self.globals.proxies()) {
            if !env.iter().any(|entry| entry.split_once('=').is_some_and(|(key, _)| key == name)) {
                env.push(format!("{name}={value}"));
            }
        }
        let network = match run.network.as_deref() {
            Some("none") => Mode::None,
            Some("host") => Mode::Host,
            _ => self.args.network.clone().unwrap_or(Mode::Bridge),
        };
        RunStep {
            argv: argv(&command, config),
            env,
            user: config.user.clone(),
            workdir: state.workdir().to_owned(),
            network,
            script,
        }
    }
}

/// As Docker writes it into the history: `RUN |1 V=2 /bin/sh -c make # buildkit`, less the last.
fn created_by(step: &RunStep, state: &State) -> String {
    let args = state.args.list();
    let mut words = vec!["RUN".to_owned()];
    if !args.is_empty() {
        words.push(format!("|{}", args.len()));
        words.extend(args.iter().map(|(name, value)| format!("{name}={value}")));
    }
    words.extend(step.argv.iter().cloned());
    words.join(" ")
}
