//! Proving to a registry who we are, or that we are nobody in particular.
//!
//! A registry answers 401 with a *challenge*: who to ask for a token, or that a password will do
//! (<https://distribution.github.io/distribution/spec/auth/token/>):
//!
//! ```text
//! WWW-Authenticate: Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull"
//! WWW-Authenticate: Basic realm="Registry"
//! ```

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use ureq::Agent;
use ureq::http::Uri;

use crate::transport::{explain, read_bounded};

/// A user name and a password, as `docker login` stored them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password, or a token that stands for it.
    pub password: String,
}

impl Credentials {
    /// What `~/.docker/config.json` (or `$DOCKER_CONFIG/config.json`) has for a registry:
    /// `{"auths": {"registry.example:5000": {"auth": "<base64 of user:password>"}}}`. None if there is no such file.
    pub fn from_docker_config(host: &str) -> Result<Option<Credentials>> {
        let directory = env::var_os("DOCKER_CONFIG").map(PathBuf::from);
        let directory = directory.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".docker")));
        let Some(path) = directory.map(|directory| directory.join("config.json")) else { return Ok(None) };
        let Ok(text) = fs::read(&path) else { return Ok(None) };
        Credentials::in_config(&text, host).with_context(|| format!("read {}", path.display()))
    }

    fn in_config(text: &[u8], host: &str) -> Result<Option<Credentials>> {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            auths: HashMap<String, Auth>,
        }
        #[derive(Deserialize)]
        struct Auth {
            auth: Option<String>,
            username: Option<String>,
            password: Option<String>,
        }
        let file: File = serde_json::from_slice(text).context("the file is not JSON of the known form")?;
        let found = file.auths.into_iter().find(|(key, _)| is_key_for(key, host));
        let Some((_, Auth { auth, username, password })) = found else { return Ok(None) };
        if let (Some(username), Some(password)) = (username, password) {
            return Ok(Some(Credentials { username, password }));
        }
        let Some(auth) = auth.filter(|auth| !auth.is_empty()) else { return Ok(None) };
        let decoded = BASE64_STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|text| text.trim_end_matches('\0').split_once(':'));
        let (username, password) =
            pair.with_context(|| format!("the entry for {host} is not base64 of user:password"))?;
        Ok(Some(Credentials { username: username.to_owned(), password: password.to_owned() }))
    }

    fn basic(&self) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", self.username, self.password)))
    }
}

/// Keys are hosts, or the URLs that older versions wrote: `https://index.docker.io/v1/`.
fn is_key_for(key: &str, host: &str) -> bool {
    let name = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let name = name.split('/').next().unwrap_or_default();
    name == host || (host == crate::reference::DEFAULT_HOST && name == "index.docker.io")
}

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// Reads one `WWW-Authenticate` header.
    pub(crate) fn parse(header: &str) -> Option<Challenge> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut parameters = parameters(rest);
        let realm = parameters.remove("realm")?;
        Some(Challenge::Bearer { realm, service: parameters.remove("service"), scope: parameters.remove("scope") })
    }

    /// Answers it: gives the value of the `Authorization` header. `scope`: what to ask a token for if the registry did
    /// not say; `secure`: whether the registry itself was reached by https.
    pub(crate) fn answer(
        &self,
        agent: &Agent,
        host: &str,
        credentials: Option<&Credentials>,
        scope: &str,
        secure: bool,
    ) -> Result<String> {
        let (realm, service, scope) = match self {
            Challenge::Basic => {
                let credentials = credentials.with_context(|| format!("{host} wants a password{LOG_IN}"))?;
                return Ok(credentials.basic());
            }
            Challenge::Bearer { realm, service, scope: asked } => (realm, service, asked.as_deref().unwrap_or(scope)),
        };
        let uri: Uri =
            realm.parse().with_context(|| format!("{host} sends us for a token to {realm:?}, which is no URL"))?;
        let token_host = uri.authority().map_or(host, |authority| authority.as_str()).to_owned();
        // Whoever can write into the answer of an https registry is the registry; but the password goes over the wire.
        ensure!(
            !secure || uri.scheme_str() == Some("https"),
            "{host} wants us to fetch a token from {token_host} without encryption; refused"
        );
        let mut query = vec![("scope", scope)];
        query.extend(service.as_deref().map(|service| ("service", service)));
        query.extend(credentials.map(|credentials| ("account", credentials.username.as_str())));
        let mut request = agent.get(uri).query_pairs(query);
        if let Some(credentials) = credentials {
            request = request.header("Authorization", credentials.basic());
        }
        let response = request.call().map_err(|error| explain(error, &token_host)).context("fetch a token")?;
        let status = response.status();
        match status.as_u16() {
            200..=299 => {}
            401 | 403 if credentials.is_some() => bail!("{token_host} refuses the user name and password for {host}"),
            401 | 403 => bail!("{token_host} gives no token to the public{LOG_IN}"),
            _ => bail!("{token_host} gives no token: HTTP status {status}"),
        }
        let body = read_bounded(response.into_body(), 1 << 20, "the token")?;
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let Token { token, access_token } =
            serde_json::from_slice(&body).with_context(|| format!("read the token that {token_host} sent"))?;
        let token = token.filter(|token| !token.is_empty()).or(access_token);
        let token = token.with_context(|| format!("{token_host} sent an answer without a token"))?;
        Ok(format!("Bearer {token}"))
    }
}

const LOG_IN: &str = " (the image is private, or there is none of that name; `docker login` stores a password in \
                      ~/.docker/config.json, where it is looked for)";

/// `key="value",key=value`; a quoted value may have commas and escaped quotes in it.
fn parameters(text: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, remainder) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (value, remainder) = after.split_once(',').unwrap_or((after, ""));
                (value.trim().to_owned(), remainder)
            }
        };
        found.insert(key, value);
        rest = remainder;
    }
    found
}

fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '"' => return (value, &text[position + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn challenges_are_read() {
        let header = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.docker.io/token".to_owned(),
            service: Some("registry.docker.io".to_owned()),
            scope: Some("repository:a/b:pull,push".to_owned()),
        };
        assert_eq!(Challenge::parse(header), Some(expected));
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("basic"), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Negotiate abc"), None);
        assert_eq!(Challenge::parse("Bearer service=x"), None);
    }

    #[test]
    fn passwords_are_found_under_each_spelling_of_the_key() {
        let text = br#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"localhost:5000":{"auth":"YTpiOmM="}}}"#;
        let found = |host| Credentials::in_config(text, host).unwrap().map(|found| (found.username, found.password));
        assert_eq!(found("docker.io"), Some(("u".to_owned(), "p".to_owned())));
        assert_eq!(found("localhost:5000"), Some(("a".to_owned(), "b:c".to_owned())));
        assert_eq!(found("localhost"), None);
        assert!(Credentials::in_config(br#"{"auths":{"h":{"auth":"%"}}}"#, "h").is_err());
        assert!(Credentials::in_config(b"{\"credsStore\":\"x\"}", "h").unwrap().is_none());
    }

    proptest! {
        #[test]
        fn no_header_panics(header in "(Bearer |Basic )?\\PC{0,60}") {
            let _ = Challenge::parse(&header);
        }
    }
}
