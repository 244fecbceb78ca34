//! Waiting for a descriptor, but not for ever.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, Result};

/// Waits until a descriptor is readable: false if it is not so in time. `None` waits for ever.
pub fn readable(fd: &impl AsFd, timeout: Option<Duration>) -> Result<bool> {
    let end = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let rest = end.map(|end| end.saturating_duration_since(Instant::now()));
        let rest = rest.map(|rest| Timespec { tv_sec: rest.as_secs() as i64, tv_nsec: rest.subsec_nanos().into() });
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], rest.as_ref()) {
            Err(Errno::INTR) => {} // the time goes on all the same
            polled => return polled.map(|ready| ready > 0),
        }
    }
}
