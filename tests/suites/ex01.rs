//! The exercises of chapter 1. Each test belongs to one of them (`chapters/01-namespaces/exercises.toml`).
//!
//! A test needs what its own exercise makes and, where that is possible, nothing of the others': so most containers here
//! share the pid namespace, and most tests look at what is printed and not at the status.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use suite::exercise::{Exercise, Ran};
use suite::process::{children, state};
use suite::quiet::Standstill;
use suite::{Background, exercise};

/// No pid namespace of its own: that is exercise 1.3.
const AMONG_US: [&str; 2] = ["--pid", "host"];

/// [`AMONG_US`] and these.
fn among_us<'a>(options: &[&'a str]) -> Vec<&'a str> {
    AMONG_US.iter().chain(options).copied().collect()
}

/// The only child of a running program: the container's first process.
fn child_of(running: &Background) -> i32 {
    children(running.pid())[0]
}

/// The rows of a table, without what goes on and on in their last column.
fn rows_of(listed: &Ran) -> String {
    if listed.status != Some(0) || listed.printed().is_empty() {
        return listed.to_string();
    }
    let row = |line: &str| line.split_whitespace().take(7).collect::<Vec<_>>().join(" ");
    listed.printed().lines().map(row).collect::<Vec<_>>().join("\n")
}

/// How a program ended, also if it was well.
fn end_of(ran: &Ran) -> String {
    let well = if ran.status == Some(0) { ", and ended with 0" } else { "" };
    format!("{ran}{well}")
}

/// The value of a line of `payload facts`.
fn fact(facts: &str, key: &str) -> String {
    let line = facts.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.unwrap_or("?").to_owned()
}

/// What was seen of some lines of `payload facts`, or of an end without any.
fn facts_of(ran: &Ran, keys: &[&str]) -> String {
    if ran.printed().is_empty() {
        return ran.to_string();
    }
    facts(ran.printed(), keys)
}

/// Some lines of `payload facts`, in one.
fn facts(text: &str, keys: &[&str]) -> String {
    keys.iter().map(|key| format!("{key} {}", fact(text, key))).collect::<Vec<_>>().join(", ")
}

/// Some lines of `payload facts` in what a program said, and whether it ended; all of it, where they are not there.
fn facts_said(said: &str, keys: &[&str]) -> String {
    if keys.iter().any(|key| fact(said, key) == "?") {
        return if said.is_empty() { "it ended without a word".to_owned() } else { said.to_owned() };
    }
    let facts = facts(said, keys);
    if said.starts_with(ENDLESS) { format!("{facts}; and then it does not end") } else { facts }
}

/// What [`said_by`] puts before the words of a program that it had to kill.
const ENDLESS: &str = "it does not end";

/// All that a program has said when it ended; one that does not end is killed, and that is said too.
fn said_by(running: Background) -> String {
    let ended = || state(running.pid()) == 'Z';
    // Only with a wrong solution does everybody wait for somebody else, or somebody run for ever.
    let (mut standstill, deadline) = (Standstill::default(), Instant::now() + Duration::from_secs(60));
    while !ended() && !standstill.has_come() && Instant::now() < deadline {
        sleep(Duration::from_millis(5));
    }
    let hangs = !ended();
    if hangs {
        running.signal(Signal::SIGKILL);
    }
    let said = running.wait().1;
    if hangs { format!("{ENDLESS}, after it said: {said}") } else { said }
}

#[test]
fn the_exit_status_comes_back() {
    exercise("1.1", |it| {
        let ran = it.run(&AMONG_US, &["payload", "exit", "7"]);
        it.expects("a command that ends with 7 makes `run` end with 7")
            .observed(end_of(&ran))
            .means("the child's end was not waited for, or its status was not handed on")
            .holds(ran.status == Some(7));
    });
}

#[test]
fn a_death_by_a_signal_is_128_and_its_number() {
    exercise("1.1", |it| {
        let ran = it.run(&AMONG_US, &["payload", "raise", "KILL"]);
        it.expects("a command that is killed by SIGKILL, 9, makes `run` end with 137")
            .observed(end_of(&ran))
            .means("wait tells of an exit status or of a signal, never of both: the second was left out")
            .holds(ran.status == Some(137));
    });
}

#[test]
fn the_name_is_set_inside_and_stays_outside() {
    exercise("1.2", |it| {
        let outside = |it: &Exercise<'_>| it.payload(["facts"]).output().expect("look at the host's name").stdout;
        let before = outside(it);
        let inside = it.run(&among_us(&["--hostname", "box"]), &["hostname"]);
        it.expects("`hostname` inside prints box")
            .observed(&inside)
            .means("sethostname(2) was not called in the child, which alone is in the new namespace")
            .holds(inside.printed() == "box");
        let name = |facts: &[u8]| String::from_utf8_lossy(facts).lines().next().unwrap_or_default().to_owned();
        let after = outside(it);
        it.expects("the host keeps its own name")
            .observed(name(&after))
            .means("the name was set in the host's UTS namespace: before the clone, or in the parent")
            .holds(name(&before) == name(&after));
    });
}

#[test]
fn the_domain_name_is_set_inside() {
    exercise("1.2", |it| {
        let inside = it.run(&among_us(&["--domainname", "example"]), &["payload", "facts"]);
        it.expects("the NIS domain name inside is example")
            .observed(facts_of(&inside, &["hostname", "domainname"]))
            .means("a host has two names: setdomainname(2) sets the other one")
            .holds(fact(inside.printed(), "domainname") == "example");
    });
}

/// What leads to another process 1.
const STILL_THERE: &str = "the child was not born in a new pid namespace; and it cannot move there: whoever calls \
                           unshare(2) or setns(2) stays where it is, only its later children are born in the new one";

#[test]
fn the_process_is_number_one() {
    exercise("1.3", |it| {
        let ran = it.run(&[], &["payload", "facts"]);
        it.expects("inside, the command is process 1 and its parent is nobody, 0")
            .observed(facts_of(&ran, &["pid", "ppid"]))
            .means(STILL_THERE)
            .holds(fact(ran.printed(), "pid") == "1" && fact(ran.printed(), "ppid") == "0");
    });
}

#[test]
fn kill_all_does_not_reach_the_host() {
    exercise("1.3", |it| {
        let mut wait = Command::new(it.bin("payload"));
        wait.arg("wait");
        let mut bystander = Background::start(wait);
        bystander.wait_for("ready");
        // An attack only where it is shut in: this host would not survive it.
        let ran = it.run(&[], &["payload", "facts"]);
        it.expects("inside, the command is process 1")
            .observed(facts_of(&ran, &["pid"]))
            .means(STILL_THERE)
            .holds(fact(ran.printed(), "pid") == "1");
        let ran = it.run(&[], &["payload", "kill-all"]);
        it.expects("inside, `kill -9 -1` finds nobody to kill")
            .observed(&ran)
            .means("the command can name processes of the host")
            .holds(ran.printed() == "nobody else here");
        let alive = kill(Pid::from_raw(bystander.pid()), None).is_ok();
        it.expects("a process of the host survives `kill -9 -1` inside")
            .observed(if alive { "it lives" } else { "it is dead" })
            .means("the command was not in a pid namespace of its own")
            .holds(alive);
    });
}

#[test]
fn init_reaps_orphans() {
    exercise("1.4", |it| {
        let said = said_by(it.start(&["--init"], &["payload", "facts"]));
        it.expects("with --init, the command is the child of process 1, and when it ends so does process 1")
            .observed(facts_said(&said, &["pid", "ppid"]))
            .means("there is no init above it, or one that does not notice the end of its own payload")
            .holds(fact(&said, "ppid") == "1" && !said.starts_with(ENDLESS));
        // Chapter 3 mounts /proc by itself.
        let mount = if it.subject().has_root() { "" } else { "mount -t proc proc /proc; " };
        let script = format!("{mount}{} zombies 20", it.payload_path());
        let said = said_by(it.start(&["--init"], &["sh", "-c", &script]));
        let means = match said.is_empty() {
            true => "an orphan's end was taken for the command's: of all that are reaped, one is the payload",
            false => "one SIGCHLD may stand for several children: wait until there is nobody left to wait for",
        };
        it.expects("of twenty orphans that end, none is left as a zombie")
            .observed(if said.is_empty() { "it ended before the command had counted them" } else { &said })
            .means(means)
            .holds(said.lines().any(|line| line == "0 zombies"));
    });
}

#[test]
fn init_passes_sigterm_on() {
    exercise("1.5", |it| passes_on(it, Signal::SIGTERM));
}

#[test]
fn init_passes_other_signals_on() {
    exercise("1.5", |it| passes_on(it, Signal::SIGUSR1));
}

fn passes_on(it: &Exercise<'_>, signal: Signal) {
    let mut running = it.start(&among_us(&["--init"]), &["payload", "trap", "HUP", "USR1", "TERM"]);
    running.wait_for("ready");
    running.signal(signal);
    let said = said_by(running);
    let means = match said.contains("got ") {
        true => "init sent something else on: what came is in `number`",
        false => "init takes the signal out of its queue, and nobody else will send it to the command",
    };
    it.expects(&format!("{signal} to `run --init` reaches the command"))
        .observed(&said)
        .means(means)
        .holds(said.contains(&format!("got {signal}")));
}

#[test]
fn the_clock_is_ahead_inside() {
    exercise("1.6", |it| {
        let uptime = |text: &str| text.split('.').next().and_then(|seconds| seconds.parse::<u64>().ok());
        let outside = || uptime(&fs::read_to_string("/proc/uptime").expect("read /proc/uptime")).expect("a number");
        let before = outside();
        let ran = it.run(&among_us(&["--time-offset", "boottime=1000000"]), &["cat", "/proc/uptime"]);
        it.expects("inside, the machine has been up for 1000000 seconds longer")
            .observed(format!("outside {before} seconds; {ran}"))
            .means(
                "an offset counts from the first process on that is born there: write it after unshare, before clone",
            )
            .holds(uptime(ran.printed()).is_some_and(|inside| (1_000_000..1_000_900).contains(&(inside - before))));
        let after = outside();
        it.expects("outside, the clock goes on as before")
            .observed(format!("{before} seconds, then {after}"))
            .means("the offset was set for the host's own time namespace")
            .holds(after - before < 900);
    });
}

/// What leads to a map of groups that is refused, or to groups that can be left.
const DENY_FIRST: &str = "an ordinary user has to write deny to /proc/PID/setgroups before it may write gid_map";

#[test]
fn an_ordinary_user_is_root_inside_and_himself_outside() {
    exercise("1.7", |it| {
        let (inside, outside) = (it.home().join("inside"), it.home().join("outside"));
        let mut touch = Command::new("touch");
        touch.arg(&outside);
        let made = it.by_user(touch).status().expect("make a file as the user");
        assert!(made.success(), "the user can make a file at home");
        let maps = ["--uid-map", "0:1000:1", "--gid-map", "0:1000:1"];
        let script = format!("id -u; id -g; touch {}", inside.display());
        let ran = it.run_as_user(&among_us(&maps), &["sh", "-c", &script]);
        // The next test's mistake, and the most frequent one: this test meets it first.
        let means = match ran.said().contains("/gid_map: Operation not permitted") {
            true => DENY_FIRST,
            false => {
                "the child's uid_map or gid_map was not written; a line is INSIDE OUTSIDE COUNT, with your id outside"
            }
        };
        it.expects("inside, `id -u` and `id -g` print 0").observed(&ran).means(means).holds(ran.printed() == "0\n0");
        let owner = |path: &std::path::Path| fs::metadata(path).map(|metadata| (metadata.uid(), metadata.gid())).ok();
        it.expects("a file made by root inside belongs to the user outside")
            .observed(format!("{:?}; one that the user made belongs to {:?}", owner(&inside), owner(&outside)))
            .means("the ids outside, on the right of the map, are not the user's")
            .holds(owner(&inside).is_some() && owner(&inside) == owner(&outside));
    });
}

#[test]
fn an_ordinary_user_cannot_leave_a_group() {
    exercise("1.7", |it| {
        // In a virtual host that an ordinary user has made, it was denied on the way here: this shows nothing then.
        let maps = ["--uid-map", "0:1000:1", "--gid-map", "0:1000:1"];
        let ran = it.run_as_user(&among_us(&maps), &["cat", "/proc/self/setgroups"]);
        it.expects("inside, setgroups(2) is denied").observed(&ran).means(DENY_FIRST).holds(ran.printed() == "deny");
    });
}

#[test]
fn enter_sees_the_containers_world() {
    exercise("1.8", |it| {
        // Root inside names its world itself: the flag for it is another exercise.
        let script = format!("hostname deep; exec {} wait", it.payload_path());
        let mut running = it.start_program(&["run", "--share", "pid", "sh", "-c", &script]);
        running.wait_for("ready");
        let pid = child_of(&running).to_string();
        let entered = it.program(&["enter", &pid, "hostname"]);
        it.expects("`hostname`, entered into a container named deep, prints deep")
            .observed(&entered)
            .means("setns(2) was not called, or for other kinds, or by somebody who is not the command's parent")
            .holds(entered.printed() == "deep");
        let network = fs::read_link(format!("/proc/{pid}/ns/net")).expect("the container's network namespace");
        let entered = it.program(&["enter", &pid, "readlink", "/proc/self/ns/net"]);
        it.expects(&format!("it is in the container's network namespace too, {}", network.display()))
            .observed(&entered)
            .means("only some of the kinds were joined: their flags go into one number, for one call")
            .holds(entered.printed() == network.display().to_string());
        let entered = it.program(&["enter", &pid, "--only", "net", "hostname"]);
        it.expects("with `--only net`, `hostname` prints the host's name")
            .observed(&entered)
            .means("more than the kinds that were asked for were joined")
            .holds(entered.printed() == "virtual-host");
        running.signal(Signal::SIGTERM);
        running.wait();
    });
}

#[test]
fn list_tells_who_shares_what() {
    exercise("1.9", |it| {
        let wait = ["run", "--share", "pid,ipc", it.payload_path(), "wait"];
        let mut running = it.start_program(&wait);
        running.wait_for("ready");
        let pid = child_of(&running).to_string();
        let listed = it.program(&["list", "--type", "uts"]);
        let rows: Vec<&str> = listed.printed().lines().skip(1).collect();
        it.expects("`list --type uts` shows two namespaces: the host's and the container's")
            .observed(rows_of(&listed))
            .means("processes with the same kind and inode number are in one namespace, and stand in one row")
            .holds(rows.len() == 2);
        let row = |kind: &str, rows: &str| {
            let of_kind = |line: &&str| line.split_whitespace().any(|word| word == kind);
            rows.lines().find(of_kind).unwrap_or_default().to_owned()
        };
        let listed = it.program(&["list", &pid]);
        let words = |kind: &str| -> Vec<String> {
            row(kind, listed.printed()).trim_start_matches('*').split_whitespace().map(str::to_owned).collect()
        };
        it.expects("the container is alone in its network namespace: one process, itself the lowest")
            .observed(rows_of(&listed))
            .means("NPROCS is the number of processes in the group, PID the lowest of them")
            .holds(words("net").get(2..4) == Some(&["1".to_owned(), pid.clone()]));
        let count = words("ipc").get(2).and_then(|count| count.parse::<usize>().ok()).unwrap_or_default();
        it.expects("it shares the host's ipc namespace with others, of whom process 1 is the lowest")
            .observed(rows_of(&listed))
            .means("every process of the namespace counts, not only those of the container; the lowest comes first")
            .holds(count > 2 && words("ipc").get(3).is_some_and(|lowest| lowest == "1"));
        running.signal(Signal::SIGTERM);
        running.wait();
    });
}
