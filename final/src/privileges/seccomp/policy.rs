//! A policy: what happens to which system call.

use std::borrow::Cow;

use super::super::capabilities::Capabilities;
use super::syscall::{Architecture, Syscall};

/// What the kernel does with a call, `seccomp(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Carry it out.
    Allow,
    /// Carry it out, and note it in the audit log.
    Log,
    /// Ask the tracer, with this message; without one, ENOSYS.
    Trace(u16),
    /// Refuse it with this error number.
    Errno(u16),
    /// Send SIGSYS.
    Trap,
    /// Kill the thread.
    KillThread,
    /// Kill the process.
    KillProcess,
}

impl Action {
    /// The filter's return value, `SECCOMP_RET_…` of `linux/seccomp.h`.
    pub fn code(self) -> u32 {
        match self {
            Action::Allow => libc::SECCOMP_RET_ALLOW,
            Action::Log => libc::SECCOMP_RET_LOG,
            Action::Trace(message) => libc::SECCOMP_RET_TRACE | u32::from(message),
            Action::Errno(number) => libc::SECCOMP_RET_ERRNO | u32::from(number),
            Action::Trap => libc::SECCOMP_RET_TRAP,
            Action::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }

    /// Whether the call is carried out, or may be.
    pub fn lets_through(self) -> bool {
        matches!(self, Action::Allow | Action::Log | Action::Trace(_))
    }
}

/// How an argument is compared with a value. Arguments are unsigned 64-bit numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `argument != value`
    NotEqual,
    /// `argument < value`
    Less,
    /// `argument <= value`
    LessOrEqual,
    /// `argument == value`
    Equal,
    /// `argument >= value`
    GreaterOrEqual,
    /// `argument > value`
    Greater,
    /// `argument & mask == value`
    Masked {
        /// The bits that count.
        mask: u64,
    },
}

/// A condition on one argument of a call. A filter sees registers only: what a pointer points to cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which argument: 0 to 5.
    pub argument: u8,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: u64,
}

impl Condition {
    /// Whether the kernel looks at the lower half of this argument only, since it is an `int`.
    ///
    /// Then the filter must do the same: `socket(0x1_0000_0026, …)` makes an AF_ALG (38) socket, and a filter that
    /// compares all 64 bits takes it for a family above 40, which is allowed.
    pub fn is_word(self, call: Syscall) -> bool {
        matches!(call.name(), "socket" | "socketpair" | "personality")
    }
}

/// Some calls, and what happens to them when all conditions hold.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The calls.
    pub calls: Cow<'static, [Syscall]>,
    /// What happens to them.
    pub action: Action,
    /// All of these must hold.
    pub conditions: Cow<'static, [Condition]>,
    /// When the rule is part of the policy at all.
    pub applies: Applies,
}

/// For which container on which kernel a rule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applies {
    /// The container must have all of these …
    pub with: Capabilities,
    /// … and none of these.
    pub without: Capabilities,
    /// The oldest kernel, `(4, 8)`.
    pub since: (u32, u32),
    /// The first kernel that it is no longer for.
    pub until: (u32, u32),
}

impl Applies {
    /// For every container.
    pub const ALWAYS: Applies =
        Applies { with: Capabilities::NONE, without: Capabilities::NONE, since: (0, 0), until: (u32::MAX, u32::MAX) };

    fn to(self, circumstances: Circumstances) -> bool {
        let held = circumstances.capabilities;
        held.contains(self.with)
            && held.shared_with(self.without).is_empty()
            && (self.since..self.until).contains(&circumstances.kernel)
    }
}

/// The container and the kernel that a policy is made into a filter for.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// What root inside may do.
    pub capabilities: Capabilities,
    /// The kernel's version, `(6, 18)`.
    pub kernel: (u32, u32),
}

/// What happens to every system call.
///
/// For one call, a rule without conditions wins over those with; among equals the first wins.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What happens to a call that no rule is about.
    pub default: Action,
    /// The rules.
    pub rules: Vec<Rule>,
    /// The architectures it is for, the engine's own first. A call from another one kills the process.
    pub architectures: &'static [Architecture],
    /// How the kernel is to load the filter, `SECCOMP_FILTER_FLAG_…` of `seccomp(2)`.
    pub flags: u32,
}

impl Policy {
    /// The rules that count in these circumstances.
    pub fn rules(&self, circumstances: Circumstances) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.applies.to(circumstances))
    }

    /// What happens to a call that is newer than our table.
    ///
    /// A policy that refuses the unknown says "there is no such call" rather than "you must not": C libraries try new
    /// calls first and fall back on ENOSYS, while EPERM is an answer to them. (runc does the same since 2021.)
    pub fn unknown(&self) -> Action {
        if self.default.lets_through() { self.default } else { Action::Errno(libc::ENOSYS as u16) }
    }
}
