//! COPY and ADD as steps: what they copy, and what their result depends on.

use std::path::Path;

use anyhow::{Context, Result, bail};
use images::{resolve_group, resolve_user};
use layers::{OverlayXattrs, Upper, chain_id, mount_overlay};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::context::archive::{Format, recognise, unpack_into};
use crate::context::ignore::Ignore;
use crate::context::node::{NodeKind, Picked};
use crate::context::tree::{Origin, Tree};
use crate::syntax::{Copy, Instruction, expand_heredoc};

use super::builder::Build;
use super::copy::{Copier, Destination};
use super::plan::source_stage;
use super::stage::State;

/// A COPY with its variables replaced.
struct Wish {
    sources: Vec<String>,
    /// Name and content.
    heredocs: Vec<(String, String)>,
    to: Destination,
    chown: Option<String>,
    mode: Option<u32>,
    exclude: Ignore,
}

impl Build<'_> {
    /// COPY.
    pub fn copy(&mut self, stage: usize, copy: &Copy, instruction: &Instruction, state: &mut State) -> Result<()> {
        let Some(from) = &copy.from else { return self.copy_context(copy, false, instruction, state) };
        let wish = self.wish(copy, state)?;
        let (dirs, diff_ids) = match source_stage(self.file, from, stage, instruction.line)? {
            Some(index) => {
                let source = self.done.get(&index).context("the stage to copy from is not built")?;
                (source.dirs.clone(), source.config.rootfs.diff_ids.clone())
            }
            None => {
                let image = self.builder.image(from, false).with_context(|| format!("--from={from}"))?;
                (self.builder.store.layer_dirs(&image)?, image.config.rootfs.diff_ids.clone())
            }
        };
        let tree = chain_id(&diff_ids).map_or_else(String::new, |digest| digest.to_string());
        let key = self.copy_key(copy, &wish, state).field(tree).list(&wish.sources).finish();
        self.step(&key, instruction.text.clone(), state, |build, state, upper| {
            if dirs.is_empty() {
                bail!("--from={from} has no files");
            }
            let tree = mount_overlay(&dirs, None, OverlayXattrs::permitted()).context("open the files of --from")?;
            let tree = Tree::of_image(tree);
            let picked = pick(&tree, &wish)?;
            check_directory(&picked, &wish)?;
            build.put(&wish, state, upper, Some((&tree, &picked)), false)
        })
    }

    /// ADD.
    pub fn add(&mut self, add: &Copy, instruction: &Instruction, state: &mut State) -> Result<()> {
        self.copy_context(add, true, instruction, state)
    }

    fn copy_context(&mut self, copy: &Copy, unpack: bool, instruction: &Instruction, state: &mut State) -> Result<()> {
        let wish = self.wish(copy, state)?;
        if unpack {
            wish.sources.iter().try_for_each(|source| refuse_remote(source))?;
        }
        let mut key = self.copy_key(copy, &wish, state).field(if unpack { "add" } else { "copy" });
        let mut picked = Vec::new();
        if !wish.sources.is_empty() {
            let tree =
                self.context.context("there is no context to copy from: the Dockerfile came on standard input")?;
            picked = pick(tree, &wish)?;
            check_directory(&picked, &wish)?;
            key = key.field(self.digests.of(tree, &picked)?.as_str());
        }
        let key = key.finish();
        self.step(&key, instruction.text.clone(), state, |build, state, upper| {
            let source = build.context.map(|tree| (tree, picked.as_slice()));
            build.put(&wish, state, upper, source, unpack)
        })
    }

    fn wish(&self, copy: &Copy, state: &State) -> Result<Wish> {
        let escape = self.file.escape;
        let expand = |text: &String| state.expand(text, escape);
        let env = &state.config.config.env;
        let content = |heredoc: &crate::syntax::Heredoc| match heredoc.expand {
            true => expand_heredoc(&heredoc.content, escape, &|name| state.args.lookup(name, env)),
            false => Ok(heredoc.content.clone()),
        };
        let heredocs = copy.heredocs.iter().map(|heredoc| Ok((heredoc.name.clone(), content(heredoc)?)));
        let destination = expand(&copy.destination)?;
        if destination.is_empty() {
            bail!("the destination is empty once its variables are replaced");
        }
        Ok(Wish {
            sources: copy.sources.iter().map(expand).collect::<Result<_>>()?,
            heredocs: heredocs.collect::<Result<_>>()?,
            to: Destination::new(&destination, state.workdir()),
            chown: copy.chown.as_ref().map(expand).transpose()?,
            mode: copy.chmod.as_ref().map(|text| octal(&expand(text)?)).transpose()?,
            exclude: Ignore::excluding(&copy.exclude)?,
        })
    }

    fn copy_key(&self, copy: &Copy, wish: &Wish, state: &State) -> crate::fingerprint::Fingerprint {
        let Wish { to, chown, mode, heredocs, .. } = wish;
        let contents = heredocs.iter().flat_map(|(name, content)| [name, content]);
        self.key("copy", state)
            .field(to.path.as_os_str().as_encoded_bytes())
            .field([u8::from(to.directory)])
            .list(chown)
            .list(mode.map(u32::to_le_bytes))
            .list(&copy.exclude)
            .list(contents)
    }

    /// The tree of `state` with `upper` on top, to be written to. It is mounted nowhere, and gone with its descriptor.
    pub fn writable(&self, state: &State, upper: &Path) -> Result<OwnedFd> {
        let work = upper.with_file_name("work");
        std::fs::create_dir_all(&work).with_context(|| format!("make {}", work.display()))?;
        let upper = Upper { upper: upper.to_owned(), work, volatile: true };
        mount_overlay(&state.dirs, Some(&upper), OverlayXattrs::permitted()).context("open the image's files")
    }

    fn put(
        &mut self,
        wish: &Wish,
        state: &State,
        upper: &Path,
        source: Option<(&Tree, &[Picked])>,
        unpack: bool,
    ) -> Result<()> {
        let root = self.writable(state, upper)?;
        let chown = wish.chown.as_deref().map(|spec| owner(root.as_fd(), spec)).transpose()?;
        let from_context = source.is_none_or(|(tree, _)| tree.origin() == Origin::Context);
        let mut copier = Copier {
            root: root.as_fd(),
            // What comes from the user's directory belongs to root; an image's files keep their owners.
            owner: chown.or(from_context.then_some((0, 0))),
            mode: wish.mode,
            xattrs: !from_context,
        };
        for (name, content) in &wish.heredocs {
            copier.write(name, content.as_bytes(), &wish.to)?;
        }
        for (index, picked) in source.iter().flat_map(|(_, picked)| picked.iter()).enumerate() {
            let Some((tree, _)) = source else { break };
            if unpack && let Some(files) = self.unpacked(tree, picked, index)? {
                // The owners in an archive are meant.
                let owner = std::mem::replace(&mut copier.owner, chown);
                let everything = files.pick(".", &Ignore::default())?;
                let into = Destination { path: wish.to.path.clone(), directory: true };
                everything.iter().try_for_each(|picked| copier.copy(&files, picked, &into))?;
                copier.owner = owner;
            } else {
                copier.copy(tree, picked, &wish.to)?;
            }
        }
        Ok(())
    }

    /// The files of an archive that ADD names, if it is one.
    fn unpacked(&self, tree: &Tree, picked: &Picked, index: usize) -> Result<Option<Tree>> {
        let [node] = picked.nodes.as_slice() else { return Ok(None) };
        if node.kind != NodeKind::File {
            return Ok(None);
        }
        let (format, file) = recognise(std::fs::File::from(tree.open_file(node)?))?;
        match format {
            Format::Other => Ok(None),
            Format::Unreadable(name) => bail!(
                "{}: archives compressed by {name} cannot be unpacked (COPY takes the file as it is)",
                node.path.display()
            ),
            Format::Tar => {
                let into =
                    self.workspace.directory(&format!("step-{}", self.steps.0))?.join(format!("archive-{index}"));
                unpack_into(file, &into).with_context(|| format!("unpack {}", node.path.display()))?;
                Tree::open(&into, Origin::Image, Ignore::default()).map(Some)
            }
        }
    }
}

fn pick(tree: &Tree, wish: &Wish) -> Result<Vec<Picked>> {
    let picked = wish.sources.iter().map(|source| tree.pick(source, &wish.exclude));
    Ok(picked.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Several things cannot become one file.
fn check_directory(picked: &[Picked], wish: &Wish) -> Result<()> {
    if picked.len() + wish.heredocs.len() > 1 && !wish.to.directory {
        let to = wish.to.path.display();
        bail!("{} things are copied to {to}, so it must be a directory (end it in a slash: {to}/)", picked.len());
    }
    Ok(())
}

fn refuse_remote(source: &str) -> Result<()> {
    let remote = ["http://", "https://", "git://", "ssh://", "git@"].iter().any(|scheme| source.starts_with(scheme));
    if remote {
        bail!("ADD {source}: sources on the network are not supported yet (fetch it with RUN, or into the context)");
    }
    Ok(())
}

fn octal(text: &str) -> Result<u32> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.with_context(|| format!("--chmod={text}: expected an octal mode from 0 to 7777, as in 755"))
}

/// `--chown=user[:group]`, names looked up in the image. A number without a group is its own group, as in Docker; a name's
/// group is its user's.
fn owner(root: BorrowedFd<'_>, spec: &str) -> Result<(u32, u32)> {
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty();
    let user = || resolve_user(root, spec).with_context(|| format!("--chown={spec}"));
    match spec.split_once(':') {
        Some(("", group)) => Ok((0, resolve_group(root, group).with_context(|| format!("--chown={spec}"))?)),
        None if number(spec) => user().map(|user| (user.credentials.uid, user.credentials.uid)),
        _ => user().map(|user| (user.credentials.uid, user.credentials.gid)),
    }
}
