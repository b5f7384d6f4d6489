//! Objects are stored in one version; these functions turn them into others.

mod autoscaling;

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{object::Object, registry::Resource};

/// The object in a version of a resource; shared where nothing changes.
pub fn present(resource: &Resource, version: &str, object: &Object) -> Object {
    let wanted = resource.api_version(version);
    if object["apiVersion"] == wanted.as_str() {
        return Arc::clone(object);
    }
    let mut value = Value::clone(object);
    value["apiVersion"] = wanted.into();
    if resource.group == "events.k8s.io" {
        rename(&mut value, false);
    } else if resource.group == "autoscaling" && version == "v1" {
        autoscaling::to_v1(&mut value);
    } else if resource.custom {
        fit(resource, &resource.storage, version, &mut value);
    }
    Arc::new(value)
}

/// What a custom resource is in another version: all of it that this version knows.
fn fit(resource: &Resource, from: &str, to: &str, value: &mut Value) {
    if let (Some(from), Some(to)) = (resource.schema(from), resource.schema(to))
        && !from.is(to)
    {
        to.decode(value);
    }
}

/// The last thing before a custom resource is stored: it becomes one of the stored version.
pub fn settle(resource: &Resource, version: &str, value: &mut Value) {
    if resource.custom && version != resource.storage {
        fit(resource, version, &resource.storage, value);
        if let Some(schema) = resource.schema(&resource.storage) {
            schema.default(value);
        }
    }
}

/// A client's object in the form it is stored in.
pub fn to_storage(resource: &Resource, value: &mut Value) {
    if resource.group == "events.k8s.io" {
        value["apiVersion"] = "v1".into();
        rename(value, true);
        return;
    }
    if resource.group == "autoscaling" && value["apiVersion"] == "autoscaling/v1" {
        autoscaling::from_v1(value);
    }
    value["apiVersion"] = resource.api_version(&resource.storage).into();
}

/// Core name and `events.k8s.io` name of fields that differ.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(event: &mut Value, to_core: bool) {
    let Some(map) = event.as_object_mut() else {
        return;
    };
    let renamed: Map<String, Value> = std::mem::take(map)
        .into_iter()
        .map(|(key, value)| {
            let pair = EVENT_FIELDS.iter().find(|(c, e)| key == *(if to_core { e } else { c }));
            match pair {
                Some((core, events)) => ((*(if to_core { core } else { events })).into(), value),
                None => (key, value),
            }
        })
        .collect();
    *map = renamed;
}
