//! v2's device controller: a program of our own making that the kernel asks at every open.
//!
//! v2 has no `devices.allow`. Instead one attaches a BPF program to the cgroup (`BPF_PROG_TYPE_CGROUP_DEVICE`,
//! `cgroup-v2.rst`, "Device controller"), which is given type, numbers and access, and returns 1 to allow. It is short
//! enough to be put together by hand: a few comparisons per rule, first match wins.

use std::ffi::{c_int, c_long, c_uint};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use crate::devices::DeviceKind;
use crate::{DeviceRule, DeviceRules};

/// One instruction of the BPF machine (`struct bpf_insn`, RFC 9669).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
struct Instruction {
    code: u8,
    /// Destination in the low half, source in the high one.
    registers: u8,
    /// Of a load: the offset. Of a jump: how many instructions it skips.
    offset: i16,
    immediate: i32,
}

const fn instruction(code: u8, registers: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers, offset, immediate }
}

// What the program keeps where. The kernel passes the context in register 1 and reads the verdict from register 0.
const VERDICT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// `register = *(u32 *)(context + offset)`
const fn load(register: u8, offset: i16) -> Instruction {
    instruction(0x61, register | CONTEXT << 4, offset, 0)
}

/// `register = value`
const fn set(register: u8, value: i32) -> Instruction {
    instruction(0xb7, register, 0, value)
}

/// `register = source`
const fn copy(register: u8, source: u8) -> Instruction {
    instruction(0xbf, register | source << 4, 0, 0)
}

/// `register &= value`, in 32 bits
const fn and(register: u8, value: i32) -> Instruction {
    instruction(0x54, register, 0, value)
}

/// `register >>= value`, in 32 bits
const fn shift_right(register: u8, value: i32) -> Instruction {
    instruction(0x74, register, 0, value)
}

/// `if (register != value) skip so many`, in 32 bits
const fn unless(register: u8, value: i32, skip: i16) -> Instruction {
    instruction(0x56, register, skip, value)
}

/// `return r0`
const EXIT: Instruction = instruction(0x95, 0, 0, 0);

/// The program for a list of rules.
fn assemble(rules: &DeviceRules) -> Vec<Instruction> {
    // struct bpf_cgroup_dev_ctx { u32 access_type /* access << 16 | kind */, major, minor }
    let mut program = vec![
        load(KIND, 0),
        copy(ACCESS, KIND),
        shift_right(ACCESS, 16),
        and(KIND, 0xffff),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.rules() {
        program.extend(allow(rule));
    }
    program.extend([set(VERDICT, 0), EXIT]);
    program
}

/// Allows what one rule allows, and falls through to what follows otherwise.
fn allow(rule: &DeviceRule) -> Vec<Instruction> {
    // Everything that is asked for must be in this one rule, as in v1: a read-write open takes "rw".
    let mut block = vec![copy(SCRATCH, ACCESS), and(SCRATCH, !(rule.access as i32)), unless(SCRATCH, 0, 0)];
    if rule.kind != DeviceKind::Any {
        block.push(unless(KIND, rule.kind as i32, 0));
    }
    // The comparison is of 32 bits, so that a large number as a negative one is still the same.
    block.extend(rule.major.map(|major| unless(MAJOR, major as i32, 0)));
    block.extend(rule.minor.map(|minor| unless(MINOR, minor as i32, 0)));
    block.extend([set(VERDICT, 1), EXIT]);
    let end = block.len();
    for (index, jump) in block.iter_mut().enumerate().filter(|(_, instruction)| instruction.code == 0x56) {
        jump.offset = (end - index - 1) as i16; // blocks have 8 instructions at most
    }
    block
}

/// Loads the program for these rules and attaches it to a v2 cgroup, where it stays as long as the cgroup.
///
/// Needs CAP_SYS_ADMIN, or CAP_BPF and CAP_NET_ADMIN, in the initial user namespace (`bpf(2)`). It adds to the programs
/// of the cgroups above: all of them must allow.
pub(crate) fn attach(directory: &Path, rules: &DeviceRules) -> io::Result<()> {
    let cgroup = File::open(directory)?;
    let program = load_program(&assemble(rules))?;
    /// The part of `union bpf_attr` for BPF_PROG_ATTACH.
    #[repr(C)]
    struct Attach {
        target_fd: u32,
        attach_bpf_fd: u32,
        attach_type: u32,
        attach_flags: u32,
    }
    const BPF_PROG_ATTACH: c_int = 8;
    const BPF_CGROUP_DEVICE: u32 = 6;
    const BPF_F_ALLOW_MULTI: u32 = 1 << 1; // cgroups below may attach more
    let attributes = Attach {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the attributes are those of this command, without pointers, and both descriptors are open.
    unsafe { bpf(BPF_PROG_ATTACH, &attributes) }?;
    Ok(())
}

fn load_program(program: &[Instruction]) -> io::Result<OwnedFd> {
    /// The first part of `union bpf_attr` for BPF_PROG_LOAD; what is left out counts as zero.
    #[repr(C)]
    struct Load {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
        kern_version: u32,
        prog_flags: u32,
        prog_name: [u8; 16],
    }
    const BPF_PROG_LOAD: c_int = 5;
    const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    let attributes = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        license: c"MIT".as_ptr() as u64, // it calls none of the kernel's functions, so any licence will do
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"devices\0\0\0\0\0\0\0\0\0",
    };
    // SAFETY: both pointers are to memory that outlives the call, with as many instructions as insn_cnt says.
    let fd = unsafe { bpf(BPF_PROG_LOAD, &attributes) }?;
    // SAFETY: BPF_PROG_LOAD gives a new descriptor (close-on-exec), which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as c_int) })
}

/// `bpf(2)`, which the C library does not wrap.
///
/// # Safety
/// `attributes` must be what the command takes, its pointers valid for the call.
unsafe fn bpf<T>(command: c_int, attributes: &T) -> io::Result<c_long> {
    let size = size_of::<T>() as c_uint;
    // SAFETY: the caller vouches for the attributes; the kernel reads `size` bytes of them.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::{MKNOD, READ, WRITE};

    /// The machine, as far as our programs use it.
    fn run(program: &[Instruction], kind: DeviceKind, major: u32, minor: u32, access: u32) -> bool {
        let context = [access << 16 | kind as u32, major, minor];
        let mut registers = [0u32; 11];
        let mut next = 0;
        loop {
            let Instruction { code, registers: pair, offset, immediate } = program[next];
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            next += 1;
            match code {
                0x61 => registers[to] = context[offset as usize / 4],
                0xb7 => registers[to] = immediate as u32,
                0xbf => registers[to] = registers[from],
                0x54 => registers[to] &= immediate as u32,
                0x74 => registers[to] >>= immediate,
                0x56 if registers[to] != immediate as u32 => next += offset as usize,
                0x56 => {}
                0x95 => return registers[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn the_program_says_what_the_list_says() {
        use DeviceKind::{Block, Character};
        let program = assemble(&DeviceRules::usual());
        let allows = |kind, major, minor, access| run(&program, kind, major, minor, access);
        assert!(allows(Character, 1, 3, READ | WRITE), "/dev/null");
        assert!(allows(Character, 5, 2, READ | WRITE), "/dev/ptmx");
        assert!(allows(Character, 136, 12, READ | WRITE), "a pty");
        assert!(allows(Block, 8, 0, MKNOD), "a node for a disk");
        assert!(!allows(Block, 8, 0, READ), "reading the disk");
        assert!(!allows(Block, 8, 0, MKNOD | READ), "both at once");
        assert!(!allows(Character, 1, 1, READ), "/dev/mem");
        assert!(!allows(Block, 1, 3, READ), "numbers of /dev/null, but a block device");
        assert!(!allows(Character, 10, 229, READ | WRITE), "/dev/fuse");

        let fuse = assemble(&DeviceRules::usual().and(["c 10:229 rw".parse().unwrap()]));
        assert!(run(&fuse, Character, 10, 229, READ | WRITE));
        assert!(!run(&fuse, Character, 10, 228, READ));
        let any = assemble(&DeviceRules::usual().and(["a 7:* r".parse().unwrap()]));
        assert!([Block, Character].into_iter().all(|kind| run(&any, kind, 7, 3, READ)));
        assert!(!run(&any, Block, 7, 3, READ | WRITE));
        let large = assemble(&DeviceRules::usual().and(["c 4294967295:* r".parse().unwrap()]));
        assert!(run(&large, Character, u32::MAX, 1, READ));
    }
}
