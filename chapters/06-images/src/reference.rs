//! Names of images, as people write them: `busybox`, `library/busybox:1.36`, `127.0.0.1:5000/app@sha256:…`.
//!
//! The grammar is that of <https://github.com/distribution/reference>; the defaults are Docker's. A name has up to four
//! parts, of which only the path is always there:
//!
//! ```text
//! registry.example:5000/team/app:1.2@sha256:4bcf…
//! └────── host ───────┘ └─path─┘ tag └─ digest ─┘
//! ```

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, anyhow, bail, ensure};
use layers::Digest;

/// The registry that a name without a host means.
pub const DEFAULT_HOST: &str = "docker.io";
/// The tag that a name without tag and digest means.
pub const DEFAULT_TAG: &str = "latest";

/// Where images live that were published by Docker itself: `busybox` is `docker.io/library/busybox`.
const OFFICIAL: &str = "library/";
/// Longest path, in bytes. distribution/reference `RepositoryNameTotalLengthMax`.
const MAX_PATH: usize = 255;
/// Longest tag, in bytes. <https://github.com/opencontainers/distribution-spec>, "Pulling manifests".
const MAX_TAG: usize = 128;

/// A complete name of an image: every default filled in.
///
/// ```
/// let name: images::Reference = "busybox".parse().unwrap();
/// assert_eq!(name.to_string(), "docker.io/library/busybox:latest");
/// assert_eq!(name.familiar(), "busybox:latest");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    host: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry as written, with its port: `docker.io`, `127.0.0.1:5000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository within the registry: `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag. There is none where only a digest was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest or index, where one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The host that answers for this registry's API: Docker Hub's has another name than its images.
    pub fn api_host(&self) -> &str {
        if self.host == DEFAULT_HOST { "registry-1.docker.io" } else { &self.host }
    }

    /// Host and path without tag and digest: `docker.io/library/busybox`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// The repository as Docker prints it, without what is the default: `busybox`, `127.0.0.1:5000/app`.
    pub fn familiar_repository(&self) -> String {
        if self.host != DEFAULT_HOST {
            return self.repository();
        }
        let short = match self.path.strip_prefix(OFFICIAL) {
            Some(name) if !name.contains('/') => name,
            _ => &self.path,
        };
        // `docker.io/a.b/c` may not be shortened: `a.b/c` would be read as the host `a.b`.
        match split_host(short) {
            (Some(_), _) => self.repository(),
            (None, _) => short.to_owned(),
        }
    }

    /// The whole name as Docker prints it: `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.familiar_repository() + &self.suffix()
    }

    /// The same repository with a tag and nothing else.
    pub fn with_tag(&self, tag: &str) -> Result<Reference> {
        check_tag(tag)?;
        Ok(Reference { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository at a digest and nothing else.
    pub fn with_digest(&self, digest: &Digest) -> Reference {
        Reference { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }

    /// What a registry is asked for under `/v2/<path>/manifests/`: the digest if there is one, because it says more.
    pub fn tag_or_digest(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        tag + &digest
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.host, self.path, self.suffix())
    }
}

impl FromStr for Reference {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        // One sentence, because clap prints the outermost error only.
        parse(text).map_err(|error| anyhow!("invalid reference format: {:?}: {error:#}", shown(text)))
    }
}

fn parse(text: &str) -> Result<Reference> {
    // 64 hexadecimal digits are an image ID wherever a name is accepted, so they cannot be a name as well.
    ensure!(!is_full_id(text), "64 hexadecimal digits are an image ID, not a name");

    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
        None => (text, None),
    };
    // A colon after the last slash starts a tag; one before it belongs to the host's port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }

    let (host, path) = split_host(name);
    let host = match host {
        None | Some("index.docker.io") => DEFAULT_HOST,
        Some(host) => host,
    };
    check_host(host)?;
    check_path(path)?;
    let path = if host == DEFAULT_HOST && !path.contains('/') { format!("{OFFICIAL}{path}") } else { path.to_owned() };
    ensure!(path.len() <= MAX_PATH, "the repository name is longer than {MAX_PATH} characters");

    let tag = match (tag, &digest) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, None) => Some(DEFAULT_TAG.to_owned()),
        (None, Some(_)) => None,
    };
    Ok(Reference { host: host.to_owned(), path, tag, digest })
}

/// The first component is a host if it cannot be anything else: it has a dot or a port, is `localhost`, or has a
/// capital letter, which no path may have.
fn split_host(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

fn check_host(host: &str) -> Result<()> {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let valid = address.parse::<std::net::Ipv6Addr>().is_ok();
            ensure!(valid, "{:?} is not an IPv6 address", shown(address));
            ensure!(rest.is_empty() || rest.starts_with(':'), "the host {:?} is malformed", shown(host));
            ("", rest.strip_prefix(':'))
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    if let Some(port) = port {
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        ensure!(digits && port.parse::<u16>().is_ok(), "{:?} is not a port", shown(port));
    }
    if host.starts_with('[') {
        return Ok(());
    }
    for label in name.split('.') {
        let letters = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let valid = letters && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
        ensure!(valid, "the host {:?} is malformed", shown(host));
    }
    Ok(())
}

/// `path-component := [a-z0-9]+ ((?:[._]|__|[-]+) [a-z0-9]+)*`, components joined by slashes.
fn check_path(path: &str) -> Result<()> {
    ensure!(!path.is_empty(), "the repository name is empty");
    ensure!(!path.bytes().any(|byte| byte.is_ascii_uppercase()), "repository name must be lowercase");
    for component in path.split('/') {
        ensure!(is_component(component), "{:?} is not a name of a repository", shown(component));
    }
    Ok(())
}

fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(&first), Some(&last)) if alphanumeric(first) && alphanumeric(last) => {}
        _ => return false,
    }
    bytes
        .split(|&byte| alphanumeric(byte))
        .all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|&byte| byte == b'-'))
}

fn check_tag(tag: &str) -> Result<()> {
    ensure!(tag.len() <= MAX_TAG, "the tag is longer than {MAX_TAG} characters");
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match tag.as_bytes() {
        [] => bail!("the tag is empty"),
        [first, rest @ ..] => {
            let valid = word(*first) && rest.iter().all(|&byte| word(byte) || byte == b'.' || byte == b'-');
            ensure!(valid, "{:?} is not a tag", shown(tag));
        }
    }
    Ok(())
}

fn is_full_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What is repeated of a bad input in a message: never kilobytes of it.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn full(text: &str) -> String {
        text.parse::<Reference>().unwrap().to_string()
    }

    #[test]
    fn defaults_are_dockers() {
        assert_eq!(full("busybox"), "docker.io/library/busybox:latest");
        assert_eq!(full("busybox:1.36"), "docker.io/library/busybox:1.36");
        assert_eq!(full("team/app"), "docker.io/team/app:latest");
        assert_eq!(full("index.docker.io/busybox"), "docker.io/library/busybox:latest");
        assert_eq!(full(&format!("busybox@{DIGEST}")), format!("docker.io/library/busybox@{DIGEST}"));
        assert_eq!(full(&format!("busybox:1@{DIGEST}")), format!("docker.io/library/busybox:1@{DIGEST}"));
    }

    #[test]
    fn hosts_are_told_from_paths() {
        assert_eq!(full("localhost/app"), "localhost/app:latest");
        assert_eq!(full("localhost:5000/app:v1"), "localhost:5000/app:v1");
        assert_eq!(full("127.0.0.1:5000/a/b/c"), "127.0.0.1:5000/a/b/c:latest");
        assert_eq!(full("ghcr.io/o/r"), "ghcr.io/o/r:latest");
        assert_eq!(full("Uppercase/app"), "Uppercase/app:latest");
        assert_eq!(full("[::1]:5000/app"), "[::1]:5000/app:latest");
        assert_eq!(full("localhost"), "docker.io/library/localhost:latest");
    }

    #[test]
    fn familiar_names_drop_only_what_parsing_adds() {
        let familiar = |text: &str| text.parse::<Reference>().unwrap().familiar();
        assert_eq!(familiar("docker.io/library/busybox"), "busybox:latest");
        assert_eq!(familiar("docker.io/team/app:1"), "team/app:1");
        assert_eq!(familiar("docker.io/library/a/b"), "library/a/b:latest");
        assert_eq!(familiar("docker.io/a.b/c"), "docker.io/a.b/c:latest");
        assert_eq!(familiar("127.0.0.1:5000/x"), "127.0.0.1:5000/x:latest");
    }

    #[test]
    fn api_host_of_docker_hub_has_another_name() {
        assert_eq!("busybox".parse::<Reference>().unwrap().api_host(), "registry-1.docker.io");
        assert_eq!("localhost:5000/x".parse::<Reference>().unwrap().api_host(), "localhost:5000");
    }

    #[test]
    fn bad_names_are_refused() {
        let long_path = "a/".repeat(128) + "a";
        let long_tag = format!("a:{}", "b".repeat(129));
        let id = "a".repeat(64);
        for bad in [
            "",
            ":",
            "@",
            "Busybox",
            "a:",
            "a:-b",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a@b",
            "a@sha256:12",
            "a b",
            "a:b c",
            "localhost:99999/a",
            "localhost:/a",
            "../a",
            "a/../b",
            "http://a/b",
            "[::g]/a",
            "[::1]x/a",
            ".a.b/c",
            "a.b-/c",
            "ä",
            "a:ä",
            "a\0b",
            &long_path,
            &long_tag,
            &id,
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?} was accepted");
        }
        let error = format!("{:#}", "Busybox".parse::<Reference>().unwrap_err());
        assert!(error.contains("must be lowercase"), "{error}");
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,80}") {
            let _ = text.parse::<Reference>();
        }

        #[test]
        fn both_forms_are_read_back(
            host in "(|docker\\.io/|localhost/|[a-z]{1,5}(\\.[a-z0-9]{1,4}){1,2}(:[1-9][0-9]{0,3})?/)",
            path in "[a-z0-9]{1,5}([._]|__|-{1,3})?[a-z0-9]{1,3}(/[a-z0-9]{1,5}(\\.[a-z]{1,2})?){0,2}",
            tag in "(|:[A-Za-z0-9_][A-Za-z0-9_.-]{0,8})",
            digest in prop::bool::ANY,
        ) {
            let digest = if digest { format!("@{DIGEST}") } else { String::new() };
            let name: Reference = format!("{host}{path}{tag}{digest}").parse().unwrap();
            prop_assert_eq!(&name.to_string().parse::<Reference>().unwrap(), &name);
            prop_assert_eq!(&name.familiar().parse::<Reference>().unwrap(), &name);
        }
    }
}
