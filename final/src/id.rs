//! Ids and names of containers.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result, ensure};

/// A new id: 64 hexadecimal digits from the kernel's random numbers.
pub fn new_id() -> Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether something is a whole id, as of a container or of a volume without a name.
pub fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The first twelve digits of an id, as listings show it.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Checks a name that the user chose: Docker's rule, which also keeps it a plain file name.
pub fn check_name(name: &str) -> Result<()> {
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    ensure!(
        first && rest && (2..=128).contains(&name.len()),
        "invalid container name {name:?}: use 2 to 128 of a-z A-Z 0-9 _ . -, beginning with a letter or digit"
    );
    Ok(())
}

/// A name for a container that was given none, such as `calm_harbour`.
pub fn random_name() -> String {
    const HOW: [&str; 24] = [
        "amber", "brave", "bright", "calm", "clever", "eager", "early", "gentle", "golden", "green", "happy", "honest",
        "keen", "light", "lively", "lucky", "mellow", "merry", "proud", "quick", "quiet", "rapid", "silver", "steady",
    ];
    const WHAT: [&str; 24] = [
        "anchor", "badger", "barge", "beacon", "canoe", "clipper", "cutter", "dinghy", "dory", "ferry", "frigate",
        "galleon", "harbour", "heron", "ketch", "lantern", "lighter", "mast", "otter", "pilot", "rudder", "schooner",
        "sloop", "yawl",
    ];
    let pick = |words: &[&'static str]| words[fastrand::usize(..words.len())];
    format!("{}_{}", pick(&HOW), pick(&WHAT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_64_digits_and_differ() {
        let (one, two) = (new_id().unwrap(), new_id().unwrap());
        assert!(one != two && is_id(&one) && is_id(&two) && !is_id(short(&one)));
        assert_eq!(short(&one), &one[..12]);
    }

    #[test]
    fn names_are_plain_file_names() {
        for good in ["web", "a1", "my_app-2.b"] {
            check_name(good).unwrap();
        }
        for bad in ["", "a", "../x", "a/b", ".hidden", "-x", "ä2", "a b", &"x".repeat(129)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        check_name(&random_name()).unwrap();
    }
}
