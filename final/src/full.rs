//! Telling that a disk is full: what is to be removed can be removed all the same.

use std::io::{self, ErrorKind};

use rustix::io::Errno;

/// Whether an error is that the disk is full, or the user's share of it.
pub fn is_full(error: &anyhow::Error) -> bool {
    let full = |kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    error.chain().any(|cause| match cause.downcast_ref::<io::Error>() {
        Some(error) => full(error.kind()),
        None => cause.downcast_ref::<Errno>().is_some_and(|errno| full(errno.kind())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn it_is_found_below_what_was_said_of_it() {
        let error = |error: io::Error| Err::<(), _>(error).context("write it").context("remove it").unwrap_err();
        assert!(is_full(&error(io::Error::from_raw_os_error(libc::ENOSPC))));
        assert!(is_full(&error(Errno::DQUOT.into())));
        assert!(is_full(&anyhow::Error::from(Errno::NOSPC).context("reserve it")));
        assert!(!is_full(&error(io::Error::from_raw_os_error(libc::EACCES))));
    }
}
