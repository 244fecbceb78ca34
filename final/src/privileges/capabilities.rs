//! What root inside may do: root's power in pieces, `capabilities(7)`.
//!
//! A container's root is the host's root with most of its power taken away. Docker leaves fourteen capabilities; the
//! list is an old compromise, and every image has been written against it.

use std::fmt;

use anyhow::{Context, Result, bail};
use namespaces::Credentials;
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use namespaces::spelling::closest;

/// A set of capabilities. As data a list of names, `["CAP_CHOWN", "CAP_KILL"]`, as in an OCI description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(CapabilitySet);

impl Capabilities {
    /// None.
    pub const NONE: Capabilities = Capabilities(CapabilitySet::empty());

    /// Docker's default, which suffices to install packages, to change users, to serve port 80.
    pub const DEFAULT: Capabilities = Capabilities(
        CapabilitySet::CHOWN
            .union(CapabilitySet::DAC_OVERRIDE)
            .union(CapabilitySet::FSETID)
            .union(CapabilitySet::FOWNER)
            .union(CapabilitySet::MKNOD)
            .union(CapabilitySet::NET_RAW)
            .union(CapabilitySet::SETGID)
            .union(CapabilitySet::SETUID)
            .union(CapabilitySet::SETFCAP)
            .union(CapabilitySet::SETPCAP)
            .union(CapabilitySet::NET_BIND_SERVICE)
            .union(CapabilitySet::SYS_CHROOT)
            .union(CapabilitySet::KILL)
            .union(CapabilitySet::AUDIT_WRITE),
    );

    /// A set as the system's interface knows it.
    pub const fn of(set: CapabilitySet) -> Capabilities {
        Capabilities(set)
    }

    /// All that this kernel has.
    ///
    /// Asked of the kernel itself, which refuses numbers above its last: `/proc` need not be mounted for that.
    pub fn all() -> Capabilities {
        let known = |&number: &u32| capability_is_in_bounding_set(CapabilitySet::from_bits_retain(1 << number)).is_ok();
        let count = (0..u64::BITS).take_while(known).count() as u32;
        Capabilities(CapabilitySet::from_bits_retain(u64::MAX.checked_shr(u64::BITS - count).unwrap_or(0)))
    }

    /// One capability by its name, with or without `CAP_`, in any case.
    pub fn named(name: &str) -> Result<Capabilities> {
        let upper = name.to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let names = || CapabilitySet::all().iter_names().map(|(name, _)| name);
        match CapabilitySet::from_name(short) {
            Some(one) => Ok(Capabilities(one)),
            None => match closest(short, names()) {
                Some(near) => bail!("unknown capability {name:?} (did you mean {near}?)"),
                None => bail!("unknown capability {name:?} (capabilities(7) lists them)"),
            },
        }
    }

    /// Whether `other` is contained.
    pub fn contains(self, other: Capabilities) -> bool {
        self.0.contains(other.0)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// These and those.
    pub fn with(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 | other.0)
    }

    /// These without those.
    pub fn without(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 - other.0)
    }

    /// What both have.
    pub fn shared_with(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 & other.0)
    }

    /// Their names, `CAP_CHOWN` first. Numbers that have no name yet are left out.
    pub fn names(self) -> impl Iterator<Item = String> {
        self.0.iter_names().map(|(name, _)| format!("CAP_{name}"))
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(", "))
    }
}

impl Serialize for Capabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

impl<'de> Deserialize<'de> for Capabilities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Capabilities, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        names.iter().try_fold(Capabilities::NONE, |set, name| {
            Ok(set.with(Capabilities::named(name).map_err(|error| de::Error::custom(format!("{error:#}")))?))
        })
    }
}

/// What a container is to have, by its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The set that root inside gets, and that nobody inside can exceed.
    pub capabilities: Capabilities,
    /// Those of them that were asked for by name. If the engine has not got one of these, the start fails; of the
    /// others it passes on what it has (a user or another engine may have taken some from it).
    pub required: Capabilities,
}

impl Grant {
    /// `--cap-add`, `--cap-drop` and `--privileged`, by Docker's rules: `--cap-add ALL` leaves out what is dropped by
    /// name, `--cap-drop ALL` leaves what is added by name, a name that is both added and dropped is added.
    ///
    /// Only here does `--cap-drop` count beside `--privileged` too: Docker forgets it silently.
    pub fn new(privileged: bool, add: &[String], drop: &[String]) -> Result<Grant> {
        let (added, add_all) = named_set(add).context("--cap-add")?;
        let (dropped, drop_all) = named_set(drop).context("--cap-drop")?;
        let all = Capabilities::all();
        if let Some(unknown) = Some(added.without(all)).filter(|unknown| !unknown.is_empty()) {
            bail!("--cap-add {unknown}: this kernel is too old to have it");
        }
        let capabilities = match () {
            () if privileged || add_all => all.without(dropped),
            () if drop_all => added,
            () => Capabilities::DEFAULT.without(dropped).with(added),
        };
        Ok(Grant { capabilities, required: added.shared_with(capabilities) })
    }
}

/// The named ones, and whether `ALL` is among the names.
fn named_set(names: &[String]) -> Result<(Capabilities, bool)> {
    let (all, names): (Vec<_>, Vec<_>) = names.iter().partition(|name| {
        let name = name.to_ascii_uppercase();
        name == "ALL" || name == "CAP_ALL"
    });
    let set =
        names.into_iter().try_fold(Capabilities::NONE, |set, name| anyhow::Ok(set.with(Capabilities::named(name)?)));
    Ok((set?, !all.is_empty()))
}

/// Takes from the calling process, for ever, what is not granted: nothing that it executes can get it back, set-uid or
/// not. Needs CAP_SETPCAP, so it comes first.
pub fn drop_bounding(grant: Grant) -> Result<()> {
    let held = Capabilities(capabilities(None).context("read the capabilities (capget)")?.permitted);
    if let Some(missing) = Some(grant.required.without(held)).filter(|missing| !missing.is_empty()) {
        bail!("cannot give {missing} to the container: the engine has not got it itself");
    }
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if grant.capabilities.contains(Capabilities(one)) {
            continue;
        }
        match remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            Err(Errno::INVAL) => break, // the kernel knows no such number
            Err(error) => return Err(error).with_context(|| format!("drop {} for ever", Capabilities(one))),
        }
    }
    Ok(())
}

/// Becomes the user and keeps what that user is granted: all of it as root, nothing as anybody else.
///
/// The inheritable set stays empty: were it not, programs with inheritable file capabilities would hand them to any
/// user (CVE-2022-24769). So does the ambient set.
pub fn assume(credentials: &Credentials, grant: Grant) -> Result<()> {
    // Without this the kernel would empty the permitted set together with uid 0, before we have chosen what stays.
    set_keep_capabilities(true).context("keep the capabilities while changing the user")?;
    credentials.assume()?;
    set_keep_capabilities(false).context("stop keeping the capabilities")?;
    clear_ambient_capability_set().context("empty the ambient capabilities")?;
    let held = capabilities(None).context("read the capabilities (capget)")?.permitted;
    let granted = match credentials.uid {
        0 => grant.capabilities.0 & held,
        _ => CapabilitySet::empty(),
    };
    let sets = CapabilitySets { effective: granted, permitted: granted, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).context("set the capabilities (capset)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> Capabilities {
        names.iter().fold(Capabilities::NONE, |set, name| set.with(Capabilities::named(name).unwrap()))
    }

    fn grant(privileged: bool, add: &[&str], drop: &[&str]) -> Result<Grant> {
        let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        Grant::new(privileged, &strings(add), &strings(drop))
    }

    #[test]
    fn names_are_read_in_any_spelling() {
        assert_eq!(set(&["net_raw"]), set(&["CAP_NET_RAW"]));
        assert_eq!(set(&["Cap_Net_Raw"]).to_string(), "CAP_NET_RAW");
        let error = Capabilities::named("SYS_ADMON").unwrap_err().to_string();
        assert_eq!(error, "unknown capability \"SYS_ADMON\" (did you mean SYS_ADMIN?)");
        assert!(Capabilities::named("").is_err());
        assert!(Capabilities::named("CHOWN | KILL").is_err());
    }

    #[test]
    fn the_default_is_the_fourteen() {
        let default = grant(false, &[], &[]).unwrap();
        assert_eq!(default.capabilities, Capabilities::DEFAULT);
        assert_eq!(default.capabilities.names().count(), 14);
        assert!(default.required.is_empty());
        // As in /proc/PID/status of a container of Docker's.
        assert_eq!(Capabilities::DEFAULT.0.bits(), 0xa80425fb);
    }

    #[test]
    fn adding_and_dropping_follow_docker() {
        let all = Capabilities::all();
        let chown = set(&["chown"]);
        assert_eq!(grant(false, &["SYS_ADMIN"], &["CHOWN"]).unwrap().required, set(&["SYS_ADMIN"]));
        assert!(!grant(false, &[], &["cap_chown"]).unwrap().capabilities.contains(chown));
        assert_eq!(grant(false, &["chown"], &["all"]).unwrap().capabilities, chown);
        assert_eq!(grant(false, &[], &["ALL"]).unwrap().capabilities, Capabilities::NONE);
        assert_eq!(grant(false, &["ALL"], &["chown"]).unwrap().capabilities, all.without(chown));
        assert_eq!(grant(true, &[], &[]).unwrap().capabilities, all);
        assert_eq!(grant(true, &[], &["chown"]).unwrap().capabilities, all.without(chown));
        assert_eq!(grant(false, &["chown"], &["chown"]).unwrap().capabilities, Capabilities::DEFAULT);
        let error = format!("{:#}", grant(false, &["SETUDI"], &[]).unwrap_err());
        assert_eq!(error, "--cap-add: unknown capability \"SETUDI\" (did you mean SETUID?)");
    }

    #[test]
    fn the_kernel_has_the_old_ones() {
        assert!(Capabilities::all().contains(set(&["CHOWN", "AUDIT_READ"])));
        assert!(Capabilities::all().0.bits().count_ones() <= 63);
    }

    #[test]
    fn as_data_they_are_names() {
        let text = serde_json::to_string(&set(&["KILL", "CHOWN"])).unwrap();
        assert_eq!(text, r#"["CAP_CHOWN","CAP_KILL"]"#);
        assert_eq!(serde_json::from_str::<Capabilities>(&text).unwrap(), set(&["KILL", "CHOWN"]));
        assert!(serde_json::from_str::<Capabilities>(r#"["CAP_NONE"]"#).is_err());
    }
}
