//! What happens to an object between decoding and storing: built-in admission and webhooks.

pub mod pods;
mod review;
mod rules;
mod webhook;

use std::sync::Arc;

use futures::future::join_all;
use serde_json::Value;

use crate::{
    engine::{Call, Engine, present},
    object::{self, Object},
    status::Status,
    store::Key,
};
use review::Review;
pub use webhook::Webhooks;

/// The operation that a webhook is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// A changed object.
    Update,
    /// A deletion.
    Delete,
}

impl Operation {
    /// Its wire name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

const MUTATING: &str = "admissionregistration.k8s.io/mutatingwebhookconfigurations";
const VALIDATING: &str = "admissionregistration.k8s.io/validatingwebhookconfigurations";

impl Engine {
    fn hooks(&self, call: &Call, collection: &str, operation: Operation, objects: &[&Value]) -> Vec<Value> {
        // Webhooks can't lock their own configuration.
        if call.resource.group == "admissionregistration.k8s.io" {
            return Vec::new();
        }
        let configurations: Vec<Object> = self.store.list(collection, None).objects().collect();
        let all = configurations.iter().flat_map(|c| c["webhooks"].as_array().into_iter().flatten());
        let namespace = self.namespace_labels(call, objects);
        all.filter(|hook| rules::matches(hook, call, operation, namespace.as_ref(), objects)).cloned().collect()
    }

    /// Labels of the namespace that the request is for; none for other cluster-scoped objects.
    fn namespace_labels(&self, call: &Call, objects: &[&Value]) -> Option<Object> {
        if &*call.resource.collection == "/namespaces" {
            return objects.first().map(|o| Arc::new(Value::clone(o)));
        }
        if call.namespace.is_empty() {
            return None;
        }
        self.store.latest(&Key::new(&"/namespaces".into(), "", &call.namespace))
    }

    /// Lets the mutating webhooks change an object (in its stored form).
    pub(crate) async fn mutate(
        &self,
        call: &mut Call,
        operation: Operation,
        mut object: Value,
        old: Option<&Object>,
    ) -> Result<Value, Status> {
        let objects: Vec<&Value> = [Some(&object), old.map(|o| &**o)].into_iter().flatten().collect();
        let hooks = self.hooks(call, MUTATING, operation, &objects);
        for hook in hooks {
            let shown = present(&call.resource, &call.version, &Arc::new(object.clone()));
            let review = Review::new(call, operation, Some(&shown), old);
            let answer = match self.webhooks.ask(self, &hook, &review).await {
                Ok(answer) => answer,
                Err(failure) => {
                    failure.unless_ignored(&hook)?;
                    continue;
                }
            };
            answer.warnings.iter().for_each(|w| call.warn(w.clone()));
            answer.verdict(&hook)?;
            if let Some(patch) = answer.patch {
                let mut changed = Arc::unwrap_or_clone(shown);
                crate::patch::json(&mut changed, &patch)?;
                call.check_type(&mut changed)?;
                call.served()?.schema.decode(&mut changed);
                crate::engine::to_storage(&call.resource, &mut changed);
                object = changed;
            }
        }
        if operation == Operation::Create && object::name(&object) != call.name {
            call.name = object::name(&object).to_owned();
        }
        Ok(object)
    }

    /// Asks the validating webhooks.
    pub(crate) async fn validate_by_webhooks(
        &self,
        call: &mut Call,
        operation: Operation,
        object: Option<&Value>,
        old: Option<&Object>,
    ) -> Result<(), Status> {
        let objects: Vec<&Value> = [object, old.map(|o| &**o)].into_iter().flatten().collect();
        let hooks = self.hooks(call, VALIDATING, operation, &objects);
        if hooks.is_empty() {
            return Ok(());
        }
        let shown = object.map(|o| present(&call.resource, &call.version, &Arc::new(Value::clone(o))));
        let review = Review::new(call, operation, shown.as_ref(), old);
        let answers = join_all(hooks.iter().map(|hook| self.webhooks.ask(self, hook, &review))).await;
        let mut verdict = Ok(());
        for (hook, answer) in hooks.iter().zip(answers) {
            let one = match answer {
                Ok(answer) => {
                    answer.warnings.iter().for_each(|w| call.warn(w.clone()));
                    answer.verdict(hook)
                }
                Err(failure) => failure.unless_ignored(hook),
            };
            verdict = verdict.and(one);
        }
        verdict
    }
}
