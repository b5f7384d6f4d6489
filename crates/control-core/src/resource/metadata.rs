use std::collections::BTreeMap;

use serde_json::Value;

/// Name, labels and age of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Namespace; `default` where the object says none.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// RFC 3339 time of creation.
    pub created: String,
}

impl Meta {
    /// The metadata of an object; what is missing is empty.
    pub fn of(object: &Value) -> Self {
        let Some(meta) = object.get("metadata") else {
            return Self::default();
        };
        let text = |key: &str| meta.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let namespace = text("namespace");
        Self {
            namespace: if namespace.is_empty() { "default".into() } else { namespace },
            name: text("name"),
            labels: string_map(meta.get("labels")),
            annotations: string_map(meta.get("annotations")),
            created: text("creationTimestamp"),
        }
    }

    /// Orders older objects first, then by name and namespace, as Istio does.
    pub fn age_order(&self) -> (&str, &str, &str) {
        (&self.created, &self.name, &self.namespace)
    }
}

/// A map of strings; other values are left out.
pub(super) fn string_map(value: Option<&Value>) -> BTreeMap<String, String> {
    let Some(Value::Object(map)) = value else {
        return BTreeMap::new();
    };
    map.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}
