//! Which devices the processes of a cgroup may open, and make nodes for.
//!
//! Root in a container may make device nodes (`CAP_MKNOD`), and a node for the host's disk opens the host's disk,
//! whatever the mount namespace shows. What stands against that is the device cgroup: it looks at type and numbers, not
//! at paths.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, anyhow};

/// What may be done with which devices, as in `c 1:3 rwm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Block or character device.
    pub kind: DeviceKind,
    /// The major number; `None` is any.
    pub major: Option<u32>,
    /// The minor number; `None` is any.
    pub minor: Option<u32>,
    /// What may be done, of [`MKNOD`], [`READ`] and [`WRITE`].
    pub access: u32,
}

/// The kinds of devices, with the kernel's numbers for them (`BPF_DEVCG_DEV_…` in `linux/bpf.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum DeviceKind {
    /// Either of the others.
    Any = 0,
    /// Disks and the like.
    Block = 1,
    /// Everything else.
    Character = 2,
}

/// Making a node (`BPF_DEVCG_ACC_MKNOD`).
pub const MKNOD: u32 = 1;
/// Opening for reading.
pub const READ: u32 = 2;
/// Opening for writing.
pub const WRITE: u32 = 4;

/// A list of what is allowed. All else is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRules(Vec<DeviceRule>);

impl DeviceRules {
    /// What Docker and runc allow: to make any node, as image archives contain them; and to open null, zero, full,
    /// random, urandom, tty, console, ptmx, and every pty.
    pub fn usual() -> DeviceRules {
        use DeviceKind::{Block, Character};
        let any = |kind| DeviceRule { kind, major: None, minor: None, access: MKNOD };
        let open =
            |major, minor| DeviceRule { kind: Character, major: Some(major), minor, access: MKNOD | READ | WRITE };
        let memory = [3, 5, 7, 8, 9].map(|minor| open(1, Some(minor)));
        let tty = [0, 1, 2].map(|minor| open(5, Some(minor)));
        let mut rules = vec![any(Character), any(Block)];
        rules.extend(memory);
        rules.extend(tty);
        rules.push(open(136, None));
        DeviceRules(rules)
    }

    /// These and more.
    pub fn and(mut self, more: impl IntoIterator<Item = DeviceRule>) -> DeviceRules {
        self.0.extend(more);
        self
    }

    /// The rules.
    pub fn rules(&self) -> &[DeviceRule] {
        &self.0
    }

    /// v1: what is written to which file. A new cgroup may what its parent may, so the first line takes all of it away.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let all = ("devices.deny", "a".to_owned());
        let allowed = self.0.iter().flat_map(DeviceRule::of_one_kind);
        std::iter::once(all).chain(allowed.map(|rule| ("devices.allow", rule.to_string()))).collect()
    }
}

impl DeviceRule {
    /// The same with a kind each. In `devices.allow` "a" means every device there is, whatever else stands in the line.
    fn of_one_kind(&self) -> Vec<DeviceRule> {
        match self.kind {
            DeviceKind::Any => {
                [DeviceKind::Block, DeviceKind::Character].map(|kind| DeviceRule { kind, ..*self }).into()
            }
            _ => vec![*self],
        }
    }
}

impl FromStr for DeviceRule {
    type Err = anyhow::Error;

    /// Reads `c 10:229 rwm`, as Docker's `--device-cgroup-rule` and v1's `devices.allow` take it.
    fn from_str(text: &str) -> Result<DeviceRule> {
        parse(text).ok_or_else(|| anyhow!("invalid device rule {text:?} (write it like 'c 10:229 rwm' or 'b *:* m')"))
    }
}

fn parse(text: &str) -> Option<DeviceRule> {
    let [kind, numbers, letters] = text.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let kind = match kind {
        "a" => DeviceKind::Any,
        "b" => DeviceKind::Block,
        "c" => DeviceKind::Character,
        _ => return None,
    };
    // The outer None is what is no number.
    let number = |text: &str| match text {
        "*" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok().map(Some),
        _ => None,
    };
    let (major, minor) = numbers.split_once(':')?;
    let mut access = 0;
    for letter in letters.chars() {
        access |= LETTERS.iter().find(|(_, known)| *known == letter)?.0;
    }
    Some(DeviceRule { kind, major: number(major)?, minor: number(minor)?, access }).filter(|_| access != 0)
}

const LETTERS: [(u32, char); 3] = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::Any => 'a',
            DeviceKind::Block => 'b',
            DeviceKind::Character => 'c',
        };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        let letters: String =
            LETTERS.iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| letter).collect();
        write!(f, "{kind} {}:{} {letters}", number(self.major), number(self.minor))
    }
}

impl fmt::Display for DeviceRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<String> = self.0.iter().map(DeviceRule::to_string).collect();
        f.write_str(&rules.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_written_as_v1_takes_them() {
        for text in ["c 10:229 rwm", "b *:* m", "c 136:* rw", "c *:3 r", "a 7:* rw"] {
            assert_eq!(text.parse::<DeviceRule>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "a",
            "c",
            "c 1:3",
            "x 1:3 r",
            "c 1 r",
            "c 1:3 x",
            "c 1:3 ",
            "c +1:3 r",
            "c :3 r",
            "c 1:3 r r",
            "c 1:99999999999 r",
        ] {
            text.parse::<DeviceRule>().expect_err(text);
        }
    }

    #[test]
    fn everything_is_denied_before_anything_is_allowed() {
        let lines = DeviceRules::usual().lines();
        assert_eq!(lines[0], ("devices.deny", "a".into()));
        assert!(lines.contains(&("devices.allow", "c 1:3 rwm".into())));
        assert!(lines.contains(&("devices.allow", "c 136:* rwm".into())));
        assert_eq!(lines.len(), 12);
        let both = DeviceRules::usual().and(["a 7:1 r".parse().unwrap()]).lines();
        assert_eq!(both[12..], [("devices.allow", "b 7:1 r".into()), ("devices.allow", "c 7:1 r".into())]);
    }
}
