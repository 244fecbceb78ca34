//! Process ids of its own, `pid_namespaces(7)`.

use crate::{Birth, Isolation, Kind};

/// Gives the container a pid namespace, whose process 1 its child is.
///
/// Inside, nobody else can be seen or signalled: `kill -9 -1` hits the container and not the host. Outside, all of its
/// processes are seen, under other numbers. When process 1 ends, the kernel kills all the others, and nothing is born
/// there any more: that is how a container ends, and why process 1 has duties (see [`init`](crate::init)).
#[derive(Clone, Copy, Debug)]
pub struct PidNamespace;

// ANCHOR: births
impl Isolation for PidNamespace {
    fn births(&self) -> Vec<Birth> {
        // ANCHOR: ex-pid-one
        // Born into, not changed to: getpid(2) would have to give another number from one moment to the next. After
        // unshare(CLONE_NEWPID) or setns(2) inside, the caller stays where it is, and only its children are there.
        vec![Birth::New(Kind::Pid)]
        // ANCHOR_END: ex-pid-one
    }
}
// ANCHOR_END: births
