//! The log of a container: Docker's `json-file` format, a line of JSON for each line of output.
//!
//! ```json
//! {"log":"listening on 80\n","stream":"stdout","time":"2026-11-22T05:00:00.123456789Z"}
//! ```

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::streams::Stream;

/// The name of the log in a container's directory.
pub const FILE: &str = "log";
/// A longer line is written in pieces of this size, in bytes (as Docker does).
const LINE_MAX: usize = 16 * 1024;

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The text, with its newline unless the line goes on or the output ended without one.
    pub log: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// When its last byte came, as RFC 3339 in UTC.
    pub time: String,
}

/// Writes a log. What has no newline yet waits for it.
#[derive(Debug)]
pub struct Log {
    file: File,
    pending: [Vec<u8>; 2],
}

impl Log {
    /// Opens the log of a container's directory, to go on where it ended.
    pub fn open(directory: &Path) -> Result<Log> {
        let path = directory.join(FILE);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        Ok(Log { file: file.with_context(|| format!("open {}", path.display()))?, pending: Default::default() })
    }

    /// Adds output. A log that cannot be written (a full disk) loses lines; the container goes on.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let pending = &mut self.pending[stream as usize];
        pending.extend_from_slice(bytes);
        let mut lines = Vec::new();
        let mut begin = 0;
        while let Some(length) = line_length(&pending[begin..]) {
            encode(&mut lines, stream, &pending[begin..begin + length]);
            begin += length;
        }
        pending.drain(..begin);
        // One write, so that the lines of two streams, or of a reader's view, are never torn.
        let _ = self.file.write_all(&lines);
    }

    /// Writes what has no newline and will not get one.
    pub fn finish(&mut self) {
        for stream in [Stream::Output, Stream::Error] {
            let rest = std::mem::take(&mut self.pending[stream as usize]);
            if !rest.is_empty() {
                let mut line = Vec::new();
                encode(&mut line, stream, &rest);
                let _ = self.file.write_all(&line);
            }
        }
    }
}

/// The length of the first whole line, or of the first piece of one that is too long.
fn line_length(bytes: &[u8]) -> Option<usize> {
    match bytes.iter().take(LINE_MAX).position(|byte| *byte == b'\n') {
        Some(newline) => Some(newline + 1),
        None => (bytes.len() >= LINE_MAX).then_some(LINE_MAX),
    }
}

fn encode(lines: &mut Vec<u8>, stream: Stream, text: &[u8]) {
    let line = Line {
        log: String::from_utf8_lossy(text).into_owned(),
        stream: if stream == Stream::Output { "stdout" } else { "stderr" }.into(),
        time: Timestamp::now().to_string(),
    };
    // Into a vector, of strings: nothing here can fail.
    if serde_json::to_writer(&mut *lines, &line).is_ok() {
        lines.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_or_cut() {
        assert_eq!(line_length(b"ab\ncd"), Some(3));
        assert_eq!(line_length(b"ab"), None);
        assert_eq!(line_length(&[b'x'; LINE_MAX + 5]), Some(LINE_MAX));
    }
}
