//! Errors in Kubernetes' own shape: `metav1.Status`.

use std::{borrow::Cow, fmt, ops::Deref};

use serde_json::{Map, Value, json};

/// What went wrong with a request, as Kubernetes words it to its clients.
#[derive(Clone, Debug, PartialEq)]
pub struct Status(Box<StatusBody>);

/// The fields of a [`Status`].
#[derive(Clone, Debug, PartialEq)]
pub struct StatusBody {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, such as `NotFound`.
    pub reason: Cow<'static, str>,
    /// Text for people.
    pub message: String,
    /// `details` of the wire form: name, group, kind, causes, retryAfterSeconds.
    pub details: Map<String, Value>,
    /// `metadata.continue` of the wire form: how to go on with a list; mostly empty.
    pub continue_token: String,
}

impl Deref for Status {
    type Target = StatusBody;
    fn deref(&self) -> &StatusBody {
        &self.0
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

/// One thing wrong with one field of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Kubernetes' cause, such as `FieldValueInvalid`.
    pub reason: &'static str,
    /// Path of the field.
    pub field: String,
    /// Text without the field's path.
    pub message: String,
}

impl FieldError {
    /// A value that is not allowed, shown with it.
    pub fn invalid(field: impl Into<String>, value: &Value, text: impl fmt::Display) -> Self {
        let message = format!("Invalid value: {}: {text}", shown(value));
        Self { reason: "FieldValueInvalid", field: field.into(), message }
    }

    /// A field that must be there.
    pub fn required(field: impl Into<String>, text: &str) -> Self {
        let message = if text.is_empty() { "Required value".to_owned() } else { format!("Required value: {text}") };
        Self { reason: "FieldValueRequired", field: field.into(), message }
    }

    /// A field that may not be there, or may not be changed.
    pub fn forbidden(field: impl Into<String>, text: &str) -> Self {
        Self { reason: "FieldValueForbidden", field: field.into(), message: format!("Forbidden: {text}") }
    }

    /// A value that occurs twice in a set.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self {
            reason: "FieldValueDuplicate",
            field: field.into(),
            message: format!("Duplicate value: {}", shown(value)),
        }
    }

    /// A value outside an enumeration.
    pub fn not_supported(field: impl Into<String>, value: &Value, allowed: &[&str]) -> Self {
        let list = allowed.iter().map(|v| format!("{v:?}")).collect::<Vec<_>>().join(", ");
        Self {
            reason: "FieldValueNotSupported",
            field: field.into(),
            message: format!("Unsupported value: {}: supported values: {list}", shown(value)),
        }
    }

    /// A value of the wrong type.
    pub fn type_invalid(field: impl Into<String>, value: &Value, text: impl fmt::Display) -> Self {
        let message = format!("Invalid value: {}: {text}", shown(value));
        Self { reason: "FieldValueTypeInvalid", field: field.into(), message }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) | Value::Array(_) => value.to_string(),
        other => other.to_string(),
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

fn qualified(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

impl Status {
    /// A status of any code and reason.
    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let (reason, message, continue_token) = (reason.into(), message.into(), String::new());
        Self(Box::new(StatusBody { code, reason, message, details: Map::new(), continue_token }))
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        let details = &mut self.0.details;
        if !name.is_empty() {
            details.insert("name".into(), name.into());
        }
        if !group.is_empty() {
            details.insert("group".into(), group.into());
        }
        details.insert("kind".into(), kind.into());
        self
    }

    /// Adds one member to `details`.
    #[must_use]
    pub fn with_detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.details.insert(key.to_owned(), value.into());
        self
    }

    /// The same with another code and reason.
    #[must_use]
    pub fn with_reason(mut self, code: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        (self.0.code, self.0.reason) = (code, reason.into());
        self
    }

    /// Says how to go on with a list.
    #[must_use]
    pub fn with_continue(mut self, token: String) -> Self {
        self.0.continue_token = token;
        self
    }

    /// The object does not exist.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {name:?} not found", qualified(resource, group));
        Self::new(404, "NotFound", message).about(group, resource, name)
    }

    /// The URL names nothing that is served.
    pub fn no_such_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// An object of this name exists already.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", qualified(resource, group));
        Self::new(409, "AlreadyExists", message).about(group, resource, name)
    }

    /// The object changed since the caller read it, or a precondition does not hold.
    pub fn conflict(group: &str, resource: &str, name: &str, text: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {text}", qualified(resource, group));
        Self::new(409, "Conflict", message).about(group, resource, name)
    }

    /// The usual conflict: a stale resourceVersion.
    pub fn modified(group: &str, resource: &str, name: &str) -> Self {
        Self::conflict(
            group,
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// The object does not pass validation.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let list = match errors {
            [one] => one.to_string(),
            many => format!("[{}]", many.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        };
        let message = format!("{} {name:?} is invalid: {list}", qualified(kind, group));
        let causes: Vec<Value> =
            errors.iter().map(|e| json!({"reason": e.reason, "message": e.message, "field": e.field})).collect();
        Self::new(422, "Invalid", message).about(group, kind, name).with_detail("causes", causes)
    }

    /// The request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// The caller may not do this.
    pub fn forbidden(group: &str, resource: &str, name: &str, text: impl fmt::Display) -> Self {
        let message = if name.is_empty() {
            format!("{} is forbidden: {text}", qualified(resource, group))
        } else {
            format!("{} {name:?} is forbidden: {text}", qualified(resource, group))
        };
        Self::new(403, "Forbidden", message).about(group, resource, name)
    }

    /// The caller is not known.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// The resource does not have this verb.
    pub fn method_not_allowed() -> Self {
        Self::method_not_allowed_because("the server does not allow this method on the requested resource")
    }

    /// The request makes no sense at the moment.
    pub fn method_not_allowed_because(text: &str) -> Self {
        Self::new(405, "MethodNotAllowed", text)
    }

    /// The body's content type is not understood.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// The watch log no longer reaches back so far: list again.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// Something failed on the server.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
            .with_detail("causes", json!([{"message": message.to_string()}]))
    }

    /// A dependency is not there (yet).
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// True for 404.
    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }

    /// True for a stale resourceVersion or a failed precondition.
    pub fn is_conflict(&self) -> bool {
        self.reason == "Conflict"
    }

    /// True where an object of this name exists already.
    pub fn is_already_exists(&self) -> bool {
        self.reason == "AlreadyExists"
    }

    /// The wire form.
    pub fn to_value(&self) -> Value {
        let mut value = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        });
        if !self.continue_token.is_empty() {
            value["metadata"]["continue"] = self.continue_token.as_str().into();
        }
        if !self.reason.is_empty() {
            value["reason"] = self.reason.as_ref().into();
        }
        // Clients look into the details of a 404 without asking whether there are any.
        if !self.details.is_empty() || self.code == 404 {
            value["details"] = Value::Object(self.details.clone());
        }
        value["code"] = self.code.into();
        value
    }
}
