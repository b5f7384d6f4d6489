//! Issuing tokens of service accounts, and telling whose token a request brings.

use serde_json::{Value, json};

use super::{Binding, BoundKind, Claims, TokenError, User};
use crate::{
    admission::{self, Attempt},
    clock,
    engine::{Call, Engine, new_uid},
    object,
    status::{FieldError, Status},
    store::Key,
};

const MIN_TOKEN_SECONDS: i64 = 600;
const DEFAULT_TOKEN_SECONDS: i64 = 3600;
const MAX_TOKEN_SECONDS: i64 = 1 << 32;

impl Engine {
    /// Issues a token for a service account (`serviceaccounts/token`).
    pub async fn request_token(&self, call: &mut Call, request: Value) -> Result<Value, Status> {
        if self.store.get(&Self::key(call)).is_none() {
            return Err(call.not_found());
        }
        let attempt = Attempt::create(call).of(admission::TOKEN_REQUEST);
        let request = self.admit_foreign(call, &attempt, request).await?;
        self.issue_token(call, &request)
    }

    fn issue_token(&self, call: &Call, request: &Value) -> Result<Value, Status> {
        let account = self.store.get(&Self::key(call)).ok_or_else(|| call.not_found())?;
        let spec = &request["spec"];
        let seconds = spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_TOKEN_SECONDS);
        check_seconds(call, seconds)?;
        let mut audiences: Vec<String> =
            spec["audiences"].as_array().into_iter().flatten().filter_map(|a| a.as_str().map(str::to_owned)).collect();
        if audiences.is_empty() {
            audiences.push(self.tokens.issuer().to_owned());
        }
        let issued = jiff::Timestamp::now();
        let claims = Claims {
            id: new_uid(),
            namespace: call.namespace.clone(),
            account: Binding { name: call.name.clone(), uid: object::uid(&account).to_owned() },
            bound: self.bound_object(call, &spec["boundObjectRef"])?,
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

    /// The object that a token is to live and die with.
    fn bound_object(&self, call: &Call, reference: &Value) -> Result<Option<(BoundKind, Binding)>, Status> {
        if !reference.is_object() {
            return Ok(None);
        }
        let name = reference["name"].as_str().unwrap_or_default();
        let named = reference["kind"].as_str().unwrap_or_default();
        let Some(kind) = BoundKind::ALL.into_iter().find(|kind| kind.name() == named) else {
            return Err(Status::bad_request(format!("cannot bind token to object of type {named:?}")));
        };
        let object = self.store.get(&Key::new(&kind.collection().into(), &call.namespace, name));
        let object = object.ok_or_else(|| Status::not_found("", kind.plural(), name))?;
        if kind == BoundKind::Pod && object["spec"]["serviceAccountName"] != call.name.as_str() {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                call.name
            )));
        }
        let uid = object::uid(&object);
        if reference["uid"].as_str().is_some_and(|wanted| wanted != uid) {
            let text = "the UID in the bound object reference does not match the UID in record. \
                        The object might have been deleted and then recreated";
            return Err(Status::conflict("", kind.plural(), name, text));
        }
        Ok(Some((kind, Binding { name: name.to_owned(), uid: uid.to_owned() })))
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
        if let Some((kind, bound)) = claims.bound.as_ref().filter(|(kind, bound)| !exists(&kind.collection(), bound)) {
            return Err(TokenError::Unbound(format!("{} {}", kind.name().to_lowercase(), bound.name)));
        }
        let shared = claims.audiences.iter().filter(|a| wanted.contains(a)).cloned().collect();
        Ok((User::from_claims(&claims), shared))
    }
}

fn check_seconds(call: &Call, seconds: i64) -> Result<(), Status> {
    let text = match seconds {
        ..MIN_TOKEN_SECONDS => "may not specify a duration less than 10 minutes",
        MIN_TOKEN_SECONDS..=MAX_TOKEN_SECONDS => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let error = FieldError::invalid("spec.expirationSeconds", &seconds.into(), text);
    Err(Status::invalid("authentication.k8s.io", "TokenRequest", &call.name, &[error]))
}
