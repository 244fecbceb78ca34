//! Policies of the user's own, in Docker's format.
//!
//! ```json
//! {
//!   "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
//!   "archMap": [{ "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"] }],
//!   "syscalls": [
//!     { "names": ["read", "write"], "action": "SCMP_ACT_ALLOW" },
//!     { "names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": { "caps": ["CAP_SYS_ADMIN"] },
//!       "args": [{ "index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }] }
//!   ]
//! }
//! ```
//!
//! The `seccomp` section of an OCI description is the same without `archMap`, `includes` and `excludes`.

use std::borrow::Cow;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::super::capabilities::Capabilities;
use super::policy::{Action, Applies, Comparison, Condition, Policy, Rule};
use super::syscall::{Architecture, Syscall};

/// Reads a profile.
pub fn parse(text: &str) -> Result<Policy> {
    let profile: Profile = serde_json::from_str(text).context("read the seccomp profile")?;
    ensure!(
        profile.architectures.as_ref().is_none_or(Vec::is_empty) || profile.arch_map.as_ref().is_none_or(Vec::is_empty),
        "the seccomp profile has both architectures and archMap: it must be one of them"
    );
    let default = action(&profile.default_action, profile.default_errno_ret).context("defaultAction")?;
    let mut rules = Vec::new();
    for (index, entry) in profile.syscalls.iter().flatten().enumerate() {
        let name =
            || format!("syscalls[{index}] of the seccomp profile ({})", entry.names().collect::<Vec<_>>().join(" "));
        entry.rules(&mut rules).with_context(name)?;
    }
    Ok(Policy { default, rules, architectures: profile.architectures(), flags: flags(&profile.flags)? })
}

/// `seccomp(2)`'s flags, by the names that the OCI runtime-spec gives them.
fn flags(names: &Option<Vec<String>>) -> Result<u32> {
    names.iter().flatten().try_fold(0, |flags, name| match name.as_str() {
        "SECCOMP_FILTER_FLAG_LOG" => Ok(flags | libc::SECCOMP_FILTER_FLAG_LOG as u32),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(flags | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32),
        "SECCOMP_FILTER_FLAG_TSYNC" => Ok(flags), // for other threads of the caller; it has none
        other => bail!("the seccomp profile's flag {other:?} is not supported (LOG, SPEC_ALLOW and TSYNC are)"),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    arch_map: Option<Vec<ArchitectureEntry>>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    flags: Option<Vec<String>>,
    #[serde(default)]
    syscalls: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchitectureEntry {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    arches: Option<Vec<String>>,
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    min_kernel: Option<String>,
}

impl Profile {
    /// The engine's own architecture, and the 32-bit one if the profile names it.
    fn architectures(&self) -> &'static [Architecture] {
        let known = Architecture::OF_THIS_MACHINE;
        let Some((own, rest)) = known.split_first() else { return known };
        let listed = self.architectures.iter().flatten();
        let mapped = self.arch_map.iter().flatten().filter(|entry| entry.architecture == own.names().0);
        let mut named = listed.chain(mapped.flat_map(|entry| entry.sub_architectures.iter().flatten()));
        match rest.first() {
            Some(other) if named.any(|name| name == other.names().0) => known,
            _ => &known[..1],
        }
    }
}

impl Entry {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.name.iter().chain(self.names.iter().flatten()).map(String::as_str)
    }

    /// The rules that this entry means, added to `rules`.
    fn rules(&self, rules: &mut Vec<Rule>) -> Result<()> {
        let action = action(&self.action, self.errno_ret)?;
        ensure!(
            self.name.is_none() || self.names.as_ref().is_none_or(Vec::is_empty),
            "it has both name and names: it must be one of them"
        );
        let Some(applies) = self.applies()? else { return Ok(()) };
        // Profiles name calls of every architecture and of kernels to come: what is unknown is left out, as libseccomp's
        // users do. (In a list of what is forbidden a slip of the pen goes unnoticed that way; Docker's users know it so.)
        let calls: Vec<Syscall> = self.names().filter_map(Syscall::named).collect();
        let conditions = self.args.iter().flatten().map(Argument::condition).collect::<Result<Vec<_>>>()?;
        let mut rule = |conditions: Vec<Condition>| {
            rules.push(Rule { calls: calls.clone().into(), action, conditions: Cow::Owned(conditions), applies });
        };
        // Several conditions on the same argument mean "or": so runc reads them (on purpose since its #1616, of 2017), and profiles rely on it.
        let repeated = |one: &Condition| conditions.iter().filter(|other| other.argument == one.argument).count() > 1;
        if conditions.iter().any(repeated) {
            conditions.iter().for_each(|condition| rule(vec![*condition]));
        } else {
            rule(conditions);
        }
        Ok(())
    }

    /// When the entry counts; `None` if never on this machine.
    fn applies(&self) -> Result<Option<Applies>> {
        let none = Filter::default();
        let includes = self.includes.as_ref().unwrap_or(&none);
        let excludes = self.excludes.as_ref().unwrap_or(&none);
        let own = Architecture::OF_THIS_MACHINE.first().map_or("", |own| own.names().1);
        let names_us = |arches: &Vec<String>| arches.iter().any(|arch| arch == own);
        let wanted = includes.arches.as_ref().is_none_or(|arches| arches.is_empty() || names_us(arches));
        if !wanted || excludes.arches.as_ref().is_some_and(names_us) {
            return Ok(None);
        }
        let kernel = |filter: &Filter| filter.min_kernel.as_deref().map(version).transpose();
        let since = kernel(includes)?.unwrap_or(Applies::ALWAYS.since);
        let until = kernel(excludes)?.unwrap_or(Applies::ALWAYS.until);
        Ok(Some(Applies { with: capabilities(includes)?, without: capabilities(excludes)?, since, until }))
    }
}

fn capabilities(filter: &Filter) -> Result<Capabilities> {
    let names = filter.caps.iter().flatten();
    names.map(|name| Capabilities::named(name)).try_fold(Capabilities::NONE, |set, one| Ok(set.with(one?)))
}

impl Argument {
    fn condition(&self) -> Result<Condition> {
        ensure!(self.index < 6, "args.index {}: a system call has six arguments, 0 to 5", self.index);
        let (comparison, value) = match self.op.as_str() {
            "SCMP_CMP_NE" => (Comparison::NotEqual, self.value),
            "SCMP_CMP_LT" => (Comparison::Less, self.value),
            "SCMP_CMP_LE" => (Comparison::LessOrEqual, self.value),
            "SCMP_CMP_EQ" => (Comparison::Equal, self.value),
            "SCMP_CMP_GE" => (Comparison::GreaterOrEqual, self.value),
            "SCMP_CMP_GT" => (Comparison::Greater, self.value),
            "SCMP_CMP_MASKED_EQ" => (Comparison::Masked { mask: self.value }, self.value_two),
            other => bail!("args.op {other:?}: no such comparison (SCMP_CMP_EQ and its like, seccomp_rule_add(3))"),
        };
        Ok(Condition { argument: self.index, comparison, value })
    }
}

fn action(name: &str, errno: Option<u16>) -> Result<Action> {
    let number = errno.unwrap_or(libc::EPERM as u16);
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_TRACE" => Action::Trace(number),
        "SCMP_ACT_ERRNO" => {
            ensure!(number < 4096, "errnoRet {number}: error numbers end at 4095");
            Action::Errno(number)
        }
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_NOTIFY" => bail!("SCMP_ACT_NOTIFY: asking a program outside about a call is not supported yet"),
        other => bail!("{other:?}: no such action (SCMP_ACT_ALLOW, SCMP_ACT_ERRNO and their like, seccomp_init(3))"),
    })
}

/// A kernel's version, of `4.8` or `6.18.44-amd64` the first two numbers.
pub fn version(text: &str) -> Result<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => bail!("{text:?} is no version of a kernel (as in 4.8)"),
    }
}
