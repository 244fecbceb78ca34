//! A registry's side of the wire: `GET /v2/<path>/manifests/<tag>`, `GET /v2/<path>/blobs/<digest>`.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use layers::Digest;
use ureq::http::{Method, Request, Response};
use ureq::{Agent, Body, SendBody};

use crate::Reference;
use crate::auth::{Challenge, Credentials};
use crate::manifest::{DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, MAX_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use crate::transport::{Connection, agent, explain, read_bounded};

/// How often a request is made before a failing server or a cut connection is an error.
pub(crate) const ATTEMPTS: u32 = 4;
/// The longest we wait because a registry says "later", in seconds.
const MAX_WAIT: u64 = 30;

/// A connection to one repository of one registry.
pub(crate) struct Registry {
    agent: Agent,
    /// `https://registry-1.docker.io`
    pub(crate) base: String,
    /// `library/busybox`
    pub(crate) path: String,
    /// For messages: the host as the user wrote it.
    pub(crate) host: String,
    /// `repository:library/busybox:pull`
    scope: String,
    credentials: Option<Credentials>,
    /// The `Authorization` header that worked last, shared by all threads.
    authorization: Mutex<Option<String>>,
}

/// What a request carries.
pub(crate) enum Payload<'a> {
    Nothing,
    Bytes(&'a [u8]),
    File(&'a std::fs::File, u64),
}

impl Registry {
    /// Finds out how the registry is reached. `actions`: `pull`, or `pull,push`.
    pub(crate) fn connect(name: &Reference, connection: &Connection, actions: &str) -> Result<Registry> {
        let api = name.api_host();
        let local = is_loopback(api);
        let insecure = connection.insecure || local;
        let registry = |scheme: &str| -> Result<Registry> {
            Ok(Registry {
                agent: agent(&Connection { insecure, ..connection.clone() }),
                base: format!("{scheme}://{api}"),
                path: name.path().to_owned(),
                host: name.host().to_owned(),
                scope: format!("repository:{}:{actions}", name.path()),
                credentials: Credentials::from_docker_config(name.host())?,
                authorization: Mutex::new(None),
            })
        };
        let secure = registry("https")?;
        match secure.ping() {
            Ok(()) => Ok(secure),
            // Docker's rule: encryption first, also where it may be missing.
            Err(_) if insecure => {
                let plain = registry("http")?;
                plain.ping()?;
                Ok(plain)
            }
            Err(error) => Err(error),
        }
    }

    /// `GET /v2/`: is there a registry? Its answer, also "401 Unauthorized", says yes.
    fn ping(&self) -> Result<()> {
        let url = format!("{}/v2/", self.base);
        let response = self.agent.get(&url).call().map_err(|error| explain(error, &self.host))?;
        match response.status().as_u16() {
            200..=299 | 401 | 403 | 429 => Ok(()),
            status => bail!("{} is not a registry (HTTP status {status} for /v2/)", self.host),
        }
    }

    /// Fetches a manifest or an index by tag or digest; gives its bytes and their digest.
    pub(crate) fn manifest(&self, tag_or_digest: &str) -> Result<(Vec<u8>, Digest)> {
        let url = self.url(&format!("manifests/{tag_or_digest}"));
        let accept = [OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST].join(", ");
        let response = self.send(Method::GET, &url, &[("Accept", &accept)], &Payload::Nothing)?;
        let status = response.status().as_u16();
        let promised = header(&response, "Docker-Content-Digest").and_then(|digest| digest.parse::<Digest>().ok());
        ensure!(status != 404, "{} has no {}", self.host, self.title(tag_or_digest));
        let response = self.expect(response, &[200], &self.title(tag_or_digest))?;
        let bytes = read_bounded(response.into_body(), MAX_MANIFEST, "the manifest")?;
        let digest = Digest::of(&bytes);
        let wanted = tag_or_digest.parse::<Digest>().ok().or(promised);
        if let Some(wanted) = wanted {
            ensure!(wanted == digest, "wrong digest: what {} sent as manifest {wanted} is {digest}", self.host);
        }
        Ok((bytes, digest))
    }

    /// Opens a blob, `from` so many bytes on. A server that cannot do that starts at 0: the second value says where.
    pub(crate) fn blob(&self, blob: &Descriptor, from: u64) -> Result<(ureq::BodyReader<'static>, u64)> {
        let url = self.url(&format!("blobs/{}", blob.digest));
        let range = format!("bytes={from}-");
        let headers: &[(&str, &str)] = if from > 0 { &[("Range", &range)] } else { &[] };
        let response = self.send(Method::GET, &url, headers, &Payload::Nothing)?;
        let response = self.expect(response, &[200, 206], &format!("blob {}", blob.digest))?;
        let start = match header(&response, "Content-Range") {
            Some(range) if response.status() == 206 => {
                let start = range.strip_prefix("bytes ").and_then(|range| range.split('-').next()?.parse().ok());
                start.with_context(|| format!("{} sent a malformed Content-Range", self.host))?
            }
            _ => 0,
        };
        ensure!(start == 0 || start == from, "{} sent another part of blob {} than asked for", self.host, blob.digest);
        if let Some(length) = response.body().content_length() {
            let whole = start.saturating_add(length);
            let (digest, size) = (&blob.digest, blob.size);
            ensure!(whole == size, "blob {digest} has {whole} bytes at {}, and {size} by the manifest", self.host);
        }
        Ok((response.into_body().into_reader(), start))
    }

    /// Makes a request, answering a challenge and waiting where the registry asks to. Any status but 401, 429 and 5xx
    /// is returned for the caller to judge.
    pub(crate) fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        payload: &Payload<'_>,
    ) -> Result<Response<Body>> {
        let mut challenged = false;
        let mut attempt = 1;
        loop {
            let authorization = self.authorization();
            let response = self.send_once(&method, url, headers, payload, authorization.as_deref());
            let wait = match response {
                Ok(response) if response.status() == 401 && !challenged => {
                    challenged = true;
                    self.authorize(&response, authorization)?;
                    continue;
                }
                Ok(response) if attempt < ATTEMPTS && is_temporary(response.status().as_u16()) => {
                    header(&response, "Retry-After").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs)
                }
                Err(error) if attempt < ATTEMPTS && is_cut(&error) => None,
                Err(error) => return Err(explain(error, &self.host)),
                Ok(response) => return Ok(response),
            };
            thread::sleep(wait.unwrap_or_else(|| pause(attempt)).min(Duration::from_secs(MAX_WAIT)));
            attempt += 1;
        }
    }

    fn send_once(
        &self,
        method: &Method,
        url: &str,
        headers: &[(&str, &str)],
        payload: &Payload<'_>,
        authorization: Option<&str>,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // The registry's own host only: an upload's URL may point elsewhere.
        if let Some(authorization) = authorization
            && url.strip_prefix(&self.base).is_some_and(|rest| rest.starts_with('/'))
        {
            request = request.header("Authorization", authorization);
        }
        match payload {
            Payload::Nothing => self.agent.run(request.body(())?),
            Payload::Bytes(bytes) => self.agent.run(request.body(*bytes)?),
            Payload::File(file, size) => {
                use std::io::{Seek, SeekFrom};
                let mut reader: &std::fs::File = file;
                reader.seek(SeekFrom::Start(0))?;
                let request = request.header("Content-Length", *size);
                self.agent.run(request.body(SendBody::from_reader(&mut reader))?)
            }
        }
    }

    fn authorization(&self) -> Option<String> {
        self.authorization.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Answers the challenge in `response`, unless another thread has done so since `used` was sent.
    fn authorize(&self, response: &Response<Body>, used: Option<String>) -> Result<()> {
        let mut current = self.authorization.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if *current != used {
            return Ok(());
        }
        let headers = response.headers().get_all("WWW-Authenticate");
        let challenge = headers.iter().find_map(|header| Challenge::parse(header.to_str().ok()?));
        let challenge = challenge.ok_or_else(|| anyhow!("{} says unauthorized, and not what it wants", self.host))?;
        let secure = self.base.starts_with("https:");
        let answer = challenge.answer(&self.agent, &self.host, self.credentials.as_ref(), &self.scope, secure)?;
        *current = Some(answer);
        Ok(())
    }

    /// Turns any status but those in `fine` into an error.
    pub(crate) fn expect(&self, response: Response<Body>, fine: &[u16], what: &str) -> Result<Response<Body>> {
        let status = response.status();
        if fine.contains(&status.as_u16()) {
            return Ok(response);
        }
        let host = &self.host;
        match status.as_u16() {
            401 | 403 => match &self.credentials {
                Some(credentials) => bail!("{host} denies {} access to {what}", credentials.username),
                None => bail!("{host} denies access to {what} without a password (unauthorized)"),
            },
            404 => bail!("{host} has no {what}"),
            429 => bail!("{host} wants us to slow down (too many requests); try again later"),
            _ => {
                let detail = read_bounded(response.into_body(), 4096, "the error").unwrap_or_default();
                bail!("{host} answers {what} with HTTP status {status}{}", registry_error(&detail));
            }
        }
    }

    pub(crate) fn url(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.base, self.path)
    }

    fn title(&self, tag_or_digest: &str) -> String {
        let separator = if tag_or_digest.contains(':') { '@' } else { ':' };
        format!("image {}{separator}{tag_or_digest}", self.path)
    }
}

/// A header as text.
pub(crate) fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// How long to wait after the n-th failure: 0.2, 0.4, 0.8 … seconds.
pub(crate) fn pause(failures: u32) -> Duration {
    Duration::from_millis(100 << failures.min(8))
}

/// The first message of `{"errors": [{"code": …, "message": …}]}`.
fn registry_error(body: &[u8]) -> String {
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let message = document["errors"][0]["message"].as_str().unwrap_or_default();
    // What a stranger wrote goes to the terminal: no control characters.
    let message: String = message.chars().filter(|character| !character.is_control()).take(200).collect();
    if message.is_empty() { message } else { format!(": {message}") }
}

fn is_temporary(status: u16) -> bool {
    matches!(status, 429 | 500 | 502 | 503 | 504)
}

/// Whether trying again may help: the connection broke, as opposed to there being nobody.
fn is_cut(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error, ureq::Error::Io(error)
        if matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof))
}

/// Whether a host is this machine, where eavesdroppers are no concern.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        || name.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_recognised() {
        for host in ["localhost", "localhost:5000", "127.0.0.1", "127.1.2.3:5000", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["registry-1.docker.io", "10.0.0.1:5000", "localhost.evil.example", "127.0.0.1.example:5000"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_registry_cannot_write_to_the_terminal() {
        let body = br#"{"errors":[{"code":"X","message":"\u001b[2Jgone"}]}"#;
        assert_eq!(registry_error(body), ": [2Jgone");
        assert_eq!(registry_error(b"<html>"), "");
    }
}
