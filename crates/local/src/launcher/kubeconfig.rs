//! Adding the cluster to the user's own kubeconfig, when asked.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::UpError;

/// Adds the entries of `ours` to the kubeconfig at `theirs` and makes ours the current one.
pub(crate) fn merge(ours: &Path, theirs: &Path) -> Result<(), UpError> {
    let added = read(ours)?;
    let existing = if theirs.exists() { read(theirs)? } else { json!({}) };
    let merged = merged(existing, &added);
    let text = serde_saphyr::to_string(&merged).map_err(|e| UpError::state(theirs, io::Error::other(e.to_string())))?;
    if let Some(parent) = theirs.parent() {
        fs::create_dir_all(parent).map_err(|e| UpError::state(parent, e))?;
    }
    let temporary = theirs.with_extension("lateen-new");
    fs::write(&temporary, text)
        .and_then(|()| fs::set_permissions(&temporary, std::os::unix::fs::PermissionsExt::from_mode(0o600)))
        .and_then(|()| fs::rename(&temporary, theirs))
        .map_err(|e| UpError::state(theirs, e))
}

fn read(path: &Path) -> Result<Value, UpError> {
    let text = fs::read_to_string(path).map_err(|e| UpError::state(path, e))?;
    serde_saphyr::from_str(&text)
        .map_err(|e| UpError::state(path, io::Error::new(io::ErrorKind::InvalidData, e.to_string())))
}

fn merged(mut existing: Value, added: &Value) -> Value {
    if !existing.is_object() {
        existing = Value::Object(Map::new());
    }
    for (key, value) in [("apiVersion", json!("v1")), ("kind", json!("Config"))] {
        existing[key] = value;
    }
    for list in ["clusters", "users", "contexts"] {
        let mut entries = existing[list].as_array().cloned().unwrap_or_default();
        for entry in added[list].as_array().into_iter().flatten() {
            entries.retain(|old| old["name"] != entry["name"]);
            entries.push(entry.clone());
        }
        existing[list] = Value::Array(entries);
    }
    existing["current-context"] = added["current-context"].clone();
    existing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_keeps_other_clusters_and_replaces_our_own() {
        let theirs = json!({"clusters": [{"name": "prod"}, {"name": "lateen", "cluster": 1}],
            "users": null, "contexts": [], "current-context": "prod"});
        let ours = json!({"clusters": [{"name": "lateen", "cluster": 2}], "users": [{"name": "admin"}],
            "contexts": [{"name": "lateen"}], "current-context": "lateen"});
        let merged = merged(theirs, &ours);
        assert_eq!(merged["clusters"], json!([{"name": "prod"}, {"name": "lateen", "cluster": 2}]));
        assert_eq!(merged["users"], json!([{"name": "admin"}]));
        assert_eq!(merged["current-context"], "lateen");
    }
}
