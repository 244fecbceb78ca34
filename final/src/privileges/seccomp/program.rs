//! Writing a filter program, last instruction first.
//!
//! A filter is a program for the classic BPF machine: one accumulator, comparisons with constants, jumps that only go
//! forward. That is why it is written backwards here: wherever a jump goes is there already when the jump is written.
//! And a conditional jump reaches 255 instructions far at most, so a farther one goes by way of an unconditional one.

use libc::sock_filter;

use super::policy::Action;

/// Where in `struct seccomp_data` (`linux/seccomp.h`) things are.
pub const NUMBER: u32 = 0;
/// The architecture, `AUDIT_ARCH_…`.
pub const ARCHITECTURE: u32 = 4;

/// The lower half of an argument. (All our machines are little-endian.)
pub const fn low_half(argument: u8) -> u32 {
    16 + 8 * argument as u32
}

/// The upper half of an argument.
pub const fn high_half(argument: u8) -> u32 {
    low_half(argument) + 4
}

/// A place in the program, counted from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// A comparison of the accumulator with a constant.
#[derive(Clone, Copy, Debug)]
pub enum Test {
    /// Equal.
    Equal,
    /// Greater or equal.
    AtLeast,
    /// Greater.
    Above,
}

/// How far a jump may go before it needs a step in between. Less than 255: the other jump's step may come between.
const REACH: usize = 250;

/// A program in the making.
#[derive(Debug, Default)]
pub struct Program {
    backwards: Vec<sock_filter>,
    returns: Vec<(Action, Label)>,
}

impl Program {
    /// Ends here with this result. The same end is used again where a jump can reach it.
    pub fn end(&mut self, action: Action) -> Label {
        let here = self.backwards.len();
        if let Some((_, label)) = self.returns.iter().rev().find(|(known, _)| *known == action)
            && here - label.0 < REACH
        {
            return *label;
        }
        let label = self.push(libc::BPF_RET | libc::BPF_K, 0, 0, action.code());
        self.returns.push((action, label));
        label
    }

    /// Loads a word of the call's data into the accumulator and goes on at `next`.
    pub fn load(&mut self, offset: u32, next: Label) -> Label {
        self.lead_to(next);
        self.push(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
    }

    /// Keeps the masked bits of the accumulator and goes on at `next`.
    pub fn mask(&mut self, mask: u32, next: Label) -> Label {
        self.lead_to(next);
        self.push(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, mask)
    }

    /// Goes one way or the other.
    pub fn branch(&mut self, test: Test, value: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let yes = self.within_reach(yes);
        let no = self.within_reach(no);
        let code = match test {
            Test::Equal => libc::BPF_JEQ,
            Test::AtLeast => libc::BPF_JGE,
            Test::Above => libc::BPF_JGT,
        };
        // Both are below 256: `within_reach` saw to it.
        let (yes, no) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.push(libc::BPF_JMP | libc::BPF_K | code, yes, no, value)
    }

    /// The finished program, in its order, to begin at `start`.
    pub fn starting_at(mut self, start: Label) -> Vec<sock_filter> {
        self.lead_to(start);
        self.backwards.reverse();
        self.backwards
    }

    /// Sees to it that what is written next goes on at `next`.
    fn lead_to(&mut self, next: Label) {
        if self.distance(next) > 0 {
            self.jump(next);
        }
    }

    fn within_reach(&mut self, label: Label) -> Label {
        if self.distance(label) < REACH { label } else { self.jump(label) }
    }

    fn jump(&mut self, to: Label) -> Label {
        let distance = self.distance(to) as u32;
        self.push(libc::BPF_JMP | libc::BPF_JA, 0, 0, distance)
    }

    /// How many instructions the next one to be written would jump over.
    fn distance(&self, to: Label) -> usize {
        self.backwards.len() - to.0
    }

    fn push(&mut self, code: u32, jt: u8, jf: u8, k: u32) -> Label {
        // All codes of the machine fit in a byte.
        self.backwards.push(sock_filter { code: code as u16, jt, jf, k });
        Label(self.backwards.len())
    }
}
