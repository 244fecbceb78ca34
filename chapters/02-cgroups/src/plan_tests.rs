//! The plans for the kinds of machines that there are.

use super::*;
use crate::hierarchy::Unified;
use crate::quantity::ONE_CPU;

fn v2(controllers: &[Controller]) -> Hierarchies {
    let unified = Unified { base: "/cg".into(), controllers: controllers.to_vec() };
    Hierarchies { unified: Some(unified), legacy: BTreeMap::new() }
}

fn v1(controllers: &[Controller]) -> Hierarchies {
    let tree = |controller: &Controller| (*controller, Path::new("/cg").join(controller.v1()));
    Hierarchies { unified: None, legacy: controllers.iter().map(tree).collect() }
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
    let machine = v1(&[Cpu, Cpuacct, Freezer, Memory, Pids, Blkio]);
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
    assert!(!text.contains("blkio"), "nothing limits it");
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
