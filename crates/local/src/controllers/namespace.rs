//! Deletion of namespaces: everything inside goes first.

use std::collections::BTreeMap;
use std::time::Duration;

use lateen_apiserver::{Object, Status, gvr};
use serde_json::{Value, json};

use super::api::{Api, Key};
use super::object::{Meta, set_condition};
use super::queue::{Next, Reconcile};
use crate::clock::Clock;

/// The finalizer that this controller answers for.
const FINALIZER: &str = "kubernetes";
/// When to look whether the rest has gone.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Empties namespaces that are being deleted.
pub struct Namespaces {
    api: Api,
    clock: Clock,
}

/// What is still in a namespace.
#[derive(Debug, Default)]
struct Left {
    /// How many objects of each kind.
    kinds: BTreeMap<String, usize>,
    /// How many objects each finalizer holds.
    finalizers: BTreeMap<String, usize>,
}

impl Left {
    fn add(&mut self, kind: String, object: &Value) {
        *self.kinds.entry(kind).or_default() += 1;
        for finalizer in object.items("/metadata/finalizers").iter().filter_map(Value::as_str) {
            *self.finalizers.entry(finalizer.to_owned()).or_default() += 1;
        }
    }

    /// The conditions that say what the namespace waits for.
    fn conditions(&self, now: &str) -> Vec<Value> {
        let listed = |of: &BTreeMap<String, usize>, between: &str| {
            let parts: Vec<String> =
                of.iter().map(|(name, n)| format!("{name}{between}{n} resource instances")).collect();
            parts.join(", ")
        };
        let condition = |kind: &str, on: bool, reasons: [&str; 2], text: String| {
            let (status, reason) = if on { ("True", reasons[0]) } else { ("False", reasons[1]) };
            json!({"type": kind, "status": status, "reason": reason, "message": text, "lastTransitionTime": now})
        };
        let held = !self.finalizers.is_empty();
        let holding = if held {
            let text = "Some content in the namespace has finalizers remaining: ";
            format!("{text}{}", listed(&self.finalizers, " in "))
        } else {
            "All content-preserving finalizers finished".to_owned()
        };
        let remaining = format!("Some resources are remaining: {}", listed(&self.kinds, " has "));
        let reasons = ["SomeResourcesRemain", "ContentRemoved"];
        vec![
            condition("NamespaceContentRemaining", true, reasons, remaining),
            condition(
                "NamespaceFinalizersRemaining",
                held,
                ["SomeFinalizersRemain", "ContentHasNoFinalizers"],
                holding,
            ),
        ]
    }
}

impl Namespaces {
    /// A controller that works through `api`.
    #[must_use]
    pub fn new(api: Api, clock: Clock) -> Self {
        Self { api, clock }
    }

    /// Ask everything in the namespace to go; what is still there.
    async fn empty(&self, namespace: &str) -> Result<Left, Status> {
        let mut left = Left::default();
        for kind in self.api.client.kinds() {
            let mut objects = self.api.list_in(&kind, namespace).await?;
            // Kinds without namespace list everything.
            objects.retain(|o| o.namespace() == namespace);
            for object in objects {
                if !object.is_terminating() {
                    self.api.delete(&kind, &object).await?;
                }
                if let Some(still) = self.api.find(&kind, namespace, object.name()).await? {
                    left.add(kind.to_string(), &still);
                }
            }
        }
        Ok(left)
    }

    /// Say what the namespace waits for.
    async fn tell(&self, namespace: &Object, left: &Left) -> Result<(), Status> {
        let mut status = namespace["status"].clone();
        let mut conditions = namespace.items("/status/conditions").to_vec();
        for condition in left.conditions(&self.clock.stamp()) {
            set_condition(&mut conditions, condition);
        }
        status["conditions"] = conditions.into();
        self.api.set_status(&gvr::NAMESPACES, namespace, status).await.map(drop)
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
        let left = self.empty(&key.name).await?;
        if !left.kinds.is_empty() {
            self.tell(&namespace, &left).await?;
            return Ok(Next::After(LOOK_AGAIN));
        }
        self.finish(&namespace).await?;
        Ok(Next::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_says_what_it_waits_for() {
        let mut left = Left::default();
        left.add("pods".into(), &json!({"metadata": {}}));
        left.add("widgets.x.io".into(), &json!({"metadata": {"finalizers": ["x.io/held"]}}));
        let texts: Vec<Value> = left.conditions("t").iter().map(|c| c["message"].clone()).collect();
        let expect = [
            "Some resources are remaining: pods has 1 resource instances, widgets.x.io has 1 resource instances",
            "Some content in the namespace has finalizers remaining: x.io/held in 1 resource instances",
        ];
        assert_eq!(texts, expect);
    }
}
