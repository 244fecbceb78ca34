//! One blob on its way in: a reader that goes on where a cut connection left off.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ureq::BodyReader;

use crate::layout::BlobWriter;
use crate::manifest::Descriptor;
use crate::progress::{Event, Progress};
use crate::registry::{ATTEMPTS, Registry, pause};

/// So many bytes gained make us forget former failures: a bad line may cut a long transfer often, and a peer that drips a
/// byte between two cuts must not hold us for ever.
const FORGIVING: u64 = 64 << 10;

/// Reads a blob of known size from a registry. Whether the bytes are the right ones is for whoever hashes them.
pub(crate) struct Download<'a> {
    registry: &'a Registry,
    blob: &'a Descriptor,
    progress: &'a dyn Progress,
    /// Another layer failed: this one is not needed any more.
    cancelled: &'a AtomicBool,
    body: Option<BodyReader<'static>>,
    position: u64,
    failures: u32,
    failed_at: u64,
    /// The failure that was final.
    broken: Option<String>,
}

impl<'a> Download<'a> {
    pub(crate) fn new(
        registry: &'a Registry,
        blob: &'a Descriptor,
        progress: &'a dyn Progress,
        cancelled: &'a AtomicBool,
    ) -> Download<'a> {
        Download {
            registry,
            blob,
            progress,
            cancelled,
            body: None,
            position: 0,
            failures: 0,
            failed_at: 0,
            broken: None,
        }
    }

    /// Asks for the rest of the blob. `Err`: it makes no sense to ask again.
    fn open(&mut self) -> io::Result<BodyReader<'static>> {
        let opened = self.registry.blob(self.blob, self.position);
        let (mut body, start) = opened.map_err(|error| io::Error::other(format!("{error:#}")))?;
        if start < self.position {
            // The server knows no ranges: what we have is read again and dropped.
            io::copy(&mut (&mut body).take(self.position - start), &mut io::sink())?;
        }
        Ok(body)
    }

    fn read_on(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.blob.size - self.position).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(io::Error::other("cancelled"));
            }
            let mut body = match self.body.take() {
                Some(body) => body,
                None => self.open()?,
            };
            match body.read(&mut buffer[..wanted]) {
                Ok(0) => self.failed(io::ErrorKind::UnexpectedEof.into())?,
                Ok(count) => {
                    self.body = Some(body);
                    self.position += count as u64;
                    let (done, total) = (self.position, self.blob.size);
                    self.progress.event(Event::Transferred { layer: self.blob.digest.clone(), done, total });
                    return Ok(count);
                }
                Err(error) => self.failed(error)?,
            }
        }
    }

    /// Gets over a cut connection, or gives up.
    fn failed(&mut self, error: io::Error) -> io::Result<()> {
        self.body = None;
        if self.position >= self.failed_at + FORGIVING {
            self.failures = 0;
        }
        self.failures += 1;
        self.failed_at = self.position;
        if self.failures >= ATTEMPTS {
            let (digest, done, size) = (&self.blob.digest, self.position, self.blob.size);
            let text = format!("receive blob {digest}: the connection broke after {done} of {size} bytes: {error}");
            return Err(io::Error::other(text));
        }
        self.progress.event(Event::Retrying { layer: self.blob.digest.clone(), reason: error.to_string() });
        thread::sleep(pause(self.failures));
        Ok(())
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(reason) = &self.broken {
            return Err(io::Error::other(reason.clone()));
        }
        self.read_on(buffer).inspect_err(|error| self.broken = Some(error.to_string()))
    }
}

/// Keeps a copy of what is read.
pub(crate) struct Tee<'a, R> {
    source: R,
    copy: &'a mut BlobWriter,
}

impl<'a, R: Read> Tee<'a, R> {
    pub(crate) fn new(source: R, copy: &'a mut BlobWriter) -> Tee<'a, R> {
        Tee { source, copy }
    }
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.copy.write_all(&buffer[..count])?;
        Ok(count)
    }
}
