//! `minidocker top`: the processes of a container, as ps(1) shows them.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::container::Container;
use crate::format::{say, table};
use crate::root::Root;
use crate::status;

/// Show the processes of a container.
#[derive(Args)]
#[command(after_help = "\
Examples:
  minidocker top web                   as by ps -ef
  minidocker top web aux               as by ps aux
  minidocker top web -o pid,user,args  chosen columns: pid, ppid, uid, user, c, pcpu, stime, start, tty, time, stat,
                                       rss, vsz, comm, cmd, args

Processes and users are numbered as on the host, times are UTC.")]
pub struct Top {
    /// Its name or id
    container: String,
    /// Options of ps: -ef, aux, or -o with a list of columns
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PS OPTIONS")]
    options: Vec<String>,
}

/// A column: its heading, and what stands in it.
struct Column {
    heading: &'static str,
    value: fn(&Process, &Machine) -> String,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Top) -> Result<i32> {
    let columns = columns(&args.options)?;
    let container = Container::find(root, &args.container)?;
    let (status, state) = status::of(&container)?;
    ensure!(status.is_running(), "container {} is not running", args.container);
    let machine = Machine::this()?;
    let mut rows = vec![columns.iter().map(|column| column.heading.to_string()).collect()];
    for pid in processes(&container.description()?.cgroup, state.pid)? {
        if let Some(process) = Process::read(pid) {
            rows.push(columns.iter().map(|column| (column.value)(&process, &machine)).collect());
        }
    }
    say(table(&rows))?;
    Ok(0)
}

/// The container's processes: its cgroup's, and where it has none, as without root, those of its pid namespace.
fn processes(cgroup: &str, init: i32) -> Result<Vec<i32>> {
    let group = cgroups::Group::find(cgroup)?;
    if !group.is_nowhere() {
        return Ok(group.processes()?.into_iter().map(|pid| pid.as_raw()).collect());
    }
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace(init).context("find the container's pid namespace")?;
    let numbers = fs::read_dir("/proc").context("read /proc")?.flatten();
    let mut pids: Vec<i32> = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.retain(|pid| namespace(*pid).as_ref() == Some(&own));
    pids.sort_unstable();
    Ok(pids)
}

fn columns(options: &[String]) -> Result<Vec<Column>> {
    let list = match options.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] | ["-ef"] | ["-fe"] | ["-e", "-f"] => "user=UID,pid,ppid,c,stime,tty,time,cmd",
        ["aux" | "-aux" | "u"] => "user,pid,pcpu,vsz,rss,tty,stat,start,time,args",
        ["-o" | "-eo" | "o", list] => list,
        [option] if option.starts_with("-o") && option.len() > 2 => &option[2..],
        _ => bail!("top takes -ef, aux, or -o with a list of columns, not {:?}", options.join(" ")),
    };
    list.split(',').map(column).collect()
}

fn column(name: &str) -> Result<Column> {
    let (heading, value): (_, fn(&Process, &Machine) -> String) = match name {
        "user=UID" => ("UID", |process, machine| machine.user(process.uid)),
        "pid" => ("PID", |process, _| process.pid.to_string()),
        "ppid" => ("PPID", |process, _| process.ppid.to_string()),
        "uid" => ("UID", |process, _| process.uid.to_string()),
        "user" => ("USER", |process, machine| machine.user(process.uid)),
        "c" => ("C", |process, machine| format!("{:.0}", machine.percent(process))),
        "pcpu" | "%cpu" => ("%CPU", |process, machine| format!("{:.1}", machine.percent(process))),
        "stime" => ("STIME", |process, machine| machine.started(process)),
        "start" => ("START", |process, machine| machine.started(process)),
        "tty" | "tname" => ("TTY", |process, _| terminal(process.terminal)),
        "time" => ("TIME", |process, _| clock(process.ticks / TICKS)),
        "stat" | "s" => ("STAT", |process, _| process.state.clone()),
        "rss" => ("RSS", |process, _| process.resident_kib.to_string()),
        "vsz" => ("VSZ", |process, _| (process.virtual_bytes / 1024).to_string()),
        "comm" => ("COMMAND", |process, _| process.name.clone()),
        "cmd" => ("CMD", |process, _| process.command.clone()),
        "args" | "command" => ("COMMAND", |process, _| process.command.clone()),
        _ => bail!("top knows no column {name:?} (minidocker top --help lists those it knows)"),
    };
    Ok(Column { heading, value })
}

/// What `/proc/PID` says of a process.
#[derive(Debug, PartialEq)]
struct Process {
    pid: i32,
    name: String,
    state: String,
    ppid: i32,
    uid: u32,
    /// The device number of its controlling terminal, 0 without one.
    terminal: u32,
    /// Processor time.
    ticks: u64,
    /// When it was started, after boot.
    started: u64,
    virtual_bytes: u64,
    resident_kib: u64,
    command: String,
}

impl Process {
    /// `None` when it has ended.
    fn read(pid: i32) -> Option<Process> {
        let directory = format!("/proc/{pid}");
        // Not the owner of the directory, which is root where a process is not dumpable.
        let status = fs::read_to_string(format!("{directory}/status")).ok()?;
        let field = |name: &str, nth| {
            status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().nth(nth)?.parse::<u64>().ok())
        };
        let uid = field("Uid:", 1)? as u32; // the effective one
        let command = fs::read(format!("{directory}/cmdline")).unwrap_or_default();
        let stat = fs::read_to_string(format!("{directory}/stat")).ok()?;
        // None: a kernel thread, or what is left of a process.
        Some(Process { uid, resident_kib: field("VmRSS:", 0).unwrap_or(0), ..Process::parse(&stat, &command)? })
    }

    /// `proc_pid_stat(5)`: `PID (NAME) STATE PPID …`, where the name may hold anything.
    fn parse(stat: &str, command: &[u8]) -> Option<Process> {
        let (pid, rest) = stat.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok(); // as the manual counts
        let words: Vec<_> = command.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        // What a process calls itself must not move anybody's cursor.
        let shown = |text: &str| text.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>();
        let command = shown(words.join(" ").trim_end());
        let name = shown(name);
        Some(Process {
            pid: pid.parse().ok()?,
            state: fields.first()?.to_string(),
            ppid: fields.get(1)?.parse().ok()?,
            uid: 0,
            terminal: fields.get(4)?.parse::<i32>().ok()? as u32,
            ticks: number(14)?.saturating_add(number(15)?),
            started: number(22)?,
            virtual_bytes: number(23)?,
            resident_kib: 0,
            command: if command.is_empty() { format!("[{name}]") } else { command },
            name,
        })
    }
}

/// The kernel's ticks in a second where it shows them to programs (USER_HZ), on every architecture since Linux 2.4 that we
/// know of.
const TICKS: u64 = 100;

/// What it takes to read a process's numbers.
struct Machine {
    /// Seconds since boot.
    uptime: f64,
    users: BTreeMap<u32, String>,
}

impl Machine {
    fn this() -> Result<Machine> {
        let uptime = fs::read_to_string("/proc/uptime").context("read /proc/uptime")?;
        let uptime = uptime.split(' ').next().and_then(|seconds| seconds.parse().ok()).context("read /proc/uptime")?;
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let user = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_string();
            Some((fields.nth(1)?.parse().ok()?, name))
        };
        Ok(Machine {
            uptime,
            // The first of several names of one number, as getpwuid(3) has it.
            users: passwd.lines().rev().filter_map(user).collect(),
        })
    }

    fn user(&self, uid: u32) -> String {
        self.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }

    fn age(&self, process: &Process) -> f64 {
        (self.uptime - process.started as f64 / TICKS as f64).max(0.0)
    }

    /// Processor time in proportion to its life, per cent.
    fn percent(&self, process: &Process) -> f64 {
        let used = process.ticks as f64 / TICKS as f64;
        used * 100.0 / self.age(process).max(1.0)
    }

    /// `14:07`, or `Nov22` if that was another day.
    fn started(&self, process: &Process) -> String {
        let now = Timestamp::now();
        let then = Timestamp::from_second(now.as_second() - self.age(process) as i64).unwrap_or(now);
        let (now, then) = (now.to_zoned(TimeZone::UTC), then.to_zoned(TimeZone::UTC));
        let format = if now.date() == then.date() { "%H:%M" } else { "%b%d" };
        then.strftime(format).to_string()
    }
}

/// `pts/3` for device number 136:3.
fn terminal(device: u32) -> String {
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
    match major {
        0 => "?".into(),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 => format!("tty{minor}"),
        _ => format!("{major}:{minor}"),
    }
}

/// `hh:mm:ss`.
fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a) (b) R\x1b) S 7 42 42 34817 42 4194560 1 0 0 0 150 50 0 0 20 0 1 0 1000 8192000 256 \
                        18446744073709551615 1 1 0 0";

    #[test]
    fn a_process_is_read_whatever_it_calls_itself() {
        let process = Process::parse(STAT, b"sh\0-c\0\x1b[2J\0").unwrap();
        assert_eq!((process.pid, process.ppid, process.name.as_str()), (42, 7, "a) (b) R?"));
        assert_eq!((process.ticks, process.started, process.virtual_bytes), (200, 1000, 8_192_000));
        assert_eq!((process.command.as_str(), terminal(process.terminal).as_str()), ("sh -c ?[2J", "pts/1"));
        assert_eq!(Process::parse(STAT, b"").unwrap().command, "[a) (b) R?]");
        for cut in ["", "42", "42 (x", "42 (x) S", "42 (x) S 1 2 3"] {
            assert_eq!(Process::parse(cut, b""), None, "{cut}");
        }
    }

    #[test]
    fn columns_are_chosen_as_ps_has_them() {
        let headings = |options: &[&str]| {
            let options: Vec<String> = options.iter().map(ToString::to_string).collect();
            columns(&options).map(|list| list.iter().map(|column| column.heading).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(headings(&[]).unwrap(), "UID PID PPID C STIME TTY TIME CMD");
        assert_eq!(headings(&["aux"]).unwrap(), "USER PID %CPU VSZ RSS TTY STAT START TIME COMMAND");
        assert_eq!(headings(&["-o", "pid,comm"]).unwrap(), "PID COMMAND");
        assert_eq!(headings(&["-opid"]).unwrap(), "PID");
        assert!(headings(&["-o", "pid,shoesize"]).unwrap_err().to_string().contains("shoesize"));
        assert!(headings(&["--forest"]).is_err());
    }

    #[test]
    fn times_are_clocks() {
        assert_eq!(clock(3_725), "01:02:05");
        assert_eq!((terminal(0), terminal(4 << 8 | 1)), ("?".into(), "tty1".into()));
    }
}
