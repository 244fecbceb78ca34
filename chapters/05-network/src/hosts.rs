//! `/etc/hosts` and `/etc/hostname` for a container.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

/// The names that every machine knows, in Docker's order.
const LOCAL: &str = "127.0.0.1\tlocalhost\n\
                     ::1\tlocalhost ip6-localhost ip6-loopback\n\
                     fe00::\tip6-localnet\n\
                     ff00::\tip6-mcastprefix\n\
                     ff02::1\tip6-allnodes\n\
                     ff02::2\tip6-allrouters\n";

/// The file for a container with a network namespace of its own: the local names, the container's own, and `extra`.
///
/// A host name with a domain (`web.example.org`) is known by its first label as well, as Docker writes it.
pub fn for_container(address: Option<Ipv4Addr>, hostname: &str, extra: &[(IpAddr, &str)]) -> String {
    let mut text = LOCAL.to_owned();
    if let Some(address) = address {
        let _ = match hostname.split_once('.') {
            Some((label, _)) if !label.is_empty() => writeln!(text, "{address}\t{hostname} {label}"),
            _ => writeln!(text, "{address}\t{hostname}"),
        };
    }
    with_lines(text, extra)
}

/// The file for a container on the host's own network: the host's, and `extra`.
pub fn for_host_network(host: &str, extra: &[(IpAddr, &str)]) -> String {
    let mut text = host.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    with_lines(text, extra)
}

fn with_lines(mut text: String, extra: &[(IpAddr, &str)]) -> String {
    for (address, name) in extra {
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_name_and_extra_lines() {
        let db = [(IpAddr::from([10, 0, 0, 9]), "db")];
        let text = for_container(Some(Ipv4Addr::new(172, 18, 0, 2)), "web", &db);
        assert_eq!(text.strip_prefix(LOCAL), Some("172.18.0.2\tweb\n10.0.0.9\tdb\n"));
        let text = for_container(Some(Ipv4Addr::new(172, 18, 0, 2)), "web.example.org", &[]);
        assert_eq!(text.strip_prefix(LOCAL), Some("172.18.0.2\tweb.example.org web\n"));
        assert_eq!(for_container(None, "web", &[]), LOCAL);
    }

    #[test]
    fn the_hosts_own_file_is_kept() {
        let db = [(IpAddr::from([10, 0, 0, 9]), "db")];
        assert_eq!(for_host_network("127.0.0.1 localhost", &db), "127.0.0.1 localhost\n10.0.0.9\tdb\n");
        assert_eq!(for_host_network("", &[]), "");
    }
}
