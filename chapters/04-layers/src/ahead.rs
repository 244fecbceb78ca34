//! Reading ahead: a stream is read by one thread while its bytes are used by another.

use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use anyhow::{Context, Result, anyhow};

/// Bytes that change hands at a time, and how many such pieces may wait: 2 MiB, enough to outlast a file's creation.
const CHUNK: usize = 128 << 10;
const WAITING: usize = 16;

/// Calls `consume` with the bytes of `stream`, which a thread of its own reads; gives back what it returned, and the stream.
///
/// If `consume` stops early, so does the thread, after the read that it is in. No thread is left when this returns: creating
/// a container copies one thread only (`clone(2)`), so a process that does must have just one.
pub(crate) fn read_ahead<R: Read + Send, T>(stream: R, consume: impl FnOnce(&mut Ahead) -> T) -> Result<(T, R)> {
    let (filled, to_use) = sync_channel(WAITING);
    let (used, to_fill) = channel();
    thread::scope(|scope| {
        let reader = thread::Builder::new()
            .name("read-ahead".to_owned())
            .spawn_scoped(scope, move || fill(stream, &filled, &to_fill))
            .context("start a thread")?;
        let mut ahead = Ahead { to_use, used, chunk: Vec::new(), start: 0, end: 0 };
        let result = consume(&mut ahead);
        drop(ahead);
        let stream = reader.join().map_err(|_| anyhow!("the reading thread panicked"))?;
        Ok((result, stream))
    })
}

fn fill<R: Read>(mut stream: R, filled: &SyncSender<io::Result<(Vec<u8>, usize)>>, to_fill: &Receiver<Vec<u8>>) -> R {
    loop {
        let mut chunk = to_fill.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
        let count = match stream.read(&mut chunk) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                let _ = filled.send(Err(error));
                return stream;
            }
        };
        // Nobody to receive it: the consumer has had enough.
        if filled.send(Ok((chunk, count))).is_err() || count == 0 {
            return stream;
        }
    }
}

/// The bytes, on the consumer's side.
pub(crate) struct Ahead {
    to_use: Receiver<io::Result<(Vec<u8>, usize)>>,
    used: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    start: usize,
    end: usize,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end {
            // The reader has gone: it has told all, the end or its error, before.
            let Ok(next) = self.to_use.recv() else { return Ok(0) };
            let (chunk, count) = next?;
            let empty = std::mem::replace(&mut self.chunk, chunk);
            (self.start, self.end) = (0, count);
            if !empty.is_empty() {
                let _ = self.used.send(empty);
            }
        }
        let count = buffer.len().min(self.end - self.start);
        buffer[..count].copy_from_slice(&self.chunk[self.start..self.start + count]);
        self.start += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_everything_on() {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|i| i as u8).collect();
        let (read, rest) = read_ahead(&bytes[..], |ahead| {
            let mut read = Vec::new();
            ahead.read_to_end(&mut read).map(|_| read)
        })
        .unwrap();
        assert!(read.unwrap() == bytes && rest.is_empty());
    }

    #[test]
    fn passes_errors_on_and_can_stop_early() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the line is dead"))
            }
        }
        let (read, _) = read_ahead(Broken, |ahead| ahead.read(&mut [0; 10])).unwrap();
        assert_eq!(read.unwrap_err().to_string(), "the line is dead");
        read_ahead(io::repeat(1), |ahead| ahead.read(&mut [0; 10])).unwrap().0.unwrap();
    }
}
