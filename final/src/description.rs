//! What a container is, as data: enough to start it, again and again, by any process.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cgroups::Limits;
use layers::Digest;
use network::NetworkOptions;
use serde::{Deserialize, Serialize};

use crate::privileges;
use crate::sharing::Namespaces;
use crate::volumes::SavedMount;

/// A container as it was asked for, with everything looked up that the image and the command line said: the content of
/// `container.json`. It does not change, but for its limits (`update`) and its name (`rename`); what happens to the container
/// is in its [`State`](crate::state::State).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name, without a slash.
    pub name: String,
    /// When it was made, as RFC 3339 in UTC.
    pub created: String,
    /// The image as the user named it.
    pub image: String,
    /// The digest of the image's config.
    pub image_id: String,

    /// The command and its arguments: the image's entrypoint and command, or what replaced them.
    pub argv: Vec<String>,
    /// The whole environment, `KEY=VALUE`.
    pub env: Vec<String>,
    /// The working directory.
    pub cwd: PathBuf,
    /// The user, `name|uid[:group|gid]`; empty means root.
    pub user: String,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whether its input is open.
    pub interactive: bool,
    /// Whether pid 1 is an init of ours.
    pub init: bool,

    /// The host name.
    pub hostname: String,
    /// The NIS domain name.
    pub domainname: Option<String>,
    /// Whose namespaces it has.
    #[serde(default)]
    pub namespaces: Namespaces,
    /// What it may take.
    pub limits: Limits,
    /// Its cgroup.
    pub cgroup: String,
    /// Rules for devices besides the usual ones, as `--device-cgroup-rule` writes them.
    pub device_rules: Vec<String>,
    /// Devices of the host besides the usual ones, as `--device` writes them.
    #[serde(default)]
    pub devices: Vec<String>,
    /// The layers of its image, base first.
    pub layers: Vec<PathBuf>,
    /// Their diff IDs.
    pub diff_ids: Vec<Digest>,
    /// All that is mounted in its root, in this order.
    pub mounts: Vec<SavedMount>,
    /// Whether its root is read-only.
    pub read_only: bool,
    /// How it is connected.
    pub network: NetworkOptions,
    /// What the process inside may do.
    pub privileges: privileges::Settings,

    /// Anything the user wants to find it by.
    pub labels: BTreeMap<String, String>,
    /// What somebody else's tools are to know of it (`--annotation`).
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// The ports that its image says it listens on, as `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// The signal that asks it to stop, by number.
    pub stop_signal: i32,
    /// Seconds that `stop` waits before it kills.
    pub stop_timeout: u64,
    /// Whether it is removed when it ends.
    pub auto_remove: bool,
}

impl Description {
    /// The volumes that were made for this container alone, without a name.
    pub fn own_volumes(&self) -> Vec<String> {
        self.mounts.iter().filter(|mount| mount.own).filter_map(|mount| mount.volume.clone()).collect()
    }
}
