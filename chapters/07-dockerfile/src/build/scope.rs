//! Which variables an instruction sees, and their values.
//!
//! | where | sees |
//! |---|---|
//! | FROM | ARGs before the first FROM, and the platform's (`TARGETARCH` …) |
//! | everything below a FROM | that stage's ENV, then its ARGs declared so far |
//! | the commands of RUN | all of these, as environment |
//!
//! ENV wins over ARG of the same name. A build argument counts only where an ARG declares it, except for the proxies'.

use std::cell::RefCell;
use std::collections::BTreeSet;

use images::Platform;

use crate::syntax::{ExpandError, expand};

use super::args::BuildArg;

/// Build arguments that need no ARG, and leave no trace in the image or the cache
/// (<https://docs.docker.com/reference/dockerfile/#predefined-args>).
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// What is the same for all stages.
#[derive(Debug, Default)]
pub struct Globals {
    given: Vec<BuildArg>,
    declared: Vec<(String, String)>,
    platform: Vec<(String, String)>,
    used: RefCell<BTreeSet<String>>,
}

impl Globals {
    /// With the build arguments given, for this platform.
    pub fn new(given: &[BuildArg], platform: &Platform) -> Globals {
        let variant = platform.variant.clone().unwrap_or_default();
        let parts = [("PLATFORM", platform.to_string()), ("OS", platform.os.clone())];
        let parts = parts.into_iter().chain([("ARCH", platform.architecture.clone()), ("VARIANT", variant)]);
        let both =
            parts.flat_map(|(name, value)| ["TARGET", "BUILD"].map(|side| (format!("{side}{name}"), value.clone())));
        Globals { given: given.to_vec(), platform: both.collect(), ..Globals::default() }
    }

    /// Declares an ARG before the first FROM.
    pub fn declare(&mut self, name: &str, default: Option<&str>, escape: char) -> Result<(), ExpandError> {
        let default = default.map(|text| expand(text, escape, &|name| self.lookup(name))).transpose()?;
        if let Some(value) = self.given(name).or(default) {
            self.declared.push((name.to_owned(), value));
        }
        Ok(())
    }

    /// The value of a variable in a FROM line.
    pub fn lookup(&self, name: &str) -> Option<String> {
        let of =
            |list: &[(String, String)]| list.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        of(&self.declared).or_else(|| of(&self.platform))
    }

    /// The value of a build argument, which is thereby of use.
    pub fn given(&self, name: &str) -> Option<String> {
        let value = self.given.iter().rev().find(|arg| arg.name == name)?.value.clone();
        self.used.borrow_mut().insert(name.to_owned());
        value
    }

    /// The proxies among the build arguments, for RUN's environment.
    pub fn proxies(&self) -> Vec<(String, String)> {
        let proxy = |arg: &&BuildArg| PROXIES.contains(&arg.name.to_uppercase().as_str());
        let proxies = self.given.iter().filter(proxy);
        proxies.filter_map(|arg| Some((arg.name.clone(), arg.value.clone()?))).collect()
    }

    /// Build arguments that no ARG asked for.
    pub fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        let asked = |name: &str| used.contains(name) || PROXIES.contains(&name.to_uppercase().as_str());
        let names = self.given.iter().map(|arg| arg.name.clone());
        names.filter(|name| !asked(name) && name != "SOURCE_DATE_EPOCH").collect()
    }
}

/// One stage's ARGs, in the order of their declaration.
#[derive(Debug, Default, Clone)]
pub struct Args(Vec<(String, String)>);

impl Args {
    /// Declares an ARG in a stage whose environment is `env`.
    pub fn declare(
        &mut self,
        (name, default): (&str, Option<&str>),
        env: &[String],
        globals: &Globals,
        escape: char,
    ) -> Result<(), ExpandError> {
        let default = default.map(|text| expand(text, escape, &|name| self.lookup(name, env))).transpose()?;
        if let Some(value) = globals.given(name).or(default).or_else(|| globals.lookup(name)) {
            self.0.retain(|(key, _)| key != name);
            self.0.push((name.to_owned(), value));
        }
        Ok(())
    }

    /// The value of a variable in this stage.
    pub fn lookup(&self, name: &str, env: &[String]) -> Option<String> {
        let set = env.iter().rev().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
        let declared = || self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        set.or_else(declared).map(str::to_owned)
    }

    /// The ARGs, for RUN's environment.
    pub fn list(&self) -> &[(String, String)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(list: &[&str]) -> Vec<BuildArg> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn build_arguments_count_where_an_arg_declares_them() {
        let mut globals = Globals::new(&given(&["V=2", "other=x", "http_proxy=p"]), &Platform::host());
        globals.declare("V", Some("1"), '\\').unwrap();
        globals.declare("W", Some("w$V"), '\\').unwrap();
        assert_eq!((globals.lookup("W").as_deref(), globals.lookup("other")), (Some("w2"), None));
        assert_eq!(globals.unused(), ["other"]);
        assert_eq!(globals.proxies(), [("http_proxy".to_owned(), "p".to_owned())]);
    }

    #[test]
    fn a_stage_takes_a_global_value_when_it_declares_the_name() {
        let mut globals = Globals::new(&[], &Platform::host());
        globals.declare("V", Some("1"), '\\').unwrap();
        let mut args = Args::default();
        assert_eq!(args.lookup("V", &[]), None);
        args.declare(("V", None), &[], &globals, '\\').unwrap();
        assert_eq!(args.lookup("V", &[]).as_deref(), Some("1"));
        args.declare(("V", Some("own")), &[], &globals, '\\').unwrap();
        assert_eq!(args.lookup("V", &[]).as_deref(), Some("own"));
        assert_eq!(args.lookup("V", &["V=env".to_owned()]).as_deref(), Some("env"));
        args.declare(("TARGETOS", None), &[], &globals, '\\').unwrap();
        assert_eq!(args.lookup("TARGETOS", &[]).as_deref(), Some("linux"));
    }
}
