//! Create.

use serde_json::{Value, json};

use super::{Call, Engine, convert, definitions};
use crate::{
    admission::Attempt,
    clock, object,
    object::Object,
    rules::metadata,
    status::{FieldError, Status},
};

const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const MAX_GENERATED_BASE: usize = 58;
const NAME_TRIES: usize = 8;

/// A random suffix for a generated name.
pub fn suffix() -> String {
    (0..5).map(|_| char::from(SUFFIX[fastrand::usize(..SUFFIX.len())])).collect()
}

/// A random (version 4) UUID.
pub fn uuid() -> String {
    let n = (fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{n:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

impl Engine {
    /// Creates an object that was parsed from a request (see [`Call::decode`] for `duplicates`).
    pub async fn create(&self, call: &mut Call, mut object: Value, duplicates: Vec<String>) -> Result<Object, Status> {
        call.check_type(&mut object)?;
        call.decode(&mut object, duplicates)?;
        if call.resource.virtual_only {
            return self.review(call, object);
        }
        check_target(call, &object)?;
        self.check_namespace(call)?;
        if call.resource.terminating {
            return Err(definitions::refuse_new());
        }
        if let Some(text) = call.resource.rules.refusal(&call.options.manager) {
            return Err(call.forbidden(text));
        }
        let generated = object::name(&object).is_empty();
        for _ in 1..NAME_TRIES {
            match self.create_once(call, object.clone()).await {
                Err(status) if generated && status.is_already_exists() => {}
                done => return done,
            }
        }
        self.create_once(call, object).await
    }

    async fn create_once(&self, call: &mut Call, mut object: Value) -> Result<Object, Status> {
        prepare_metadata(call, &mut object);
        let schema = call.served()?.schema.clone();
        schema.default(&mut object);
        convert::to_storage(&call.resource, &mut object);
        call.resource.rules.default(&mut object);
        let attempt = Attempt::create(call);
        object = self.mutate(call, &attempt, object).await?;
        let rules = call.resource.rules;
        rules.default(&mut object);
        drop_status(call, &mut object);
        rules.prepare_create(&mut object);
        self.accept_names(call, &mut object, None);
        if rules.has_generation() {
            object["metadata"]["generation"] = 1.into();
        }
        call.note_managers(None, &mut object, None)?;
        let mut errors = Vec::new();
        metadata::validate(&object, rules, &mut errors);
        errors.extend(schema.validate(&object, None));
        rules.validate(&object, &mut errors);
        call.check(&errors)?;
        rules.warnings(&object).into_iter().for_each(|text| call.warn(text));
        self.check_escalation(call, &object, None)?;
        self.validate_by_others(call, &attempt, Some(&object)).await?;
        if self.has(call) {
            return Err(call.already_exists());
        }
        let allocated = self.allocate(call, &mut object, None)?;
        if call.options.dry_run {
            self.addresses.give_back(&allocated);
            return Ok(convert::present(&call.resource, &call.version, &object.into()));
        }
        let stored = self.put(call, 0, object).await;
        if stored.is_err() {
            self.addresses.give_back(&allocated);
        }
        Ok(convert::present(&call.resource, &call.version, &stored?))
    }

    /// Gives a Service the addresses and ports it asks for or needs.
    pub(super) fn allocate(
        &self,
        call: &Call,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<super::addresses::Taken, Status> {
        if !call.resource.group.is_empty() || call.resource.plural != "services" {
            return Ok(super::addresses::Taken::default());
        }
        self.addresses.allocate(object, old).map_err(|error| Status::invalid("", "Service", &call.name, &[error]))
    }
}

fn check_target(call: &mut Call, object: &Value) -> Result<(), Status> {
    let namespace = object::namespace(object);
    if call.resource.namespaced && !namespace.is_empty() && namespace != call.namespace {
        return Err(Status::bad_request(format!(
            "the namespace of the provided object does not match the namespace sent on the \
             request (the object's is {namespace:?}, the request's {:?})",
            call.namespace
        )));
    }
    call.name = object::name(object).to_owned();
    let metadata = &object["metadata"];
    if call.name.is_empty() && metadata["generateName"].as_str().is_none_or(str::is_empty) {
        let error = FieldError::required("metadata.name", "name or generateName is required");
        return call.check(&[error]);
    }
    if metadata["resourceVersion"].as_str().is_some_and(|v| !v.is_empty()) {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    Ok(())
}

fn prepare_metadata(call: &mut Call, object: &mut Value) {
    let namespaced = call.resource.namespaced;
    let metadata = object::map_at(object, "metadata");
    let base = metadata.get("generateName").and_then(Value::as_str).unwrap_or_default();
    let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        let end = base.floor_char_boundary(MAX_GENERATED_BASE);
        call.name = format!("{}{}", &base[..end], suffix());
    }
    metadata.insert("name".into(), call.name.as_str().into());
    metadata.shift_remove("namespace");
    if namespaced {
        metadata.insert("namespace".into(), call.namespace.as_str().into());
    }
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation", "managedFields"] {
        metadata.shift_remove(field);
    }
    metadata.insert("uid".into(), uuid().into());
    metadata.insert("resourceVersion".into(), json!(""));
    metadata.insert("creationTimestamp".into(), clock::now().into());
}

fn drop_status(call: &Call, object: &mut Value) {
    if call.served().is_ok_and(|v| v.status) {
        object::as_map(object).shift_remove("status");
    }
}
