//! What is special about each kind: defaults, preparation, validation.

mod batch;
mod cluster;
mod container;
mod definition;
mod definition_schema;
mod ingress;
pub mod metadata;
pub mod names;
mod pod;
mod policy;
mod quota;
mod rbac;
mod replicas;
mod scheduling;
mod service;
mod storage;
mod stored;
mod webhooks;
mod workload;

use serde_json::Value;

use crate::status::FieldError;
pub use batch::{CronJob, Job};
pub use cluster::{ConfigMap, EndpointSlice, Endpoints, Event, Namespace, Node, Secret};
pub use definition::Definition;
pub use ingress::{Ingress, IngressClass};
pub use pod::Pod;
pub use policy::{Policy, PolicyBinding};
pub use quota::{LimitRange, ResourceQuota};
pub use rbac::Rbac;
pub use replicas::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
pub use scheduling::{PriorityClass, RuntimeClass};
pub use service::Service;
pub use storage::{PersistentVolume, PersistentVolumeClaim, StorageClass};
pub use stored::{
    CertificateSigningRequest, HorizontalPodAutoscaler, NetworkPolicy, PodDisruptionBudget, ReplicationController,
};
pub use webhooks::Webhooks;

/// Errors found so far.
pub type Errors = Vec<FieldError>;

/// The behaviour of a kind, beyond what is common to all.
pub trait Rules: Send + Sync {
    /// Fills in defaults; runs on every write, so it must be idempotent.
    fn default(&self, _object: &mut Value) {}
    /// Last touches before an object is stored first.
    fn prepare_create(&self, _object: &mut Value) {}
    /// Last touches before an object is replaced.
    fn prepare_update(&self, _new: &mut Value, _old: &Value) {}
    /// What is wrong with an object.
    fn validate(&self, _object: &Value, _errors: &mut Errors) {}
    /// What is wrong with a change.
    fn validate_update(&self, _new: &Value, _old: &Value, _errors: &mut Errors) {}
    /// What whoever writes an object should know, such as what this cluster does not do with it.
    fn warnings(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }
    /// Why the client that calls itself `manager` may not make objects of this kind.
    fn refusal(&self, _manager: &str) -> Option<&'static str> {
        None
    }
    /// What is wrong with a name, if anything.
    fn name_error(&self, name: &str) -> Option<String> {
        names::dns1123_subdomain(name)
    }
    /// Whether `metadata.generation` counts changes of the specification.
    fn has_generation(&self) -> bool {
        false
    }
}

/// A kind without behaviour of its own.
pub struct Plain;
impl Rules for Plain {}

/// A custom resource.
pub struct Custom;
impl Rules for Custom {
    fn has_generation(&self) -> bool {
        true
    }
}

/// Sets `object[key]` where it is absent.
fn set_default(object: &mut Value, key: &str, value: impl Into<Value>) {
    let map = crate::object::as_map(object);
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), value.into());
    }
}

fn items(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.as_array_mut().into_iter().flatten()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn immutable(field: &str, new: &Value, old: &Value, errors: &mut Errors) {
    if new != old {
        errors.push(FieldError::invalid(field, new, "field is immutable"));
    }
}
