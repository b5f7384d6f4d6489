//! Built-in admission of pods: their service account and its token, default tolerations.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Attempt, Operation};
use crate::{
    engine::{Call, Engine, random_suffix},
    object::{self, Object},
    status::Status,
    store::Key,
};

const TOKEN_MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const TOKEN_SECONDS: i64 = 3607;
/// A new namespace gets this account soon, so it is waited for a little.
const DEFAULT_ACCOUNT: &str = "default";
const ACCOUNT_TRIES: usize = 10;
const ACCOUNT_WAIT: Duration = Duration::from_millis(100);

/// Completes a new pod; does nothing to other kinds.
pub async fn admit(engine: &Engine, call: &Call, attempt: &Attempt<'_>, pod: &mut Value) -> Result<(), Status> {
    let is_new = attempt.operation == Operation::Create && attempt.foreign.is_none();
    if !is_new || &*call.resource.collection != "/pods" || !pod["spec"].is_object() {
        return Ok(());
    }
    let account = account(engine, call, pod).await?;
    let wants_token = match pod["spec"]["automountServiceAccountToken"].as_bool() {
        Some(wanted) => wanted,
        None => account["automountServiceAccountToken"] != false,
    };
    if wants_token {
        mount_token(&mut pod["spec"]);
    }
    let spec = &mut pod["spec"];
    if spec["imagePullSecrets"].as_array().is_none_or(Vec::is_empty)
        && let Some(secrets) = account.get("imagePullSecrets")
    {
        spec["imagePullSecrets"] = secrets.clone();
    }
    object::as_map(spec).retain(|_, value| !value.is_null());
    tolerate(spec);
    for (field, value) in [("priority", json!(0)), ("preemptionPolicy", json!("PreemptLowerPriority"))] {
        object::as_map(spec).entry(field).or_insert(value);
    }
    Ok(())
}

async fn account(engine: &Engine, call: &Call, pod: &mut Value) -> Result<Object, Status> {
    let spec = &mut pod["spec"];
    let name = match spec["serviceAccountName"].as_str() {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => DEFAULT_ACCOUNT.to_owned(),
    };
    spec["serviceAccountName"] = name.as_str().into();
    spec["serviceAccount"] = name.as_str().into();
    let key = Key::new(&"/serviceaccounts".into(), &call.namespace, &name);
    let tries = if name == DEFAULT_ACCOUNT { ACCOUNT_TRIES } else { 1 };
    for attempt in 0..tries {
        if attempt > 0 {
            tokio::time::sleep(ACCOUNT_WAIT).await;
        }
        if let Some(account) = engine.store.latest(&key) {
            return Ok(account);
        }
    }
    let namespace = &call.namespace;
    let text = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
    Err(call.forbidden(text))
}

fn mount_token(spec: &mut Value) {
    let unmounted = |c: &Value| {
        let mounts = c["volumeMounts"].as_array();
        !mounts.into_iter().flatten().any(|m| m["mountPath"] == TOKEN_MOUNT)
    };
    let all = ["initContainers", "containers"];
    let needed = all.iter().any(|l| spec[*l].as_array().into_iter().flatten().any(unmounted));
    if !needed {
        return;
    }
    let volumes = spec["volumes"].as_array();
    let existing = volumes
        .into_iter()
        .flatten()
        .filter_map(|v| v["name"].as_str())
        .find(|n| n.starts_with("kube-api-access-"))
        .map(str::to_owned);
    let name = existing.clone().unwrap_or_else(|| format!("kube-api-access-{}", random_suffix()));
    for list in all {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if unmounted(container) {
                push(container, "volumeMounts", json!({"name": name, "readOnly": true, "mountPath": TOKEN_MOUNT}));
            }
        }
    }
    if existing.is_none() {
        push(spec, "volumes", token_volume(&name));
    }
}

fn push(object: &mut Value, field: &str, item: Value) {
    let list = object::as_map(object).entry(field).or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    if let Value::Array(list) = list {
        list.push(item);
    }
}

fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace",
            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}

fn tolerate(spec: &mut Value) {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerations = spec["tolerations"].as_array();
        let tolerated = tolerations
            .into_iter()
            .flatten()
            .any(|t| (t["key"] == key || t["key"].is_null()) && (t["effect"] == "NoExecute" || t["effect"].is_null()));
        if !tolerated {
            push(
                spec,
                "tolerations",
                json!({
                    "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
                }),
            );
        }
    }
    object::as_map(spec).retain(|_, value| !value.is_null());
}
