//! From a policy to a filter.
//!
//! ```text
//! the call's architecture? ── another one ─▶ kill
//!   │ x86-64                  │ i386
//! number ≥ 183?             number ≥ 204?          a balanced tree over ranges of numbers with the same fate:
//!   ├─ ≥ 310? …               …                    eight comparisons for any call, where a list would need hundreds
//!   └─ ≥ 101? …
//!        └─ allow / refuse / look at the arguments
//! ```
//!
//! The tree is what makes loading cheap: the kernel runs a new filter over every number once, to remember which calls
//! are always allowed. A list of 361 comparisons costs it 600 µs, the tree 70.

use libc::sock_filter;

use super::policy::{Action, Circumstances, Comparison, Condition, Policy};
use super::program::{ARCHITECTURE, Label, NUMBER, Program, Test, high_half, low_half};
use super::syscall::{Architecture, NEWEST, Syscall};

/// Calls of the x32 interface (64-bit registers, 32-bit pointers) come as x86-64 calls with this bit. Kernels without
/// that interface say ENOSYS to them; so do we, or they would be a second way to every call.
const X32_BIT: u32 = 0x4000_0000;

/// The filter that carries out a policy.
pub fn compile(policy: &Policy, circumstances: Circumstances) -> Vec<sock_filter> {
    let mut program = Program::default();
    let mut entry = program.end(Action::KillProcess);
    // Written backwards: the engine's own architecture last, so that it is asked for first.
    for &architecture in policy.architectures.iter().rev() {
        let fates = Fates::of(policy, circumstances, architecture);
        let root = fates.write(&mut program, policy.default);
        let load = program.load(NUMBER, root);
        entry = program.branch(Test::Equal, architecture.audit(), load, entry);
    }
    let start = program.load(ARCHITECTURE, entry);
    program.starting_at(start)
}

/// What happens to a call: one end for all, or a chain of questions about its arguments.
#[derive(Clone, Debug, PartialEq)]
enum Fate<'a> {
    Always(Action),
    Depends(Syscall, Vec<(&'a [Condition], Action)>),
}

/// What happens to every number of one architecture.
struct Fates<'a> {
    /// The different fates. The first is the policy's default.
    fates: Vec<Fate<'a>>,
    /// For each number up to the newest, which one.
    by_number: [u16; NEWEST as usize + 1],
    /// For numbers above, which ARM has a few of.
    private: Vec<(u32, u16)>,
    /// For all others above, which one.
    unknown: u16,
    architecture: Architecture,
}

impl<'a> Fates<'a> {
    fn of(policy: &'a Policy, circumstances: Circumstances, architecture: Architecture) -> Fates<'a> {
        let mut fates = Fates {
            fates: vec![Fate::Always(policy.default)],
            by_number: [0; NEWEST as usize + 1],
            private: Vec::new(),
            unknown: 0,
            architecture,
        };
        fates.unknown = fates.always(policy.unknown());
        // Rules without conditions first: they win.
        for rule in policy.rules(circumstances).filter(|rule| rule.conditions.is_empty()) {
            // Never 0, also where the action is the default's: 0 means "nobody has spoken yet".
            let fate = fates.always(rule.action);
            for number in rule.calls.iter().filter_map(|call| call.number(architecture)) {
                let slot = fates.slot(number);
                *slot = if *slot == 0 { fate } else { *slot };
            }
        }
        for rule in policy.rules(circumstances).filter(|rule| !rule.conditions.is_empty()) {
            for (call, number) in rule.calls.iter().filter_map(|call| Some((*call, call.number(architecture)?))) {
                fates.ask(call, number, &rule.conditions, rule.action);
            }
        }
        fates
    }

    /// The fate that is the same for all arguments.
    fn always(&mut self, action: Action) -> u16 {
        let known = self.fates.iter().skip(1).position(|fate| *fate == Fate::Always(action));
        let index = known.map_or(self.fates.len(), |index| index + 1);
        if index == self.fates.len() {
            self.fates.push(Fate::Always(action));
        }
        index as u16
    }

    /// Adds a question to a call's chain, unless a rule without conditions has spoken.
    fn ask(&mut self, call: Syscall, number: u32, conditions: &'a [Condition], action: Action) {
        let next = self.fates.len();
        let slot = self.slot(number);
        if *slot == 0 {
            *slot = next as u16;
            self.fates.push(Fate::Depends(call, Vec::new()));
        }
        let index = usize::from(*self.slot(number));
        if let Fate::Depends(_, chain) = &mut self.fates[index] {
            chain.push((conditions, action));
        }
    }

    fn slot(&mut self, number: u32) -> &mut u16 {
        if number <= NEWEST {
            return &mut self.by_number[number as usize];
        }
        let known = self.private.iter().position(|(private, _)| *private == number);
        let index = known.unwrap_or_else(|| {
            self.private.push((number, 0));
            self.private.len() - 1
        });
        &mut self.private[index].1
    }

    /// Numbers in their order, as ranges: where one begins, and its fate. It ends where the next one begins.
    fn ranges(&self) -> Vec<(u32, u16)> {
        let mut ranges: Vec<(u32, u16)> = Vec::with_capacity(256);
        let mut add = |start, fate| {
            if ranges.last().is_none_or(|(_, before)| *before != fate) {
                ranges.push((start, fate));
            }
        };
        for (number, &fate) in (0..).zip(&self.by_number) {
            add(number, fate);
        }
        add(NEWEST + 1, self.unknown);
        let mut private = self.private.clone();
        private.sort_unstable();
        for (number, fate) in private {
            add(number, fate);
            add(number + 1, self.unknown);
        }
        ranges
    }

    fn write(&self, program: &mut Program, default: Action) -> Label {
        let mut written = vec![None; self.fates.len()];
        let root = self.write_tree(program, &self.ranges(), default, &mut written);
        if self.architecture != Architecture::X86_64 {
            return root;
        }
        let refused = program.end(Action::Errno(libc::ENOSYS as u16));
        program.branch(Test::AtLeast, X32_BIT, refused, root)
    }

    /// The tree over some neighbouring ranges.
    fn write_tree(
        &self,
        program: &mut Program,
        ranges: &[(u32, u16)],
        default: Action,
        written: &mut [Option<Label>],
    ) -> Label {
        let (left, right) = ranges.split_at(ranges.len() / 2);
        if left.is_empty() {
            let fate = usize::from(right[0].1);
            return match &self.fates[fate] {
                Fate::Always(action) => program.end(*action),
                Fate::Depends(call, chain) => {
                    *written[fate].get_or_insert_with(|| write_chain(program, *call, chain, default))
                }
            };
        }
        let above = self.write_tree(program, right, default, written);
        let below = self.write_tree(program, left, default, written);
        program.branch(Test::AtLeast, right[0].0, above, below)
    }
}

/// The first of the chain whose conditions all hold decides.
fn write_chain(program: &mut Program, call: Syscall, chain: &[(&[Condition], Action)], default: Action) -> Label {
    let mut next = program.end(default);
    for (conditions, action) in chain.iter().rev() {
        let mut holds = program.end(*action);
        for condition in conditions.iter().rev() {
            holds = write_condition(program, *condition, call, holds, next);
        }
        next = holds;
    }
    next
}

/// One condition. The machine has 32 bits and the argument 64: its upper half is asked about first.
fn write_condition(program: &mut Program, condition: Condition, call: Syscall, yes: Label, no: Label) -> Label {
    let Condition { argument, comparison, value } = condition;
    let (high, low) = ((value >> 32) as u32, value as u32);
    // The negations are the same questions with the answers exchanged.
    let (test, yes, no) = match comparison {
        Comparison::Equal | Comparison::Masked { .. } => (Test::Equal, yes, no),
        Comparison::NotEqual => (Test::Equal, no, yes),
        Comparison::GreaterOrEqual => (Test::AtLeast, yes, no),
        Comparison::Less => (Test::AtLeast, no, yes),
        Comparison::Greater => (Test::Above, yes, no),
        Comparison::LessOrEqual => (Test::Above, no, yes),
    };
    let mask = if let Comparison::Masked { mask } = comparison { mask } else { u64::MAX };

    let mut lower = program.branch(test, low, yes, no);
    if mask as u32 != u32::MAX {
        lower = program.mask(mask as u32, lower);
    }
    let lower = program.load(low_half(argument), lower);
    if condition.is_word(call) || (mask >> 32 == 0 && high == 0) {
        return lower; // the upper half does not count
    }
    let mut upper = match test {
        Test::Equal => program.branch(Test::Equal, high, lower, no),
        Test::AtLeast | Test::Above => {
            let equal = program.branch(Test::Equal, high, lower, no);
            program.branch(Test::Above, high, yes, equal)
        }
    };
    if (mask >> 32) as u32 != u32::MAX {
        upper = program.mask((mask >> 32) as u32, upper);
    }
    program.load(high_half(argument), upper)
}
