//! The book in a browser: a server for this machine alone, and a new build whenever something has changed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::{build, pages};

/// Asks every second whether there is a new build.
const RELOAD: &str = "<script>let v; setInterval(() => fetch('/@build').then(r => r.text()).then(t => \
                      { if (v !== undefined && v !== t) location.reload(); v = t; }).catch(() => 0), 1000);</script>";
/// No header is longer.
const LONGEST: u64 = 16 << 10;

/// Serves on the loopback address until it is interrupted.
pub fn serve(root: &Path, out: &Path, port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
        format!("port {port} is not to be had (cargo x book --serve --port {})", port.wrapping_add(1))
    })?;
    build(root, out)?;
    println!("The book is at http://{} (Ctrl-C ends it)", listener.local_addr().context("our address")?);
    let number = Arc::new(AtomicUsize::new(1));
    let (source, target, counter) = (root.to_owned(), out.to_owned(), Arc::clone(&number));
    spawn(move || rebuild(&source, &target, &counter));
    for stream in listener.incoming().map_while(Result::ok) {
        let (out, number) = (out.to_owned(), Arc::clone(&number));
        spawn(move || {
            let _ = answer(stream, &out, number.load(Ordering::Relaxed)); // a reader who went away
        });
    }
    Ok(())
}

/// Looks at modification times, which folders shared with a host have too.
fn rebuild(root: &Path, out: &Path, number: &AtomicUsize) {
    let newest = || -> Option<SystemTime> {
        let parts = ["book", "chapters", "final"];
        let files = parts.iter().filter_map(|part| pages::files(root, Path::new(part)).ok()).flatten();
        files.filter_map(|file| root.join(file).metadata().ok()?.modified().ok()).max()
    };
    let mut seen = newest();
    loop {
        sleep(Duration::from_secs(1));
        let now = newest();
        if now == seen {
            continue;
        }
        seen = now;
        match build(root, out) {
            Ok(()) => println!("built again"),
            Err(error) => println!("{error:#}"),
        }
        number.fetch_add(1, Ordering::Relaxed);
    }
}

fn answer(stream: TcpStream, out: &Path, build: usize) -> Result<()> {
    let mut reader = BufReader::new(std::io::Read::take(&stream, LONGEST));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    // To the end of the header: a browser that is answered earlier sees a broken connection.
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or("/"));
    let (status, kind, body) = match (method, path) {
        ("GET", "/@build") => ("200 OK", "text/plain", build.to_string().into_bytes()),
        ("GET" | "HEAD", path) => match file(out, path) {
            Some((kind, body)) => ("200 OK", kind, body),
            None => ("404 Not Found", "text/plain; charset=utf-8", b"There is no such page in the book.\n".to_vec()),
        },
        _ => ("405 Method Not Allowed", "text/plain", Vec::new()),
    };
    let mut stream = &stream;
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    if method != "HEAD" {
        stream.write_all(&body)?;
    }
    Ok(())
}

/// A file of the book and its type. A path never leads out of the book: it is made of plain names only.
fn file(out: &Path, url: &str) -> Option<(&'static str, Vec<u8>)> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    if names.iter().any(|name| *name == ".." || name.contains('\\') || name.contains('%')) {
        return None;
    }
    let mut path: PathBuf = out.to_owned();
    path.extend(&names);
    if path.is_dir() {
        path.push("index.html");
    }
    let mut body = fs::read(&path).ok()?;
    let kind = match path.extension()?.to_str()? {
        "html" => {
            body.extend(RELOAD.as_bytes());
            "text/html; charset=utf-8"
        }
        "css" => "text/css",
        "js" => "text/javascript",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        "json" => "application/json",
        _ => "application/octet-stream",
    };
    Some((kind, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out() {
        let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        assert!(file(&out, "/main.rs?x#y").is_some());
        for wrong in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "/a\\b", "/nothing"] {
            assert!(file(&out, wrong).is_none(), "{wrong}");
        }
    }
}
