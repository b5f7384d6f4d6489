//! What is about to be done, as webhooks are told.

use serde_json::{Value, json};

use crate::{
    engine::{Call, DeleteOptions, FieldValidation},
    object::Object,
};

/// The operation that a webhook is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// A changed object.
    Update,
    /// A deletion.
    Delete,
    /// A stream to a pod.
    Connect,
}

impl Operation {
    /// Its wire name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// The kind of a request's object where that isn't the resource's own: group, version, kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign(pub &'static str, pub &'static str, pub &'static str);

/// `scale`
pub const SCALE: Foreign = Foreign("autoscaling", "v1", "Scale");
/// `pods/eviction`
pub const EVICTION: Foreign = Foreign("policy", "v1", "Eviction");
/// `serviceaccounts/token`
pub const TOKEN_REQUEST: Foreign = Foreign("authentication.k8s.io", "v1", "TokenRequest");
/// `pods/exec`
pub const EXEC: Foreign = Foreign("", "v1", "PodExecOptions");
/// `pods/attach`
pub const ATTACH: Foreign = Foreign("", "v1", "PodAttachOptions");
/// `pods/portforward`
pub const PORT_FORWARD: Foreign = Foreign("", "v1", "PodPortForwardOptions");

impl Foreign {
    /// `v1` or `group/v1`.
    pub fn api_version(self) -> String {
        if self.0.is_empty() { self.1.to_owned() } else { format!("{}/{}", self.0, self.1) }
    }
}

/// What is about to be done.
pub struct Attempt<'a> {
    /// To do what.
    pub operation: Operation,
    /// The kind of object, where it isn't the resource's own.
    pub foreign: Option<Foreign>,
    /// The object as it is now.
    pub old: Option<&'a Object>,
    /// The request's options as the API writes them.
    pub options: Value,
}

impl<'a> Attempt<'a> {
    /// A new object.
    pub fn create(call: &Call) -> Self {
        Self { operation: Operation::Create, foreign: None, old: None, options: write_options("CreateOptions", call) }
    }

    /// A changed object.
    pub fn update(call: &Call, old: &'a Object) -> Self {
        let kind = if call.options.patch { "PatchOptions" } else { "UpdateOptions" };
        Self { operation: Operation::Update, foreign: None, old: Some(old), options: write_options(kind, call) }
    }

    /// A deletion.
    pub fn delete(call: &Call, options: &DeleteOptions, old: &'a Object) -> Self {
        let mut value = base("DeleteOptions", call);
        if let Some(seconds) = options.grace_period_seconds {
            value["gracePeriodSeconds"] = seconds.into();
        }
        if let Some(policy) = &options.propagation_policy {
            value["propagationPolicy"] = policy.as_str().into();
        }
        for (key, wanted) in [("uid", &options.uid), ("resourceVersion", &options.resource_version)] {
            if let Some(wanted) = wanted {
                value["preconditions"][key] = wanted.as_str().into();
            }
        }
        Self { operation: Operation::Delete, foreign: None, old: Some(old), options: value }
    }

    /// A stream to a pod.
    pub fn connect(kind: Foreign) -> Self {
        Self { operation: Operation::Connect, foreign: Some(kind), old: None, options: Value::Null }
    }

    /// The same about an object of another kind.
    #[must_use]
    pub fn of(mut self, kind: Foreign) -> Self {
        self.foreign = Some(kind);
        self
    }
}

fn base(kind: &str, call: &Call) -> Value {
    let mut value = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    if call.options.dry_run {
        value["dryRun"] = json!(["All"]);
    }
    value
}

fn write_options(kind: &str, call: &Call) -> Value {
    let mut value = base(kind, call);
    if !call.options.manager.is_empty() {
        value["fieldManager"] = call.options.manager.as_str().into();
    }
    if call.options.force {
        value["force"] = true.into();
    }
    value["fieldValidation"] = match call.options.validation {
        FieldValidation::Ignore => "Ignore",
        FieldValidation::Warn => "Warn",
        FieldValidation::Strict => "Strict",
    }
    .into();
    value
}
