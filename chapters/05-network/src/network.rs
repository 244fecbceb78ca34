//! The network as one of a container's isolations.

use std::fs::{self, File, Permissions};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use namespaces::{Birth, Child, Gate, Isolation, Kind, Process, Record, rootless};
use rootfs::Mount;

use crate::args::{NetworkOptions, check_name};
use crate::bridge::Bridge;
use crate::endpoint::{Endpoint, Handle};
use crate::lease::Leases;
use crate::links::{Links, Veth, errno};
use crate::mode::Mode;
use crate::nft::Table;
use crate::proxy::Proxy;
use crate::publish::Port;
use crate::release::{RECORD, Undo};
use crate::reserve::reserve;
use crate::subnet::{Subnet, mac_of, mac_text};
use crate::{host, hosts, resolv, ruleset};

/// The files of names, as they are called below `/etc`.
const FILES: [&str; 3] = ["resolv.conf", "hosts", "hostname"];
/// The interface inside.
const INSIDE: &str = "eth0";

/// A container's network.
pub struct Network {
    options: NetworkOptions,
    bridge: Bridge,
    container: String,
    hostname: String,
    files: Option<PathBuf>,
    shared: Option<Rc<OwnedFd>>,
    attached: Option<Attached>,
    handle: Handle,
}

/// What `prepare` leaves for `outside` and `inside`, where there is a bridge.
struct Attached {
    links: Links,
    table: Table,
    bridge: u32,
    subnet: Subnet,
    address: Ipv4Addr,
}

impl Network {
    /// The network of a container that is not there yet. `hosts`, `hostname` and `resolv.conf` are written into
    /// `files`, from where the root filesystem binds them over the image's own.
    pub fn new(
        options: NetworkOptions,
        bridge: Bridge,
        container: &str,
        hostname: &str,
        files: Option<PathBuf>,
    ) -> Network {
        Network {
            options,
            bridge,
            container: container.to_owned(),
            hostname: hostname.to_owned(),
            files,
            shared: None,
            attached: None,
            handle: Handle::default(),
        }
    }

    /// For `container:`, the namespace to join, by a descriptor of its `/proc/PID/ns/net`; without it, the text after
    /// the colon is read as a process id.
    pub fn joining(mut self, namespace: OwnedFd) -> Network {
        self.shared = Some(Rc::new(namespace));
        self
    }

    /// What can be asked later.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ports, address, bridge and rules: all that is possible before there is a namespace to lead to.
    fn attach(&mut self) -> Result<()> {
        if rootless() {
            bail!(
                "--network bridge needs root: an ordinary user may not make interfaces on the host \
                 (run as root, or use --network none or host)"
            );
        }
        // First, since it is the likeliest to fail and the easiest to give back.
        let reservations = reserve(&self.options.ports)?;
        let ports: Vec<Port> = reservations.iter().map(|reservation| reservation.port.clone()).collect();

        let mut links = Links::new();
        let mut table = Table::new(self.bridge.name())?;
        let locked = self.bridge.lock()?;
        let mut settings = host::settle(&self.bridge, &locked, &mut links)?;
        let mut leases = Leases::read(self.bridge.dir())?;
        let address = leases.claim(settings.subnet, &self.container, &ports)?;
        leases.write(self.bridge.dir())?;
        let bridge = host::stand(&self.bridge, &locked, &mut settings, &leases, &mut links, &mut table)
            .with_context(|| format!("set up the bridge {}", self.bridge.name()))?;
        drop(locked);

        let subnet = settings.subnet;
        let endpoint = Endpoint {
            address: Some(address),
            prefix: subnet.prefix,
            gateway: Some(subnet.gateway()),
            mac: Some(mac_text(mac_of(address))),
            host_interface: None,
            ports,
        };
        let proxy = if reservations.is_empty() { None } else { Some(Proxy::new(reservations, address)?) };
        *self.handle.0.borrow_mut() = (endpoint, proxy);
        self.attached = Some(Attached { links, table, bridge, subnet, address });
        Ok(())
    }

    /// Writes the three files of names.
    fn write_files(&self, dir: &Path) -> Result<()> {
        check_name(&self.hostname)?;
        let endpoint = self.handle.endpoint();
        let on_host = self.options.mode == Mode::Host;
        let gateway = if on_host { Some(Ipv4Addr::LOCALHOST) } else { endpoint.gateway };
        let mut extra: Vec<(IpAddr, &str)> = Vec::new();
        for host in &self.options.extra_hosts {
            extra.push((host.resolve(gateway)?, &host.name));
        }
        let (resolv, hosts) = if on_host {
            let hosts = fs::read("/etc/hosts").unwrap_or_default();
            (
                resolv::for_host_network(&resolv::of_host(), &self.options.dns),
                hosts::for_host_network(&String::from_utf8_lossy(&hosts), &extra),
            )
        } else {
            (
                resolv::for_container(&resolv::of_host(), &self.options.dns),
                hosts::for_container(endpoint.address, &self.hostname, &extra),
            )
        };
        for (name, text) in FILES.into_iter().zip([resolv, hosts, format!("{}\n", self.hostname)]) {
            let path = dir.join(name);
            // Whatever the umask: everybody inside reads them.
            let write =
                || fs::write(&path, text).and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o644)));
            write().with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }
}

impl Isolation for Network {
    fn record(&self) -> Option<Record> {
        let data = Undo { bridge: self.bridge.clone(), container: self.container.clone() };
        let data = (self.options.mode == Mode::Bridge).then(|| serde_json::to_value(data).ok())??;
        Some(Record { kind: RECORD.to_owned(), data })
    }

    fn prepare(&mut self) -> Result<()> {
        match &self.options.mode {
            Mode::Bridge => self.attach()?,
            Mode::Container(target) if self.shared.is_none() => {
                self.shared = Some(Rc::new(namespace_of(target)?));
            }
            _ => {}
        }
        match &self.files {
            Some(dir) => self.write_files(dir),
            None => Ok(()),
        }
    }

    fn births(&self) -> Vec<Birth> {
        match (&self.options.mode, &self.shared) {
            (Mode::Host, _) => vec![],
            (Mode::Container(_), Some(namespace)) => vec![Birth::Join(namespace.clone(), vec![Kind::Net])],
            _ => vec![Birth::New(Kind::Net)],
        }
    }

    /// The veth pair, born with its other end in the child's namespace, and the ports.
    fn outside(&mut self, child: &Child) -> Result<()> {
        let Some(attached) = &mut self.attached else { return Ok(()) };
        let namespace = child.namespace(Kind::Net)?;
        let name = create_veth(attached, &self.container, &namespace)
            .with_context(|| format!("connect the container to the bridge {}", self.bridge.name()))?;
        let endpoint = &mut self.handle.0.borrow_mut().0;
        let additions = ruleset::publish(attached.address, &endpoint.ports);
        host::publish(&mut attached.table, &additions, &ruleset::unpublish(&endpoint.ports))?;
        if !additions.is_empty() && bridge_is_filtered() {
            attached.links.set_hairpin(&name)?;
        }
        endpoint.host_interface = Some(name);
        Ok(())
    }

    /// `lo` up, and `eth0` with its address and the way out.
    ///
    /// Comes before the root filesystem: the files below /proc/sys/net are those of the reader's network namespace,
    /// through whichever /proc they are reached.
    fn inside(&mut self, _gate: &Gate, _process: &mut Process) -> Result<()> {
        if !matches!(self.options.mode, Mode::None | Mode::Bridge) {
            return Ok(());
        }
        // A socket of this namespace: those of `prepare` belong to the host's.
        let mut links = Links::new();
        links.set_up(LOOPBACK).context("set lo up")?;
        allow_ordinary_users();
        let Some(attached) = &self.attached else { return Ok(()) };
        let eth0 = links.find(INSIDE)?.context("eth0 has not arrived")?;
        // No IPv6 on this network (see `host::stand`); before it is up, so that not even a link-local address appears.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{INSIDE}/disable_ipv6"), "1");
        links.add_address(eth0.index, attached.address, attached.subnet)?;
        links.set_up(eth0.index).context("set eth0 up")?;
        links.add_default_route(eth0.index, attached.subnet.gateway())
    }
}

/// The three files that [`Network`] writes into `dir`, as mounts over the image's own, but for those over which the
/// user mounts something else.
pub fn file_mounts(dir: &Path, others: &[Mount]) -> Vec<Mount> {
    let taken = |place: &Path| others.iter().any(|mount| mount.destination == place);
    let places = FILES.map(|name| (dir.join(name), Path::new("/etc").join(name)));
    places.into_iter().filter(|(_, place)| !taken(place)).map(|(file, place)| Mount::bind(file, place)).collect()
}

/// The host's end gets a name that no end before it had: one of a container just dead may be there for 30 ms more.
fn create_veth(attached: &mut Attached, container: &str, namespace: &OwnedFd) -> Result<String> {
    let id: String = container.chars().filter(char::is_ascii_alphanumeric).take(6).collect();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let start = clock.subsec_nanos() ^ process::id().rotate_left(12);
    for attempt in 0..16 {
        // 15 characters at most (IFNAMSIZ).
        let name = format!("mdv{id}{:06x}", start.wrapping_add(attempt) & 0xff_ffff);
        let veth = Veth {
            name: &name,
            bridge: attached.bridge,
            peer_name: INSIDE,
            peer_mac: mac_of(attached.address),
            peer_namespace: namespace.as_fd(),
        };
        match attached.links.create_veth(&veth) {
            Ok(()) => return Ok(name),
            Err(error) if errno(&error) == Some(libc::EEXIST) => {}
            Err(error) if errno(&error) == Some(libc::EXFULL) => {
                return Err(error).context("the bridge is full (the kernel's limit is 1023 ports)");
            }
            Err(error) => return Err(error).context("make a veth pair"),
        }
    }
    bail!("no free name for a veth pair")
}

fn namespace_of(target: &str) -> Result<OwnedFd> {
    let pid: u32 =
        target.parse().ok().with_context(|| format!("container:{target}: {target:?} is not a process id"))?;
    let path = format!("/proc/{pid}/ns/net");
    let file = File::open(&path).with_context(|| format!("join the network of process {pid}: open {path}"))?;
    Ok(file.into())
}

/// Whether frames between ports of a bridge pass the rules for IP packets, too (the module `br_netfilter`, which Docker
/// or Kubernetes may have loaded). A container that calls itself by the host's address is then answered on the port it asked from.
fn bridge_is_filtered() -> bool {
    fs::read("/proc/sys/net/bridge/bridge-nf-call-iptables").is_ok_and(|text| text.starts_with(b"1"))
}

/// In a network of its own a container may bind low ports and ping without root, as Docker sets it. A comfort: in a
/// user namespace with few ids the kernel refuses the second, and that is no reason not to start.
fn allow_ordinary_users() {
    let _ = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    let _ = fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
}

/// `lo` is the first interface of every network namespace.
const LOOPBACK: u32 = 1;
