//! What `/proc/PID/cmdline` and `/proc/PID/environ` show of a process that has not executed anything of its own.
//!
//! Both files show memory of the process: the strings that the kernel put at the top of its stack at `execve(2)`. A
//! process that was only cloned shows those of its maker, with all that the maker's environment has in it. To write
//! others over them is the old trick of `setproctitle(3)`.

use std::ffi::OsString;
use std::fs;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;

/// Where in our memory the strings are: addresses, both from the arguments' first byte to the environment's last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Title {
    arguments: Range<usize>,
    environment: Range<usize>,
}

impl Title {
    /// Asks `/proc`. A clone finds its own in the same place, where it may have no `/proc` any more.
    pub(crate) fn locate() -> Option<Title> {
        parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// Writes other strings over them, as many bytes as there is room for.
    ///
    /// # Safety
    /// Called in the process that [`Title::locate`] was called in, or a clone of it. It has one thread, and nothing in it
    /// reads its arguments or its environment from here on.
    pub(crate) unsafe fn show(&self, argv: &[OsString], env: &[OsString]) {
        for (range, strings) in [(&self.arguments, argv), (&self.environment, env)] {
            // SAFETY: the kernel has named this range of our stack as that of the strings. It is mapped and writable,
            // nothing but the C library's and the runtime's pointers points there, and nobody follows those any more.
            let memory = unsafe { std::slice::from_raw_parts_mut(range.start as *mut u8, range.len()) };
            fill(memory, strings);
        }
    }
}

/// The strings, each with the NUL that ends it; the last byte stays a NUL, else the kernel reads on into what follows.
fn fill(memory: &mut [u8], strings: &[OsString]) {
    memory.fill(0);
    let bytes = strings.iter().flat_map(|string| string.as_bytes().iter().chain(&[0]));
    let room = memory.len().saturating_sub(1);
    memory[..room].iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
}

/// Fields 48 to 51 of `/proc/PID/stat` (`proc_pid_stat(5)`): `arg_start`, `arg_end`, `env_start`, `env_end`.
fn parse(stat: &str) -> Option<Title> {
    // The second field is a name in parentheses, which may have spaces and parentheses in it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut addresses = fields.split(' ').skip(48 - 3).map_while(|field| field.trim_end().parse().ok());
    let mut range = || {
        let range: Range<usize> = addresses.next()?..addresses.next()?;
        (range.start > 0 && range.start <= range.end).then_some(range)
    };
    Some(Title { arguments: range()?, environment: range()? })
}
