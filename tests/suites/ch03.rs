//! Chapter 3: a root of its own.

use std::fs;

use predicates::prelude::*;
use suite::{Host, host};

use crate::expect::{refused, text};

/// `ch03 run --rootfs ROOT ARGS…`
fn run(host: &Host, args: &[&str]) -> assert_cmd::Command {
    let mut command = host.chapter(3, ["run", "--rootfs"]);
    command.arg(host.rootfs("rootfs")).args(args);
    command
}

#[test]
fn help_explains() {
    host(|host| {
        let help = text(&host.chapter(3, ["run", "--help"]).assert().success());
        for flag in ["--rootfs", "--volume", "--tmpfs", "--read-only"] {
            assert!(help.contains(flag), "{flag} is not in\n{help}");
        }
    });
}

#[test]
fn mounts_inside_are_not_seen_outside() {
    host(|host| {
        // Not even where the host shares its mounts, as systemd makes it do.
        host.tool("mount", ["--make-rshared", "/"]).assert().success();
        run(host, &["true"]).assert().success();
        host.tool("mount", ["--make-rprivate", "/"]).assert().success();
    });
}

#[test]
fn the_root_is_the_directory() {
    host(|host| {
        run(host, &["sh", "-c", "pwd; cat /etc/suite-release; echo new > /made"])
            .assert()
            .success()
            .stdout("/\na system for tests\n");
        assert_eq!(fs::read_to_string(host.work().join("rootfs/made")).expect("the file"), "new\n");
    });
}

#[test]
fn a_read_only_root_is_read_only_and_tmpfs_is_not() {
    host(|host| {
        let script = "echo x > /x; echo x > /etc/x; echo x > /scratch/x && cat /scratch/x";
        run(host, &["--read-only", "--tmpfs", "/scratch", "sh", "-c", script])
            .assert()
            .success()
            .stdout("x\n")
            .stderr(predicate::str::contains("Read-only file system").count(2));
        assert!(!host.work().join("rootfs/x").exists());
    });
}

#[test]
fn a_volume_is_the_hosts_directory() {
    host(|host| {
        let source = host.work().join("source");
        fs::create_dir(&source).expect("make a directory");
        fs::write(source.join("a"), "outside\n").expect("write a file");
        let volume = format!("{}:/data", source.display());
        run(host, &["-v", &volume, "sh", "-c", "cat /data/a; echo inside > /data/b"])
            .assert()
            .success()
            .stdout("outside\n");
        assert_eq!(fs::read_to_string(source.join("b")).expect("the file"), "inside\n");
    });
}

#[test]
fn a_read_only_volume_is_so_to_the_depth() {
    host(|host| {
        let source = host.work().join("source");
        fs::create_dir_all(source.join("deep")).expect("make directories");
        // A mount within the volume must not be a writable hole in it.
        host.tool("mount", ["-t", "tmpfs", "deep"]).arg(source.join("deep")).assert().success();
        let volume = format!("{}:/data:ro", source.display());
        run(host, &["-v", &volume, "sh", "-c", "echo x > /data/x; echo x > /data/deep/x; true"])
            .assert()
            .success()
            .stderr(predicate::str::contains("Read-only file system").count(2));
        host.tool("umount", [source.join("deep")]).assert().success();
    });
}

#[test]
fn a_volumes_link_does_not_lead_out() {
    host(|host| {
        host.rootfs("rootfs");
        let root = host.work().join("rootfs");
        let outside = host.work().join("outside");
        fs::create_dir(&outside).expect("make a directory");
        // The image says that /data is elsewhere: on the host if one is careless, in the root if not.
        std::os::unix::fs::symlink(&outside, root.join("data")).expect("make a link");
        let source = host.work().join("source");
        fs::create_dir(&source).expect("make a directory");
        let volume = format!("{}:/data", source.display());
        let _either = run(host, &["-v", &volume, "sh", "-c", "true"]).assert();
        assert_eq!(fs::read_dir(&outside).expect("the directory").count(), 0);
        assert!(!fs::read_to_string("/proc/self/mountinfo").expect("mounts").contains("outside"));
    });
}

#[test]
fn links_in_the_place_of_proc_and_dev_do_not_lead_out() {
    host(|host| {
        for name in ["proc", "sys", "dev"] {
            let root = host.rootfs(&format!("root-{name}"));
            let outside = host.work().join(format!("outside-{name}"));
            fs::create_dir(&outside).expect("make a directory");
            fs::remove_dir(root.join(name)).expect("remove the directory");
            std::os::unix::fs::symlink(&outside, root.join(name)).expect("make a link");
            // Refused or mounted inside, but never outside (CVE-2019-19921).
            let _either = host.chapter(3, ["run", "--rootfs"]).arg(&root).arg("true").assert();
            assert_eq!(fs::read_dir(&outside).expect("the directory").count(), 0, "{name}");
        }
    });
}

#[test]
fn a_working_directory_can_be_chosen() {
    host(|host| {
        run(host, &["-w", "/etc", "pwd"]).assert().success().stdout("/etc\n");
        run(host, &["-w", "/new/place", "pwd"]).assert().success().stdout("/new/place\n");
    });
}

#[test]
fn limits_of_chapter_two_hold_here_too() {
    host(|host| {
        run(host, &["--pids-limit", "10", "payload", "bomb", "50"])
            .assert()
            .success()
            .stdout("forked 9, then EAGAIN\n");
        run(host, &["-m", "48m", "payload", "hog", "200000000"]).assert().code(137);
    });
}

#[test]
fn an_ordinary_user_has_a_root_too() {
    host(|host| {
        crate::ch01::user_namespaces_or_skip(host);
        let root = host.rootfs("mine");
        host.tool("chown", ["-R", "1000:1000"]).arg(&root).assert().success();
        let mut command = host.as_user("ch03", ["run", "--rootfs"]);
        command.arg(&root).args(["sh", "-c", "id -u; cat /etc/suite-release; ls /dev/null; echo 1 > /made"]);
        command.assert().success().stdout("0\na system for tests\n/dev/null\n");
        assert!(root.join("made").exists());
    });
}

#[test]
fn bad_words_are_refused() {
    host(|host| {
        refused(host.chapter(3, ["run", "--rootfs", "/no/such/root", "true"]).assert(), 125, &["/no/such/root"]);
        refused(host.chapter(3, ["run", "--rootfs", "/etc/passwd", "true"]).assert(), 125, &["/etc/passwd"]);
        refused(run(host, &["-v", "/no/such/source:/data", "true"]).assert(), 125, &["/no/such/source"]);
        let said = crate::expect::complaint(&run(host, &["-v", "nonsense", "true"]).assert().code(125));
        assert!(said.contains("nonsense"), "{said}");
    });
}

#[test]
fn a_device_is_there_and_opens() {
    host(|host| {
        // The loop devices' control file: not among the usual ones, and so closed unless it is asked for.
        let script = "ls -l /dev/loop-control 2>/dev/null | cut -c1; : < /dev/loop-control && echo opens";
        let device = device_or_skip("/dev/loop-control");
        run(host, &["sh", "-c", script]).assert().failure().stdout("");
        run(host, &["--device", device, "sh", "-c", script]).assert().success().stdout("c\nopens\n");
        let there = format!("{device}:/dev/deep/er/control:rw");
        run(host, &["--device", &there, "sh", "-c", ": < /dev/deep/er/control && echo opens"])
            .assert()
            .success()
            .stdout("opens\n");
    });
}

#[test]
fn a_device_may_do_no_more_than_it_was_given() {
    host(|host| {
        let device = device_or_skip("/dev/loop-control");
        let script = ": < /dev/loop-control && echo read; (: > /dev/loop-control) 2>&1 || true";
        let said = text(&run(host, &["--device", &format!("{device}:r"), "sh", "-c", script]).assert().success());
        assert!(said.starts_with("read\n") && said.contains("Operation not permitted"), "{said}");
    });
}

#[test]
fn a_directory_of_devices_comes_whole() {
    host(|host| {
        let devices = host.work().join("devices");
        fs::create_dir_all(devices.join("below")).expect("make directories");
        fs::write(devices.join("plain"), "").expect("write a file");
        for (name, minor) in [("one", "5"), ("below/two", "7")] {
            host.tool("mknod", ["-m", "640"]).arg(devices.join(name)).args(["c", "1", minor]).assert().success();
        }
        let wish = format!("{}:/dev/own", devices.display());
        let script = "cd /dev/own && find . | sort; stat -c '%a %t:%T' below/two; head -c 1 one | wc -c";
        run(host, &["--device", &wish, "sh", "-c", script])
            .assert()
            .success()
            .stdout(".\n./below\n./below/two\n./one\n640 1:7\n1\n");
    });
}

/// The device, if this machine has it and lets us open it.
fn device_or_skip(path: &'static str) -> &'static str {
    if fs::File::open(path).is_err() {
        suite::skip(&format!("needs {path}, which cannot be opened here"));
    }
    path
}

#[test]
fn the_mount_table_is_dockers() {
    host(|host| {
        let table = text(&run(host, &["cat", "/proc/mounts"]).assert().success());
        let options = |place: &str| {
            let line = table.lines().find(|line| line.split(' ').nth(1) == Some(place));
            let line = line.unwrap_or_else(|| panic!("nothing is mounted on {place}:\n{table}"));
            let fields: Vec<&str> = line.split(' ').collect();
            (fields[0].to_owned(), fields[2].to_owned(), format!(",{},", fields[3]))
        };
        // Source, type, and options, of which others may stand beside (relatime, inode64, size).
        let expected = [
            ("/proc", "proc", "proc", "rw nosuid nodev noexec"),
            ("/dev", "tmpfs", "tmpfs", "rw nosuid size=65536k mode=755"),
            ("/dev/pts", "devpts", "devpts", "rw nosuid noexec gid=5 mode=620 ptmxmode=666"),
            ("/sys", "sysfs", "sysfs", "ro nosuid nodev noexec"),
            ("/dev/mqueue", "mqueue", "mqueue", "rw nosuid nodev noexec"),
            ("/dev/shm", "shm", "tmpfs", "rw nosuid nodev noexec size=65536k"),
            ("/proc/keys", "devtmpfs|tmpfs", "devtmpfs|tmpfs", "ro"),
            ("/proc/sys", "proc", "proc", "ro nosuid nodev noexec"),
            ("/proc/bus", "proc", "proc", "ro nosuid nodev noexec"),
            ("/proc/sysrq-trigger", "proc", "proc", "ro nosuid nodev noexec"),
        ];
        for (place, source, kind, wanted) in expected.into_iter().filter(|(place, ..)| fs::metadata(place).is_ok()) {
            let (is_source, is_kind, has) = options(place);
            assert!(kind.split('|').any(|kind| kind == is_kind), "{place}: {is_kind}");
            assert!(kind.contains('|') || is_source == source, "{place}: {is_source}");
            for option in wanted.split(' ') {
                assert!(
                    option.split('|').any(|option| has.contains(&format!(",{option},"))),
                    "{place}: no {option} in {has}"
                );
            }
        }
        let (_, kind, has) = options("/sys/fs/cgroup");
        assert!(has.starts_with(",ro,nosuid,nodev,noexec,") && ["cgroup2", "tmpfs"].contains(&&*kind), "{kind} {has}");
        for line in table.lines().filter(|line| line.split(' ').any(|field| field.starts_with("cgroup"))) {
            assert!(line.contains(" ro,"), "a writable cgroup is a way out (CVE-2022-0492): {line}");
        }
    });
}

#[test]
fn what_the_kernel_shows_of_the_machine_is_hidden() {
    host(|host| {
        let script = "for f in acpi asound interrupts kcore keys latency_stats sched_debug scsi timer_list timer_stats; do \
                        test -e /proc/$f || continue; \
                        if test -d /proc/$f; then ls /proc/$f | grep -q . && echo shown $f; \
                        else head -c 1 /proc/$f | grep -q . && echo shown $f; fi; done; \
                      ls /sys/firmware /sys/devices/virtual/powercap 2>/dev/null | grep -v -e : -e '^$'; \
                      cat /sys/devices/system/cpu/cpu*/thermal_throttle/* 2>/dev/null; \
                      for f in bus fs irq sys; do mkdir /proc/$f/x 2>/dev/null && echo made; done; \
                      echo x 2>/dev/null > /proc/irq/default_smp_affinity && echo wrote; true";
        run(host, &["sh", "-c", script]).assert().success().stdout("");
    });
}

#[test]
fn shared_memory_has_the_size_asked_for() {
    host(|host| {
        let script =
            "df -k /dev/shm | tail -1 | awk '{print $2}'; dd if=/dev/zero of=/dev/shm/x bs=1M count=3 2>&1 | tail -1";
        let said = text(&run(host, &["--shm-size", "2m", "sh", "-c", script]).assert().success());
        assert!(said.starts_with("2048\n"), "{said}");
        run(host, &["sh", "-c", "df -k /dev/shm | tail -1 | awk '{print $2}'"]).assert().success().stdout("65536\n");
        let said = text(
            &run(host, &["--shm-size", "2m", "sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=3 2>&1; true"])
                .assert(),
        );
        assert!(said.contains("No space left"), "{said}");
    });
}

#[test]
fn a_tmpfs_is_as_asked() {
    host(|host| {
        let script = "stat -c %a /scratch; cp /bin/true /scratch/x && chmod +x /scratch/x && /scratch/x && echo runs; \
                      df -k /scratch | tail -1 | awk '{print $2}'";
        run(
            host,
            &[
                "--tmpfs",
                "/scratch:size=1m,mode=700,exec",
                "sh",
                "-c",
                "cp /bin/sh /dev/null; stat -c %a /scratch; df -k /scratch | tail -1 | awk '{print $2}'",
            ],
        )
        .assert()
        .success()
        .stdout("700\n1024\n");
        // By default nothing is executed from it, as in Docker.
        let said = text(&run(host, &["--tmpfs", "/scratch", "sh", "-c", script]).assert());
        assert!(said.starts_with("1777") && !said.contains("runs"), "{said}");
        let said = text(
            &run(host, &["--mount", "type=tmpfs,dst=/scratch,tmpfs-size=4m,tmpfs-mode=750", "sh", "-c", script])
                .assert(),
        );
        assert!(said.starts_with("750") && said.ends_with("4096"), "{said}");
        refused(run(host, &["--tmpfs", "/scratch:size=lots", "true"]).assert(), 125, &["/scratch", "size"]);
    });
}

/// A directory with a mount below it, whose file says `deep`.
fn with_mount_below(host: &Host) -> std::path::PathBuf {
    let source = host.work().join("source");
    fs::create_dir_all(source.join("deep")).expect("make directories");
    host.tool("mount", ["-t", "tmpfs", "deep"]).arg(source.join("deep")).assert().success();
    fs::write(source.join("deep/file"), "deep\n").expect("write a file");
    source
}

#[test]
fn how_far_a_bind_goes_can_be_chosen() {
    host(|host| {
        let source = with_mount_below(host);
        let mount = |options: &str| format!("type=bind,src={},dst=/data{options}", source.display());
        let script = "cat /data/deep/file 2>/dev/null; (echo x > /data/x) 2>/dev/null && echo top; \
                      (echo x > /data/deep/x) 2>/dev/null && echo below; true";
        for (options, said) in [
            ("", "deep\ntop\nbelow\n"),
            (",readonly", "deep\n"),
            (",readonly,bind-recursive=readonly", "deep\n"),
            (",readonly,bind-recursive=writable", "deep\nbelow\n"),
            (",bind-recursive=disabled", "top\nbelow\n"),
            (",bind-nonrecursive,readonly", ""),
        ] {
            run(host, &["--mount", &mount(options), "sh", "-c", script]).assert().success().stdout(said);
        }
        host.tool("umount", [source.join("deep")]).assert().success();
    });
}

#[test]
fn later_mounts_spread_as_asked() {
    host(|host| {
        let source = host.work().join("source");
        fs::create_dir(&source).expect("make a directory");
        host.tool("mount", ["-t", "tmpfs", "source"]).arg(&source).assert().success();
        fs::create_dir(source.join("later")).expect("make a directory");
        let volume = |mode: &str| format!("{}:/data:{mode}", source.display());
        // As in Docker: what is not shared on the host has nothing to spread.
        host.tool("mount", ["--make-private"]).arg(&source).assert().success();
        for mode in ["rshared", "rslave"] {
            refused(run(host, &["-v", &volume(mode), "true"]).assert(), 125, &["not a shared", "source"]);
        }
        host.tool("mount", ["--make-shared"]).arg(&source).assert().success();
        for (mode, arrives) in [("rprivate", false), ("rslave", true), ("rshared", true)] {
            let script =
                "echo ready; until test -e /data/later/file || test -e /data/go; do sleep 0.05; done; ls /data/later";
            let mut inside = suite::Background::start({
                let mut command = std::process::Command::new(host.bin("ch03"));
                command.args(["run", "--rootfs"]).arg(host.work().join("rootfs"));
                command.args(["-v", &volume(mode), "sh", "-c", script]);
                command
            });
            inside.wait_for("ready");
            host.tool("mount", ["-t", "tmpfs", "later"]).arg(source.join("later")).assert().success();
            fs::write(source.join("later/file"), "").expect("write a file");
            fs::write(source.join("go"), "").expect("write a file");
            let (_, said) = inside.wait();
            assert_eq!(said.contains("file"), arrives, "{mode}: {said}");
            fs::remove_file(source.join("go")).expect("remove a file");
            host.tool("umount", [source.join("later")]).assert().success();
        }
        // Both ways: what is mounted inside is seen here.
        let script = "mkdir -p /data/inner && mount -t tmpfs inner /data/inner && echo from inside > /data/inner/file";
        run(host, &["-v", &volume("rshared"), "sh", "-c", script]).assert().success();
        assert_eq!(fs::read_to_string(source.join("inner/file")).expect("the file"), "from inside\n");
        host.tool("umount", [source.join("inner")]).assert().success();
        run(host, &["-v", &volume("rslave"), "sh", "-c", script]).assert().success();
        assert!(!source.join("inner/file").exists());
        host.tool("umount", [&source]).assert().success();
    });
}

#[test]
fn owners_can_be_shown_by_the_containers_maps() {
    host(|host| {
        let root = host.rootfs("rootfs");
        // The root belongs to the namespace's root, so that something can be made there.
        host.tool("chown", ["-R", "100000:100000"]).arg(&root).assert().success();
        let source = host.work().join("source");
        fs::create_dir(&source).expect("make a directory");
        fs::write(source.join("of-root"), "").expect("write a file");
        let volume = |mode: &str| format!("{}:/data{mode}", source.display());
        let script = "stat -c %u /data/of-root; (touch /data/new) 2>/dev/null && stat -c %u /data/new; true";
        let maps = ["--uid-map", "0:100000:65536", "--gid-map", "0:100000:65536"];
        run(host, &maps).args(["-v", &volume(""), "sh", "-c", script]).assert().success().stdout("65534\n");
        let mapped = run(host, &maps).args(["-v", &volume(":idmap"), "sh", "-c", script]).assert();
        if crate::expect::complaint(&mapped).contains("cannot map ids") {
            suite::skip("the kernel's tmpfs cannot map ids (before 6.3)");
        }
        mapped.success().stdout("0\n0\n");
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::metadata(source.join("new")).expect("the file").uid(), 0, "on the disk it is root's");
        refused(run(host, &["-v", &volume(":idmap"), "true"]).assert(), 125, &["idmap", "no user namespace"]);
    });
}

#[test]
fn links_where_files_and_volumes_go_do_not_lead_out() {
    host(|host| {
        let outside = host.work().join("outside");
        fs::create_dir(&outside).expect("make a directory");
        let canary = outside.join("canary");
        fs::write(&canary, "alive\n").expect("write a file");
        let source = host.work().join("source");
        fs::create_dir(&source).expect("make a directory");
        fs::write(source.join("file"), "mine\n").expect("write a file");
        // What the image has where the volume goes: absolute, upwards, dangling, round in circles, a FIFO.
        let hostile = [
            ("absolute", outside.display().to_string()),
            ("upwards", "../../../../../../../../../../..".to_owned() + &outside.display().to_string()),
            ("to-a-file", canary.display().to_string()),
            ("dangling", outside.join("new").display().to_string()),
            ("circle", "circle".to_owned()),
        ];
        for (name, target) in &hostile {
            let root = host.rootfs(&format!("root-{name}"));
            std::os::unix::fs::symlink(target, root.join("data")).expect("make a link");
            for volume in [format!("{}:/data", source.display()), format!("{}:/data", source.join("file").display())] {
                let words = ["-v", &volume, "sh", "-c", "cat /data /data/file 2>/dev/null; echo x > /data; true"];
                let _either = host.chapter(3, ["run", "--rootfs"]).arg(&root).args(words).assert();
            }
            let _either = host.chapter(3, ["run", "--rootfs"]).arg(&root).args(["-w", "/data/work", "true"]).assert();
            let _either = host.chapter(3, ["run", "--rootfs"]).arg(&root).args(["--tmpfs", "/data", "true"]).assert();
            let device = ["--device", "/dev/null:/data/null", "true"];
            let _either = host.chapter(3, ["run", "--rootfs"]).arg(&root).args(device).assert();
            assert_eq!(fs::read_to_string(&canary).expect("the canary"), "alive\n", "{name}");
            assert_eq!(fs::read_dir(&outside).expect("the directory").count(), 1, "{name}");
            // What the volume itself holds was written to by its own name at most.
            fs::write(source.join("file"), "mine\n").expect("write a file");
        }
        let root = host.rootfs("root-fifo");
        host.tool("mkfifo", [root.join("data")]).assert().success();
        let file = format!("{}:/data", source.join("file").display());
        let words = ["-v", &file, "cat", "/data"];
        host.chapter(3, ["run", "--rootfs"]).arg(&root).args(words).assert().success().stdout("mine\n");
        let directory = format!("{}:/data", source.display());
        let words = ["-v", &directory, "true"];
        refused(host.chapter(3, ["run", "--rootfs"]).arg(&root).args(words).assert(), 125, &["/data", "directory"]);
    });
}

#[test]
fn what_lies_in_the_way_is_said() {
    host(|host| {
        let root = host.rootfs("rootfs");
        let source = host.work().join("source");
        fs::create_dir(&source).expect("make a directory");
        fs::write(source.join("file"), "").expect("write a file");
        let directory = |to: &str| format!("{}:{to}", source.display());
        let file = |to: &str| format!("{}:{to}", source.join("file").display());
        refused(run(host, &["-v", &directory("/etc/passwd"), "true"]).assert(), 125, &["/etc/passwd", "directory"]);
        refused(run(host, &["-v", &file("/etc"), "true"]).assert(), 125, &["/etc", "file"]);
        refused(run(host, &["-w", "/etc/passwd", "true"]).assert(), 125, &["working directory", "/etc/passwd"]);
        for name in ["proc", "dev", "sys"] {
            fs::remove_dir(root.join(name)).expect("remove the directory");
            fs::write(root.join(name), "").expect("write a file");
            refused(run(host, &["true"]).assert(), 125, &[&format!("/{name}")]);
            fs::remove_file(root.join(name)).expect("remove the file");
            fs::create_dir(root.join(name)).expect("make the directory");
        }
    });
}

#[test]
fn nothing_covers_proc() {
    host(|host| {
        let root = host.rootfs("rootfs");
        let source = host.work().join("source");
        fs::create_dir_all(source.join("self/attr")).expect("make directories");
        fs::write(source.join("file"), "mine\n").expect("write a file");
        for place in ["/proc", "/proc/self", "/proc/../proc/self/attr", "/proc/sys/kernel", "/proc/1/status"] {
            let volume = format!("{}:{place}", source.display());
            refused(run(host, &["-v", &volume, "true"]).assert(), 125, &["/proc"]);
            refused(run(host, &["--tmpfs", place, "true"]).assert(), 125, &["/proc"]);
        }
        // By way of a link in the image as well (CVE-2019-16884).
        std::os::unix::fs::symlink("/proc/self", root.join("data")).expect("make a link");
        let volume = format!("{}:/data/attr", source.display());
        refused(run(host, &["-v", &volume, "true"]).assert(), 125, &["/data/attr"]);
        // What lxcfs and its like replace may be.
        let volume = format!("{}:/proc/meminfo", source.join("file").display());
        run(host, &["-v", &volume, "cat", "/proc/meminfo"]).assert().success().stdout("mine\n");
    });
}

#[test]
fn contradictions_and_slips_are_refused() {
    host(|host| {
        let said = |args: &[&str]| crate::expect::complaint(&run(host, args).arg("true").assert().code(125));
        for (args, word) in [
            (&["-v", "/srv:/data:ro,rw"][..], "contradict"),
            (&["-v", "/srv:/data:rsalve"], "did you mean rslave?"),
            (&["-v", "srv/x:/data"], "./srv/x"),
            (&["-v", "/srv:data"], "absolute"),
            (&["-v", "/srv:/"], "must not be /"),
            (&["-v", "/srv:/data", "-v", "/srv:/data/"], "Duplicate mount point: /data"),
            (&["-v", "/srv:/data", "--tmpfs", "/data"], "Duplicate mount point: /data"),
            (&["--mount", "type=bind,sorce=/srv,dst=/data"], "did you mean source?"),
            (&["--mount", "type=bind,src=/srv,dst=/data,tmpfs-size=1m"], "cannot mix"),
            (&["--mount", "type=bind,src=/no/such,dst=/data"], "does not exist: /no/such"),
            (&["--mount", "type=bind,src=srv,dst=/data"], "absolute"),
            (&["--tmpfs", "/data:szie=1m"], "did you mean size?"),
            (&["--device", "/no/such/device"], "/no/such/device"),
            (&["--device", "/etc/passwd"], "/etc/passwd"),
            (&["--device", "/dev/null:/x:rwx"], "rwx"),
            (&["-w", "etc"], "absolute"),
            (&["-v", "db:/data"], "engine"),
        ] {
            let said = said(args);
            assert!(said.contains(word), "{args:?}: {word:?} is not in: {said}");
            assert!(!said.contains("panicked"), "{said}");
        }
    });
}

#[test]
fn an_ordinary_user_mounts_what_it_may() {
    host(|host| {
        crate::ch01::user_namespaces_or_skip(host);
        let root = host.rootfs("mine");
        let source = host.work().join("source");
        fs::create_dir(&source).expect("make a directory");
        host.tool("chown", ["-R", "1000:1000"]).args([&root, &source]).assert().success();
        let secret = host.work().join("secret");
        fs::create_dir_all(secret.join("below")).expect("make directories");
        host.tool("chmod", ["700"]).arg(&secret).assert().success();
        let run = |args: &[&str]| {
            let mut command = host.as_user("ch03", ["run", "--rootfs"]);
            command.arg(&root).args(args);
            command
        };
        let volume = |mode: &str| format!("{}:/data{mode}", source.display());
        run(&["-v", &volume(""), "sh", "-c", "echo mine > /data/file; stat -c %u /data/file"])
            .assert()
            .success()
            .stdout("0\n");
        run(&[
            "-v",
            &volume(":ro"),
            "--tmpfs",
            "/run:size=1m",
            "--read-only",
            "sh",
            "-c",
            "echo x > /run/x && echo x > /data/x",
        ])
        .assert()
        .failure()
        .stderr(predicate::str::contains("/data/x: Read-only file system"));
        run(&["--device", "/dev/null:/dev/nothing", "sh", "-c", "echo gone > /dev/nothing"]).assert().success();
        let closed = format!("{}:/data", secret.join("below").display());
        refused(run(&["-v", &closed, "true"]).assert(), 125, &["secret", "Permission denied"]);
        refused(run(&["-v", &volume(":idmap"), "true"]).assert(), 125, &["idmap", "root"]);
        refused(run(&["--device", "/dev/null:/dev/nothing:r", "true"]).assert(), 125, &["device cgroup"]);
    });
}
