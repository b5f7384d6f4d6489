//! Patch: read, change, replace; again if somebody else was faster.

use std::sync::Arc;

use serde_json::Value;

use super::{Call, Engine, FieldValidation, convert};
use crate::{
    apply,
    object::{self, Object},
    patch::{self, PatchType},
    schema::Schema,
    status::{FieldError, Status},
};

const RETRIES: usize = 16;

impl Engine {
    /// Patches an object or its status. Server-side apply creates it where it is not there.
    pub async fn patch(&self, call: &mut Call, kind: PatchType, patch: &Value) -> Result<Object, Status> {
        if kind == PatchType::Strategic && call.resource.custom {
            return Err(Status::unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, \
                 application/apply-patch+yaml",
            ));
        }
        call.options.patch = true;
        let mut tries = 0;
        loop {
            let Some(old) = self.store.latest(&Self::key(call)) else {
                if kind != PatchType::Apply || !call.subresource.is_empty() {
                    return Err(call.not_found());
                }
                self.authorize(call, "create")?;
                let object = applied(call, None, patch)?;
                return self.create(call, object, Vec::new()).await;
            };
            let new = self.patched(call, kind, patch, &old)?;
            match self.replace(call, &old, new).await {
                Err(status) if status.is_conflict() && tries < RETRIES && !names_version(kind, patch) => {
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    fn patched(&self, call: &mut Call, kind: PatchType, patch: &Value, old: &Object) -> Result<Value, Status> {
        let current = convert::present(&call.resource, &call.version, old);
        if kind == PatchType::Apply {
            let mut new = applied(call, Some(&current), patch)?;
            decode_patched(call, &mut new, patch)?;
            return Ok(new);
        }
        let mut new = Value::clone(&current);
        let schema = call.served()?.schema.clone();
        match (kind, &schema) {
            (PatchType::Json, _) => patch::json(&mut new, patch)?,
            (PatchType::Merge, _) => patch::merge(&mut new, patch),
            (_, Schema::Builtin(name)) => patch::strategic(name, &mut new, patch)?,
            (_, Schema::Custom(_)) => patch::merge(&mut new, patch),
        }
        decode_patched(call, &mut new, patch)?;
        if object::name(&new) != call.name {
            let error = FieldError::invalid("metadata.name", &object::name(&new).into(), "field is immutable");
            return Err(call.check(&[error]).err().unwrap_or_else(|| call.modified()));
        }
        Ok(new)
    }
}

/// Server-side apply of a configuration that names this object.
fn applied(call: &mut Call, current: Option<&Value>, configuration: &Value) -> Result<Value, Status> {
    let named = object::name(configuration);
    if !named.is_empty() && named != call.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({named}) does not match the name on the URL ({})",
            call.name
        )));
    }
    if !configuration["metadata"]["managedFields"].is_null() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let version = call.served()?;
    let options = apply::Options { writer: &call.writer(), force: call.options.force, has_status: version.status };
    let done = apply::apply(&version.schema, current, configuration, &options)?;
    call.managers = Some(done.managers);
    let mut object = done.object;
    object::map_at(&mut object, "metadata").insert("name".into(), call.name.as_str().into());
    Ok(object)
}

fn names_version(kind: PatchType, patch: &Value) -> bool {
    match kind {
        PatchType::Json => patch.as_array().into_iter().flatten().any(|op| op["path"] == "/metadata/resourceVersion"),
        _ => !object::meta_str(patch, "resourceVersion").is_empty(),
    }
}

/// Strict refusals of patches are worded as an invalid value of the patch.
fn decode_patched(call: &mut Call, new: &mut Value, patch: &Value) -> Result<(), Status> {
    call.check_type(new)?;
    let strict = call.options.validation == FieldValidation::Strict;
    if !strict {
        return call.decode(new, Vec::new());
    }
    let report = call.served()?.schema.decode(new);
    if let Some(text) = report.mistyped {
        return Err(Status::bad_request(text));
    }
    let texts = report.strict();
    if texts.is_empty() {
        return Ok(());
    }
    let error = FieldError {
        reason: "FieldValueInvalid",
        field: "patch".into(),
        message: format!("Invalid value: {:?}: strict decoding error: {}", patch.to_string(), texts.join(", ")),
    };
    Err(Status::invalid(&call.resource.group, &call.resource.kind, &call.name, &[error]))
}

impl Engine {
    /// The current object in the request's version, for subresources that change part of it.
    pub(super) fn current(&self, call: &Call) -> Result<(Object, Value), Status> {
        let old = self.latest(call)?;
        let shown = convert::present(&call.resource, &call.version, &old);
        Ok((old, Arc::unwrap_or_clone(shown)))
    }
}
