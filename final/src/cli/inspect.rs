//! `minidocker inspect`: containers and images in the JSON that Docker's API has for them.

use anyhow::{Result, bail};
use cgroups::Limits;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::container::Container;
use crate::description::Description;
use crate::format::say;
use crate::root::Root;
use crate::sharing::Sharing;
use crate::state::State;
use crate::status::{self, Status};

/// Show all there is to know of containers or images, as JSON.
#[derive(Args)]
pub struct Inspect {
    /// Only things of this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Type>,
    /// Names or ids
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// What can be inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Type {
    /// A container.
    Container,
    /// An image.
    Image,
}

/// Carries the command out. What is found is shown even if something else is not.
pub fn run(root: &Root, args: &Inspect) -> Result<i32> {
    let mut found = Vec::new();
    let code = super::for_each(&args.names, |name| {
        found.push(look(root, name, args.kind)?);
        Ok(())
    })?;
    say(serde_json::to_string_pretty(&found)?)?;
    Ok(code)
}

fn look(root: &Root, name: &str, kind: Option<Type>) -> Result<Value> {
    if kind != Some(Type::Image) {
        match Container::find(root, name) {
            Ok(container) => return of_container(&container),
            Err(error) if kind == Some(Type::Container) => return Err(error),
            Err(_) => {}
        }
    }
    if let Some(image) = root.store()?.find(name).ok().flatten() {
        return Ok(image.inspect());
    }
    match kind {
        Some(Type::Image) => bail!("no such image: {name}"),
        _ => bail!("no such container or image: {name}"),
    }
}

fn of_container(container: &Container) -> Result<Value> {
    let description = container.description()?;
    let (status, state) = status::of(container)?;
    let (path, arguments) = description.argv.split_first().map_or(("", &[][..]), |(path, rest)| (path.as_str(), rest));
    Ok(json!({
        "Id": description.id,
        "Created": description.created,
        "Path": path,
        "Args": arguments,
        "State": state_of(status, &state, status.is_running() && status::is_paused(&description)),
        "Image": description.image_id,
        "ResolvConfPath": container.directory().join("resolv.conf"),
        "HostnamePath": container.directory().join("hostname"),
        "HostsPath": container.directory().join("hosts"),
        "LogPath": container.directory().join("log"),
        "Name": format!("/{}", description.name),
        "RestartCount": 0,
        "Driver": "overlay",
        "Platform": "linux",
        "HostConfig": host_config(&description),
        "GraphDriver": {
            "Name": "overlay",
            "Data": { "LowerDir": description.layers, "UpperDir": container.directory().join("upper") },
        },
        "Mounts": mounts(&description),
        "Config": config(&description),
        "NetworkSettings": network_settings(&description, &state),
    }))
}

fn state_of(status: Status, state: &State, paused: bool) -> Value {
    // What Docker shows for a time that has not come.
    let time = |text: &str| if text.is_empty() { "0001-01-01T00:00:00Z".to_string() } else { text.to_string() };
    json!({
        "Status": if paused { "paused" } else { status.word() },
        "Running": status.is_running(),
        "Paused": paused,
        "Restarting": false,
        "OOMKilled": state.oom_killed,
        "Dead": status == Status::Lost,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": time(&state.started),
        "FinishedAt": time(&state.finished),
        "Monitored": status != Status::Unmonitored,
    })
}

fn host_config(description: &Description) -> Value {
    let privileges = &description.privileges;
    let binds = description.mounts.iter().filter(|mount| mount.user && mount.kind == "bind" && !mount.own);
    let binds: Vec<String> = binds
        .filter_map(|mount| {
            let mode = match mount.mode.as_str() {
                "" if mount.is_read_only() => ":ro".to_owned(),
                "" => String::new(),
                mode => format!(":{mode}"),
            };
            let path = || Some(mount.source.as_ref()?.display().to_string());
            Some(format!("{}:{}{mode}", mount.volume.clone().or_else(path)?, mount.destination.display()))
        })
        .collect();
    let namespaces = &description.namespaces;
    // Docker leaves its default out.
    let unless_private =
        |sharing: &Sharing| if sharing == &Sharing::Private { String::new() } else { sharing.to_string() };
    let mut config = json!({
        "Binds": binds,
        "NetworkMode": description.network.mode.to_string(),
        "PortBindings": bindings(&description.network.ports, |port| match port.host_port {
            0 => String::new(),
            number => number.to_string(),
        }),
        "AutoRemove": description.auto_remove,
        "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
        "PidMode": unless_private(&namespaces.pid),
        "IpcMode": namespaces.ipc.to_string(),
        "UTSMode": unless_private(&namespaces.uts),
        "CgroupnsMode": namespaces.cgroup.to_string(),
        "UsernsMode": if namespaces.user_map.is_some() { "private" } else { "" },
        "Annotations": description.annotations,
        "Sysctls": sysctls(description),
        "Ulimits": privileges.ulimits.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "Capabilities": privileges.grant.capabilities,
        "Privileged": privileges.privileged,
        "ReadonlyRootfs": description.read_only,
        "Dns": description.network.dns.servers,
        "GroupAdd": privileges.groups,
        "OomScoreAdj": privileges.oom_score_adj.unwrap_or(0),
        "Init": description.init,
        "CgroupParent": description.cgroup.rsplit_once('/').map_or("", |(parent, _)| parent),
        "DeviceCgroupRules": description.device_rules,
    });
    let tmpfs = description.mounts.iter().filter_map(|mount| Some((mount, mount.tmpfs.as_ref()?)));
    let tmpfs: Map<String, Value> =
        tmpfs.map(|(mount, options)| (mount.destination.display().to_string(), json!(options))).collect();
    if let (Value::Object(config), Value::Object(resources)) = (&mut config, resources(&description.limits)) {
        config.extend(resources);
        if !tmpfs.is_empty() {
            config.insert("Tmpfs".into(), json!(tmpfs)); // Docker has no such key where there are none
        }
    }
    config
}

/// What it may take, under the names that these things have beside the others of `HostConfig`.
fn resources(limits: &Limits) -> Value {
    json!({
        "NanoCpus": limits.nano_cpus.unwrap_or(0),
        "CpuShares": limits.cpu_shares.unwrap_or(0),
        "CpuPeriod": limits.cpu_period.unwrap_or(0),
        "CpuQuota": limits.cpu_quota.unwrap_or(0),
        "CpusetCpus": limits.cpuset_cpus.clone().unwrap_or_default(),
        "CpusetMems": limits.cpuset_mems.clone().unwrap_or_default(),
        "Memory": limits.memory.unwrap_or(0),
        // Docker writes down what it means where nothing is said: as much swap as memory.
        "MemorySwap": limits.memory_swap.unwrap_or_else(|| limits.memory_and_swap().unwrap_or(0) as i64),
        "MemoryReservation": limits.memory_reservation.unwrap_or(0),
        "PidsLimit": limits.pids,
        "MemorySwappiness": limits.memory_swappiness,
        "OomKillDisable": limits.oom_kill_disable,
        "CpuRealtimePeriod": limits.cpu_rt_period.unwrap_or(0),
        "CpuRealtimeRuntime": limits.cpu_rt_runtime.unwrap_or(0),
        "BlkioWeight": limits.blkio_weight.unwrap_or(0),
        "BlkioWeightDevice": weights(&limits.blkio_weight_device),
        "BlkioDeviceReadBps": limits.device_read_bps,
        "BlkioDeviceWriteBps": limits.device_write_bps,
        "BlkioDeviceReadIOps": limits.device_read_iops,
        "BlkioDeviceWriteIOps": limits.device_write_iops,
    })
}

fn sysctls(description: &Description) -> Map<String, Value> {
    description.privileges.sysctls.iter().map(|set| (set.key().to_string(), json!(set.value()))).collect()
}

/// In Docker's API a weight has another name than a rate.
fn weights(devices: &[cgroups::DeviceValue]) -> Vec<Value> {
    devices.iter().map(|device| json!({ "Path": device.path, "Weight": device.value })).collect()
}

fn config(description: &Description) -> Value {
    let exposed: Map<String, Value> = description.exposed_ports.iter().map(|port| (port.clone(), json!({}))).collect();
    json!({
        "Hostname": description.hostname,
        "Domainname": description.domainname.clone().unwrap_or_default(),
        "User": description.user,
        "Tty": description.terminal,
        "OpenStdin": description.interactive,
        "Env": description.env,
        "Cmd": description.argv,
        "Image": description.image,
        "WorkingDir": description.cwd,
        "ExposedPorts": exposed,
        "Labels": description.labels,
        "StopSignal": description.stop_signal.to_string(),
        "StopTimeout": description.stop_timeout,
    })
}

fn mounts(description: &Description) -> Vec<Value> {
    let of_user = description.mounts.iter().filter(|mount| mount.user && mount.tmpfs.is_none());
    of_user
        .map(|mount| {
            let mut shown = json!({
                "Type": if mount.volume.is_some() { "volume" } else { &mount.kind },
                "Source": mount.source,
                "Destination": mount.destination,
                "Mode": mount.mode,
                "RW": !mount.is_read_only(),
                "Propagation": "",
            });
            match &mount.volume {
                Some(volume) => {
                    shown["Name"] = json!(volume);
                    shown["Driver"] = json!("local");
                }
                None => shown["Propagation"] = json!(format!("r{}", mount.propagation)),
            }
            shown
        })
        .collect()
}

/// `{"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}`.
fn bindings(ports: &[network::Port], host_port: impl Fn(&network::Port) -> String) -> Value {
    let mut bindings: Map<String, Value> = Map::new();
    for port in ports {
        let host_ip = port.host_ip.map(|address| address.to_string()).unwrap_or_default();
        let binding = json!({ "HostIp": host_ip, "HostPort": host_port(port) });
        if let Value::Array(list) = bindings.entry(port.inside()).or_insert_with(|| json!([])) {
            list.push(binding);
        }
    }
    Value::Object(bindings)
}

fn network_settings(description: &Description, state: &State) -> Value {
    let endpoint = &state.endpoint;
    let text = |address: Option<std::net::Ipv4Addr>| address.map(|a| a.to_string()).unwrap_or_default();
    let network = json!({
        "IPAddress": text(endpoint.address),
        "IPPrefixLen": endpoint.prefix,
        "Gateway": text(endpoint.gateway),
        "MacAddress": endpoint.mac.clone().unwrap_or_default(),
    });
    json!({
        "IPAddress": network["IPAddress"],
        "IPPrefixLen": endpoint.prefix,
        "Gateway": network["Gateway"],
        "MacAddress": network["MacAddress"],
        "Ports": bindings(&endpoint.ports, |port| port.host_port.to_string()),
        "Networks": { description.network.mode.to_string(): network },
    })
}
