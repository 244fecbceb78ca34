//! The suites in a machine with cgroup v2 alone.

use std::time::Duration;

use anyhow::Result;

use super::step;
use super::tally::{Listener, Tally};
use crate::{vm, workspace};

/// The suites that the virtual machine runs: what cgroups and the kernel's age have to do with, and what needs no other
/// program.
const IN_THE_MACHINE: &[&str] = &[
    "ch01::",
    "ch02::",
    "ch03::",
    "ch04::",
    "ex01::",
    "world::",
    "limits::",
    "lifecycle::",
    "exec::",
    "sharing::",
    "privileges::",
    "volumes::",
    // Of the attacks those on the kernel: the others meet nothing there that is not here.
    "attacks::calls::",
    "attacks::surfaces::",
];

/// And those that an ordinary user runs there.
const BY_A_USER: &[&str] =
    &["ch01::", "ch02::", "ch03::", "ch04::", "world::ch01", "world::ch02", "world::ch03", "world::ch04"];

/// The suites once more, in a machine with cgroup v2 alone: as root, and as an ordinary user with a cgroup of their own.
pub fn run(tally: &mut Tally) -> Result<()> {
    step("suites in a virtual machine with cgroup v2");
    in_machine("the virtual machine", "", IN_THE_MACHINE, tally)?;
    step("suites in a virtual machine, as an ordinary user");
    in_machine("a user of the virtual machine", "SUITE_BY_USER=1", BY_A_USER, tally)
}

/// Boots a machine and runs some suites in it.
fn in_machine(name: &str, environment: &str, suites: &[&str], tally: &mut Tally) -> Result<()> {
    let command = format!(
        "{environment} SUITE_SKIPS=/tmp/skips /suite/bin/deps/suites --test-threads 2 --skip world::runc {}; code=$?; \
         if test -e /tmp/skips; then sed 's/^/@@skip /' /tmp/skips; fi; exit $code",
        suites.join(" ")
    );
    let mut skips = String::new();
    let mut counter = Listener::default();
    let mut hear = |line: &str| {
        match line.strip_prefix("@@skip ") {
            Some(skip) => skips.extend([skip, "\n"]),
            None => counter.hear(line),
        };
    };
    let machine = vm::Machine { suites: workspace::suites()?, timeout: Duration::from_secs(3600) };
    match machine.run(&command, &mut hear) {
        Ok(vm::End::Exited(code)) => tally.add(name, counter, code == 0),
        Ok(vm::End::Died(why)) => {
            println!("{why}");
            tally.add(name, counter, false);
        }
        // No kernel, no QEMU: a test that cannot be run here.
        Err(error) => tally.skip(name, &format!("{error:#}")),
    }
    tally.skips_from(&format!("{name}: "), &skips);
    Ok(())
}
