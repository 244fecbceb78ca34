//! A real registry on the virtual host's loopback: Debian's `docker-registry`, filled by `skopeo`.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use crate::{Background, Host, eventually};

/// Running until dropped.
pub struct Registry {
    _process: Background,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

impl Registry {
    /// Starts one with an empty store in the scratch directory. Skips the test where there is none.
    pub fn start(host: &Host) -> Registry {
        host.needs("docker-registry");
        host.needs("skopeo");
        let store = host.work().join("registry");
        fs::create_dir(&store).expect("make the registry's directory");
        let config = host.work().join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\n  delete: {{ enabled: true }}\n\
             http: {{ addr: '127.0.0.1:5000' }}\n",
            store.display()
        );
        fs::write(&config, text).expect("write the registry's configuration");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(config);
        let process = Background::start(command);
        let address = "127.0.0.1:5000".to_owned();
        eventually("the registry listens", || TcpStream::connect(&address).is_ok());
        Registry { _process: process, address }
    }

    /// Puts an archive there; gives back the name under which it can be pulled.
    pub fn push(&self, host: &Host, archive: &Path, name: &str) -> String {
        let reference = format!("{}/{name}", self.address);
        host.tool("skopeo", ["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"])
            .arg(format!("docker-archive:{}", archive.display()))
            .arg(format!("docker://{reference}"))
            .assert()
            .success();
        reference
    }
}
