//! Times in images. With `SOURCE_DATE_EPOCH` in the environment the same input gives the same image, on any day
//! (<https://reproducible-builds.org/specs/source-date-epoch/>).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Timespec, Timestamps, openat, statat, utimensat};

/// The time that a build takes for now.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    epoch: Option<i64>,
}

impl Clock {
    /// Reads `SOURCE_DATE_EPOCH`, seconds since 1970: of the build arguments (`from_args`), else of the environment.
    pub fn new(from_args: Option<&str>) -> Result<Clock> {
        let text = from_args.map(str::to_owned).or_else(|| std::env::var("SOURCE_DATE_EPOCH").ok());
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Clock { epoch: None }) };
        let seconds = text.parse().ok().filter(|seconds| Timestamp::from_second(*seconds).is_ok());
        let seconds =
            seconds.with_context(|| format!("SOURCE_DATE_EPOCH={text} is not a number of seconds since 1970"))?;
        Ok(Clock { epoch: Some(seconds) })
    }

    /// The fixed time, if there is one: part of what a layer depends on.
    pub fn epoch(&self) -> Option<i64> {
        self.epoch
    }

    /// Now, as image configs write it.
    pub fn now(&self) -> String {
        let fixed = self.epoch.and_then(|seconds| Timestamp::from_second(seconds).ok());
        fixed.unwrap_or_else(Timestamp::now).to_string()
    }

    /// Sets the times of all files below `upper` that are later than the fixed time back to it.
    pub fn turn_back(&self, upper: &Path) -> Result<()> {
        let Some(epoch) = self.epoch else { return Ok(()) };
        let top = openat(CWD, upper, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        turn_back_below(top, epoch).with_context(|| format!("set the times below {}", upper.display()))
    }
}

/// Goes down by descriptors, so that a tree of any depth is reached and no link is followed.
fn turn_back_below(top: OwnedFd, epoch: i64) -> Result<()> {
    let mut waiting = vec![top];
    while let Some(directory) = waiting.pop() {
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let stat = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                waiting.push(openat(&directory, name, flags, Mode::empty())?);
            }
            if stat.st_mtime >= epoch {
                let time = Timespec { tv_sec: epoch, tv_nsec: 0 };
                let times = Timestamps { last_access: time, last_modification: time };
                utimensat(directory.as_fd(), name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn later_times_are_turned_back_and_earlier_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        for (name, age) in [("d/old", 50), ("d/new", 500)] {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(age)).unwrap();
        }
        Clock::new(Some("100")).unwrap().turn_back(dir.path()).unwrap();
        let time = |name: &str| -> SystemTime { fs::metadata(dir.path().join(name)).unwrap().modified().unwrap() };
        let seconds = ["d/old", "d/new", "d"].map(|name| time(name).duration_since(UNIX_EPOCH).unwrap().as_secs());
        assert_eq!(seconds, [50, 100, 100]);
        assert!(Clock::new(Some("tomorrow")).is_err());
        assert_eq!(Clock::new(Some("0")).unwrap().now(), "1970-01-01T00:00:00Z");
    }
}
