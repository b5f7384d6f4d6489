//! Strategic merge, as far as pods need it: maps are merged by key, lists with a merge key by item, others replaced.

use serde_json::Value;

/// Merges `overlay` over `base`. A `null` removes what it covers.
pub(super) fn merge(base: &mut Value, overlay: &Value) {
    merge_field(base, overlay, "");
}

fn merge_field(base: &mut Value, overlay: &Value, field: &str) {
    match (base, overlay) {
        (Value::Object(base), Value::Object(overlay)) => {
            for (name, value) in overlay {
                match base.get_mut(name) {
                    _ if value.is_null() => drop(base.remove(name)),
                    Some(slot) => merge_field(slot, value, name),
                    None => drop(base.insert(name.clone(), value.clone())),
                }
            }
        }
        (Value::Array(base), Value::Array(overlay)) if !merge_keys(field).is_empty() => {
            let mut added = Vec::new();
            for item in overlay {
                match base.iter_mut().find(|known| same_item(known, item, merge_keys(field))) {
                    // A volume has one source: another one takes its place.
                    Some(known) if field == "volumes" && has_source(item) => *known = item.clone(),
                    Some(known) => merge_field(known, item, ""),
                    None => added.push(item.clone()),
                }
            }
            // New items go in front, as Kubernetes' own merge has it.
            base.splice(0..0, added);
        }
        (base, overlay) => *base = overlay.clone(),
    }
}

/// The fields that identify an item of the list `field`.
fn merge_keys(field: &str) -> &'static [&'static str] {
    match field {
        "containers" | "initContainers" | "ephemeralContainers" | "env" | "volumes" | "imagePullSecrets" => &["name"],
        "volumeMounts" => &["mountPath"],
        "ports" => &["containerPort", "protocol"],
        "hostAliases" => &["ip"],
        _ => &[],
    }
}

fn same_item(one: &Value, other: &Value, keys: &[&str]) -> bool {
    keys.iter().all(|key| field_of(one, key) == field_of(other, key))
}

/// A port without a protocol is TCP.
fn field_of<'a>(item: &'a Value, key: &str) -> Option<&'a Value> {
    item.get(key).filter(|value| !(key == "protocol" && **value == "TCP"))
}

fn has_source(volume: &Value) -> bool {
    volume.as_object().is_some_and(|fields| fields.keys().any(|name| name != "name"))
}
