//! Process ids of its own, `pid_namespaces(7)`.

use crate::{Birth, Isolation, Kind};

/// Gives the container a pid namespace, whose process 1 its child is.
///
/// Inside, nobody else can be seen or signalled: `kill -9 -1` hits the container and not the host. Outside, all of its
/// processes are seen, under other numbers. When process 1 ends, the kernel kills all the others, and nothing is born
/// there any more: that is how a container ends, and why process 1 has duties (see [`init`](crate::init)).
#[derive(Clone, Copy, Debug)]
pub struct PidNamespace;

impl Isolation for PidNamespace {
    fn births(&self) -> Vec<Birth> {
        // ANCHOR: ex-pid-one
        // Exercise 1.3, 15 minutes. The page: 01-namespaces/pid-1.md; hints: cargo x hint 1.3
        todo!("exercise 1.3: Have the child born as process 1")
        // ANCHOR_END: ex-pid-one
    }
}
