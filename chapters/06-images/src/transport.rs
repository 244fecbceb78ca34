//! HTTP as registries need it: which certificates count, how long to wait, what went wrong in one sentence.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use ureq::Agent;
use ureq::config::RedirectAuthHeaders;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// How to talk to a registry.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Accept plain HTTP and certificates that nobody vouches for, as Docker does for `insecure-registries`.
    pub insecure: bool,
    /// How long one read or write may take before the peer counts as dead, also while a body is under way.
    pub timeout: Duration,
}

impl Default for Connection {
    fn default() -> Self {
        Connection { insecure: false, timeout: Duration::from_secs(30) }
    }
}

/// An HTTP client.
///
/// It follows redirects (registries send blobs from elsewhere) and leaves `Authorization` behind when it does: the
/// storage behind a registry is another party. There is no limit for a whole request, which for a layer may rightly
/// take an hour, but one for every read.
pub(crate) fn agent(connection: &Connection) -> Agent {
    let timeout = Some(connection.timeout);
    let config = Agent::config_builder()
        .user_agent(concat!("minidocker/", env!("CARGO_PKG_VERSION")))
        // The registry's errors have a body worth reading.
        .http_status_as_error(false)
        .redirect_auth_headers(RedirectAuthHeaders::Never)
        .timeout_connect(timeout.map(|timeout| timeout.min(Duration::from_secs(15))))
        .timeout_recv_response(timeout)
        .timeout_per_read(timeout)
        .timeout_per_write(timeout)
        .tls_config(tls(connection));
    config.build().new_agent()
}

/// The certificates that this machine trusts (`SSL_CERT_FILE` is honoured), not a list that was compiled in: a company's
/// own registry has a certificate of the company's own authority.
fn tls(connection: &Connection) -> TlsConfig {
    let found = rustls_native_certs::load_native_certs();
    let roots: Vec<_> = found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .disable_verification(connection.insecure)
        .build()
}

/// Says what went wrong between us and `host`.
pub(crate) fn explain(error: ureq::Error, host: &str) -> Error {
    match error {
        ureq::Error::HostNotFound => unknown_host(host),
        // The standard library gives getaddrinfo(3)'s failures no kind of their own.
        ureq::Error::Io(error) if error.to_string().contains("failed to lookup address") => unknown_host(host),
        ureq::Error::Timeout(what) => anyhow!("{host} does not answer (timeout: {what})"),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            anyhow!("no registry is listening at {host} (connection refused)")
        }
        ureq::Error::Rustls(error @ rustls::Error::InvalidCertificate(_)) => {
            Error::new(error).context(format!("the certificate of {host} is not trusted"))
        }
        ureq::Error::TooManyRedirects => anyhow!("{host} redirects in a circle"),
        error => Error::new(error).context(format!("talk to {host}")),
    }
}

fn unknown_host(host: &str) -> Error {
    anyhow!("cannot find the host {host} (is its name right, and is there a network?)")
}

/// Reads a body of at most `limit` bytes into memory.
pub(crate) fn read_bounded(body: ureq::Body, limit: u64, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(body.into_reader(), limit + 1), &mut bytes)
        .with_context(|| format!("receive {what}"))?;
    anyhow::ensure!(bytes.len() as u64 <= limit, "{what} is larger than {limit} bytes");
    Ok(bytes)
}
