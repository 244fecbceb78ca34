//! Resource limits of the old kind, `setrlimit(2)`: per process, inherited, in place before there were cgroups.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail, ensure};
use namespaces::Child;
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde::{Deserialize, Serialize};

use namespaces::spelling::closest;

/// Docker's names for them.
const NAMES: &[(&str, Resource)] = &[
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// Open files, unless the user says otherwise: soft 1024, since programs that use `select(2)` break above it and old
/// ones close every possible descriptor when they start; hard 524288, up to which those that know raise it themselves.
const DEFAULT_NOFILE: Rlimit = Rlimit { current: Some(1024), maximum: Some(524_288) };

/// One limit: `nofile=1024:2048`. As data the same text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ulimit {
    resource: Resource,
    soft: Option<u64>,
    hard: Option<u64>,
}

impl FromStr for Ulimit {
    type Err = anyhow::Error;

    /// `NAME=SOFT[:HARD]`, where -1 stands for "no limit". Units are `setrlimit(2)`'s: bytes, seconds, pieces.
    fn from_str(text: &str) -> Result<Ulimit> {
        let form = || anyhow!("invalid ulimit {text:?} (it has the form NAME=SOFT[:HARD], as in nofile=1024:2048)");
        let (name, values) = text.split_once('=').ok_or_else(form)?;
        let Some(&(_, resource)) = NAMES.iter().find(|(known, _)| *known == name) else {
            let near = closest(name, NAMES.iter().map(|(known, _)| *known));
            bail!("unknown ulimit {name:?}{}", near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default());
        };
        let value = |text: &str| match text {
            "-1" | "unlimited" => Ok(None),
            // The kernel's own word for "no limit" is this number.
            number => number.parse().map(|number| Some(number).filter(|number| *number != u64::MAX)),
        };
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let soft = value(soft).ok().with_context(form)?;
        let hard = value(hard).ok().with_context(form)?;
        let within = hard.is_none_or(|hard| soft.is_some_and(|soft| soft <= hard));
        ensure!(within, "invalid ulimit {text:?}: the soft limit is above the hard one");
        Ok(Ulimit { resource, soft, hard })
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |limit: Option<u64>| limit.map_or("-1".to_string(), |limit| limit.to_string());
        let name = NAMES.iter().find(|(_, resource)| *resource == self.resource).map_or("", |(name, _)| name);
        write!(f, "{name}={}:{}", text(self.soft), text(self.hard))
    }
}

impl TryFrom<String> for Ulimit {
    type Error = anyhow::Error;
    fn try_from(text: String) -> Result<Ulimit> {
        text.parse()
    }
}

impl From<Ulimit> for String {
    fn from(ulimit: Ulimit) -> String {
        ulimit.to_string()
    }
}

/// Sets the child's limits from outside: once it has become another user it could not raise them itself.
///
/// What was asked for is set or is an error; the default for open files is set as far as our own hard limit allows.
pub fn set(child: &Child, ulimits: &[Ulimit]) -> Result<()> {
    let pid = Pid::from_raw(child.pid().as_raw()).context("the child has no pid")?;
    if !ulimits.iter().any(|ulimit| ulimit.resource == Resource::Nofile) {
        let nofile = lower(DEFAULT_NOFILE, getrlimit(Resource::Nofile).maximum);
        prlimit(Some(pid), Resource::Nofile, nofile).context("limit the open files")?;
    }
    for ulimit in ulimits {
        let limit = Rlimit { current: ulimit.soft, maximum: ulimit.hard };
        match prlimit(Some(pid), ulimit.resource, limit) {
            Ok(_) => {}
            Err(Errno::PERM) => {
                let own = getrlimit(ulimit.resource).maximum.map_or("unlimited".into(), |own| own.to_string());
                bail!(
                    "cannot set --ulimit {ulimit}: the engine's own hard limit is {own}, and only root may raise one \
                     (ulimit -H shows it, /etc/security/limits.conf or systemd's Limit… set it)"
                );
            }
            Err(error) => return Err(error).with_context(|| format!("set --ulimit {ulimit}")),
        }
    }
    Ok(())
}

/// A limit that stays below a hard limit.
fn lower(limit: Rlimit, ceiling: Option<u64>) -> Rlimit {
    let below = |value: Option<u64>| match (value, ceiling) {
        (Some(value), Some(ceiling)) => Some(value.min(ceiling)),
        (value, ceiling) => value.or(ceiling),
    };
    Rlimit { current: below(limit.current), maximum: below(limit.maximum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_written() {
        for (text, canonical) in [
            ("nofile=1024:2048", "nofile=1024:2048"),
            ("nofile=1024", "nofile=1024:1024"),
            ("core=0", "core=0:0"),
            ("memlock=-1:-1", "memlock=-1:-1"),
            ("memlock=65536:unlimited", "memlock=65536:-1"),
            ("stack=18446744073709551615", "stack=-1:-1"),
        ] {
            assert_eq!(text.parse::<Ulimit>().unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        let error = |text: &str| text.parse::<Ulimit>().unwrap_err().to_string();
        assert!(error("nofile").contains("NAME=SOFT[:HARD]"));
        assert!(error("nofile=").contains("NAME=SOFT[:HARD]"));
        assert!(error("nofile=1:2:3").contains("NAME=SOFT[:HARD]"));
        assert!(error("nofile=-2").contains("NAME=SOFT[:HARD]"));
        assert!(error("nofiles=1").contains("did you mean nofile?"));
        assert!(error("nofile=2:1").contains("above the hard one"));
        assert!(error("nofile=-1:1").contains("above the hard one"));
    }

    #[test]
    fn the_default_stays_below_what_we_have() {
        let low = lower(DEFAULT_NOFILE, Some(512));
        assert_eq!((low.current, low.maximum), (Some(512), Some(512)));
        assert_eq!(lower(DEFAULT_NOFILE, None).maximum, DEFAULT_NOFILE.maximum);
    }
}
