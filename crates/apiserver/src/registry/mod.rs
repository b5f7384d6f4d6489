//! Which resources are served: the built-in table and the CustomResourceDefinitions.

mod builtin;
pub mod custom;

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use crate::{gvr::Gvr, rules::Rules, schema::Schema};

/// Where a scale subresource finds its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Path of the wanted replicas, such as `.spec.replicas`.
    pub spec_replicas: String,
    /// Path of the replicas there are.
    pub status_replicas: String,
    /// Path of a selector in text form.
    pub selector: Option<String>,
}

/// One extra column of `kubectl get`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// `string`, `integer`, `date`, ...
    pub kind: String,
    /// Format hint, often empty.
    pub format: String,
    /// What it shows.
    pub description: String,
    /// Above 0: only in wide output.
    pub priority: i64,
    /// Simple JSON path of the value.
    pub path: String,
}

/// One served version of a resource.
#[derive(Clone, Debug)]
pub struct Version {
    /// Such as `v1`.
    pub name: String,
    /// Whether clients may use it.
    pub served: bool,
    /// Text of a warning sent with every use.
    pub deprecated: Option<String>,
    /// Whether it has a status subresource.
    pub status: bool,
    /// Its scale subresource, if any.
    pub scale: Option<Scale>,
    /// What its objects look like.
    pub schema: Schema,
    /// Columns of a custom resource.
    pub columns: Vec<Column>,
    /// Fields that field selectors may name, such as `spec.color`.
    pub selectable: Vec<String>,
}

/// One resource.
#[derive(Clone)]
pub struct Resource {
    /// API group, empty for core.
    pub group: String,
    /// Such as `pods`.
    pub plural: String,
    /// Such as `pod`.
    pub singular: String,
    /// Such as `Pod`.
    pub kind: String,
    /// Such as `PodList`.
    pub list_kind: String,
    /// Such as `po`.
    pub short_names: Vec<String>,
    /// Such as `all`.
    pub categories: Vec<String>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// All versions, the preferred one first.
    pub versions: Vec<Version>,
    /// The version objects are stored in.
    pub storage: String,
    /// `group/plural` of where objects are stored.
    pub collection: Arc<str>,
    /// Defaults, validation and the rest of its behaviour.
    pub rules: &'static dyn Rules,
    /// Whether a CustomResourceDefinition made it.
    pub custom: bool,
    /// Whether that is being deleted, and takes no new objects.
    pub terminating: bool,
    /// Only answers, stores nothing (reviews).
    pub virtual_only: bool,
}

impl Resource {
    /// A version by name, if served.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|v| v.served && v.name == name)
    }

    /// The schema of a version, served or not.
    pub fn schema(&self, version: &str) -> Option<&Schema> {
        self.versions.iter().find(|v| v.name == version).map(|v| &v.schema)
    }

    /// `v1` or `group/v1`.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }
}

/// All resources, by group and plural name.
#[derive(Clone, Default)]
pub struct Registry {
    resources: IndexMap<(String, String), Arc<Resource>>,
}

impl Registry {
    /// The built-in resources.
    pub fn builtin() -> Self {
        let resources =
            builtin::resources().into_iter().map(|r| ((r.group.clone(), r.plural.clone()), Arc::new(r))).collect();
        Self { resources }
    }

    /// A resource that serves this version.
    pub fn find(&self, gvr: &Gvr) -> Option<&Arc<Resource>> {
        self.by_plural(&gvr.group, &gvr.resource).filter(|r| r.version(&gvr.version).is_some())
    }

    /// A resource of any version.
    pub fn by_plural(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.resources.get(&(group.to_owned(), plural.to_owned()))
    }

    /// All resources in order of registration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// Adds or replaces the resource of a CustomResourceDefinition.
    pub fn put_custom(&mut self, definition: &Value) {
        if let Some(resource) = custom::resource(definition) {
            let key = (resource.group.clone(), resource.plural.clone());
            if self.resources.get(&key).is_none_or(|r| r.custom) {
                self.resources.insert(key, Arc::new(resource));
            }
        }
    }

    /// Removes the resource of a CustomResourceDefinition.
    pub fn remove_custom(&mut self, group: &str, plural: &str) {
        let key = (group.to_owned(), plural.to_owned());
        if self.resources.get(&key).is_some_and(|r| r.custom) {
            self.resources.shift_remove(&key);
        }
    }
}
