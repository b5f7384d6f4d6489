//! Subresources that are more than a part of the object, and reviews.

use serde_json::{Value, json};

use super::{Call, DeleteOptions, Engine, create::uuid};
use crate::{
    auth::{Binding, Claims, TokenError, User},
    clock,
    object::{self, Object},
    patch::{self, PatchType},
    registry::Scale,
    status::{FieldError, Status},
    store::Key,
};

const MIN_TOKEN_SECONDS: i64 = 600;
const DEFAULT_TOKEN_SECONDS: i64 = 3600;

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
        let current = scale_object(&scale, &object);
        let wanted = match change {
            ScaleChange::Replace(value) => value,
            ScaleChange::Patch(kind, patch) => {
                let mut value = current;
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
    pub async fn evict(&self, call: &mut Call, eviction: &Value) -> Result<(), Status> {
        let options = DeleteOptions {
            grace_period_seconds: eviction["deleteOptions"]["gracePeriodSeconds"].as_i64(),
            dry_run: call.options.dry_run,
            ..DeleteOptions::default()
        };
        call.subresource.clear();
        self.delete(call, &options).await.map(|_| ())
    }

    /// Issues a token for a service account (`serviceaccounts/token`).
    pub fn request_token(&self, call: &Call, request: &Value) -> Result<Value, Status> {
        let account = self.store.get(&Self::key(call)).ok_or_else(|| call.not_found())?;
        let spec = &request["spec"];
        let seconds = spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_TOKEN_SECONDS);
        if seconds < MIN_TOKEN_SECONDS {
            let error = FieldError::invalid(
                "spec.expirationSeconds",
                &seconds.into(),
                "may not specify a duration less than 10 minutes",
            );
            let group = "authentication.k8s.io";
            return Err(Status::invalid(group, "TokenRequest", &call.name, &[error]));
        }
        let mut audiences: Vec<String> =
            spec["audiences"].as_array().into_iter().flatten().filter_map(|a| a.as_str().map(str::to_owned)).collect();
        if audiences.is_empty() {
            audiences.push(self.tokens.issuer().to_owned());
        }
        let issued = jiff::Timestamp::now();
        let claims = Claims {
            id: uuid(),
            namespace: call.namespace.clone(),
            account: Binding { name: call.name.clone(), uid: object::uid(&account).to_owned() },
            pod: self.bound_pod(call, &spec["boundObjectRef"])?,
            audiences: audiences.clone(),
            issued_at: issued.as_second(),
            expires_at: issued.as_second() + seconds,
        };
        let token = self.tokens.issue(&claims).map_err(|_| Status::internal("cannot sign"))?;
        let mut answer = request.clone();
        answer["kind"] = "TokenRequest".into();
        answer["apiVersion"] = "authentication.k8s.io/v1".into();
        answer["metadata"] = json!({
            "name": call.name, "namespace": call.namespace, "creationTimestamp": clock::stamp(issued),
        });
        answer["spec"]["audiences"] = json!(audiences);
        answer["spec"]["expirationSeconds"] = seconds.into();
        let expires = clock::stamp(clock::in_seconds(seconds));
        answer["status"] = json!({"token": token, "expirationTimestamp": expires});
        Ok(answer)
    }

    fn bound_pod(&self, call: &Call, reference: &Value) -> Result<Option<Binding>, Status> {
        let name = reference["name"].as_str().unwrap_or_default();
        if reference["kind"] != "Pod" {
            return Ok(None);
        }
        let pod = self.store.get(&Key::new(&"/pods".into(), &call.namespace, name));
        let pod = pod.ok_or_else(|| Status::not_found("", "pods", name))?;
        let uid = object::uid(&pod);
        if reference["uid"].as_str().is_some_and(|wanted| wanted != uid) {
            let text = "the UID in the bound object reference does not match the UID in record. \
                        The object might have been deleted and then recreated";
            return Err(Status::conflict("", "pods", name, text));
        }
        Ok(Some(Binding { name: name.to_owned(), uid: uid.to_owned() }))
    }

    /// The user of a bearer token that is meant for one of `audiences` (none: the server itself).
    pub fn authenticate(&self, token: &str, audiences: &[String]) -> Result<(User, Vec<String>), TokenError> {
        let own = [self.tokens.issuer().to_owned()];
        let wanted = if audiences.is_empty() { &own[..] } else { audiences };
        let claims = self.tokens.verify(token, wanted, jiff::Timestamp::now().as_second())?;
        let exists = |collection: &str, bound: &Binding| {
            let key = Key::new(&collection.into(), &claims.namespace, &bound.name);
            self.store.get(&key).is_some_and(|o| object::uid(&o) == bound.uid)
        };
        if !exists("/serviceaccounts", &claims.account) {
            return Err(TokenError::Unbound(format!("service account {}", claims.account.name)));
        }
        if let Some(pod) = claims.pod.as_ref().filter(|pod| !exists("/pods", pod)) {
            return Err(TokenError::Unbound(format!("pod {}", pod.name)));
        }
        let shared = claims.audiences.iter().filter(|a| wanted.contains(a)).cloned().collect();
        Ok((User::from_claims(&claims), shared))
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
