//! The actions that plans are made of.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::{Controller, DeviceRules};

/// One action on the cgroup trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a directory above the cgroup, unless it is there.
    Parent(PathBuf),
    /// Make the cgroup's own directory, which must be new.
    Leaf(PathBuf),
    /// v2: let the cgroups below `directory` have these controllers. What is `needed`, and by which flag, must succeed.
    Enable {
        /// Where `cgroup.subtree_control` is written.
        directory: PathBuf,
        /// What is written.
        controllers: BTreeSet<Controller>,
        /// The first flag that cannot be honoured without.
        needed: Option<&'static str>,
    },
    /// v1 cpuset: take over the parent's value. A new cpuset is empty there, and no process may enter it.
    Inherit(PathBuf),
    /// Set a limit.
    Write {
        /// The file.
        file: PathBuf,
        /// What is written.
        value: String,
        /// The flag that asked for it.
        flag: &'static str,
        /// Not asked for in so many words: skipped where the kernel has no such file.
        optional: bool,
    },
    /// Set a limit of one device, whose number is found when the time comes.
    OneDevice {
        /// The file.
        file: PathBuf,
        /// The device's node.
        device: PathBuf,
        /// What is written after its number.
        value: String,
        /// The flag that asked for it.
        flag: &'static str,
    },
    /// The first of these whose file the kernel has.
    FirstOf(Vec<Step>),
    /// v2: have the kernel take memory back until so many bytes are left, before that becomes the limit. Whoever is above
    /// a new `memory.max` is killed; v1 refuses such a limit by itself.
    Squeeze {
        /// The cgroup's directory.
        directory: PathBuf,
        /// The limit to be, bytes.
        bytes: u64,
    },
    /// v2: attach the program that decides about opening devices.
    Devices {
        /// The cgroup's directory.
        directory: PathBuf,
        /// The rules that the program is made from.
        rules: DeviceRules,
    },
}

impl Step {
    /// The flag that it is for, if it is for one.
    pub(crate) fn flag(&self) -> Option<&'static str> {
        match self {
            Step::Write { flag, .. } | Step::OneDevice { flag, .. } => Some(flag),
            Step::FirstOf(steps) => steps.first().and_then(Step::flag),
            Step::Enable { needed, .. } => *needed,
            Step::Squeeze { .. } => Some("--memory"),
            _ => None,
        }
    }
}

impl fmt::Display for Step {
    /// As one would type it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Parent(path) => write!(f, "mkdir -p {}", path.display()),
            Step::Leaf(path) => write!(f, "mkdir {}", path.display()),
            Step::Enable { directory, controllers, .. } => {
                write!(f, "echo '{}' > {}/cgroup.subtree_control", enabling(controllers), directory.display())
            }
            Step::Inherit(file) => match inherited(file) {
                Some(from) => write!(f, "cat {} > {}", from.display(), file.display()),
                None => write!(f, "# {}", file.display()),
            },
            Step::Write { file, value, flag, .. } => {
                write!(f, "echo '{value}' > {}   # {flag}", file.display())
            }
            Step::OneDevice { file, device, value, flag } => {
                let (device, file) = (device.display(), file.display());
                write!(f, "echo \"$(lsblk -dno MAJ:MIN {device}) {value}\" > {file}   # {flag}")
            }
            Step::FirstOf(steps) => {
                for (number, step) in steps.iter().enumerate() {
                    let separator = if number == 0 { "" } else { "\n# or, where there is no such file: " };
                    write!(f, "{separator}{step}")?;
                }
                Ok(())
            }
            Step::Squeeze { directory, bytes } => {
                write!(f, "echo $(($(cat {0}/memory.current) - {bytes})) > {0}/memory.reclaim", directory.display())
            }
            Step::Devices { directory, rules } => {
                write!(f, "# attach to {} a program for: {rules}", directory.display())
            }
        }
    }
}

/// The text for `cgroup.subtree_control`: `+memory +pids`.
pub(crate) fn enabling(controllers: &BTreeSet<Controller>) -> String {
    let names: Vec<String> = controllers.iter().filter_map(|name| name.v2()).map(|name| format!("+{name}")).collect();
    names.join(" ")
}

/// The file of the same name one directory up.
pub(crate) fn inherited(file: &Path) -> Option<PathBuf> {
    Some(file.parent()?.parent()?.join(file.file_name()?))
}
