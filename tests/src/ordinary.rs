//! What the suites cannot do as an ordinary user, and why: everything else they do.

/// The beginning of a test's path, and the reason.
const CANNOT: &[(&str, &str)] = &[
    ("ch01::enter_joins_a_running_one", "enters one kind alone, without the user namespace that it belongs to"),
    ("ch01::list_shows_who_is_where", "expects root's containers to be root's"),
    ("ch01::processes::an_ordinary_user_lists_what_is_his", "compares with what root may look at"),
    ("ch01::processes::enter_says_who_cannot_be_entered", "enters a process of another user's"),
    ("ch01::users::a_helper_without_rights_is_named", COVERS),
    ("ch01::users::every_range_of_subuid_is_mapped", COVERS),
    ("ch01::users::granted_maps_can_be_chosen", COVERS),
    ("ch01::users::root_gives_away_what_it_has", ROOTS_NAMESPACE),
    ("ch01::users::one_user_namespace_fits_into_another", ROOTS_NAMESPACE),
    ("ch02::a_missing_controller_is_named", "takes a controller away from everybody"),
    ("ch02::an_ordinary_user_runs_without_limits", "is about a user without a cgroup"),
    ("ch02::change::a_processor_and_a_quota_come_and_go", AT_THE_TOP),
    ("ch02::change::cgroups_below_its_own_go_with_a_container", AT_THE_TOP),
    ("ch02::change::memory_can_be_raised_and_lowered", AT_THE_TOP),
    ("ch02::change::what_a_killed_runner_leaves_goes_with_the_next_run", AT_THE_TOP),
    ("ch02::delegated::", "delegates a cgroup itself, which takes root"),
    ("ch02::devices::only_what_is_on_the_list_opens", "makes device nodes, which no user namespace may"),
    ("ch03::a_directory_of_devices_comes_whole", "makes device nodes, which no user namespace may"),
    ("ch03::a_read_only_volume_is_so_to_the_depth", "mounts something outside first"),
    ("ch03::an_ordinary_user_mounts_what_it_may", "needs a directory that is root's and closed to the user"),
    ("ch03::how_far_a_bind_goes_can_be_chosen", "mounts something outside first"),
    ("ch03::later_mounts_spread_as_asked", "mounts something outside first"),
    ("ch03::mounts_inside_are_not_seen_outside", "shares the host's mounts first"),
    ("ch03::owners_can_be_shown_by_the_containers_maps", "gives files away outside"),
    ("ch03::the_mount_table_is_dockers", "the kernel shows the group of devpts as the first user namespace has it"),
    ("ch04::overlay::a_user_namespace_is_found_in_the_proc_of_another", ROOTS_NAMESPACE),
    ("ch04::overlay::a_user_namespace_needs_no_way_through_roots_directories", ROOTS_NAMESPACE),
    ("ch04::overlay::an_ordinary_users_many_ids_become", "unpacks as root to see whose the files are"),
    ("ch04::overlay::in_roots_user_namespace_files_keep_their_owners", ROOTS_NAMESPACE),
    ("ch04::overlay::what_is_written_in_a_user_namespace_becomes", ROOTS_NAMESPACE),
    ("ch04::store::a_full_disk_is_told_in_one_sentence", "makes a small disk, which takes root"),
    ("ch04::store::an_ordinary_user_gets_the_same_digest", "compares with what root unpacks"),
    ("ch04::unpacking_keeps_what_a_system_has", "makes device nodes and gives files away outside"),
    ("ch04::whiteouts_and_opaque_directories_hide", "wants user.* attributes, which tmpfs has since Linux 6.6"),
];

const COVERS: &str = "covers /etc/subuid and its like, which takes root";
const ROOTS_NAMESPACE: &str = "is about the user namespaces that root makes";
const AT_THE_TOP: &str = "looks for its cgroups at the top of the hierarchy, where root's are";

/// Why an ordinary user cannot run a test; `None` if one can.
pub fn cannot(test: &str) -> Option<&'static str> {
    CANNOT.iter().find(|(path, _)| test.starts_with(path)).map(|(_, reason)| *reason)
}
