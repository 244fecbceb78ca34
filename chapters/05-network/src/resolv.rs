//! `/etc/resolv.conf` for a container: the host's, without what cannot work inside.
//!
//! A nameserver at 127.0.0.1 is the host's own resolver; in the container that address is the container itself. Docker's
//! rule for its default bridge (moby, `daemon/libnetwork/internal/resolvconf`) is followed: loopback nameservers are
//! dropped, IPv6 ones as well since the container has no IPv6 address, and if none is left the public servers 8.8.8.8
//! and 8.8.4.4 are written. Where systemd-resolved serves the host, its own list of real servers is read instead.

use std::fmt::Write;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// What `--dns`, `--dns-search` and `--dns-option` change; what is empty stays as on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// The servers to ask.
    pub servers: Vec<IpAddr>,
    /// Domains to search; `.` means none.
    pub search: Vec<String>,
    /// `options` of resolv.conf(5).
    pub options: Vec<String>,
}

impl Dns {
    /// Refuses words that would begin a line of their own.
    pub(crate) fn check(&self) -> Result<()> {
        for word in self.search.iter().chain(&self.options) {
            let strange = |c: char| c.is_whitespace() || c.is_control();
            ensure!(!word.is_empty() && !word.contains(strange), "{word:?} is not one word for resolv.conf");
        }
        Ok(())
    }
}

/// The host's file, as text; nothing if it has none.
pub fn of_host() -> String {
    let read =
        |path: &str| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let text = read("/etc/resolv.conf");
    // systemd-resolved: the real servers stand elsewhere (systemd-resolved.service(8)).
    if nameservers(&text) == [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53))] {
        let real = read("/run/systemd/resolve/resolv.conf");
        if !nameservers(&real).is_empty() {
            return real;
        }
    }
    text
}

/// The nameservers that a resolv.conf names, in order.
pub fn nameservers(text: &str) -> Vec<IpAddr> {
    values(text, "nameserver").into_iter().filter_map(address).collect()
}

/// The text for a container with a network namespace of its own.
pub fn for_container(host: &str, dns: &Dns) -> String {
    let usable = |server: &IpAddr| server.is_ipv4() && !server.is_loopback();
    let kept: Vec<IpAddr> = nameservers(host).into_iter().filter(usable).collect();
    let mut comment = "";
    let servers = if !dns.servers.is_empty() {
        dns.servers.clone()
    } else if !kept.is_empty() {
        kept
    } else {
        comment = "# The host has no nameserver that could be reached from here; these are public ones.\n";
        vec![IpAddr::from([8, 8, 8, 8]), IpAddr::from([8, 8, 4, 4])]
    };
    format!("{comment}{}", write(host, servers.iter().map(IpAddr::to_string), dns))
}

/// The text for a container on the host's own network: every nameserver works there, zones (`fe80::1%eth0`) included.
pub fn for_host_network(host: &str, dns: &Dns) -> String {
    if *dns == Dns::default() {
        return host.to_owned();
    }
    if dns.servers.is_empty() {
        return write(host, values(host, "nameserver").into_iter().map(str::to_owned), dns);
    }
    write(host, dns.servers.iter().map(IpAddr::to_string), dns)
}

fn write(host: &str, servers: impl Iterator<Item = String>, dns: &Dns) -> String {
    let mut text = String::new();
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    let search = match dns.search.as_slice() {
        [] => last(host, "search").or(last(host, "domain")).unwrap_or_default(),
        given => given.iter().map(String::as_str).filter(|domain| *domain != ".").collect(),
    };
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    let options =
        if dns.options.is_empty() { values(host, "options") } else { dns.options.iter().map(String::as_str).collect() };
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

/// All words after `key`, over all lines that begin with it.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    lines(text, key).flatten().collect()
}

/// The words of the last line that begins with `key`: of several `search` lines the last one counts (resolv.conf(5)).
fn last<'a>(text: &'a str, key: &str) -> Option<Vec<&'a str>> {
    lines(text, key).last().map(Iterator::collect)
}

fn lines<'a>(text: &'a str, key: &str) -> impl Iterator<Item = std::str::SplitWhitespace<'a>> {
    text.lines().filter_map(move |line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(key)).then_some(words)
    })
}

/// An address without its zone: `fe80::1%eth0` names an interface that the container does not have.
fn address(word: &str) -> Option<IpAddr> {
    word.split('%').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "# made by hand\nnameserver 127.0.0.1\nnameserver 10.1.2.3\nnameserver ::1\nnameserver 2001:db8::1\n\
                        domain old.example\nsearch a.example b.example\noptions ndots:2\noptions edns0\nsortlist 1.2.3.4\n";

    #[test]
    fn what_cannot_be_reached_is_dropped() {
        let text = for_container(HOST, &Dns::default());
        assert_eq!(text, "nameserver 10.1.2.3\nsearch a.example b.example\noptions ndots:2 edns0\n");
    }

    #[test]
    fn public_servers_when_none_is_left() {
        let text = for_container("nameserver 127.0.0.53\n", &Dns::default());
        assert!(text.ends_with("nameserver 8.8.8.8\nnameserver 8.8.4.4\n"), "{text}");
        assert!(text.starts_with("# "), "{text}");
        assert!(for_container("", &Dns::default()).contains("8.8.8.8"));
    }

    #[test]
    fn flags_win() {
        let dns = Dns {
            servers: vec![IpAddr::from([127, 0, 0, 11]), IpAddr::from([1, 1, 1, 1])],
            search: vec![".".to_owned()],
            options: vec!["timeout:1".to_owned()],
        };
        assert_eq!(for_container(HOST, &dns), "nameserver 127.0.0.11\nnameserver 1.1.1.1\noptions timeout:1\n");
    }

    #[test]
    fn the_host_network_keeps_the_file() {
        assert_eq!(for_host_network(HOST, &Dns::default()), HOST);
        let dns = Dns { search: vec!["c.example".to_owned()], ..Dns::default() };
        let text = for_host_network("nameserver fe80::1%eth0\n", &dns);
        assert_eq!(text, "nameserver fe80::1%eth0\nsearch c.example\n");
    }

    #[test]
    fn no_word_can_start_a_line() {
        let with = |option: &str| Dns { options: vec![option.to_owned()], ..Dns::default() }.check().is_ok();
        assert!(with("ndots:2"));
        assert!(!with("ndots:2\nnameserver 6.6.6.6"));
        assert!(!with(""));
    }
}
