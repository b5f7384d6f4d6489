//! How parts of an object merge, by its schema.

use serde_json::Value;

use crate::{
    patch::merge_key,
    schema::{Schema, definition},
};

const REF_PREFIX: &str = "#/components/schemas/";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Types that are owned as a whole.
const ATOMIC: [&str; 12] = [
    "ConfigMapKeySelector",
    "JSON",
    "JSONSchemaProps",
    "LabelSelector",
    "LocalObjectReference",
    "NodeSelector",
    "NodeSelectorTerm",
    "ObjectFieldSelector",
    "ObjectReference",
    "ResourceFieldSelector",
    "SecretKeySelector",
    "TypedLocalObjectReference",
];

/// What is known of a place in an object.
#[derive(Clone, Copy)]
pub struct Kind<'a> {
    name: &'a str,
    schema: Option<&'a Value>,
    root: bool,
}

/// How a list merges.
pub enum List {
    /// As a whole.
    Atomic,
    /// By the keys of its items.
    Keyed(Vec<String>),
    /// As a set of values.
    Set,
}

impl<'a> Kind<'a> {
    pub fn root(schema: &'a Schema) -> Self {
        match schema {
            Schema::Builtin(name) => Self { name, schema: definition(name), root: true },
            Schema::Custom(schema) => Self { name: "", schema: Some(&schema.json), root: true },
        }
    }

    fn of(schema: Option<&'a Value>) -> Self {
        let name = schema.and_then(|s| s["$ref"].as_str()?.strip_prefix(REF_PREFIX));
        match name {
            Some(name) => Self { name, schema: definition(name), root: false },
            None => Self { name: "", schema, root: false },
        }
    }

    fn short(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// A member of an object.
    pub fn field(&self, key: &str) -> Self {
        if self.root && key == "metadata" {
            return Self { name: META, schema: definition(META), root: false };
        }
        let schema = self
            .schema
            .and_then(|s| s["properties"].get(key).or_else(|| s.get("additionalProperties").filter(|a| a.is_object())));
        Self::of(schema)
    }

    /// The items of a list.
    pub fn items(&self) -> Self {
        Self::of(self.schema.and_then(|s| s.get("items")))
    }

    /// Whether an object here is owned as a whole.
    pub fn is_atomic_map(&self) -> bool {
        ATOMIC.contains(&self.short())
            || self.schema.is_some_and(|s| {
                s["x-kubernetes-map-type"] == "atomic"
                    || (self.name.is_empty() && s["x-kubernetes-preserve-unknown-fields"] == true)
            })
    }

    /// Whether an object here has any keys, each with a value of one kind.
    pub fn is_free_map(&self) -> bool {
        self.schema.is_some_and(|s| s["additionalProperties"].is_object())
    }

    /// Whether the map in a field of this object is owned as a whole.
    pub fn has_atomic_field(&self, key: &str) -> bool {
        matches!((self.short(), key), ("ServiceSpec", "selector") | ("PodSpec", "nodeSelector"))
    }

    /// How the list in a field of this object merges.
    pub fn list(&self, key: &str) -> List {
        let keys = |names: &[&str]| List::Keyed(names.iter().map(|n| (*n).to_owned()).collect());
        match (self.short(), key) {
            ("Container" | "EphemeralContainer", "ports") => return keys(&["containerPort", "protocol"]),
            ("ServiceSpec", "ports") => return keys(&["port", "protocol"]),
            ("PodSpec", "topologySpreadConstraints") => return keys(&["topologyKey", "whenUnsatisfiable"]),
            ("ResourceRequirements", "claims") => return keys(&["name"]),
            ("Endpoint", "addresses") => return List::Set,
            ("MutatingWebhook" | "ValidatingWebhook", "matchConditions") => return keys(&["name"]),
            ("JobStatus", "conditions") | ("ServiceAccount", "imagePullSecrets") => return List::Atomic,
            _ => {}
        }
        match merge_key(self.name, key) {
            Some("") => return List::Set,
            Some(name) => return keys(&[name]),
            None => {}
        }
        let Some(schema) = self.field(key).schema else { return List::Atomic };
        match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => List::Set,
            Some("map") => {
                let names = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
                let mut names: Vec<String> = names.filter_map(|n| n.as_str().map(str::to_owned)).collect();
                names.sort();
                List::Keyed(names)
            }
            _ => List::Atomic,
        }
    }
}
