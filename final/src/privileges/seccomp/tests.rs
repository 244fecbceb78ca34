//! Every program against a machine of our own, and that against the policy.

use std::time::Instant;

use libc::sock_filter;
use rustix::thread::CapabilitySet;

use super::super::capabilities::Capabilities;
use super::compile::compile;
use super::policy::{Action, Circumstances, Comparison, Condition, Policy};
use super::syscall::{Architecture, NEWEST, Syscall};
use super::table::TABLE;
use super::{Choice, LAST, default, profile};

/// A call as a filter sees it, `struct seccomp_data`.
#[derive(Clone, Copy, Debug)]
struct Call {
    number: u32,
    architecture: u32,
    arguments: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.architecture.to_le_bytes());
        bytes.extend(0u64.to_le_bytes()); // the instruction pointer
        self.arguments.iter().for_each(|argument| bytes.extend(argument.to_le_bytes()));
        assert!(offset.is_multiple_of(4), "the kernel refuses unaligned loads");
        u32::from_le_bytes(bytes[offset as usize..][..4].try_into().unwrap())
    }
}

/// The kernel's filter machine, for the instructions that seccomp takes. Returns the result and the steps it took.
fn run(program: &[sock_filter], call: Call) -> (u32, usize) {
    let (mut at, mut accumulator, mut steps) = (0, 0u32, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        steps += 1;
        at += 1;
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        match u32::from(code) {
            0x20 => accumulator = call.word(k),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x06 => return (k, steps),
            other => panic!("seccomp refuses the instruction {other:#x}"),
        }
    }
}

/// What the policy says, read rule by rule.
fn decide(policy: &Policy, circumstances: Circumstances, architecture: Architecture, call: Call) -> Action {
    if architecture == Architecture::X86_64 && call.number & 0x4000_0000 != 0 {
        return Action::Errno(libc::ENOSYS as u16);
    }
    let names = |call: &&Syscall, number| call.number(architecture) == Some(number);
    let about: Vec<_> = policy
        .rules(circumstances)
        .filter_map(|rule| Some((rule, *rule.calls.iter().find(|known| names(known, call.number))?)))
        .collect();
    let plain = about.iter().find(|(rule, _)| rule.conditions.is_empty());
    let conditional =
        || about.iter().find(|(rule, name)| rule.conditions.iter().all(|condition| holds(condition, *name, call)));
    match plain.or_else(conditional) {
        Some((rule, _)) => rule.action,
        None if call.number > NEWEST => policy.unknown(),
        None => policy.default,
    }
}

fn holds(condition: &Condition, name: Syscall, call: Call) -> bool {
    let mut argument = call.arguments[usize::from(condition.argument)];
    let mut value = condition.value;
    if condition.is_word(name) {
        argument &= 0xffff_ffff;
        value &= 0xffff_ffff;
    }
    match condition.comparison {
        Comparison::NotEqual => argument != value,
        Comparison::Less => argument < value,
        Comparison::LessOrEqual => argument <= value,
        Comparison::Equal => argument == value,
        Comparison::GreaterOrEqual => argument >= value,
        Comparison::Greater => argument > value,
        Comparison::Masked { mask } => argument & mask == value,
    }
}

fn container(capabilities: CapabilitySet) -> Circumstances {
    Circumstances { capabilities: Capabilities::of(capabilities), kernel: (6, 1) }
}

fn ordinary() -> Circumstances {
    Circumstances { capabilities: Capabilities::DEFAULT, kernel: (6, 1) }
}

/// Values around everything that a rule of the policy compares with.
fn interesting(policy: &Policy) -> Vec<u64> {
    let mut values = vec![0, 1, 16, 38, 39, 40, 41, 0x1_0000_0026, 0x1_0000_0000, 0xffff_ffff, u64::MAX, 0x7e02_0000];
    for condition in policy.rules.iter().flat_map(|rule| rule.conditions.iter()) {
        let mask = if let Comparison::Masked { mask } = condition.comparison { mask } else { 0 };
        for value in [condition.value, mask, condition.value | mask, 1 << 28, condition.value ^ (1 << 40)] {
            values.extend([value.wrapping_sub(1), value, value.wrapping_add(1)]);
        }
    }
    values.sort_unstable();
    values.dedup();
    values
}

fn assert_same(policy: &Policy, circumstances: Circumstances) {
    let program = compile(policy, circumstances);
    assert!(program.len() < super::load::LONGEST);
    let values = interesting(policy);
    let odd = [NEWEST + 1, 0xf0001, 0xf0005, 0xf0006, 0x3fff_ffff, 0x4000_0000, 0x4000_003b, u32::MAX];
    for &architecture in policy.architectures {
        let conditional: Vec<u32> = policy
            .rules(circumstances)
            .filter(|rule| !rule.conditions.is_empty())
            .flat_map(|rule| rule.calls.iter().filter_map(|call| call.number(architecture)))
            .collect();
        for number in (0..=1000).chain(odd) {
            let tried = if conditional.contains(&number) { values.as_slice() } else { &[0, u64::MAX] };
            for (&first, second) in tried.iter().flat_map(|first| [0, 9, 16].map(|second| (first, second))) {
                let arguments = [first, second, second, first, 0, 0];
                let call = Call { number, architecture: architecture.audit(), arguments };
                let expected = decide(policy, circumstances, architecture, call);
                assert_eq!(run(&program, call).0, expected.code(), "{architecture:?} {call:x?}: {expected:?}");
            }
        }
    }
}

#[test]
fn the_filter_does_what_the_policy_says() {
    let all = CapabilitySet::all();
    for circumstances in [
        ordinary(),
        container(CapabilitySet::empty()),
        container(all),
        container(CapabilitySet::SYS_ADMIN),
        container(all - CapabilitySet::SYS_ADMIN),
        Circumstances { kernel: (4, 4), ..ordinary() },
    ] {
        assert_same(&default::policy(), circumstances);
    }
    for architectures in [&[Architecture::Aarch64, Architecture::Arm], &[Architecture::X86_64, Architecture::I386]] {
        assert_same(&Policy { architectures, ..default::policy() }, ordinary());
    }
}

/// The result of the default filter for a call of the engine's own architecture.
fn default_result(circumstances: Circumstances, name: &str, arguments: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let own = Architecture::OF_THIS_MACHINE[0];
    let number = Syscall::named(name).and_then(|call| call.number(own)).unwrap();
    let program = compile(&default::policy(), circumstances);
    run(&program, Call { number, architecture: own.audit(), arguments: all }).0
}

#[test]
fn the_default_is_dockers() {
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let result = |name: &str, arguments: &[u64]| default_result(ordinary(), name, arguments);
    for name in ["read", "openat", "execve", "setuid", "capset", "prctl", "ptrace", "chroot", "close_range", "sendmsg"]
    {
        assert_eq!(result(name, &[]), ALLOW, "{name}");
    }
    for name in [
        "add_key",
        "keyctl",
        "request_key",
        "bpf",
        "io_uring_setup",
        "userfaultfd",
        "kexec_load",
        "mount",
        "umount2",
        "open_by_handle_at",
        "perf_event_open",
        "unshare",
        "setns",
        "swapon",
        "pivot_root",
        "lookup_dcookie",
        "pidfd_getfd",
        "move_pages",
        "fsopen",
        "open_tree",
        "init_module",
        "reboot",
        "mbind",
        "vhangup",
    ] {
        assert_eq!(result(name, &[]), EPERM, "{name}");
    }
    // No CLONE_NEW… for clone, and no clone3 at all; with CAP_SYS_ADMIN both.
    let thread = (libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_THREAD) as u64;
    assert_eq!(result("clone", &[thread]), ALLOW);
    assert_eq!(result("clone", &[libc::CLONE_NEWUSER as u64]), EPERM);
    assert_eq!(result("clone", &[thread | libc::CLONE_NEWNET as u64]), EPERM);
    assert_eq!(result("clone3", &[]), ENOSYS);
    let admin = container(CapabilitySet::SYS_ADMIN);
    assert_eq!(default_result(admin, "clone", &[libc::CLONE_NEWUSER as u64]), ALLOW);
    assert_eq!(default_result(admin, "clone3", &[]), ALLOW);
    assert_eq!(default_result(admin, "mount", &[]), ALLOW);
    // Socket families, also with bits above the `int` that the kernel looks at.
    assert_eq!(result("socket", &[libc::AF_INET as u64]), ALLOW);
    assert_eq!(result("socket", &[libc::AF_VSOCK as u64]), EPERM);
    assert_eq!(result("socket", &[libc::AF_ALG as u64]), EPERM);
    assert_eq!(result("socket", &[libc::AF_ALG as u64 | 1 << 32]), EPERM);
    assert_eq!(result("personality", &[0x8]), ALLOW);
    assert_eq!(result("personality", &[0x0004_0000]), EPERM); // ADDR_NO_RANDOMIZE
}

#[test]
fn strangers_are_refused() {
    let program = compile(&default::policy(), ordinary());
    let own = Architecture::OF_THIS_MACHINE[0].audit();
    let ask = |number, architecture| run(&program, Call { number, architecture, arguments: [0; 6] }).0;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    assert_eq!(ask(0, 0x1234), libc::SECCOMP_RET_KILL_PROCESS);
    assert_eq!(ask(NEWEST + 1, own), ENOSYS);
    assert_eq!(ask(0x4000_0000, own), ENOSYS); // read, by x32
    assert_eq!(ask(u32::MAX, own), ENOSYS);
}

#[test]
fn any_call_takes_few_steps_and_the_filter_little_time() {
    let policy = default::policy();
    let program = compile(&policy, ordinary());
    for &architecture in policy.architectures {
        for number in 0..=NEWEST {
            let call = Call { number, architecture: architecture.audit(), arguments: [0; 6] };
            let (_, steps) = run(&program, call);
            assert!(steps <= 32, "{number} of {architecture:?} takes {steps}");
        }
    }
    let start = Instant::now();
    (0..100).for_each(|_| drop(std::hint::black_box(compile(&default::policy(), ordinary()))));
    println!("{} instructions, {:?} to make", program.len(), start.elapsed() / 100);
}

#[test]
fn a_profile_is_read() {
    let policy = profile::parse(
        r#"{ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
             "flags": ["SECCOMP_FILTER_FLAG_LOG"],
             "archMap": [{ "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"] },
                         { "architecture": "SCMP_ARCH_AARCH64", "subArchitectures": null }],
             "syscalls": [
               { "names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "" },
               { "name": "write", "action": "SCMP_ACT_ALLOW", "args": [] },
               { "names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": { "caps": ["CAP_SYS_ADMIN"] } },
               { "names": ["umount2"], "action": "SCMP_ACT_TRAP", "excludes": { "caps": ["CAP_SYS_ADMIN"] } },
               { "names": ["getpid"], "action": "SCMP_ACT_ALLOW", "includes": { "arches": ["s390x"] } },
               { "names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "4.8" } },
               { "names": ["kcmp"], "action": "SCMP_ACT_ALLOW", "excludes": { "minKernel": "5.0" } },
               { "names": ["kill"], "action": "SCMP_ACT_KILL_PROCESS",
                 "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" },
                          { "index": 1, "value": 9, "op": "SCMP_CMP_GE" }] },
               { "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97,
                 "args": [{ "index": 0, "value": 16, "op": "SCMP_CMP_EQ" },
                          { "index": 0, "value": 17, "op": "SCMP_CMP_EQ" }] },
               { "names": ["clone"], "action": "SCMP_ACT_ALLOW",
                 "args": [{ "index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }] }
             ] }"#,
    )
    .unwrap();
    assert_eq!((policy.default, policy.flags), (Action::Errno(38), 2));
    for circumstances in
        [ordinary(), container(CapabilitySet::SYS_ADMIN), Circumstances { kernel: (4, 4), ..ordinary() }]
    {
        assert_same(&policy, circumstances);
    }
    let socket = Syscall::named("socket").unwrap();
    assert_eq!(policy.rules.iter().filter(|rule| rule.calls.contains(&socket)).count(), 2);
}

#[test]
fn every_comparison_is_compiled_rightly() {
    for op in ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"] {
        for value in [0_u64, 5, 0xffff_ffff, 0x1_0000_0000, 0x5_0000_0005, u64::MAX] {
            for second in if op == "MASKED_EQ" { &[0, 5, 0x5_0000_0000_u64][..] } else { &[0] } {
                let text = format!(
                    r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["lseek"],"action":"SCMP_ACT_ALLOW",
                        "args":[{{"index":0,"value":{value},"valueTwo":{second},"op":"SCMP_CMP_{op}"}}]}}]}}"#
                );
                assert_same(&profile::parse(&text).unwrap(), ordinary());
            }
        }
    }
}

#[test]
fn a_list_of_what_is_forbidden_works_too() {
    let text = |name| {
        format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["{name}"],"action":"SCMP_ACT_ERRNO"}}]}}"#)
    };
    let policy = profile::parse(&text("mkdir")).unwrap();
    assert_same(&policy, ordinary());
    let program = compile(&policy, ordinary());
    let own = Architecture::OF_THIS_MACHINE[0];
    let ask = |number| run(&program, Call { number, architecture: own.audit(), arguments: [0; 6] }).0;
    assert_eq!(ask(NEWEST + 1), libc::SECCOMP_RET_ALLOW);
    // mkdir by x32 must not be a way around.
    assert_ne!(ask(0x4000_0000 | 83), libc::SECCOMP_RET_ALLOW);
    // A name that nobody knows is left out, as everywhere.
    assert!(profile::parse(&text("mkdri")).unwrap().rules[0].calls.is_empty());
}

#[test]
fn bad_profiles_are_refused_with_the_reason() {
    let error = |text: &str| format!("{:#}", Choice::Profile(text.into()).filter(Capabilities::DEFAULT).unwrap_err());
    assert!(error("").contains("read the seccomp profile"));
    assert!(error("[]").contains("read the seccomp profile"));
    assert!(error(r#"{"defaultAction":"SCMP_ACT_FORBID"}"#).contains("no such action"));
    let entry = |entry: &str| error(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{entry}]}}"#));
    assert!(entry(r#"{"names":["read"],"action":"SCMP_ACT_NOTIFY"}"#).contains("not supported yet"));
    assert!(entry(r#"{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":5000}"#).contains("4095"));
    let with =
        |argument: &str| entry(&format!(r#"{{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{argument}]}}"#));
    assert!(with(r#"{"index":6,"value":0,"op":"SCMP_CMP_EQ"}"#).contains("six arguments"));
    assert!(with(r#"{"index":0,"value":0,"op":"=="}"#).contains("no such comparison"));
    assert!(with(r#"{"index":0,"value":-1,"op":"SCMP_CMP_EQ"}"#).contains("read the seccomp profile"));
    assert!(entry(r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_X"]}}"#).contains("CAP_X"));
    assert!(entry(r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"x"}}"#).contains("version"));
    assert!(entry(r#"{"name":"read","names":["write"],"action":"SCMP_ACT_ALLOW"}"#).contains("one of them"));
    let both = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86"}]}"#;
    assert!(error(both).contains("one of them"));
    assert!(
        error(r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}"#).contains("flag")
    );
}

/// `exec --privileged` between two others does not make the second one compile again.
#[test]
fn no_filter_takes_no_filters_place() {
    assert!(Choice::Default.filter(Capabilities::DEFAULT).unwrap().is_some());
    assert!(Choice::Unconfined.filter(Capabilities::DEFAULT).unwrap().is_none());
    assert!(matches!(&*LAST.lock().unwrap(), Some((Choice::Default, Capabilities::DEFAULT, _))));
}

#[test]
fn a_profile_with_every_call_fits_into_the_kernel() {
    let entries: Vec<String> = TABLE
        .iter()
        .enumerate()
        .map(|(row, (name, _))| {
            format!(
                r#"{{"names":["{name}"],"action":"SCMP_ACT_ERRNO","errnoRet":{},
                     "args":[{{"index":0,"value":{row},"op":"SCMP_CMP_NE"}}]}}"#,
                row % 130 + 1
            )
        })
        .collect();
    let text = format!(r#"{{"defaultAction":"SCMP_ACT_KILL","syscalls":[{}]}}"#, entries.join(","));
    assert_same(&profile::parse(&text).unwrap(), ordinary());
}
