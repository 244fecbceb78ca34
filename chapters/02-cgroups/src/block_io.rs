//! Limits of one disk each: `/dev/sda:1mb`.

use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::parse_bytes;

/// A number for one block device, which is kept by its path: the kernel knows devices by number, but a disk may have
/// another one after the next boot.
///
/// As data `{"Path": "/dev/sda", "Rate": 1048576}`, as in Docker's API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceValue {
    /// The device's node.
    #[serde(rename = "Path")]
    pub path: PathBuf,
    /// Bytes per second, operations per second, or a weight.
    #[serde(rename = "Rate", alias = "Weight")]
    pub value: u64,
}

impl DeviceValue {
    /// `PATH:BYTES`, with a size as [`parse_bytes`] takes it.
    pub fn bytes(text: &str) -> Result<DeviceValue> {
        let (path, size) = split(text, "1mb")?;
        let value = parse_bytes(size).ok().filter(|bytes| *bytes > 0);
        let value = value.with_context(|| format!("invalid rate for device {text:?} (write it like /dev/sda:1mb)"))?;
        Ok(DeviceValue { path, value })
    }

    /// `PATH:NUMBER`.
    pub fn count(text: &str) -> Result<DeviceValue> {
        let (path, number) = split(text, "100")?;
        let value = number.parse().ok().filter(|number| *number > 0);
        let value = value.with_context(|| format!("invalid rate for device {text:?} (write it like /dev/sda:100)"))?;
        Ok(DeviceValue { path, value })
    }

    /// `PATH:WEIGHT`, from 10 to 1000.
    pub fn weight(text: &str) -> Result<DeviceValue> {
        let (path, number) = split(text, "200")?;
        let value = number.parse().ok().filter(|weight| (10..=1000).contains(weight));
        let value = value.with_context(|| format!("invalid weight for device {text:?}: it must be from 10 to 1000"))?;
        Ok(DeviceValue { path, value })
    }
}

fn split<'a>(text: &'a str, example: &str) -> Result<(PathBuf, &'a str)> {
    let form = || anyhow!("bad format: {text:?} (write it like /dev/sda:{example})");
    let (path, value) = text.rsplit_once(':').ok_or_else(form)?;
    ensure!(path.starts_with("/dev/"), form());
    Ok((path.into(), value))
}

/// The number of a block device, as control files take it: `8:0`.
pub(crate) fn device_number(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    if !metadata.file_type().is_block_device() {
        return Err(io::Error::from_raw_os_error(libc::ENOTBLK));
    }
    Ok(format!("{}:{}", rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev())))
}

/// Refuses what is no disk of this machine.
pub(crate) fn check(flag: &str, devices: &[DeviceValue]) -> Result<()> {
    for DeviceValue { path, .. } in devices {
        if let Err(error) = device_number(path) {
            bail!("{flag}: {}: {error}", path.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_docker_reads_them() {
        let rate = DeviceValue::bytes("/dev/sda:1mb").unwrap();
        assert_eq!((rate.path.to_str(), rate.value), (Some("/dev/sda"), 1 << 20));
        assert_eq!(DeviceValue::count("/dev/disk/by-path/pci-0:1:100").unwrap().value, 100);
        assert_eq!(DeviceValue::weight("/dev/sda:1000").unwrap().value, 1000);
        for text in ["", "/dev/sda", "sda:1mb", "/etc/passwd:1", "/dev/sda:", "/dev/sda:0", "/dev/sda:-1", "/dev/sda:x"]
        {
            for error in [DeviceValue::bytes(text), DeviceValue::count(text), DeviceValue::weight(text)] {
                assert!(error.unwrap_err().to_string().contains("/dev/sda:") || text.contains("/dev/sda"), "{text}");
            }
        }
        DeviceValue::count("/dev/sda:1mb").unwrap_err();
        DeviceValue::weight("/dev/sda:9").unwrap_err();
        DeviceValue::weight("/dev/sda:1001").unwrap_err();
    }

    #[test]
    fn what_is_no_disk_is_named() {
        let refusal = |path: &str| {
            let device = DeviceValue { path: path.into(), value: 1 };
            check("--device-read-bps", &[device]).unwrap_err().to_string()
        };
        assert!(refusal("/dev/null").contains("--device-read-bps: /dev/null: Block device required"));
        assert!(refusal("/dev/no/such").contains("No such file"));
    }
}
