//! The webhooks that are registered, and which requests they want to see.

use serde_json::Value;

use super::{
    Operation,
    rules::{self, Matched},
};
use crate::{
    engine::{Call, Engine},
    object::{self, Object},
    selector::LabelSelector,
    store::Key,
};

const MUTATING: &str = "admissionregistration.k8s.io/mutatingwebhookconfigurations";
const VALIDATING: &str = "admissionregistration.k8s.io/validatingwebhookconfigurations";

/// One webhook of a configuration.
pub struct Hook {
    /// Unlike all others.
    pub id: String,
    /// As it calls itself.
    pub name: String,
    /// Whether its answer may change the object.
    pub mutates: bool,
    settings: Object,
    index: usize,
}

/// The mutating webhooks in the order in which they are asked.
pub fn mutating(engine: &Engine, call: &Call) -> Vec<Hook> {
    of(engine, call, MUTATING)
}

/// The validating webhooks.
pub fn validating(engine: &Engine, call: &Call) -> Vec<Hook> {
    of(engine, call, VALIDATING)
}

fn of(engine: &Engine, call: &Call, collection: &str) -> Vec<Hook> {
    // Webhooks can't lock their own configuration.
    if call.resource.group == "admissionregistration.k8s.io" {
        return Vec::new();
    }
    let configurations = engine.store.list(collection, None);
    configurations.objects().flat_map(|configuration| each(&configuration, collection == MUTATING)).collect()
}

fn each(configuration: &Object, mutates: bool) -> Vec<Hook> {
    let hooks = configuration["webhooks"].as_array().map_or(0, Vec::len);
    let one = |index: usize| Hook {
        id: format!("{}/{index}", object::name(configuration)),
        name: configuration["webhooks"][index]["name"].as_str().unwrap_or_default().to_owned(),
        mutates,
        settings: Object::clone(configuration),
        index,
    };
    (0..hooks).map(one).collect()
}

impl Hook {
    /// The webhook's part of its configuration.
    pub fn settings(&self) -> &Value {
        &self.settings["webhooks"][self.index]
    }

    /// Whether it is to be asked again about what later webhooks change.
    pub fn wants_changes(&self) -> bool {
        self.settings()["reinvocationPolicy"] == "IfNeeded"
    }

    /// Whether it may be asked about what will not be stored.
    pub fn allows_dry_run(&self) -> bool {
        matches!(self.settings()["sideEffects"].as_str(), Some("None" | "NoneOnDryRun"))
    }

    /// Whether the request goes on where the webhook can't be asked.
    pub fn ignores_failure(&self) -> bool {
        self.settings()["failurePolicy"] == "Ignore"
    }

    /// As what the webhook sees the request, if it wants to. `objects` are the new and the old
    /// object, as far as there are.
    pub fn matching(&self, engine: &Engine, call: &Call, operation: Operation, objects: &[&Value]) -> Option<Matched> {
        let settings = self.settings();
        let registry = engine.registry();
        let matched = rules::matched(&registry, &settings["rules"], &settings["matchPolicy"], call, operation)?;
        selected(engine, settings, call, objects).then_some(matched)
    }
}

/// Whether `namespaceSelector` and `objectSelector` of a webhook or a policy take a request.
pub fn selected(engine: &Engine, settings: &Value, call: &Call, objects: &[&Value]) -> bool {
    let namespace = namespace(engine, call, objects);
    if !namespace.is_none_or(|ns| selects(&settings["namespaceSelector"], &ns)) {
        return false;
    }
    let selector = &settings["objectSelector"];
    if objects.is_empty() {
        selects(selector, &Value::Null)
    } else {
        objects.iter().any(|object| selects(selector, object))
    }
}

fn selects(selector: &Value, object: &Value) -> bool {
    LabelSelector::from_json(selector).is_ok_and(|s| s.matches(object::labels(object)))
}

/// The namespace that the request is for, a namespace itself too; none for other cluster-scoped
/// objects.
pub fn namespace(engine: &Engine, call: &Call, objects: &[&Value]) -> Option<Object> {
    if &*call.resource.collection == "/namespaces" {
        return objects.first().map(|o| Value::clone(o).into());
    }
    if call.namespace.is_empty() {
        return None;
    }
    engine.store.latest(&Key::new(&"/namespaces".into(), "", &call.namespace))
}
