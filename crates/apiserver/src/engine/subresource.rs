//! Subresources that are more than a part of the object, and reviews.

use serde_json::{Value, json};

use super::{Call, DeleteOptions, Engine};
use crate::{
    admission::{self, Attempt},
    object::{self, Object},
    patch::{self, PatchType},
    registry::Scale,
    status::{FieldError, Status},
};

fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').filter(|s| !s.is_empty()).fold(object, |value, step| &value[step])
}

fn at_mut<'a>(object: &'a mut Value, path: &str) -> &'a mut Value {
    path.split('.')
        .filter(|s| !s.is_empty())
        .fold(object, |value, step| object::as_map(value).entry(step).or_insert(Value::Null))
}

impl Engine {
    fn scale_of(call: &Call) -> Result<Scale, Status> {
        call.served()?.scale.clone().ok_or_else(Status::no_such_resource)
    }

    /// The `scale` subresource of an object.
    pub fn get_scale(&self, call: &Call) -> Result<Value, Status> {
        let scale = Self::scale_of(call)?;
        let (_, object) = self.current(call)?;
        Ok(scale_object(&scale, &object))
    }

    /// Sets an object's replicas by its `scale` subresource, replaced or patched.
    pub async fn set_scale(&self, call: &mut Call, change: ScaleChange) -> Result<Value, Status> {
        let scale = Self::scale_of(call)?;
        let (old, mut object) = self.current(call)?;
        let current: Object = scale_object(&scale, &object).into();
        let wanted = match change {
            ScaleChange::Replace(value) => value,
            ScaleChange::Patch(kind, patch) => {
                call.options.patch = true;
                let mut value = Value::clone(&current);
                match kind {
                    PatchType::Json => patch::json(&mut value, &patch)?,
                    _ => patch::merge(&mut value, &patch),
                }
                value
            }
        };
        let version = object::meta_str(&wanted, "resourceVersion");
        if !version.is_empty() && version != object::meta_str(&old, "resourceVersion") {
            return Err(call.modified());
        }
        let attempt = Attempt::update(call, &current).of(admission::SCALE);
        let wanted = self.admit_foreign(call, &attempt, wanted).await?;
        call.options.admitted = true;
        let replicas = wanted["spec"]["replicas"].as_i64().unwrap_or(0);
        if replicas < 0 {
            let error = FieldError::invalid("spec.replicas", &replicas.into(), "must be greater than or equal to 0");
            return Err(Status::invalid("autoscaling", "Scale", &call.name, &[error]));
        }
        *at_mut(&mut object, &scale.spec_replicas) = replicas.into();
        call.subresource.clear();
        call.options.through = "scale";
        let stored = self.replace(call, &old, object).await?;
        Ok(scale_object(&scale, &stored))
    }

    /// Replaces `spec.finalizers` of a namespace; the last one gone, a deleted namespace goes.
    pub async fn finalize(&self, call: &mut Call, object: &Value) -> Result<Object, Status> {
        let old = self.latest(call)?;
        let mut new = Value::clone(&old);
        new["spec"]["finalizers"] = object["spec"]["finalizers"].clone();
        let empty = new["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty);
        if empty {
            object::as_map(&mut new["spec"]).shift_remove("finalizers");
        }
        let version = object::resource_version(&old);
        if empty && object::is_deleting(&old) && !object::has_finalizers(&old) {
            return self.remove(call, version).await;
        }
        self.put(call, version, new).await
    }

    /// Evicts a pod: deletes it, with the eviction's delete options.
    pub async fn evict(&self, call: &mut Call, eviction: Value) -> Result<(), Status> {
        self.latest(call)?;
        let attempt = Attempt::create(call).of(admission::EVICTION);
        let eviction = self.admit_foreign(call, &attempt, eviction).await?;
        call.options.admitted = true;
        let options = DeleteOptions {
            grace_period_seconds: eviction["deleteOptions"]["gracePeriodSeconds"].as_i64(),
            dry_run: call.options.dry_run,
            ..DeleteOptions::default()
        };
        call.subresource.clear();
        self.delete(call, &options).await.map(|_| ())
    }
}

/// How replicas are to change.
pub enum ScaleChange {
    /// A whole Scale.
    Replace(Value),
    /// A patch of the Scale.
    Patch(PatchType, Value),
}

fn scale_object(scale: &Scale, object: &Value) -> Value {
    let metadata = &object["metadata"];
    let selector = match &scale.selector {
        Some(path) => at(object, path).as_str().unwrap_or_default().to_owned(),
        None => object["spec"]["selector"]["matchLabels"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(","),
    };
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {"replicas": at(object, &scale.spec_replicas).as_i64().unwrap_or(0)},
        "status": {
            "replicas": at(object, &scale.status_replicas).as_i64().unwrap_or(0),
            "selector": selector,
        },
    })
}
