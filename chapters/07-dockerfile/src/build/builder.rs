//! The builder: from a Dockerfile to an image in the store.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use images::{Image, Platform, Reference, Store};
use namespaces::rootless;

use crate::context::files::FileDigests;
use crate::context::tree::Tree;
use crate::syntax::{Dockerfile, ParseError};

use super::args::BuildArgs;
use super::cache::Cache;
use super::clock::Clock;
use super::metadata;
use super::plan::{Base, check_platform, plan};
use super::progress::Progress;
use super::run::{self, Extra};
use super::scope::Globals;
use super::source;
use super::stage::State;
use super::workspace::Workspace;

/// What builds, and with what means.
pub struct Builder<'a> {
    /// The engine's directory (`--root`): cache, temporary files, the network's state.
    pub root: &'a Path,
    /// Where base images come from and the result goes.
    pub store: &'a Store,
    /// The last isolations of RUN's containers: [`run::plain_user`], or an engine's privileges.
    pub extra: Extra<'a>,
    /// The cgroup below which RUN's containers have theirs.
    pub cgroup_parent: &'a str,
    /// Gets a base image that is not in the store, or a newer one: from its registry, as a rule.
    pub fetch: &'a dyn Fn(&Reference) -> Result<Image>,
}

/// One build under way: what all its stages share.
pub(super) struct Build<'a> {
    pub builder: &'a Builder<'a>,
    pub args: &'a BuildArgs,
    pub file: &'a Dockerfile,
    pub context: Option<&'a Tree>,
    pub globals: &'a Globals,
    pub workspace: &'a Workspace,
    pub cache: Cache,
    pub digests: FileDigests,
    pub clock: Clock,
    pub progress: &'a dyn Progress,
    /// The stages that are done, by number.
    pub done: BTreeMap<usize, State>,
    /// Steps begun, and all there are.
    pub steps: (usize, usize),
}

impl Builder<'_> {
    /// Builds what `args` describe, names it, and gives the image.
    ///
    /// # Errors
    ///
    /// A mistake in the Dockerfile is a [`ParseError`] in the chain, a command that failed a [`run::Failed`]. Nothing is
    /// named then, and the steps that succeeded stay in the cache.
    pub fn build(&self, args: &BuildArgs, progress: &dyn Progress) -> Result<Image> {
        if rootless() {
            // A layer has files of many owners, which only root may make.
            bail!("building needs root for now (run it with sudo)");
        }
        let names = args.tag.iter().map(|name| name.parse()).collect::<Result<Vec<Reference>>>()?;
        // Nobody collects layers as garbage while they belong to no image yet.
        let _lease = self.store.lease()?;
        let workspace = Workspace::new(self.root)?;
        let source = source::open(args, &workspace)?;
        let globals = globals(&source.dockerfile, args)?;
        let cache = Cache::open(self.root, args.no_cache)?;
        let mut build = Build {
            builder: self,
            args,
            file: &source.dockerfile,
            context: source.context.as_ref(),
            globals: &globals,
            workspace: &workspace,
            digests: FileDigests::load(cache.dir(), &source.name),
            cache,
            clock: Clock::new(globals.given("SOURCE_DATE_EPOCH").as_deref())?,
            progress,
            done: BTreeMap::new(),
            steps: (0, 0),
        };
        let state = build.all_stages()?;
        build.digests.save()?;
        for name in globals.unused() {
            progress.note(&format!("the build argument {name} was not used: no ARG declares it"));
        }
        self.finish(state, args, &names, &build.clock)
    }

    fn finish(&self, mut state: State, args: &BuildArgs, names: &[Reference], clock: &Clock) -> Result<Image> {
        metadata::add_labels(&args.labels, &mut state.config.config.labels);
        if state.config.created.is_none() || clock.epoch().is_some() {
            state.config.created = Some(clock.now());
        }
        let blobs = state.blobs.clone();
        let image = self.store.add_image(&state.config, &blobs, names.first()).context("add the image to the store")?;
        for name in names.iter().skip(1) {
            self.store.tag(&image, name)?;
        }
        if let Some(file) = &args.iidfile {
            std::fs::write(file, image.id.as_str()).with_context(|| format!("write {}", file.display()))?;
        }
        Ok(image)
    }

    /// Finds a base image, or fetches it.
    pub(super) fn image(&self, name: &str, pull: bool) -> Result<Image> {
        if !pull && let Some(image) = self.store.find(name)? {
            return Ok(image);
        }
        (self.fetch)(&name.parse()?)
    }
}

impl Build<'_> {
    fn all_stages(&mut self) -> Result<State> {
        for (line, note) in &self.file.notes {
            self.progress.note(&format!("{}:{line}: {note}", self.file.source.name));
        }
        let stages = plan(self.file, self.globals, self.args.target.as_deref())?;
        self.steps.1 = stages.iter().map(|(index, _)| 1 + self.file.stages[*index].instructions.len()).sum();
        let mut last = None;
        for (index, base) in stages {
            let state = self.stage(index, &base).with_context(|| self.where_it_failed(index))?;
            self.done.insert(index, state);
            last = Some(index);
        }
        last.and_then(|index| self.done.remove(&index)).context("there is no stage to build")
    }

    fn where_it_failed(&self, index: usize) -> String {
        match &self.file.stages[index].name {
            Some(name) if self.file.stages.len() > 1 => format!("cannot build the stage {name}"),
            _ => "cannot build".to_owned(),
        }
    }

    /// FROM, and all that follows.
    fn stage(&mut self, index: usize, base: &Base) -> Result<State> {
        let file = self.file;
        let stage = &file.stages[index];
        self.begin(&stage.text);
        let placed = |error: anyhow::Error| placed(file, stage.line, error);
        check_platform(stage.from.platform.as_deref(), self.globals, file.escape).map_err(placed)?;
        let (mut state, triggers) = self.base(base).map_err(placed)?;
        for trigger in &triggers {
            let instruction = crate::syntax::parse_trigger(trigger)?;
            self.progress.note(&format!("ONBUILD of the base image: {trigger}"));
            self.instruction(index, &instruction.kind, &instruction, &mut state).map_err(placed)?;
        }
        for instruction in &stage.instructions {
            self.begin(&instruction.text);
            self.instruction(index, &instruction.kind, instruction, &mut state)
                .map_err(|error| self::placed(file, instruction.line, error))?;
        }
        Ok(state)
    }

    fn begin(&mut self, text: &str) {
        self.steps.0 += 1;
        self.progress.step(self.steps.0, self.steps.1, text);
    }

    /// The state that a stage starts from, and what its base image wants to be done first.
    fn base(&mut self, base: &Base) -> Result<(State, Vec<String>)> {
        match base {
            Base::Scratch => Ok((State::new(metadata::of_scratch()), Vec::new())),
            Base::Stage(index) => {
                let mut state = self.done.get(index).context("the stage is not built")?.begin_again();
                let triggers = std::mem::take(&mut state.config.config.on_build);
                Ok((state, triggers))
            }
            Base::Image(name) => {
                let image = self.builder.image(name, self.args.pull)?;
                let (has, host) = (image.config.platform(), Platform::host());
                if has.architecture != host.architecture {
                    bail!("{name} is an image for {has}, and this machine is {host}");
                }
                let triggers = image.config.config.on_build.clone();
                let mut state = State::new(metadata::inherited(image.config.clone()));
                state.dirs = self.builder.store.layer_dirs(&image)?;
                state.blobs.clone_from(&image.manifest.layers);
                Ok((state, triggers))
            }
        }
    }
}

fn globals(file: &Dockerfile, args: &BuildArgs) -> Result<Globals> {
    let mut globals = Globals::new(&args.build_args, &Platform::host());
    for instruction in &file.globals {
        if let crate::syntax::Kind::Arg(list) = &instruction.kind {
            for (name, default) in list {
                globals
                    .declare(name, default.as_deref(), file.escape)
                    .map_err(|error| file.error(instruction.line, error.to_string()))?;
            }
        }
    }
    Ok(globals)
}

/// The error with its place in the Dockerfile, unless it shows one already.
fn placed(file: &Dockerfile, line: usize, error: anyhow::Error) -> anyhow::Error {
    if error.chain().any(|cause| cause.is::<ParseError>()) {
        return error;
    }
    match error.downcast_ref::<run::Failed>() {
        // Kept in the chain, so that a caller can see that it was the command that failed and not the builder.
        Some(_) => error.context(format!("{}:{line}", file.source.name)),
        None => file.error(line, format!("{error:#}")).into(),
    }
}
