//! Volumes as JSON, and as text by a `--format`.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::volumes::VolumeStore;
use crate::volumes::store::Volume;

/// As Docker's API shows a volume.
pub fn shown(store: &VolumeStore, volume: &Volume) -> Value {
    let options = if volume.options.is_empty() { Value::Null } else { json!(volume.options) };
    let labels = if volume.labels.is_empty() { Value::Null } else { json!(volume.labels) };
    json!({
        "CreatedAt": volume.created,
        "Driver": "local",
        "Labels": labels,
        "Mountpoint": store.data(&volume.name),
        "Name": volume.name,
        "Options": options,
        "Scope": "local",
    })
}

/// As Docker's `volume ls` shows one: all is text.
pub fn listed(store: &VolumeStore, volume: &Volume) -> Value {
    let labels: Vec<String> = volume.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "Driver": "local",
        "Labels": labels.join(","),
        "Mountpoint": store.data(&volume.name),
        "Name": volume.name,
        "Scope": "local",
    })
}

/// `json`, or text in which `{{.Field}}`, `{{json .Field}}` and `{{json .}}` are replaced.
pub fn formatted(value: &Value, format: &str) -> Result<String> {
    if format == "json" {
        return Ok(value.to_string());
    }
    let mut text = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, after) = after.split_once("}}").context("--format: a {{ is not closed")?;
        text.push_str(before);
        let (as_json, path) = match action.trim().strip_prefix("json ") {
            Some(path) => (true, path.trim()),
            None => (false, action.trim()),
        };
        let field = match path.strip_prefix('.') {
            Some("") => value,
            Some(name) => value.get(name).with_context(|| format!("--format: a volume has no {path}"))?,
            None => bail!("--format: {{{{{action}}}}} is not supported (write {{{{.Name}}}} or {{{{json .}}}})"),
        };
        match field {
            Value::String(plain) if !as_json => text.push_str(plain),
            other => text.push_str(&other.to_string()),
        }
        rest = after;
    }
    text.push_str(rest);
    Ok(text.replace("\\t", "\t").replace("\\n", "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let volume = json!({ "Name": "db", "Labels": { "a": "b" } });
        let format = |format| formatted(&volume, format).unwrap();
        assert_eq!(format("{{.Name}}: {{ .Labels }}"), r#"db: {"a":"b"}"#);
        assert_eq!(format(r"{{json .Name}}\t{{.Name}}"), "\"db\"\tdb");
        assert_eq!(format("{{json .}}"), format("json"));
        for wrong in ["{{.Nmae}}", "{{.Name", "{{range .}}"] {
            assert!(formatted(&volume, wrong).is_err(), "{wrong}");
        }
    }
}
