//! Attacks: each test is one, by a hostile image or a hostile process, and nothing outside has changed after it.
//!
//! A test is named for what the attacker does, and its doc comment says where that comes from. Wherever it is cheap the test
//! also shows that the attack is one: where the protection is absent (another program, `--privileged`, no filter) it works.
//!
//! | module | what is attacked |
//! |---|---|
//! | [`own_binary`] | the engine's own program |
//! | [`descriptors`] | what a process on its way into a container still holds |
//! | [`links`] | places in the image where the engine mounts, writes, looks up |
//! | [`users`] | who the process is |
//! | [`calls`] | the kernel, by its system calls |
//! | [`surfaces`] | the kernel, by files, devices and terminals |
//! | [`names`] | the engine's files, by names that are paths |
//! | [`races`] | what a name means, while it is used |
//! | [`archives`] | what the engine unpacks and reads for others |
//!
//! What they have in common is in [`trap`]; [`real`] lets some of them succeed.

mod archives;
mod calls;
mod descriptors;
mod links;
mod names;
mod own_binary;
mod races;
mod real;
mod surfaces;
mod trap;
mod users;

/// Every attack: the test, and where the attack comes from. `cargo x test` counts those that were held off: all tests of this
/// module but those of [`real`].
const ATTACKS: &[(&str, &str)] = &[
    ("own_binary::what_is_executed_is_proc_self_exe", "CVE-2019-5736"),
    ("own_binary::a_script_whose_interpreter_is_proc_self_exe", "CVE-2019-5736"),
    ("own_binary::the_init_of_a_container_is_the_engine", "CVE-2019-5736"),
    ("own_binary::a_privileged_container_is_let_near_the_engine_as_little", "CVE-2019-5736"),
    ("own_binary::a_build_whose_run_is_proc_self_exe", "CVE-2019-5736"),
    ("descriptors::the_working_directory_is_a_leaked_descriptor", "CVE-2024-21626"),
    ("descriptors::the_working_directory_is_a_link_to_a_leaked_descriptor", "CVE-2024-21626"),
    ("descriptors::descriptors_of_the_caller_go_no_further", "CVE-2024-21626"),
    ("descriptors::a_process_on_its_way_in_is_looked_at", "CVE-2016-9962"),
    ("descriptors::a_process_on_its_way_in_is_traced", "CVE-2016-9962"),
    ("descriptors::the_environment_of_the_engine_is_looked_for", "proc_pid_environ(5)"),
    ("descriptors::whoever_comes_in_is_stopped", "denial of service by SIGSTOP"),
    ("descriptors::the_root_of_a_process_outside_is_not_to_be_seen", "proc_pid_root(5)"),
    ("links::proc_is_a_link", "CVE-2019-19921, CVE-2023-27561"),
    ("links::proc_is_a_file", "CVE-2019-19921"),
    ("links::sys_is_a_link", "CVE-2019-19921, for /sys"),
    ("links::dev_is_a_link", "CVE-2026-41579, CVE-2026-47766"),
    ("links::dev_null_is_a_link_to_what_is_to_be_hidden", "CVE-2025-31133"),
    ("links::dev_console_is_a_link", "CVE-2025-52565"),
    ("links::files_that_the_engine_provides_are_links", "CVE-2015-3629"),
    ("links::a_volumes_destination_is_a_link", "CVE-2017-1002101, CVE-2021-30465"),
    ("links::a_working_directory_is_made_behind_a_link", "CVE-2024-45310, by the working directory"),
    ("links::a_volume_covers_proc", "CVE-2015-3631, CVE-2019-16884"),
    ("links::passwd_and_group_are_links_to_the_hosts", "CWE-59"),
    ("users::a_user_out_of_range_becomes_root", "CVE-2024-40635"),
    ("users::an_exec_as_one_user_runs_as_another", "CVE-2026-30892"),
    ("users::a_users_name_is_a_number", "CVE-2016-3697, CVE-2026-46680"),
    ("users::passwd_and_group_have_no_end", "CVE-2026-47262"),
    ("users::groups_of_the_caller_are_kept", "CWE-271; CVE-2022-36109"),
    ("users::capabilities_are_inherited_by_a_file", "CVE-2022-24769, CVE-2022-27650"),
    ("users::a_set_user_id_program_makes_root", "no_new_privs of prctl(2)"),
    ("users::the_engines_directories_are_open_to_other_users", "CVE-2021-41091"),
    ("users::another_user_talks_to_a_monitor", "CVE-2020-15257, by a file"),
    ("calls::a_user_namespace_is_made", "CVE-2022-0185, CVE-2023-0386"),
    ("calls::keyrings_are_used", "CVE-2016-0728, CVE-2016-8650"),
    ("calls::programs_and_probes_are_loaded_into_the_kernel", "CVE-2021-3490, CVE-2013-2094"),
    ("calls::io_uring_is_set_up", "CVE-2022-29582, CVE-2023-2598"),
    ("calls::the_kernel_is_replaced", "capabilities(7): SYS_MODULE, SYS_BOOT"),
    ("calls::the_clock_is_set", "time_namespaces(7): CLOCK_REALTIME has none"),
    ("calls::something_is_mounted", "CVE-2022-0185"),
    ("calls::sockets_that_know_no_network_namespace_are_opened", "CVE-2026-31431"),
    ("calls::other_processes_and_the_kernels_log_are_looked_into", "CVE-2016-9962, by pidfd_getfd; dmesg"),
    ("calls::calls_go_by_the_numbers_of_the_32_bit_abi", "CVE-2009-0835"),
    ("calls::calls_go_by_the_numbers_of_the_x32_abi", r#"seccomp(2), "Caveats""#),
    ("surfaces::what_configures_the_kernel_is_written_to", "CVE-2015-3630, CVE-2025-52881"),
    ("surfaces::what_is_covered_is_uncovered", "umount(2) and mount(2) of a masked path"),
    ("surfaces::what_tells_of_the_machine_is_read", "GHSA-6fw5-f8r9-fgfm"),
    ("surfaces::a_release_agent_is_named", "CVE-2022-0492"),
    ("surfaces::a_process_leaves_its_cgroup", r#"cgroups(7), "Cgroup delegation containment rules""#),
    ("surfaces::a_device_node_is_made", "mknod(2), the device cgroup"),
    ("surfaces::a_file_is_opened_by_its_handle", "Shocker, 2014"),
    ("surfaces::something_is_typed_into_the_terminal_outside", "CVE-2016-7545, CVE-2017-5226"),
    ("surfaces::keys_of_the_session_are_found", "session-keyring(7)"),
    ("surfaces::the_engine_listens_on_an_abstract_socket", "CVE-2020-15257"),
    ("surfaces::everybody_is_killed", "kill(2) with -1"),
    ("names::a_containers_name_is_a_path", "CWE-22"),
    ("names::an_id_is_a_path", "CWE-22"),
    ("names::a_volumes_name_is_a_path", "CWE-22"),
    ("names::an_images_name_is_a_path", "CWE-22; CVE-2014-9358"),
    ("names::the_file_for_the_id_is_there_already", "CWE-59"),
    ("names::a_word_is_two_lines", "CWE-93"),
    ("names::a_command_writes_to_the_terminal_of_who_lists_it", "CVE-2003-0063"),
    ("names::an_image_writes_to_the_terminal_by_the_error_it_causes", "CVE-2003-0063"),
    ("races::a_volumes_directory_is_exchanged_while_it_is_mounted_on", "CVE-2021-30465"),
    ("races::the_working_directory_is_exchanged_while_it_is_entered", "CVE-2018-15664, by exec"),
    ("archives::names_in_a_layer_lead_out", "CVE-2014-6407, CVE-2014-9356"),
    ("archives::whiteouts_in_a_layer_delete_outside", "CVE-2014-6407, by whiteouts"),
    ("archives::the_manifest_of_an_archive_names_the_hosts_files", "CWE-22, CWE-59"),
    ("archives::a_link_in_a_builds_context_leads_out", "CWE-59"),
    ("archives::a_build_writes_through_links_that_its_run_has_left", "CVE-2014-9356; CVE-2024-23652, by COPY"),
    ("archives::a_run_of_a_build_has_more_power_than_a_container", "CVE-2024-23653, by a RUN"),
];

/// The table is whole: an attack without a line in it has no origin, a line without an attack is none.
#[test]
fn the_table_names_every_attack() {
    let module = module_path!().split_once("::").map_or("", |(_, module)| module);
    let own = std::env::current_exe().expect("the path of this test program");
    let list = std::process::Command::new(own).args(["--list", "--format=terse", module]).output().expect("list them");
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    let mut tests: Vec<&str> = list
        .lines()
        .filter_map(|line| line.strip_suffix(": test")?.strip_prefix(module)?.strip_prefix("::"))
        .filter(|name| name.contains("::") && !name.starts_with("real::"))
        .collect();
    let mut named: Vec<&str> = ATTACKS.iter().map(|(test, _)| *test).collect();
    tests.sort_unstable();
    named.sort_unstable();
    assert_eq!(tests, named);
    assert!(ATTACKS.iter().all(|(_, origin)| origin.len() > 3), "every attack has an origin");
}
