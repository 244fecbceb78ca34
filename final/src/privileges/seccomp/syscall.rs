//! System calls by name, and the architectures that number them.

use super::table::TABLE;

/// A set of system call numbers that a program may use: every kernel has its own and those of its 32-bit programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86, the other one that an x86-64 kernel runs.
    I386,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM, the other one that an aarch64 kernel runs.
    Arm,
}

impl Architecture {
    /// What this kernel runs, the engine's own first. Empty on a machine for which the table has no column.
    pub const OF_THIS_MACHINE: &[Architecture] = if cfg!(target_arch = "x86_64") {
        &[Architecture::X86_64, Architecture::I386]
    } else if cfg!(target_arch = "aarch64") {
        &[Architecture::Aarch64, Architecture::Arm]
    } else {
        &[]
    };

    /// How the kernel tells a filter which one a call came from: `AUDIT_ARCH_…` of `linux/audit.h`, the ELF machine
    /// with a bit each for "64 bits" and "little-endian".
    pub const fn audit(self) -> u32 {
        match self {
            Architecture::X86_64 => 0xc000_003e,
            Architecture::I386 => 0x4000_0003,
            Architecture::Aarch64 => 0xc000_00b7,
            Architecture::Arm => 0x4000_0028,
        }
    }

    /// Its names in profiles: libseccomp's, and Go's.
    pub const fn names(self) -> (&'static str, &'static str) {
        match self {
            Architecture::X86_64 => ("SCMP_ARCH_X86_64", "amd64"),
            Architecture::I386 => ("SCMP_ARCH_X86", "x86"),
            Architecture::Aarch64 => ("SCMP_ARCH_AARCH64", "arm64"),
            Architecture::Arm => ("SCMP_ARCH_ARM", "arm"),
        }
    }
}

/// The newest number in the table, the same on all architectures since 424 (`pidfd_send_signal`, Linux 5.1). A call
/// above it is one that the table's kernel has not got.
pub const NEWEST: u32 = 469;

/// A system call: its row in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Syscall(u16);

impl Syscall {
    /// The call of that name, on whichever architecture.
    pub const fn named(name: &str) -> Option<Syscall> {
        let (mut low, mut high) = (0, TABLE.len());
        while low < high {
            let middle = (low + high) / 2;
            match compare(TABLE[middle].0.as_bytes(), name.as_bytes()) {
                0 => return Some(Syscall(middle as u16)),
                order if order < 0 => low = middle + 1,
                _ => high = middle,
            }
        }
        None
    }

    /// The call of that name, which must exist: for tables in this source, where it is asked at compile time.
    pub(super) const fn known(name: &str) -> Syscall {
        match Syscall::named(name) {
            Some(call) => call,
            None => panic!("no such system call in the table"),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        TABLE[usize::from(self.0)].0
    }

    /// Its number on an architecture that has it.
    pub fn number(self, architecture: Architecture) -> Option<u32> {
        Some(TABLE[usize::from(self.0)].1[architecture as usize]).filter(|&number| number != u32::MAX)
    }
}

/// The byte order of two strings: negative, zero, positive. (`str::cmp` cannot be called at compile time.)
const fn compare(a: &[u8], b: &[u8]) -> i32 {
    let mut i = 0;
    while i < a.len() && i < b.len() {
        if a[i] != b[i] {
            return a[i] as i32 - b[i] as i32;
        }
        i += 1;
    }
    a.len() as i32 - b.len() as i32
}

/// A list of system calls by their bare names: `calls![read write]`. A misspelt one does not compile.
macro_rules! calls {
    ($($name:ident)*) => {
        const { &[$($crate::privileges::seccomp::syscall::Syscall::known(stringify!($name))),*] }
    };
}
pub(super) use calls;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_found() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        for (row, (name, _)) in TABLE.iter().enumerate() {
            assert_eq!(Syscall::named(name), Some(Syscall(row as u16)));
        }
        assert_eq!(Syscall::named("ope"), None);
        assert_eq!(Syscall::named(""), None);
    }

    #[test]
    fn no_number_is_given_twice_and_none_is_newer_than_the_newest() {
        for column in 0..4 {
            // ARM calls sync_file_range2 by two names, and has some numbers from 0xf0000 on.
            let rows = TABLE.iter().filter(|(name, _)| *name != "arm_sync_file_range");
            let mut numbers: Vec<u32> = rows.map(|(_, numbers)| numbers[column]).collect();
            numbers.retain(|&number| number != u32::MAX && (column != 3 || number < 0xf0000));
            numbers.sort_unstable();
            assert!(numbers.is_sorted_by(|a, b| a < b), "column {column}");
            assert_eq!(numbers.last(), Some(&NEWEST));
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_numbers_are_those_of_libc() {
        for (name, number) in [
            ("read", libc::SYS_read),
            ("clone3", libc::SYS_clone3),
            ("mseal", libc::SYS_mseal),
            ("prlimit64", libc::SYS_prlimit64),
            ("umount2", libc::SYS_umount2),
        ] {
            let call = Syscall::known(name);
            assert_eq!(call.number(Architecture::X86_64).map(i64::from), Some(number), "{name}");
        }
    }
}
