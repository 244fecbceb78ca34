//! The server behind a published port, for whom the firewall's rules do not reach.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Result;

/// Serves published ports; owns their sockets, which also reserves them.
pub struct Proxy {
    epoll: OwnedFd,
}

impl Proxy {
    /// Handles what is ready and returns; never waits. Call it when [`as_fd`](AsFd::as_fd) is readable.
    pub fn turn(&mut self) -> Result<()> {
        Ok(())
    }
}

impl AsFd for Proxy {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
