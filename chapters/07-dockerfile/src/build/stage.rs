//! The state of a stage between two instructions, and the instructions.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use images::{Descriptor, Execution, History, ImageConfig};
use layers::{Digest, chain_id, pack_above, remove_tree};

use crate::syntax::{Instruction, Kind, expand};

use super::builder::Build;
use super::cache::{BuiltLayer, Made};
use super::metadata;
use super::scope::Args;

/// What every storage driver of Docker takes (overlay2 stacks 128), so that the image runs there too.
const MAX_LAYERS: usize = 127;

/// The image as it is so far.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub config: ImageConfig,
    /// The layers' blobs and directories, base first; their diff IDs are in the config.
    pub blobs: Vec<Descriptor>,
    pub dirs: Vec<PathBuf>,
    pub args: Args,
    /// A CMD stood in this stage.
    pub cmd_set: bool,
}

impl State {
    pub fn new(config: ImageConfig) -> State {
        State { config, blobs: Vec::new(), dirs: Vec::new(), args: Args::default(), cmd_set: false }
    }

    /// The same image, for a stage that is built on this one: its ARGs are not inherited.
    pub fn begin_again(&self) -> State {
        State { args: Args::default(), cmd_set: false, ..self.clone() }
    }

    /// The name of the tree so far: what a step starts from.
    pub fn chain(&self) -> String {
        chain_id(&self.config.rootfs.diff_ids).map_or_else(|| "scratch".to_owned(), |digest| digest.to_string())
    }

    /// The working directory; an image may have none.
    pub fn workdir(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            path => path,
        }
    }

    /// Replaces the variables of a word.
    pub fn expand(&self, text: &str, escape: char) -> Result<String> {
        self.expand_in(text, escape, &self.config.config)
    }

    fn expand_in(&self, text: &str, escape: char, config: &Execution) -> Result<String> {
        Ok(expand(text, escape, &|name| self.args.lookup(name, &config.env))?)
    }

    fn add_history(&mut self, by: String, created: Option<String>, empty_layer: bool) {
        let created = created.or_else(|| self.config.created.clone());
        let comment = Some("minidocker".to_owned());
        self.config.history.push(History { created, created_by: Some(by), author: None, comment, empty_layer });
    }
}

impl Build<'_> {
    /// Carries out one instruction.
    pub fn instruction(
        &mut self,
        stage: usize,
        kind: &Kind,
        instruction: &Instruction,
        state: &mut State,
    ) -> Result<()> {
        let escape = self.file.escape;
        match kind {
            Kind::Run(run) => self.run(run, state),
            Kind::Copy(copy) => self.copy(stage, copy, instruction, state),
            Kind::Add(add) => self.add(add, instruction, state),
            Kind::Workdir(path) => self.workdir(path, instruction, state),
            Kind::Arg(list) => {
                for (name, default) in list {
                    let env = &state.config.config.env;
                    let (name, default) = (name.as_str(), default.as_deref());
                    state.args.declare((name, default), env, self.globals, escape)?;
                }
                state.add_history(instruction.text.clone(), None, true);
                Ok(())
            }
            kind => {
                let (config, mut cmd_set) = (&mut state.config.clone(), state.cmd_set);
                let expand = |text: &str, config: &Execution| state.expand_in(text, escape, config);
                metadata::apply(kind, config, &mut cmd_set, &expand)?;
                state.config = config.clone();
                state.cmd_set = cmd_set;
                state.add_history(instruction.text.clone(), None, true);
                Ok(())
            }
        }
    }

    /// WORKDIR: makes the directory, if it is not there.
    fn workdir(&mut self, path: &str, instruction: &Instruction, state: &mut State) -> Result<()> {
        let path = state.expand(path, self.file.escape)?;
        if path.is_empty() {
            bail!("WORKDIR is empty once its variables are replaced");
        }
        let path = rootfs::in_root::clean(&std::path::Path::new(state.workdir()).join(path));
        let text = path.to_str().context("the working directory is not UTF-8")?.to_owned();
        state.config.config.working_dir.clone_from(&text);
        let key = self.key("workdir", state).field(&text).finish();
        let created_by = instruction.text.clone();
        self.step(&key, created_by, state, |build, state, upper| {
            let root = build.writable(state, upper)?;
            let copier =
                super::copy::Copier { root: rustix::fd::AsFd::as_fd(&root), owner: None, mode: None, xattrs: false };
            copier.directories(&path).map(drop)
        })
    }

    /// Does a step that may make a layer, or takes its result from the cache. `work` fills the directory `upper`.
    pub fn step(
        &mut self,
        key: &Digest,
        created_by: String,
        state: &mut State,
        work: impl FnOnce(&mut Build<'_>, &State, &std::path::Path) -> Result<()>,
    ) -> Result<()> {
        let made = match self.cache.get(key, self.builder.store) {
            Some(made) => {
                self.progress.cached();
                made
            }
            None => {
                let layer = self.layer(state, work)?;
                let made = Made { layer, created: self.clock.now() };
                self.cache.put(key, &made)?;
                made
            }
        };
        let empty = made.layer.is_none();
        if let Some(layer) = made.layer {
            let dir = self.builder.store.layers().get(&layer.diff_id);
            state.dirs.push(dir.with_context(|| format!("the layer {} has vanished from the store", layer.diff_id))?);
            state.config.rootfs.diff_ids.push(layer.diff_id);
            state.blobs.push(layer.blob);
            state.config.created = Some(made.created.clone());
        }
        if state.blobs.len() > MAX_LAYERS {
            bail!("the image has more than {MAX_LAYERS} layers (join commands into one RUN, or copy into a new stage)");
        }
        state.add_history(created_by, Some(made.created), empty);
        Ok(())
    }

    /// Makes a layer of what `work` writes; none, if it writes nothing.
    fn layer(
        &mut self,
        state: &State,
        work: impl FnOnce(&mut Build<'_>, &State, &std::path::Path) -> Result<()>,
    ) -> Result<Option<BuiltLayer>> {
        let place = format!("step-{}", self.steps.0);
        let upper = self.workspace.directory(&format!("{place}/upper"))?;
        work(self, state, &upper)?;
        let empty = std::fs::read_dir(&upper).context("look at the new layer")?.next().is_none();
        let layer = match empty {
            true => None,
            false => {
                self.clock.turn_back(&upper)?;
                let packed = self.builder.store.add_layer(|out| pack_above(&upper, &state.dirs, out).map(drop));
                let layer = packed.context("keep the new layer")?;
                Some(BuiltLayer { diff_id: layer.diff_id, blob: layer.blob })
            }
        };
        let _ = remove_tree(&self.workspace.path(&place));
        Ok(layer)
    }
}
