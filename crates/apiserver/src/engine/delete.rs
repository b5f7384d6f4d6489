//! Delete, with grace periods, finalizers and preconditions.

use std::sync::Arc;

use serde_json::Value;

use super::{Call, DeleteOptions, Engine, ListOptions, convert, definitions};
use crate::{
    admission::Attempt,
    clock,
    object::{self, Object},
    status::Status,
};

const RETRIES: usize = 16;
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// What a deletion came to.
pub struct Deleted {
    /// The object's last or current state.
    pub object: Object,
    /// Whether it is gone; otherwise it is being deleted.
    pub gone: bool,
}

impl Engine {
    /// Deletes one object.
    pub async fn delete(&self, call: &mut Call, options: &DeleteOptions) -> Result<Deleted, Status> {
        call.options.dry_run |= options.dry_run;
        let mut tries = 0;
        loop {
            let old = self.latest(call)?;
            check_preconditions(call, options, &old)?;
            if &*call.resource.collection == "/namespaces" && IMMORTAL.contains(&call.name.as_str()) {
                return Err(call.forbidden("this namespace may not be deleted"));
            }
            if !call.options.admitted {
                self.admit_without_object(call, &Attempt::delete(call, options, &old)).await?;
            }
            match self.delete_once(call, options, &old).await {
                Err(status) if status.is_conflict() && options.resource_version.is_none() && tries < RETRIES => {
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    pub(super) async fn delete_once(
        &self,
        call: &mut Call,
        options: &DeleteOptions,
        old: &Object,
    ) -> Result<Deleted, Status> {
        let version = object::resource_version(old);
        let mut new = Value::clone(old);
        add_propagation(&mut new, options.propagation_policy.as_deref());
        if &*call.resource.collection == definitions::COLLECTION && !call.options.dry_run {
            return Box::pin(self.delete_definition(call, new, version)).await;
        }
        let grace = grace(call, options, old);
        let waits = grace > 0
            || object::has_finalizers(&new)
            || (&*call.resource.collection == "/namespaces" && has_spec_finalizers(&new));
        if waits {
            mark(call, &mut new, grace);
            let object =
                if new == **old || call.options.dry_run { Arc::new(new) } else { self.put(call, version, new).await? };
            let object = convert::present(&call.resource, &call.version, &object);
            return Ok(Deleted { object, gone: false });
        }
        if call.options.dry_run {
            return Ok(Deleted { object: Arc::clone(old), gone: true });
        }
        let last = self.remove(call, version).await?;
        let object = convert::present(&call.resource, &call.version, &last);
        Ok(Deleted { object, gone: true })
    }

    /// Deletes all objects that a list would show.
    pub async fn delete_collection(
        &self,
        call: &mut Call,
        list: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<Vec<Object>, Status> {
        let mut deleted = Vec::new();
        for item in self.list(call, list)?.items {
            let object = item.object();
            let mut one = call.clone();
            one.namespace = object::namespace(&object).to_owned();
            one.name = object::name(&object).to_owned();
            match self.delete(&mut one, options).await {
                Ok(done) => deleted.push(done.object),
                Err(status) if status.is_not_found() => {}
                Err(status) => return Err(status),
            }
        }
        Ok(deleted)
    }
}

fn check_preconditions(call: &Call, options: &DeleteOptions, old: &Value) -> Result<(), Status> {
    let conflict = |what: &str, wanted: &str, found: &str| {
        let text = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
        Status::conflict(&call.resource.group, &call.resource.plural, &call.name, &text)
    };
    if let Some(uid) = options.uid.as_deref().filter(|u| *u != object::uid(old)) {
        return Err(conflict("UID", uid, object::uid(old)));
    }
    let found = object::meta_str(old, "resourceVersion");
    if let Some(version) = options.resource_version.as_deref().filter(|v| *v != found) {
        return Err(conflict("ResourceVersion", version, found));
    }
    Ok(())
}

fn add_propagation(object: &mut Value, policy: Option<&str>) {
    let wanted = match policy {
        Some("Foreground") => "foregroundDeletion",
        Some("Orphan") => "orphan",
        _ => return,
    };
    add_finalizer(object, wanted);
}

/// Adds a finalizer where it is not there yet.
pub(super) fn add_finalizer(object: &mut Value, wanted: &str) {
    let finalizers = object::map_at(object, "metadata").entry("finalizers").or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(list) = finalizers
        && !list.iter().any(|f| f == wanted)
    {
        list.push(wanted.into());
    }
}

/// Only pods that run on a node get time to end.
fn grace(call: &Call, options: &DeleteOptions, pod: &Value) -> i64 {
    if &*call.resource.collection != "/pods" {
        return 0;
    }
    let unscheduled = pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty);
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if unscheduled || ended {
        return 0;
    }
    let own = pod["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    let wanted = options.grace_period_seconds.unwrap_or(own).max(0);
    let running = pod["metadata"]["deletionGracePeriodSeconds"].as_i64();
    match running {
        Some(running) if object::is_deleting(pod) => running.min(wanted),
        _ => wanted,
    }
}

fn has_spec_finalizers(namespace: &Value) -> bool {
    namespace["spec"]["finalizers"].as_array().is_some_and(|f| !f.is_empty())
}

/// Notes that an object is being deleted.
pub(super) fn mark(call: &Call, object: &mut Value, grace: i64) {
    let running = object["metadata"]["deletionGracePeriodSeconds"].as_i64();
    if object::is_deleting(object) && running.is_some_and(|r| r <= grace) {
        return;
    }
    let metadata = object::map_at(object, "metadata");
    metadata.insert("deletionTimestamp".into(), clock::stamp(clock::in_seconds(grace)).into());
    metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
    if call.resource.rules.has_generation() {
        let generation = metadata.get("generation").and_then(Value::as_i64).unwrap_or(0);
        metadata.insert("generation".into(), (generation + 1).into());
    }
    if &*call.resource.collection == "/namespaces" {
        object["status"]["phase"] = "Terminating".into();
    }
}
