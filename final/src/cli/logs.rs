//! `minidocker logs`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::container::Container;
use crate::monitor::log::{FILE, Line};
use crate::readable::readable;
use crate::root::Root;
use crate::status::{self, Status};

/// Show what a container has printed.
#[derive(Args)]
pub struct Logs {
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines
    #[arg(short = 'n', long, value_name = "N", default_value = "all")]
    tail: String,
    /// Show when each line came
    #[arg(short, long)]
    timestamps: bool,
    /// Name or id
    container: String,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Logs) -> Result<i32> {
    let container = Container::find(root, &args.container)?;
    let path = container.directory().join(FILE);
    let tail = match args.tail.as_str() {
        "all" => None,
        number => Some(number.parse::<usize>().with_context(|| format!("--tail {number}: not a number of lines"))?),
    };
    let follow = args.follow.then(|| Following::new(&container)).transpose()?;
    let mut log = match File::open(&path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0), // never started
        Err(error) => return Err(error).with_context(|| format!("open {}", path.display())),
    };
    if let Some(lines) = tail {
        seek_to_tail(&mut log, lines)?;
    }
    let mut printer = Printer { timestamps: args.timestamps };
    loop {
        // Asked before reading: what a container has written by its end, this reading finds.
        let over = follow.as_ref().is_none_or(Following::is_over);
        if !printer.print_all(&mut log)? || over {
            return Ok(0);
        }
        if let Some(follow) = &follow {
            follow.wait()?;
        }
    }
}

struct Printer {
    timestamps: bool,
}

impl Printer {
    /// Prints all whole lines that are there. Gives false when nobody reads us any more.
    fn print_all(&mut self, log: &mut BufReader<File>) -> Result<bool> {
        let mut text = String::new();
        loop {
            text.clear();
            let length = log.read_line(&mut text).context("read the log")?;
            if !text.ends_with('\n') {
                // Half a line: the other half is being written.
                log.seek_relative(-(length as i64)).context("read the log")?;
                return Ok(true);
            }
            // A line that is none was damaged by a crash; the others are still good.
            let Ok(line) = serde_json::from_str::<Line>(&text) else { continue };
            match self.print(&line) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
                printed => printed.context("print the log")?,
            }
        }
    }

    fn print(&self, line: &Line) -> io::Result<()> {
        let text = if self.timestamps { format!("{} {}", line.time, line.log) } else { line.log.clone() };
        if line.stream == "stderr" {
            io::stderr().write_all(text.as_bytes())
        } else {
            io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush())
        }
    }
}

/// Goes to where the last `lines` lines begin, reading the file backwards in blocks.
fn seek_to_tail(log: &mut BufReader<File>, lines: usize) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let file = log.get_ref();
    let length = file.metadata().context("read the log")?.len();
    let mut begin = length;
    let mut newlines = 0;
    let mut block = [0; 8192];
    'search: while begin > 0 {
        let size = begin.min(block.len() as u64);
        file.read_exact_at(&mut block[..size as usize], begin - size).context("read the log")?;
        for at in (0..size).rev() {
            if block[at as usize] == b'\n' && begin - size + at + 1 != length {
                newlines += 1;
                if newlines == lines {
                    begin = begin - size + at + 1;
                    break 'search;
                }
            }
        }
        begin -= size;
    }
    let begin = if lines == 0 { length } else { begin };
    log.seek(SeekFrom::Start(begin)).context("read the log")?;
    Ok(())
}

/// Waits for more of a log.
struct Following {
    container: Container,
    changes: Inotify,
}

impl Following {
    fn new(container: &Container) -> Result<Following> {
        let changes = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context("inotify")?;
        let directory: &Path = &container.directory();
        changes.add_watch(directory, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVED_TO).context("watch the log")?;
        Ok(Following { container: container.clone(), changes })
    }

    fn is_over(&self) -> bool {
        // An error: it was removed while we looked.
        status::of(&self.container).map_or(true, |(status, _)| !matches!(status, Status::Running | Status::Starting))
    }

    /// Until something in the container's directory changes, and a second at the most: a monitor that is killed writes
    /// nothing.
    fn wait(&self) -> Result<()> {
        readable(&self.changes, Some(Duration::from_secs(1))).context("wait for the log")?;
        while self.changes.read_events().is_ok_and(|events| !events.is_empty()) {}
        Ok(())
    }
}
