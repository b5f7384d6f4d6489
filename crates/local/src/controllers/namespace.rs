//! Deletion of namespaces: everything inside goes first.

use std::time::Duration;

use lateen_apiserver::{Object, Status, gvr};
use serde_json::Value;

use super::api::{Api, Key};
use super::object::Meta;
use super::queue::{Next, Reconcile};

/// The finalizer that this controller answers for.
const FINALIZER: &str = "kubernetes";
/// When to look whether the rest has gone.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Empties namespaces that are being deleted.
pub struct Namespaces {
    api: Api,
}

impl Namespaces {
    /// A controller that works through `api`.
    #[must_use]
    pub fn new(api: Api) -> Self {
        Self { api }
    }

    /// Ask everything in the namespace to go; how much is still there.
    async fn empty(&self, namespace: &str) -> Result<usize, Status> {
        let mut left = 0;
        for kind in self.api.client.kinds() {
            let mut objects = self.api.list_in(&kind, namespace).await?;
            // Kinds without namespace list everything.
            objects.retain(|o| o.namespace() == namespace);
            for object in objects {
                if !object.is_terminating() {
                    self.api.delete(&kind, &object).await?;
                }
                let still = self.api.find(&kind, namespace, object.name()).await?;
                left += usize::from(still.is_some());
            }
        }
        Ok(left)
    }

    async fn finish(&self, namespace: &Object) -> Result<(), Status> {
        let mut done = Value::clone(namespace);
        if let Some(finalizers) = done.pointer_mut("/spec/finalizers").and_then(Value::as_array_mut) {
            finalizers.retain(|f| f != FINALIZER);
        }
        match self.api.client.finalize_namespace(&done).await {
            Err(status) if !status.is_not_found() => Err(status),
            _ => Ok(()),
        }
    }
}

impl Reconcile for Namespaces {
    type Key = Key;
    type Error = Status;

    fn name(&self) -> &'static str {
        "namespace"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Status> {
        let found = self.api.find(&gvr::NAMESPACES, "", &key.name).await?;
        let Some(namespace) = found.filter(|n| n.is_terminating()) else {
            return Ok(Next::Done);
        };
        if !namespace.items("/spec/finalizers").iter().any(|f| f == FINALIZER) {
            return Ok(Next::Done);
        }
        if self.empty(&key.name).await? > 0 {
            return Ok(Next::After(LOOK_AGAIN));
        }
        self.finish(&namespace).await?;
        Ok(Next::Done)
    }
}
