//! The plans for the kinds of machines that there are.

use super::*;
use crate::DeviceValue;
use crate::hierarchy::Unified;
use crate::quantity::ONE_CPU;

fn v2(controllers: &[Controller]) -> Hierarchies {
    let unified = Unified { base: "/cg".into(), controllers: controllers.to_vec() };
    Hierarchies { unified: Some(unified), ..Hierarchies::default() }
}

fn v1(controllers: &[Controller]) -> Hierarchies {
    let tree = |controller: &Controller| (*controller, Path::new("/cg").join(controller.v1()));
    Hierarchies { legacy: controllers.iter().map(tree).collect(), ..Hierarchies::default() }
}

fn limits() -> Limits {
    Limits { nano_cpus: Some(ONE_CPU / 2), memory: Some(64 << 20), pids: Some(20), ..Limits::default() }
}

fn plan(hierarchies: &Hierarchies, limits: &Limits) -> Result<Option<Plan>> {
    Plan::new(hierarchies, "md/4f1c", limits, None, |_| true)
}

use Controller::*;

#[test]
fn v2_hands_controllers_down_and_limits_the_leaf() {
    let plan = plan(&v2(&[Cpu, Memory, Pids]), &limits()).unwrap().unwrap();
    let expected = "\
echo '+cpu +memory +pids' > /cg/cgroup.subtree_control
mkdir -p /cg/md
echo '+cpu +memory +pids' > /cg/md/cgroup.subtree_control
mkdir /cg/md/4f1c
echo '50000 100000' > /cg/md/4f1c/cpu.max   # --cpus
echo '67108864' > /cg/md/4f1c/memory.max   # --memory
echo '67108864' > /cg/md/4f1c/memory.swap.max   # --memory-swap
echo '20' > /cg/md/4f1c/pids.max   # --pids-limit
# clone3 with CLONE_INTO_CGROUP and /cg/md/4f1c
";
    assert_eq!(plan.to_string(), expected);
}

#[test]
fn v1_makes_a_directory_per_tree_and_limits_memory_before_the_sum() {
    let machine = v1(&[Cpu, Cpuacct, Cpuset, Freezer, Memory, Pids, Blkio]);
    let plan = plan(&machine, &limits()).unwrap().unwrap();
    let text = plan.to_string();
    for line in [
        "mkdir /cg/cpu/md/4f1c\n",
        "mkdir /cg/freezer/md/4f1c\n",
        "echo '100000' > /cg/cpu/md/4f1c/cpu.cfs_period_us   # --cpus\n\
         echo '50000' > /cg/cpu/md/4f1c/cpu.cfs_quota_us   # --cpus\n",
        "echo '67108864' > /cg/memory/md/4f1c/memory.limit_in_bytes   # --memory\n\
         echo '134217728' > /cg/memory/md/4f1c/memory.memsw.limit_in_bytes   # --memory-swap\n",
        "echo PID > /cg/pids/md/4f1c/cgroup.procs\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    assert!(!text.contains("cpuset"), "nothing limits it");
}

#[test]
fn hybrid_takes_life_from_v2_and_limits_from_v1() {
    let mut machine = v1(&[Cpu, Cpuacct, Freezer, Memory, Pids]);
    machine.unified = Some(Unified { base: "/cg/unified".into(), controllers: vec![] });
    let group = plan(&machine, &Limits::default()).unwrap().unwrap().group;
    assert_eq!(group.unified.as_deref(), Some(Path::new("/cg/unified/md/4f1c")));
    assert_eq!(group.legacy.keys().copied().collect::<Vec<_>>(), [Memory, Pids]);
}

#[test]
fn a_new_cpuset_takes_over_what_its_parent_has() {
    let limits = Limits { cpuset_cpus: Some("0".into()), ..Limits::default() };
    let steps = plan(&v1(&[Cpuset]), &limits).unwrap().unwrap().steps;
    let text: Vec<String> = steps.iter().map(Step::to_string).collect();
    assert_eq!(
        text,
        [
            "mkdir -p /cg/cpuset/md",
            "cat /cg/cpuset/cpuset.cpus > /cg/cpuset/md/cpuset.cpus",
            "cat /cg/cpuset/cpuset.mems > /cg/cpuset/md/cpuset.mems",
            "mkdir /cg/cpuset/md/4f1c",
            "cat /cg/cpuset/md/cpuset.cpus > /cg/cpuset/md/4f1c/cpuset.cpus",
            "cat /cg/cpuset/md/cpuset.mems > /cg/cpuset/md/4f1c/cpuset.mems",
            "echo '0' > /cg/cpuset/md/4f1c/cpuset.cpus   # --cpuset-cpus",
        ]
    );
}

#[test]
fn a_tree_shared_by_two_controllers_is_entered_once() {
    let mut machine = v1(&[Cpu, Memory]);
    machine.legacy.insert(Cpuacct, "/cg/cpu".into());
    let plan = plan(&machine, &limits_without_pids()).unwrap().unwrap();
    assert_eq!(plan.to_string().matches("mkdir /cg/cpu/md/4f1c").count(), 1);
    assert_eq!(plan.to_string().matches("/cg/cpu/md/4f1c/cgroup.procs").count(), 1);
}

fn limits_without_pids() -> Limits {
    Limits { pids: None, ..limits() }
}

#[test]
fn swap_is_the_sum_on_v1_and_itself_on_v2() {
    let swap = |sum| Limits { memory: Some(64 << 20), memory_swap: Some(sum), ..Limits::default() };
    let machine = v2(&[Memory]);
    let text = |sum| plan(&machine, &swap(sum)).unwrap().unwrap().to_string();
    assert!(text(64 << 20).contains("echo '0' > /cg/md/4f1c/memory.swap.max"));
    assert!(text(96 << 20).contains("echo '33554432' > /cg/md/4f1c/memory.swap.max"));
    assert!(!text(-1).contains("swap"), "a new cgroup has no limit of swap");
}

#[test]
fn what_cannot_be_enforced_is_an_error_with_a_way_out() {
    let refusal = |machine: &Hierarchies| plan(machine, &limits()).unwrap_err().to_string();
    let text = refusal(&v2(&[Cpu, Pids]));
    assert!(text.starts_with("--memory cannot be enforced: /cg has no memory controller (for a user"), "{text}");
    assert!(refusal(&v1(&[Cpu, Pids])).contains("no cgroup tree has a memory controller (mount one"));
    assert!(refusal(&Hierarchies::default()).contains("mount -t cgroup2"));
    let text = Plan::new(&v2(&[Cpu, Memory, Pids]), "md/1", &limits(), None, |_| false).unwrap_err().to_string();
    assert!(text.contains("/cg is not ours to write to"), "{text}");
}

#[test]
fn without_a_wish_and_a_place_there_is_no_cgroup() {
    assert_eq!(plan(&Hierarchies::default(), &Limits::default()).unwrap(), None);
    for machine in [v2(&[Memory, Pids]), v1(&[Memory, Pids])] {
        assert_eq!(Plan::new(&machine, "md/1", &Limits::default(), None, |_| false).unwrap(), None);
    }
    // Devices are always a wish.
    let devices = DeviceRules::usual();
    Plan::new(&v1(&[Memory]), "md/1", &Limits::default(), Some(&devices), |_| true).unwrap_err();
    Plan::new(&v2(&[Memory]), "md/1", &Limits::default(), Some(&devices), |_| false).unwrap_err();
}

fn disk(path: &str, value: u64) -> Vec<DeviceValue> {
    vec![DeviceValue { path: path.into(), value }]
}

#[test]
fn disks_are_limited_by_number_and_weighed_by_whoever_weighs() {
    let limits = Limits {
        blkio_weight: Some(500),
        blkio_weight_device: disk("/dev/sdb", 1000),
        device_read_bps: disk("/dev/sda", 1 << 20),
        device_write_iops: disk("/dev/sda", 100),
        ..Limits::default()
    };
    let text = plan(&v2(&[Blkio]), &limits).unwrap().unwrap().to_string();
    for line in [
        "echo '+io' > /cg/cgroup.subtree_control\n",
        "echo '500' > /cg/md/4f1c/io.bfq.weight   # --blkio-weight\n\
         # or, where there is no such file: echo 'default 4950' > /cg/md/4f1c/io.weight   # --blkio-weight\n",
        "MAJ:MIN /dev/sdb) 10000\" > /cg/md/4f1c/io.weight",
        "echo \"$(lsblk -dno MAJ:MIN /dev/sda) rbps=1048576\" > /cg/md/4f1c/io.max   # --device-read-bps\n",
        "/dev/sda) wiops=100\" > /cg/md/4f1c/io.max",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let text = plan(&v1(&[Blkio]), &limits).unwrap().unwrap().to_string();
    for line in [
        "echo '500' > /cg/blkio/md/4f1c/blkio.weight   # --blkio-weight\n",
        "/cg/blkio/md/4f1c/blkio.bfq.weight_device",
        "/dev/sda) 1048576\" > /cg/blkio/md/4f1c/blkio.throttle.read_bps_device",
        "/dev/sda) 100\" > /cg/blkio/md/4f1c/blkio.throttle.write_iops_device",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let refusal = |machine: &Hierarchies| plan(machine, &limits).unwrap_err().to_string();
    assert!(refusal(&v2(&[Memory])).starts_with("--blkio-weight cannot be enforced: /cg has no io controller"));
    assert!(refusal(&v1(&[Memory])).contains("no cgroup tree has a blkio controller"));
}

#[test]
fn what_only_v1_has_is_refused_on_v2() {
    let limits: [(Limits, &str); 4] = [
        (Limits { memory_swappiness: Some(0), ..Limits::default() }, "--memory-swappiness"),
        (Limits { oom_kill_disable: true, ..Limits::default() }, "--oom-kill-disable"),
        (Limits { cpu_rt_runtime: Some(1000), ..Limits::default() }, "--cpu-rt-runtime"),
        (Limits { cpu_rt_period: Some(1000), ..Limits::default() }, "--cpu-rt-period"),
    ];
    for (limits, flag) in limits {
        let said = plan(&v2(&[Cpu, Memory]), &limits).unwrap_err().to_string();
        assert!(said.starts_with(&format!("{flag} cannot be enforced: cgroup v2 has no ")), "{said}");
        let text = plan(&v1(&[Cpu, Memory]), &limits).unwrap().unwrap().to_string();
        assert!(text.contains(flag), "{text}");
    }
}

/// The cgroup of the other tests as it is when it runs, in these trees.
fn present(hierarchies: &Hierarchies, controllers: &[Controller]) -> Group {
    let legacy = hierarchies.legacy.iter().filter(|(controller, _)| controllers.contains(controller));
    Group {
        unified: hierarchies.unified.as_ref().map(|unified| unified.base.join("md/4f1c")),
        legacy: legacy.map(|(controller, tree)| (*controller, tree.join("md/4f1c"))).collect(),
        tidy_parent: true,
    }
}

fn change(machine: &Hierarchies, controllers: &[Controller], limits: &Limits, swap_first: bool) -> Plan {
    Plan::change(machine, "md/4f1c", &present(machine, controllers), limits, swap_first, |_| true).unwrap()
}

#[test]
fn a_change_squeezes_before_it_limits_and_hands_controllers_down() {
    let limits = Limits { pids: Some(-1), ..limits() };
    let text: Vec<String> =
        change(&v2(&[Cpu, Memory, Pids]), &[], &limits, false).steps.iter().map(Step::to_string).collect();
    let expected = [
        "echo '+cpu +memory' > /cg/cgroup.subtree_control",
        "mkdir -p /cg/md",
        "echo '+cpu +memory' > /cg/md/cgroup.subtree_control",
        "echo '50000 100000' > /cg/md/4f1c/cpu.max   # --cpus",
        "echo $(($(cat /cg/md/4f1c/memory.current) - 67108864)) > /cg/md/4f1c/memory.reclaim",
        "echo '67108864' > /cg/md/4f1c/memory.max   # --memory",
        "echo '67108864' > /cg/md/4f1c/memory.swap.max   # --memory-swap",
        "echo 'max' > /cg/md/4f1c/pids.max   # --pids-limit",
    ];
    assert_eq!(text, expected);
}

#[test]
fn a_change_on_v1_makes_what_is_missing_and_keeps_the_sum_above_the_memory() {
    let machine = v1(&[Cpu, Memory, Pids]);
    let plan = change(&machine, &[Memory, Pids], &limits_without_pids(), true);
    let text: Vec<String> = plan.steps.iter().map(Step::to_string).collect();
    let expected = [
        "mkdir -p /cg/cpu/md",
        "mkdir /cg/cpu/md/4f1c",
        "mkdir -p /cg/memory/md",
        "mkdir -p /cg/pids/md",
        "echo '-1' > /cg/cpu/md/4f1c/cpu.cfs_quota_us   # --cpus",
        "echo '100000' > /cg/cpu/md/4f1c/cpu.cfs_period_us   # --cpus",
        "echo '50000' > /cg/cpu/md/4f1c/cpu.cfs_quota_us   # --cpus",
        "echo '134217728' > /cg/memory/md/4f1c/memory.memsw.limit_in_bytes   # --memory-swap",
        "echo '67108864' > /cg/memory/md/4f1c/memory.limit_in_bytes   # --memory",
    ];
    assert_eq!(text, expected);
    assert!(plan.group.legacy.contains_key(&Cpu));
    let lowered = change(&machine, &[Cpu, Memory, Pids], &limits_without_pids(), false);
    let files: Vec<String> = lowered.steps.iter().map(Step::to_string).collect();
    let place = |name: &str| files.iter().position(|step| step.contains(name)).unwrap();
    assert!(place("memory.limit_in_bytes") < place("memory.memsw.limit_in_bytes"));
    assert!(!files.iter().any(|step| step.starts_with("mkdir /")), "{files:?}");
}

#[test]
fn devices_go_by_lines_on_v1_and_by_a_program_on_v2() {
    let rules = DeviceRules::usual();
    let steps = |machine: &Hierarchies| {
        Plan::new(machine, "md/1", &Limits::default(), Some(&rules), |_| true).unwrap().unwrap().steps
    };
    let v1_steps = steps(&v1(&[Devices]));
    let deny =
        v1_steps.iter().position(|step| step.to_string().contains("'a' > /cg/devices/md/1/devices.deny")).unwrap();
    let allow = v1_steps.iter().position(|step| step.to_string().contains("devices.allow")).unwrap();
    assert!(deny < allow);
    assert!(matches!(steps(&v2(&[])).last(), Some(Step::Devices { .. })));
}

#[test]
fn the_parent_is_tidied_up_if_it_is_ours() {
    let machine = v2(&[Memory]);
    let tidy = |path| Plan::new(&machine, path, &Limits::default(), None, |_| true).unwrap().unwrap().group.tidy_parent;
    assert!(tidy("md/1"));
    assert!(!tidy("/services/web/1"));
}
