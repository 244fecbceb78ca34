//! An HTTP server that follows a script: it lies, stalls and hangs up where a test wants it to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

use crate::image::Blobs;

/// What to do with a request.
#[derive(Clone)]
pub enum Answer {
    /// Status, headers, body; `Content-Length` is added.
    Say(u16, Vec<(String, String)>, Vec<u8>),
    /// Promises the body and hangs up after so many bytes of it.
    Cut(Vec<u8>, usize),
    /// Promises the body, sends so many bytes of it, and then nothing for ever.
    Stall(Vec<u8>, usize),
    /// Never ends.
    Endless,
}

/// Listening until the test program ends.
pub struct Liar {
    /// `127.0.0.1:PORT`.
    pub address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Liar {
    /// Starts to listen. A path that the script does not know is answered with 404.
    pub fn start(script: BTreeMap<String, Answer>) -> Liar {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("an address").to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, seen) = (script.clone(), Arc::clone(&seen));
                spawn(move || serve(stream, &script, &seen));
            }
        });
        Liar { address, requests }
    }

    /// The request lines and `Authorization` headers so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic holds it").clone()
    }
}

/// An honest registry's answers for one image, to be spoilt by the test.
pub fn registry(name: &str, tag: &str, blobs: &Blobs) -> BTreeMap<String, Answer> {
    let mut script = BTreeMap::new();
    let say = |kind: &str, digest: &str, body: &[u8]| {
        let headers =
            vec![("Content-Type".to_owned(), kind.to_owned()), ("Docker-Content-Digest".to_owned(), digest.to_owned())];
        Answer::Say(200, headers, body.to_vec())
    };
    script.insert("/v2/".to_owned(), Answer::Say(200, vec![], b"{}".to_vec()));
    let kind = blobs.manifest["mediaType"].as_str().expect("a media type");
    let digest = blobs.manifest["digest"].as_str().expect("a digest");
    for reference in [tag, digest] {
        script.insert(format!("/v2/{name}/manifests/{reference}"), say(kind, digest, blobs.content(&blobs.manifest)));
    }
    for (digest, content) in &blobs.all {
        script.insert(format!("/v2/{name}/blobs/{digest}"), say("application/octet-stream", digest, content));
    }
    script
}

fn serve(stream: TcpStream, script: &BTreeMap<String, Answer>, seen: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).ok()? == 0 {
            return None;
        }
        seen.lock().ok()?.push(request.trim().to_owned());
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            if header.trim().is_empty() {
                break;
            }
            if header.to_lowercase().starts_with("authorization:") {
                seen.lock().ok()?.push(header.trim().to_owned());
            }
        }
        let mut words = request.split_whitespace();
        let head = words.next() == Some("HEAD");
        let path = words.next()?.split('?').next()?;
        let unknown = Answer::Say(404, vec![], br#"{"errors":[{"code":"NOT_FOUND"}]}"#.to_vec());
        match script.get(path).unwrap_or(&unknown) {
            Answer::Say(status, headers, body) => {
                start(&mut stream, *status, headers, Some(body.len()))?;
                if !head {
                    stream.write_all(body).ok()?;
                }
            }
            Answer::Cut(body, after) => {
                start(&mut stream, 200, &[], Some(body.len()))?;
                stream.write_all(&body[..*after]).ok()?;
                return None;
            }
            Answer::Stall(body, after) => {
                start(&mut stream, 200, &[], Some(body.len()))?;
                stream.write_all(&body[..*after]).ok()?;
                std::thread::park();
            }
            Answer::Endless => {
                start(&mut stream, 200, &[], None)?;
                loop {
                    stream.write_all(&[b' '; 65536]).ok()?;
                }
            }
        }
    }
}

fn start(stream: &mut TcpStream, status: u16, headers: &[(String, String)], length: Option<usize>) -> Option<()> {
    let mut text = format!("HTTP/1.1 {status} Scripted\r\n");
    for (key, value) in headers {
        text += &format!("{key}: {value}\r\n");
    }
    if let Some(length) = length {
        text += &format!("Content-Length: {length}\r\n");
    }
    stream.write_all((text + "\r\n").as_bytes()).ok()
}
