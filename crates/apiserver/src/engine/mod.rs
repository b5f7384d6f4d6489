//! The one path that every request takes, over HTTP or in process.

mod addresses;
mod bootstrap;
mod call;
mod convert;
mod create;
mod definitions;
mod delete;
mod patch;
mod read;
mod subresource;
mod update;

use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::Value;

use crate::{
    admission::Webhooks,
    auth::{self, Rbac, Tokens},
    config::Config,
    gvr::Gvr,
    object::{self, Object},
    registry::{Registry, Resource},
    status::Status,
    store::{Key, Store, StoreError},
};
pub use call::{Call, DeleteOptions, FieldValidation, ListOptions, WriteOptions};
pub use convert::{present, to_storage};
pub use create::{suffix as random_suffix, uuid as new_uid};
pub use read::{Item, ListResult, WatchFilter, WatchOptions, Watched};
pub use subresource::ScaleChange;

/// Everything the server consists of, behind its HTTP face.
pub struct Engine {
    pub(crate) store: Store,
    pub(crate) config: Config,
    pub(crate) tokens: Tokens,
    pub(crate) rbac: Rbac,
    registry: RwLock<Arc<Registry>>,
    addresses: addresses::Addresses,
    pub(crate) webhooks: Webhooks,
}

impl Engine {
    /// Puts the parts together and reads the registry's custom resources and the Services'
    /// addresses out of the store.
    pub fn new(store: Store, config: Config, tokens: Tokens) -> Self {
        let mut registry = Registry::builtin();
        let stored = store.list(definitions::COLLECTION, None);
        stored.objects().for_each(|d| registry.put_custom(&d));
        let addresses = addresses::Addresses::new(config.service_cidr, config.second_service_cidr, config.node_ports);
        store.list("/services", None).objects().for_each(|s| addresses.note(&s));
        let webhooks = Webhooks::new(Arc::clone(&config.dialer));
        let rbac = Rbac::new(store.clone());
        Self { store, config, tokens, rbac, registry: RwLock::new(Arc::new(registry)), addresses, webhooks }
    }

    /// The resources served right now.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry.read())
    }

    /// The resource of a request.
    pub fn resource(&self, gvr: &Gvr) -> Result<Arc<Resource>, Status> {
        self.registry.read().find(gvr).cloned().ok_or_else(Status::no_such_resource)
    }

    fn change_registry(&self, change: impl FnOnce(&mut Registry)) {
        let mut current = self.registry.write();
        change(Arc::make_mut(&mut current));
    }

    /// What a write to a CustomResourceDefinition or Service means to the server itself.
    fn after_write(&self, resource: &Resource, object: &Value, removed: bool) {
        match (resource.group.as_str(), resource.plural.as_str()) {
            ("apiextensions.k8s.io", "customresourcedefinitions") => {
                let spec = &object["spec"];
                let group = spec["group"].as_str().unwrap_or_default();
                let plural = spec["names"]["plural"].as_str().unwrap_or_default();
                self.change_registry(|registry| {
                    if removed {
                        registry.remove_custom(group, plural);
                    } else {
                        registry.put_custom(object);
                    }
                });
            }
            ("", "services") if removed => self.addresses.release(object),
            _ => {}
        }
    }

    pub(crate) fn key(call: &Call) -> Key {
        Key::new(&call.resource.collection, &call.namespace, &call.name)
    }

    /// Nothing where the call's user may do this; otherwise the refusal.
    pub(crate) fn authorize(&self, call: &Call, verb: &str) -> Result<(), Status> {
        self.rbac.check(&call.user, &call.action(verb))
    }

    fn latest(&self, call: &Call) -> Result<Object, Status> {
        self.store.latest(&Self::key(call)).ok_or_else(|| call.not_found())
    }

    async fn put(&self, call: &Call, expected: u64, mut value: Value) -> Result<Object, Status> {
        let key = Self::key(call);
        convert::settle(&call.resource, &call.version, &mut value);
        let stored = self.store.put(key, expected, value).await.map_err(|e| match e {
            StoreError::Conflict if expected == 0 => call.already_exists(),
            other => write_error(call, &other),
        })?;
        self.after_write(&call.resource, &stored, false);
        self.tell_others(call).await?;
        Ok(stored)
    }

    async fn remove(&self, call: &Call, expected: u64) -> Result<Object, Status> {
        let key = Self::key(call);
        let last = self.store.remove(key, expected).await.map_err(|error| write_error(call, &error))?;
        self.after_write(&call.resource, &last, true);
        self.tell_others(call).await?;
        self.after_instance(call).await?;
        Ok(last)
    }

    /// Brings objects up to date that follow from others.
    async fn tell_others(&self, call: &Call) -> Result<(), Status> {
        match &*call.resource.collection {
            auth::CLUSTER_ROLES => self.aggregate_roles().await,
            definitions::COLLECTION => Box::pin(self.accept_freed_names(call)).await,
            _ => Ok(()),
        }
    }

    /// The namespace of a namespaced object must exist and not be going away.
    fn check_namespace(&self, call: &Call) -> Result<(), Status> {
        if !call.resource.namespaced {
            return Ok(());
        }
        let key = Key::new(&"/namespaces".into(), "", &call.namespace);
        let Some(namespace) = self.store.latest(&key) else {
            return Err(Status::not_found("", "namespaces", &call.namespace));
        };
        if object::is_deleting(&namespace) {
            let ns = &call.namespace;
            let text = format!("unable to create new content in namespace {ns} because it is being terminated");
            let causes = serde_json::json!([{
                "reason": "NamespaceTerminating",
                "message": format!("namespace {ns} is being terminated"),
                "field": "metadata.namespace",
            }]);
            return Err(call.forbidden(text).with_detail("causes", causes));
        }
        Ok(())
    }
}

fn write_error(call: &Call, error: &StoreError) -> Status {
    match error {
        StoreError::Conflict => call.modified(),
        other => Status::internal(other),
    }
}
