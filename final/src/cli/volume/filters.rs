//! Which volumes are meant: `--filter KEY=VALUE`.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, Result, bail, ensure};
use namespaces::spelling::did_you_mean;

use crate::volumes::VolumeStore;
use crate::volumes::store::Volume;

/// The volumes that pass all filters. Those of one key are alternatives, except labels, as in Docker.
pub fn filtered(store: &VolumeStore, filters: &[String]) -> Result<Vec<Volume>> {
    const KNOWN: [&str; 4] = ["name", "label", "dangling", "driver"];
    let mut by_key: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for filter in filters {
        let (key, value) =
            filter.split_once('=').with_context(|| format!("invalid filter {filter:?} (write KEY=VALUE)"))?;
        ensure!(
            KNOWN.contains(&key) || key == "label!",
            "invalid filter {key:?}{}",
            did_you_mean(key, KNOWN.into_iter())
        );
        by_key.entry(key).or_default().push(value);
    }
    let used: HashSet<String> = match by_key.contains_key("dangling") {
        true => store.used()?.into_iter().collect(),
        false => HashSet::new(),
    };
    let mut volumes = store.list()?;
    for (key, values) in by_key {
        let truths = match key {
            "dangling" => values.iter().map(|value| truth(value)).collect::<Result<Vec<_>>>()?,
            _ => Vec::new(),
        };
        volumes.retain(|volume| match key {
            "name" => values.iter().any(|part| volume.name.contains(part)),
            "driver" => values.contains(&"local"),
            "dangling" => truths.contains(&!used.contains(&volume.name)),
            "label!" => !values.iter().any(|label| has_label(volume, label)),
            _ => values.iter().all(|label| has_label(volume, label)),
        });
    }
    Ok(volumes)
}

fn truth(text: &str) -> Result<bool> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => bail!("invalid filter dangling={text} (write true or false)"),
    }
}

fn has_label(volume: &Volume, label: &str) -> bool {
    match label.split_once('=') {
        Some((key, value)) => volume.labels.get(key).is_some_and(|has| has == value),
        None => volume.labels.contains_key(label),
    }
}
