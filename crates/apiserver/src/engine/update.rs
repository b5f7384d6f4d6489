//! Update, of the object and of its status.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Call, Engine, convert};
use crate::{
    admission::Attempt,
    object::{self, Object},
    rules::metadata,
    status::{FieldError, Status},
};

/// System-owned metadata that an update may not set.
const KEPT: [&str; 8] = [
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "generateName",
    "managedFields",
];

const RETRIES: usize = 16;

impl Engine {
    /// Replaces an object, or its status where the call is for that.
    pub async fn update(&self, call: &mut Call, mut object: Value, duplicates: Vec<String>) -> Result<Object, Status> {
        call.check_type(&mut object)?;
        call.decode(&mut object, duplicates)?;
        if object::name(&object).is_empty() {
            object::map_at(&mut object, "metadata").insert("name".into(), call.name.as_str().into());
        }
        if object::name(&object) != call.name {
            return Err(Status::bad_request(format!(
                "the name of the object ({}) does not match the name on the URL ({})",
                object::name(&object),
                call.name
            )));
        }
        let wanted = object::meta_str(&object, "resourceVersion").to_owned();
        let mut tries = 0;
        loop {
            let old = self.latest(call)?;
            match self.replace(call, &old, object.clone()).await {
                Err(status) if status.is_conflict() && wanted.is_empty() && tries < RETRIES => tries += 1,
                done => return done,
            }
        }
    }

    /// One try of an update on top of `old`. The new object is in the request's version.
    pub(super) async fn replace(&self, call: &mut Call, old: &Object, mut new: Value) -> Result<Object, Status> {
        self.check_version(call, &new, old)?;
        let schema = call.served()?.schema.clone();
        let sent = new["metadata"].get("managedFields").filter(|_| call.subresource.is_empty());
        let sent = sent.map(|list| json!({"managedFields": list}));
        schema.default(&mut new);
        convert::to_storage(&call.resource, &mut new);
        let rules = call.resource.rules;
        rules.default(&mut new);
        merge_unchangeable(call, &mut new, old);
        rules.prepare_update(&mut new, old);
        self.accept_names(call, &mut new, Some(old));
        keep_metadata(&mut new, old);
        let attempt = Attempt::update(call, old);
        if !call.options.admitted {
            new = self.mutate(call, &attempt, new).await?;
        }
        rules.default(&mut new);
        keep_metadata(&mut new, old);
        call.note_managers(Some(old), &mut new, sent)?;
        count_generation(call, &mut new, old);
        let mut errors = Vec::new();
        metadata::validate(&new, rules, &mut errors);
        metadata::validate_update(&new, old, &mut errors);
        errors.extend(schema.validate(&new, Some(old)));
        rules.validate(&new, &mut errors);
        rules.validate_update(&new, old, &mut errors);
        call.check(&errors)?;
        if call.subresource.is_empty() {
            rules.warnings(&new).into_iter().for_each(|text| call.warn(text));
        }
        self.check_escalation(call, &new, Some(old))?;
        if !call.options.admitted {
            self.validate_by_others(call, &attempt, Some(&new)).await?;
        }
        self.store_update(call, old, new).await
    }

    async fn store_update(&self, call: &Call, old: &Object, mut new: Value) -> Result<Object, Status> {
        let present = |object: &Object| convert::present(&call.resource, &call.version, object);
        let version = object::resource_version(old);
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        if deletion_is_due(call, &new) {
            if call.options.dry_run {
                return Ok(present(&Arc::new(new)));
            }
            let stored = self.put(call, version, new).await?;
            self.remove(call, object::resource_version(&stored)).await?;
            return Ok(present(&stored));
        }
        if new == **old {
            return Ok(present(old));
        }
        if call.options.dry_run {
            return Ok(present(&Arc::new(new)));
        }
        let allocated = self.allocate(call, &mut new, Some(old))?;
        let stored = self.put(call, version, new).await;
        match &stored {
            Ok(stored) => self.addresses.release_difference(old, stored),
            Err(_) => self.addresses.give_back(&allocated),
        }
        Ok(present(&stored?))
    }

    fn check_version(&self, call: &Call, new: &Value, old: &Value) -> Result<(), Status> {
        let wanted = object::meta_str(new, "resourceVersion");
        if wanted.is_empty() || wanted == "0" {
            if call.resource.custom && call.subresource.is_empty() {
                let text = "must be specified for an update";
                let error = FieldError {
                    reason: "FieldValueInvalid",
                    field: "metadata.resourceVersion".into(),
                    message: format!("Invalid value: 0x0: {text}"),
                };
                return call.check(&[error]);
            }
        } else if wanted != object::meta_str(old, "resourceVersion") {
            return Err(call.modified());
        }
        let uid = object::uid(new);
        if !uid.is_empty() && uid != object::uid(old) {
            let text =
                format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", object::uid(old));
            let resource = &call.resource;
            return Err(Status::conflict(&resource.group, &resource.plural, &call.name, &text));
        }
        Ok(())
    }
}

/// An update of the object keeps the status, one of the status keeps all else.
fn merge_unchangeable(call: &Call, new: &mut Value, old: &Value) {
    let has_status = call.served().is_ok_and(|v| v.status);
    if call.subresource == "status" {
        let status = object::as_map(new).shift_remove("status");
        let metadata = new["metadata"].take();
        *new = old.clone();
        if !call.resource.custom {
            for field in ["labels", "annotations", "finalizers"] {
                replace_member(&mut new["metadata"], field, metadata.get(field));
            }
        }
        replace_member(new, "status", status.as_ref());
    } else if has_status {
        replace_member(new, "status", old.get("status"));
    }
}

fn replace_member(target: &mut Value, field: &str, value: Option<&Value>) {
    let map = object::as_map(target);
    match value {
        Some(value) => {
            map.insert(field.to_owned(), value.clone());
        }
        None => {
            map.shift_remove(field);
        }
    }
}

fn keep_metadata(new: &mut Value, old: &Value) {
    let metadata = object::map_at(new, "metadata");
    metadata.shift_remove("selfLink");
    for field in KEPT {
        match old["metadata"].get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.shift_remove(field),
        };
    }
    for field in ["labels", "annotations"] {
        if metadata.get(field).is_some_and(|m| m.as_object().is_some_and(serde_json::Map::is_empty)) {
            metadata.shift_remove(field);
        }
    }
}

fn count_generation(call: &Call, new: &mut Value, old: &Value) {
    if !call.resource.rules.has_generation() {
        return;
    }
    let has_status = call.served().is_ok_and(|v| v.status);
    let ignored = |key: &str| key == "metadata" || (key == "status" && has_status);
    let differs =
        |a: &Value, b: &Value| a.as_object().into_iter().flatten().any(|(k, v)| !ignored(k) && b.get(k) != Some(v));
    if differs(new, old) || differs(old, new) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        new["metadata"]["generation"] = json!(generation);
    }
}

/// An object that is being deleted goes once the last finalizer has gone.
fn deletion_is_due(call: &Call, new: &Value) -> bool {
    if !object::is_deleting(new) || object::has_finalizers(new) {
        return false;
    }
    match call.resource.collection.as_ref() {
        "/pods" => new["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0,
        "/namespaces" => new["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty),
        _ => true,
    }
}
