//! Giving a filter to the kernel.

use anyhow::{Context, Result};
use libc::{c_ulong, sock_filter, sock_fprog};

/// The most instructions that the kernel takes (`BPF_MAXINSNS`).
pub const LONGEST: usize = 4096;

/// A filter for the kernel, and how it is to load it.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The program.
    pub program: Vec<sock_filter>,
    /// `SECCOMP_FILTER_FLAG_…`.
    pub flags: u32,
}

/// Puts the calling thread, and all that comes after it, under the filter. It can never be taken off.
///
/// The kernel asks for no_new_privs or for CAP_SYS_ADMIN in the thread's user namespace: or else a set-uid program could
/// be put under a filter that makes its `setuid` fail unnoticed. No flag is set but the profile's. So before Linux 5.16 the
/// kernel turns speculation off for the thread as well, unless SECCOMP_FILTER_FLAG_SPEC_ALLOW is among them; since then it
/// leaves that to `prctl(2)`. Other threads are not touched: there are none.
pub fn load(filter: &Filter) -> Result<()> {
    let program = sock_fprog { len: filter.program.len() as u16, filter: filter.program.as_ptr().cast_mut() };
    let flags = c_ulong::from(filter.flags);
    // SAFETY: the kernel copies the `len` instructions at `filter` and writes nothing; both outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if result == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    let advice = match error.raw_os_error() {
        Some(libc::EACCES) => "load the seccomp filter (it needs CAP_SYS_ADMIN or --security-opt no-new-privileges)",
        Some(libc::ENOSYS | libc::EINVAL) => {
            "load the seccomp filter (has this kernel CONFIG_SECCOMP_FILTER? --security-opt seccomp=unconfined does \
             without)"
        }
        _ => "load the seccomp filter",
    };
    Err(error).context(advice)
}
