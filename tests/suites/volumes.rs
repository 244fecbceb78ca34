//! Volumes of the engine: what outlives a container, and what goes with it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use predicates::prelude::*;
use serde_json::{Value, json};
use suite::container::stopped_at;
use suite::image::{Image, concatenate, tar_entry, tar_of};
use suite::process::kill9;
use suite::{Background, Host, host};

use crate::expect::{complaint, refused, text};

/// `minidocker run --rm --network none ARGS… suite sh -c SCRIPT`.
fn run(host: &Host, args: &[&str], script: &str) -> assert_cmd::Command {
    run_image(host, args, "suite", script)
}

fn run_image(host: &Host, args: &[&str], image: &str, script: &str) -> assert_cmd::Command {
    let mut command = host.with_image(["run", "--rm", "--network", "none"]);
    command.args(args).args([image, "sh", "-c", script]);
    command
}

/// Loads the image `filled`: the system with a `/data` of everything that a directory can hold.
fn load_filled(host: &Host, change: impl FnOnce(&std::path::Path)) {
    let layer = host.work().join("filled-layer");
    fs::create_dir_all(layer.join("data/deep")).expect("make directories");
    fs::write(layer.join("data/file"), "from the image\n").expect("write a file");
    symlink("/etc/passwd", layer.join("data/link")).expect("link");
    host.tool("mkfifo", ["-m", "620"]).arg(layer.join("data/fifo")).assert().success();
    host.tool("chown", ["-h", "1234:4321"])
        .arg(layer.join("data/link"))
        .arg(layer.join("data/file"))
        .assert()
        .success();
    fs::set_permissions(layer.join("data/file"), fs::Permissions::from_mode(0o4640)).expect("set a mode");
    fs::set_permissions(layer.join("data/deep"), fs::Permissions::from_mode(0o1711)).expect("set a mode");
    fs::set_permissions(layer.join("data"), fs::Permissions::from_mode(0o2775)).expect("set a mode");
    host.tool("chown", ["1234:4321"]).arg(layer.join("data")).assert().success();
    fs::set_permissions(layer.join("data"), fs::Permissions::from_mode(0o2775)).expect("set a mode");
    host.tool("touch", ["-d", "2001-02-03 04:05:06"])
        .args([layer.join("data/file"), layer.join("data")])
        .assert()
        .success();
    change(&layer);
    let link = tar_entry(tar::EntryType::Link, "data/deep/other", "data/file", b"");
    let image = Image::system(host).layer(concatenate(&[tar_of(&layer), link])).set("Volumes", json!({ "/data": {} }));
    let archive = host.work().join("filled.tar");
    image.archive(&archive, "filled:latest");
    host.minidocker(["load", "-i"]).arg(archive).assert().success();
}

fn data(host: &Host, volume: &str) -> PathBuf {
    host.root().join("volumes").join(volume).join("_data")
}

fn volumes(host: &Host) -> Vec<String> {
    let said = text(&host.minidocker(["volume", "ls", "-q"]).assert().success());
    said.lines().map(str::to_owned).collect()
}

#[test]
fn a_named_volume_outlives_its_containers() {
    host(|host| {
        run(host, &["-v", "db:/data"], "echo kept > /data/file").assert().success();
        run(host, &["--mount", "src=db,dst=/elsewhere,ro"], "cat /elsewhere/file; echo x > /elsewhere/file")
            .assert()
            .failure()
            .stdout("kept\n")
            .stderr(predicate::str::contains("Read-only"));
        assert_eq!(volumes(host), ["db"]);
        assert_eq!(fs::read_to_string(data(host, "db").join("file")).expect("the file"), "kept\n");
        // Nobody but root gets there from outside.
        let mut look = Command::new("ls");
        look.arg(data(host, "db")).uid(1000).gid(1000);
        assert_cmd::Command::from_std(look).assert().failure().stderr(predicate::str::contains("Permission denied"));
        assert_eq!(fs::metadata(host.root()).expect("ROOT").mode() & 0o007, 0o005, "the harness' own ROOT");
        assert_eq!(fs::metadata(host.root().join("volumes")).expect("volumes").mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(host.root().join("volumes/db")).expect("db").mode() & 0o777, 0o701);
    });
}

#[test]
fn a_volume_without_a_name_goes_with_its_container() {
    host(|host| {
        run(host, &["-v", "/data"], "echo x > /data/file").assert().success();
        assert!(volumes(host).is_empty(), "--rm takes it along");
        for (remove, stays) in [(&["rm", "box"][..], 1), (&["rm", "-v", "box"], 1), (&["rm", "-fv", "box"], 1)] {
            let make =
                ["create", "--name", "box", "--network", "none", "-v", "/data", "-v", "named:/named", "suite", "true"];
            host.minidocker(make).assert().success();
            let before = volumes(host).len();
            host.minidocker(remove).assert().success();
            let left = volumes(host);
            assert!(left.contains(&"named".to_owned()), "{remove:?}: {left:?}");
            assert_eq!(
                left.len(),
                if remove.contains(&"rm") && remove.len() == 2 { before } else { before - 1 },
                "{remove:?}"
            );
            assert!(left.len() > stays - 1);
        }
        let prune = text(&host.minidocker(["volume", "prune", "-f"]).assert().success());
        assert!(prune.starts_with("Deleted Volumes:\n") && prune.contains("\n\nTotal reclaimed space: "), "{prune}");
        assert_eq!(volumes(host), ["named"]);
    });
}

#[test]
fn the_images_volumes_are_made_and_filled() {
    host(|host| {
        load_filled(host, |_| {});
        let script = "cat /data/file; grep ' /data ' /proc/self/mountinfo | grep -c volumes";
        run_image(host, &[], "filled", script).assert().success().stdout("from the image\n1\n");
        assert!(volumes(host).is_empty());
        // What is mounted there already is what the user wants.
        run_image(host, &["-v", "mine:/data"], "filled", "true").assert().success();
        assert_eq!(volumes(host), ["mine"]);
        run_image(host, &["--tmpfs", "/data"], "filled", "ls /data").assert().success().stdout("");
        assert_eq!(volumes(host), ["mine"]);
    });
}

#[test]
fn an_empty_volume_gets_all_that_the_image_has_there() {
    host(|host| {
        load_filled(host, |_| {});
        let look = "cd /data && stat -c '%n %f %u:%g %Y %h' . file deep deep/other link fifo; readlink link; cat deep/other; \
                    test file -ef deep/other && echo one file";
        let in_image = run_image(host, &["-v", "unused:/unused", "--mount", "src=copy,dst=/copy"], "filled", look);
        let as_image = text(&{ in_image }.assert().success());
        let as_copied = text(&run_image(host, &["-v", "db:/data"], "filled", look).assert().success());
        // By way of the image's own volume and of a named one it is the same, and as it was made.
        assert_eq!(as_copied, as_image);
        for word in [
            ". 45fd 1234:4321",
            "file 89a0 1234:4321 981173106 2",
            "deep 43c9 0:0",
            "link a1ff 1234:4321",
            "fifo 1190 0:0",
        ] {
            assert!(as_copied.lines().any(|line| line.starts_with(word)), "{word} is not in\n{as_copied}");
        }
        assert!(as_copied.ends_with("/etc/passwd\nfrom the image\none file"), "{as_copied}");
        assert_eq!(fs::metadata(data(host, "db")).expect("the volume").mtime(), 981_173_106);
        // Once: what is in it now is the user's.
        fs::remove_file(data(host, "db").join("file")).expect("remove a file");
        run_image(host, &["-v", "db:/data"], "filled", "ls /data").assert().success().stdout("deep\nfifo\nlink\n");
        assert!(!host.root().join("volumes/db/filling").exists());
    });
}

#[test]
fn what_is_not_to_be_copied_is_not() {
    host(|host| {
        load_filled(host, |_| {});
        run_image(host, &["-v", "aa:/data:nocopy"], "filled", "ls /data").assert().success().stdout("");
        run_image(host, &["--mount", "src=bb,dst=/data,volume-nocopy"], "filled", "ls /data")
            .assert()
            .success()
            .stdout("");
        let source = host.work().join("source");
        fs::create_dir(&source).expect("make a directory");
        run_image(host, &["-v", &format!("{}:/data", source.display())], "filled", "ls /data")
            .assert()
            .success()
            .stdout("");
        // A volume with something in it stays as it is.
        run_image(host, &["-v", "cc:/other"], "filled", "echo mine > /other/file").assert().success();
        run_image(host, &["-v", "cc:/data"], "filled", "ls /data; cat /data/file")
            .assert()
            .success()
            .stdout("file\nmine\n");
        // Emptied on purpose, a volume is not filled again for the container that was.
        host.minidocker([
            "create",
            "--name",
            "box",
            "--network",
            "none",
            "-v",
            "dd:/data",
            "filled",
            "sh",
            "-c",
            "ls /data | wc -l; rm -rf /data/*",
        ])
        .assert()
        .success();
        for expected in ["4\n", "0\n"] {
            host.minidocker(["start", "-a", "box"]).assert().success().stdout(expected);
        }
        host.minidocker(["rm", "-v", "box"]).assert().success();
    });
}

#[test]
fn a_read_only_volume_is_filled_as_well() {
    host(|host| {
        load_filled(host, |_| {});
        run_image(host, &["-v", "db:/data:ro"], "filled", "cat /data/file; echo x > /data/x")
            .assert()
            .failure()
            .stdout("from the image\n");
    });
}

#[test]
fn links_in_the_image_do_not_lead_a_copy_out() {
    host(|host| {
        let outside = host.work().join("outside");
        fs::create_dir(&outside).expect("make a directory");
        fs::write(outside.join("secret"), "secret\n").expect("write a file");
        load_filled(host, |layer| {
            symlink(&outside, layer.join("absolute")).expect("link");
            symlink(format!("../../../../../../../../{}", outside.display()), layer.join("upwards")).expect("link");
            symlink("/data", layer.join("inner")).expect("link");
        });
        for link in ["absolute", "upwards"] {
            let wish = format!("{link}:/{link}");
            let said = text(&run_image(host, &["-v", &wish], "filled", &format!("ls -R /{link}")).assert());
            assert!(!said.contains("secret"), "{link}: {said}");
            assert!(!data(host, link).join("secret").exists(), "{link}");
        }
        run_image(host, &["-v", "inner:/inner"], "filled", "cat /data/file; cat /inner/file")
            .assert()
            .success()
            .stdout("from the image\nfrom the image\n");
        assert_eq!(fs::read_dir(&outside).expect("the directory").count(), 1);
        assert_eq!(fs::read_to_string(outside.join("secret")).expect("the file"), "secret\n");
        // A link among the files is copied as a link.
        assert_eq!(fs::read_link(data(host, "inner").join("link")).expect("a link"), PathBuf::from("/etc/passwd"));
    });
}

#[test]
fn volumes_within_volumes_and_files_as_volumes() {
    host(|host| {
        let file = host.work().join("file");
        fs::write(&file, "a file\n").expect("write a file");
        let file = format!("{}:/outer/inner/file", file.display());
        // Given in the wrong order on purpose.
        run(
            host,
            &["-v", &file, "-v", "inner:/outer/inner", "-v", "outer:/outer"],
            "cat /outer/inner/file; echo x > /outer/inner/x; echo y > /outer/y",
        )
        .assert()
        .success()
        .stdout("a file\n");
        assert_eq!(fs::read_to_string(data(host, "inner").join("x")).expect("the file"), "x\n");
        assert_eq!(fs::read_to_string(data(host, "outer").join("y")).expect("the file"), "y\n");
        assert!(!data(host, "outer").join("inner/x").exists());
    });
}

#[test]
fn volumes_from_another_container() {
    host(|host| {
        let source = host.work().join("source");
        fs::create_dir(&source).expect("make a directory");
        host.load_image();
        let bind = format!("{}:/bind", source.display());
        host.minidocker([
            "run",
            "--name",
            "first",
            "--network",
            "none",
            "-v",
            "named:/named",
            "-v",
            "/own",
            "-v",
            &bind,
        ])
        .args(["suite", "sh", "-c", "echo own > /own/file; echo named > /named/file; echo bind > /bind/file"])
        .assert()
        .success();
        let all = "cat /own/file /named/file /bind/file";
        run(host, &["--volumes-from", "first"], all).assert().success().stdout("own\nnamed\nbind\n");
        let said = run(
            host,
            &["--volumes-from", "first:ro"],
            &format!("{all}; echo x > /own/x; echo x > /named/x; echo x > /bind/x; true"),
        );
        { said }.assert().success().stderr(predicate::str::contains("Read-only").count(3));
        // The command line wins.
        run(host, &["--volumes-from", "first", "-v", "other:/own"], "ls /own").assert().success().stdout("");
        // Its own volume goes with the last who has it.
        host.minidocker(["create", "--name", "second", "--network", "none", "--volumes-from", "first", "suite", all])
            .assert()
            .success();
        host.minidocker(["rm", "-v", "first"]).assert().success();
        assert_eq!(volumes(host).len(), 3, "{:?}", volumes(host));
        host.minidocker(["rm", "-v", "second"]).assert().success();
        refused(run(host, &["--volumes-from", "nobody"], "true").assert(), 125, &["nobody"]);
        let said = complaint(&run(host, &["--volumes-from", "x:wr"], "true").assert().code(125));
        assert!(said.contains("invalid mode"), "{said}");
    });
}

#[test]
fn a_part_of_a_volume() {
    host(|host| {
        run(
            host,
            &["-v", "db:/data"],
            "mkdir -p /data/a/b; echo part > /data/a/b/file; ln -s /a /data/link; ln -s ../../.. /data/up",
        )
        .assert()
        .success();
        let part = |path: &str| format!("src=db,dst=/part,volume-subpath={path}");
        run(host, &["--mount", &part("a/b")], "cat /part/file").assert().success().stdout("part\n");
        run(host, &["--mount", &part("link/b")], "cat /part/file").assert().success().stdout("part\n");
        run(host, &["--mount", &part("up")], "ls /part").assert().success().stdout("a\nlink\nup\n");
        refused(run(host, &["--mount", &part("missing")], "true").assert(), 125, &["missing", "db"]);
    });
}

#[test]
fn volumes_by_hand() {
    host(|host| {
        let minidocker = |args: &[&str]| host.minidocker(args).assert();
        // No part of the name is among hex digits, of which the other one's name is made: a filter for it finds one.
        minidocker(&["volume", "create", "shop", "--label", "for=tests", "--label", "plain"])
            .success()
            .stdout("shop\n");
        minidocker(&["volume", "create", "shop"]).success().stdout("shop\n");
        let nameless = text(&minidocker(&["volume", "create"]).success());
        assert_eq!(nameless.len(), 64);
        minidocker(&["volume", "ls"])
            .success()
            .stdout(predicate::str::is_match("^DRIVER +VOLUME NAME\nlocal +[0-9a-f]{64}\nlocal +shop\n$|^DRIVER +VOLUME NAME\nlocal +shop\nlocal +[0-9a-f]{64}\n$").expect("a pattern"));
        for (filter, expected) in [
            ("name=s", vec!["shop"]),
            ("label=for=tests", vec!["shop"]),
            ("label=plain", vec!["shop"]),
            ("label=for=nothing", vec![]),
            ("label=com.docker.volume.anonymous", vec![nameless.as_str()]),
            ("dangling=false", vec![]),
            ("driver=other", vec![]),
        ] {
            let said = text(&minidocker(&["volume", "ls", "-q", "--filter", filter]).success());
            assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{filter}");
        }
        let inspected: Value =
            serde_json::from_str(&text(&minidocker(&["volume", "inspect", "shop"]).success())).expect("JSON");
        let shop = &inspected[0];
        assert_eq!(
            (&shop["Name"], &shop["Driver"], &shop["Scope"]),
            (&json!("shop"), &json!("local"), &json!("local"))
        );
        assert_eq!(shop["Labels"], json!({ "for": "tests", "plain": "" }));
        assert_eq!(shop["Mountpoint"], json!(data(host, "shop")));
        minidocker(&["volume", "inspect", "-f", "{{.Name}} {{.Driver}}", "shop"]).success().stdout("shop local\n");
        minidocker(&["volume", "ls", "--format", "{{.Name}}", "--filter", "name=shop"]).success().stdout("shop\n");
        refused(minidocker(&["volume", "inspect", "-f", "{{.Nmae}}", "shop"]), 1, &["Nmae"]);
        refused(minidocker(&["volume", "ls", "--filter", "nmae=x"]), 1, &["did you mean name?"]);
        refused(minidocker(&["volume", "rm", "nothing"]), 1, &["no such volume: nothing"]);
        minidocker(&["volume", "rm", "-f", "nothing"]).success();
        refused(minidocker(&["volume", "create", "-d", "nfs", "x1"]), 1, &["nfs", "local"]);
        refused(minidocker(&["volume", "create", "../x"]), 1, &["../x"]);
        refused(minidocker(&["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "x1"]), 1, &["--tmpfs"]);
        minidocker(&["volume", "rm", "shop", &nameless]).success().stdout(format!("shop\n{nameless}\n"));
        assert!(volumes(host).is_empty());
        minidocker(&["volume", "prune", "-f"]).success().stdout("Total reclaimed space: 0B\n");
    });
}

#[test]
fn a_volume_that_stands_for_a_directory() {
    host(|host| {
        let there = host.work().join("there");
        fs::create_dir(&there).expect("make a directory");
        let device = format!("device={}", there.display());
        host.minidocker(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, "there"])
            .assert()
            .success();
        run(host, &["-v", "there:/data"], "echo x > /data/file").assert().success();
        assert_eq!(fs::read_to_string(there.join("file")).expect("the file"), "x\n");
        host.minidocker(["volume", "rm", "there"]).assert().success();
        assert!(there.join("file").exists(), "the directory is the user's");
        refused(
            host.minidocker(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/no/such", "x1"])
                .assert(),
            1,
            &["/no/such"],
        );
    });
}

#[test]
fn a_volume_in_use_stays() {
    host(|host| {
        host.load_image();
        host.minidocker(["create", "--name", "box", "--network", "none", "-v", "db:/data", "suite", "true"])
            .assert()
            .success();
        refused(host.minidocker(["volume", "rm", "db"]).assert(), 1, &["remove db", "volume is in use"]);
        refused(host.minidocker(["volume", "rm", "-f", "db"]).assert(), 1, &["volume is in use"]);
        host.minidocker(["volume", "prune", "-af"]).assert().success();
        host.minidocker(["volume", "ls", "-qf", "dangling=false"]).assert().success().stdout("db\n");
        host.minidocker(["rm", "box"]).assert().success();
        host.minidocker(["volume", "ls", "-qf", "dangling=true"]).assert().success().stdout("db\n");
        host.minidocker(["volume", "prune", "-f"]).assert().success().stdout("Total reclaimed space: 0B\n");
        host.minidocker(["volume", "prune", "-af"])
            .assert()
            .success()
            .stdout(predicate::str::contains("Deleted Volumes:\ndb\n"));
    });
}

#[test]
fn a_volume_that_was_taken_away_is_said_in_one_sentence() {
    host(|host| {
        let source = host.work().join("source");
        fs::create_dir(&source).expect("make a directory");
        host.load_image();
        let mount = format!("type=bind,src={},dst=/data", source.display());
        host.minidocker(["create", "--name", "bound", "--network", "none", "--mount", &mount, "suite", "true"])
            .assert()
            .success();
        host.minidocker(["create", "--name", "kept", "--network", "none", "-v", "db:/data", "suite", "true"])
            .assert()
            .success();
        fs::remove_dir(&source).expect("remove the directory");
        fs::remove_dir_all(host.root().join("volumes/db")).expect("remove the volume behind the engine's back");
        refused(host.minidocker(["start", "bound"]).assert(), 1, &["cannot start bound", "does not exist", "source"]);
        refused(host.minidocker(["start", "kept"]).assert(), 1, &["cannot start kept", "the volume db is gone"]);
        fs::create_dir(&source).expect("make a directory");
        host.minidocker(["start", "-a", "bound"]).assert().success();
        // With -v a missing directory is made, as in Docker, at each start.
        let volume = format!("{}/made:/data", source.display());
        run(host, &["-v", &volume], "touch /data/x").assert().success();
        assert!(source.join("made/x").exists());
        host.minidocker(["rm", "bound", "kept"]).assert().success();
    });
}

#[test]
fn what_fails_leaves_no_volume() {
    host(|host| {
        host.load_image();
        host.minidocker(["create", "--name", "taken", "--network", "none", "suite", "true"]).assert().success();
        refused(run(host, &["--name", "taken", "-v", "/data", "-v", "db:/db"], "true").assert(), 125, &["taken"]);
        refused(run(host, &["-v", "/data", "-v", "db:/data"], "true").assert(), 125, &["Duplicate mount point: /data"]);
        refused(run(host, &["-v", "/data", "-v", "/x:/proc/self"], "true").assert(), 125, &["/proc/self"]);
        let missing = host.work().join("missing");
        let there = host.work().join("not missing");
        fs::write(&there, "").expect("write a file");
        for wish in [
            ["--cidfile".to_owned(), there.display().to_string()],
            ["--mount".to_owned(), format!("type=bind,src={},dst=/data", missing.display())],
            ["--device".to_owned(), missing.display().to_string()],
            ["-v".to_owned(), format!("{}:/data:rshared", host.work().display())],
            ["--volumes-from".to_owned(), "missing".to_owned()],
        ] {
            let words = ["run", "--network", "none", "-v", "/own", &wish[0], &wish[1], "suite", "true"];
            refused(host.minidocker(words).assert(), 125, &[if wish[0] == "-v" { "not a shared" } else { "missing" }]);
            let left = text(&host.minidocker(["ps", "-aq"]).assert().success());
            assert_eq!(left.lines().count(), 1, "{wish:?} leaves no container");
        }
        assert!(volumes(host).is_empty(), "{:?}", volumes(host));
        run(host, &["-v", "/data"], "exit 3").assert().code(3);
        host.minidocker(["run", "--rm", "--network", "none", "-v", "/data", "suite", "no-such-command"])
            .assert()
            .code(127);
        assert!(volumes(host).is_empty(), "{:?}", volumes(host));
        let tmp = fs::read_dir(host.root().join("tmp")).expect("tmp").flatten().map(|entry| entry.file_name());
        let left: Vec<_> = tmp.filter(|name| name != "images").collect(); // the image store's own
        assert!(left.is_empty(), "{left:?}");
        host.minidocker(["rm", "taken"]).assert().success();
    });
}

#[test]
fn two_who_want_a_volume_at_once_get_the_same() {
    host(|host| {
        load_filled(host, |layer| {
            for number in 0..200 {
                fs::write(layer.join("data").join(format!("n{number}")), "x").expect("write a file");
            }
        });
        for round in 0..3 {
            let volume = format!("db{round}:/data");
            let start = || {
                let mut command = Command::new(host.bin("minidocker"));
                command.args(["run", "--rm", "--network", "none", "-v", &volume, "filled"]);
                command.args(["sh", "-c", "ls /data | wc -l; cat /data/file"]);
                Background::start(command)
            };
            let all: Vec<Background> = (0..4).map(|_| start()).collect();
            for one in all {
                let (status, said) = one.wait();
                assert!(status.success() && said == "204\nfrom the image", "{said}");
            }
        }
    });
}

#[test]
fn removing_a_volume_while_it_is_taken_into_use() {
    host(|host| {
        host.load_image();
        for round in 0..10 {
            host.minidocker(["volume", "create", "db"]).assert().success();
            let name = format!("box{round}");
            let mut command = Command::new(host.bin("minidocker"));
            command.args([
                "run",
                "--name",
                &name,
                "--network",
                "none",
                "-v",
                "db:/data",
                "suite",
                "sh",
                "-c",
                "echo x > /data/file",
            ]);
            let running = Background::start(command);
            let _either = host.minidocker(["volume", "rm", "db"]).assert();
            let (status, said) = running.wait();
            // Whoever came first: the container has a volume, and it is there as long as the container is.
            assert!(status.success(), "{said}");
            assert!(data(host, "db").join("file").exists());
            refused(host.minidocker(["volume", "rm", "db"]).assert(), 1, &["in use"]);
            host.minidocker(["rm", &name]).assert().success();
            host.minidocker(["volume", "rm", "db"]).assert().success();
        }
    });
}

#[test]
fn a_kill_in_the_middle_of_a_copy_leaves_nothing_half_full() {
    host(|host| {
        load_filled(host, |_| {});
        for step in ["fill-begin", "fill-part", "fill-whole", "fill-moving"] {
            let run = ["run", "--name", "box", "--network", "none", "-v", "db:/data", "filled", "true"];
            let (running, pid) = stopped_at(host, step, run);
            kill9(pid);
            drop(running);
            // Another container finds the volume full, whatever was in it when the first one died.
            run_image(host, &["-v", "db:/data"], "filled", "ls /data; cat /data/deep/other; stat -c %a /data")
                .assert()
                .success()
                .stdout("deep\nfifo\nfile\nlink\nfrom the image\n2775\n");
            assert!(!host.root().join("volumes/db/filling").exists(), "{step}");
            suite::eventually("the first one is over", || {
                host.minidocker(["rm", "-f", "box"]).assert().get_output().status.success()
            });
            host.minidocker(["volume", "rm", "db"]).assert().success();
        }
    });
}

#[test]
fn what_another_wrote_meanwhile_stays() {
    host(|host| {
        load_filled(host, |_| {});
        let run = ["run", "--rm", "--name", "box", "--network", "none", "-v", "db:/data", "filled", "true"];
        let (running, pid) = stopped_at(host, "fill-whole", run);
        // One that copies nothing does not wait.
        run_image(host, &["-v", "db:/data:nocopy"], "filled", "echo mine > /data/file").assert().success();
        kill9(pid);
        let _ = running.wait();
        run_image(host, &["-v", "db:/data"], "filled", "cat /data/file; ls /data/deep")
            .assert()
            .success()
            .stdout("mine\nother\n");
    });
}

#[test]
fn files_of_the_engine_are_bound_safely() {
    host(|host| {
        let outside = host.work().join("outside");
        fs::create_dir(&outside).expect("make a directory");
        fs::write(outside.join("canary"), "alive\n").expect("write a file");
        let hostile = host.work().join("hostile");
        fs::create_dir_all(hostile.join("etc")).expect("make directories");
        symlink(outside.join("canary"), hostile.join("etc/hosts")).expect("link");
        symlink(format!("../../../../../..{}", outside.join("new").display()), hostile.join("etc/resolv.conf"))
            .expect("link");
        host.tool("mkfifo", [hostile.join("etc/hostname")]).assert().success();
        Image::system(host).layer(tar_of(&hostile)).archive(&host.work().join("hostile.tar"), "hostile:latest");
        host.minidocker(["load", "-i"]).arg(host.work().join("hostile.tar")).assert().success();
        host.minidocker(["run", "--rm", "--network", "none", "-h", "box", "hostile"])
            .args([
                "sh",
                "-c",
                "cat /etc/hostname; grep -c localhost /etc/hosts; echo mine >> /etc/hosts; tail -1 /etc/hosts",
            ])
            .assert()
            .success()
            .stdout(predicate::str::starts_with("box\n").and(predicate::str::ends_with("mine\n")));
        assert_eq!(fs::read_to_string(outside.join("canary")).expect("the canary"), "alive\n");
        assert_eq!(fs::read_dir(&outside).expect("the directory").count(), 1);
        // Directories where the files go: one sentence.
        let wrong = host.work().join("wrong");
        fs::create_dir_all(wrong.join("etc/hosts")).expect("make directories");
        Image::system(host).layer(tar_of(&wrong)).archive(&host.work().join("wrong.tar"), "wrong:latest");
        host.minidocker(["load", "-i"]).arg(host.work().join("wrong.tar")).assert().success();
        refused(
            host.minidocker(["run", "--rm", "--network", "none", "wrong", "true"]).assert(),
            125,
            &["/etc/hosts", "directory"],
        );
    });
}

#[test]
fn a_read_only_root_has_dockers_holes() {
    host(|host| {
        let script = "for f in /x /etc/x /etc/hosts /etc/hostname /etc/resolv.conf /sys/x; do (echo x > $f) 2>/dev/null && echo wrote $f; done; \
                      for f in /dev/x /dev/shm/x /data/x /run/x; do (echo x > $f) 2>/dev/null || echo cannot write $f; done; true";
        run(host, &["--read-only", "-v", "db:/data", "--tmpfs", "/run"], script).assert().success().stdout("");
        run(host, &[], "echo '1.2.3.4 x' >> /etc/hosts && echo wrote").assert().success().stdout("wrote\n");
    });
}

#[test]
fn a_terminal_is_the_console() {
    host(|host| {
        host.load_image();
        let mut terminal = suite::Terminal::start({
            let mut command = Command::new(host.bin("minidocker"));
            let script = "test -c /dev/console && echo by way of it > /dev/console; grep -c ' /dev/console ' /proc/self/mountinfo";
            command.args(["run", "--rm", "-t", "--network", "none", "suite", "sh", "-c", script]);
            command
        });
        terminal.wait_for("by way of it");
        let (status, said) = terminal.wait();
        assert!(status.success() && said.trim() == "1", "{said:?}");
        run(host, &[], "test -e /dev/console || echo none").assert().success().stdout("none\n");
    });
}

#[test]
fn devices_open_and_others_do_not() {
    host(|host| {
        if fs::File::open("/dev/loop-control").is_err() {
            suite::skip("needs /dev/loop-control, which cannot be opened here");
        }
        let open = "mknod /tmp/d c 10 237 2>/dev/null; for d in /dev/loop-control /tmp/d; do (: < $d) 2>/dev/null && echo opens $d; done; true";
        run(host, &[], open).assert().success().stdout("");
        run(host, &["--device", "/dev/loop-control"], open)
            .assert()
            .success()
            .stdout("opens /dev/loop-control\nopens /tmp/d\n");
        run(
            host,
            &["--device", "/dev/loop-control:/dev/x:r"],
            "(: < /dev/x) && echo reads; (: > /dev/x) 2>/dev/null || echo only",
        )
        .assert()
        .success()
        .stdout("reads\nonly\n");
        run(host, &["--privileged"], "test -c /dev/loop-control && : < /dev/loop-control && echo all")
            .assert()
            .success()
            .stdout("all\n");
        refused(run(host, &["--device", "/no/such"], "true").assert(), 125, &["/no/such"]);
        assert!(volumes(host).is_empty());
    });
}

#[test]
fn inspect_tells_of_volumes_as_docker_does() {
    host(|host| {
        host.load_image();
        let source = host.work().join("source");
        fs::create_dir(&source).expect("make a directory");
        let bind = format!("{}:/bind:ro,rslave", source.display());
        host.tool("mount", ["--make-rshared", "/"]).assert().success();
        host.minidocker([
            "create",
            "--name",
            "box",
            "--network",
            "none",
            "-v",
            "db:/db",
            "-v",
            "/own",
            "-v",
            &bind,
            "--tmpfs",
            "/run:size=1m,exec",
            "suite",
            "true",
        ])
        .assert()
        .success();
        host.tool("mount", ["--make-rprivate", "/"]).assert().success();
        let inspected: Value =
            serde_json::from_str(&text(&host.minidocker(["inspect", "box"]).assert().success())).expect("JSON");
        let mounts = inspected[0]["Mounts"].as_array().expect("mounts");
        let at = |place: &str| mounts.iter().find(|mount| mount["Destination"] == place).expect("a mount there");
        assert_eq!(mounts.len(), 3, "{mounts:#?}");
        assert_eq!(
            (&at("/db")["Type"], &at("/db")["Name"], &at("/db")["RW"]),
            (&json!("volume"), &json!("db"), &json!(true))
        );
        assert_eq!(at("/db")["Source"], json!(data(host, "db")));
        assert_eq!(at("/own")["Type"], json!("volume"));
        let bind = at("/bind");
        assert_eq!(
            (&bind["Type"], &bind["RW"], &bind["Propagation"]),
            (&json!("bind"), &json!(false), &json!("rslave"))
        );
        assert_eq!(bind["Mode"], json!("ro,rslave"));
        // What --tmpfs asked for is not among the mounts, as in Docker.
        assert_eq!(inspected[0]["HostConfig"]["Tmpfs"], json!({"/run": "size=1m,exec"}));
        host.minidocker(["rm", "-v", "box"]).assert().success();
    });
}

#[test]
fn an_ordinary_user_has_volumes_too() {
    host(|host| {
        crate::ch01::user_namespaces_or_skip(host);
        let user = |args: &[&str]| host.as_user("minidocker", args);
        let run = |args: &[&str], script: &str| {
            let mut command = user(&["run", "--rm", "--network", "none"]);
            command.args(args).args(["demo", "sh", "-c", script]);
            command
        };
        run(&["-v", "db:/data"], "echo kept > /data/file; chown 1:1 /data/file 2>/dev/null; mkdir /data/d; chown 1:1 /data/d 2>/dev/null; echo x > /data/d/x; true")
            .assert()
            .success();
        run(
            &["-v", "db:/data:ro", "--tmpfs", "/run", "--read-only"],
            "cat /data/file; echo x > /run/x; echo x > /data/x",
        )
        .assert()
        .failure()
        .stdout("kept\n");
        // What the image has there is copied, by whom it belongs to.
        run(&["-v", "etc:/etc"], "test -s /etc/passwd && stat -c %u /etc/passwd").assert().success().stdout("0\n");
        run(&["-v", "/own"], "echo x > /own/x").assert().success();
        user(&["volume", "ls", "-q"]).assert().success().stdout("db\netc\n");
        user(&["volume", "inspect", "db"]).assert().success();
        // Also what belongs to an id that the user itself is not.
        user(&["volume", "rm", "db", "etc"]).assert().success();
        user(&["volume", "ls", "-q"]).assert().success().stdout("");
    });
}

#[test]
fn an_ordinary_users_volume_gets_what_the_host_mounts_later() {
    host(|host| {
        crate::ch01::user_namespaces_or_skip(host);
        let source = host.work().join("source");
        fs::create_dir(&source).expect("make a directory");
        host.tool("mount", ["-t", "tmpfs", "source"]).arg(&source).assert().success();
        host.tool("mount", ["--make-shared"]).arg(&source).assert().success();
        fs::create_dir(source.join("later")).expect("make a directory");
        let volume = format!("{}:/data:rslave", source.display());
        let script = "echo ready; until test -e /data/later/file; do sleep 0.05; done; ls /data/later";
        let run = ["run", "--rm", "--network", "none", "-v", &volume, "demo", "sh", "-c", script];
        let mut inside = Background::start(host.user_command("minidocker", run));
        inside.wait_for("ready");
        host.tool("mount", ["-t", "tmpfs", "later"]).arg(source.join("later")).assert().success();
        fs::write(source.join("later/file"), "").expect("write a file");
        let (_, said) = inside.wait();
        assert!(said.ends_with("file"), "{said}");
        refused(
            host.as_user(
                "minidocker",
                ["run", "--rm", "--network", "none", "-v", &volume.replace("rslave", "rshared"), "demo", "true"],
            )
            .assert(),
            125,
            &["only root's containers can share"],
        );
        host.tool("umount", [source.join("later")]).assert().success();
        host.tool("umount", [&source]).assert().success();
    });
}

#[test]
fn in_a_user_namespace_a_volume_is_its_roots() {
    host(|host| {
        load_filled(host, |_| {});
        let look = "stat -c '%u:%g %f' /data /data/file; cat /data/deep/other; touch /data/new && stat -c %u /data/new";
        let private = run_image(host, &["--userns", "private", "-v", "db:/data"], "filled", look).assert();
        if complaint(&private).contains("cannot show its files under other owners") {
            suite::skip("the file system of the state directory cannot map ids (tmpfs before Linux 6.3)");
        }
        let said = text(&private.success());
        assert_eq!(said, "1234:4321 45fd\n1234:4321 89a0\nfrom the image\n0");
        let owner = |name: &str| fs::metadata(data(host, "db").join(name)).expect("the file").uid();
        assert_eq!((owner("file"), owner("new")), (1234, 0), "on the disk they are whose they are inside");
        // And so they are the same to a container without one, which has the rights to all.
        run_image(host, &["-v", "db:/data"], "filled", "stat -c %u /data/file /data/new")
            .assert()
            .success()
            .stdout("1234\n0\n");
    });
}
