use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::metadata::Meta;

/// An Istio object: what translation needs of its metadata, and its spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Config<T> {
    /// Name, labels and age.
    pub meta: Meta,
    /// What is wanted.
    pub spec: Arc<T>,
    /// Addresses that the control plane allocated, by host (ServiceEntry status).
    pub allocated: Vec<(String, String)>,
}

impl<T> Config<T> {
    /// `namespace/name`
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.meta.namespace, self.meta.name)
    }
}

/// Reads an Istio object. Explicit nulls count as absent.
pub(super) fn parse<T: DeserializeOwned + Default>(mut object: Value) -> Result<Config<T>, String> {
    let meta = Meta::of(&object);
    let allocated = allocated_addresses(&object);
    let mut spec = object.get_mut("spec").map(Value::take).unwrap_or_default();
    drop_nulls(&mut spec);
    let spec =
        if spec.is_null() { T::default() } else { serde_json::from_value(spec).map_err(|e| format!("spec: {e}"))? };
    Ok(Config { meta, spec: Arc::new(spec), allocated })
}

fn allocated_addresses(object: &Value) -> Vec<(String, String)> {
    let list = object.pointer("/status/addresses").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|a| {
            let value = a.get("value")?.as_str()?.to_owned();
            Some((a.get("host").and_then(Value::as_str).unwrap_or_default().to_owned(), value))
        })
        .collect()
}

/// Takes explicit nulls out.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
