//! One request: who, what, which options; and the warnings it collects.

use std::{fmt, sync::Arc};

use serde_json::Value;

use crate::{
    apply::{self, Writer},
    auth::{self, Action, User},
    registry::{Resource, Version},
    selector::{FieldSelector, LabelSelector},
    status::{FieldError, Status},
};

/// What to do about fields that the schema doesn't know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them with a warning.
    #[default]
    Warn,
    /// Refuse the object.
    Strict,
}

/// Options of create, update and patch.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Do everything but the writing.
    pub dry_run: bool,
    /// See [`FieldValidation`].
    pub validation: FieldValidation,
    /// Who owns the fields that are written.
    pub manager: String,
    /// The subresource through which the whole object is written, such as `scale`.
    pub through: &'static str,
    /// Take fields over from other managers (server-side apply).
    pub force: bool,
    /// Whether the request is a patch.
    pub patch: bool,
    /// Admission has decided already, on the object of a subresource.
    pub admitted: bool,
}

/// Options of list and deletecollection.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Only objects with these labels.
    pub labels: LabelSelector,
    /// Only objects with these fields.
    pub fields: FieldSelector,
    /// At most so many (0: all).
    pub limit: usize,
    /// Where the last page ended.
    pub continue_token: String,
    /// The version asked for, 0 for any.
    pub version: u64,
    /// The version must match exactly.
    pub exact: bool,
}

/// Options of delete.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Seconds until a pod is killed; by default its own.
    pub grace_period_seconds: Option<i64>,
    /// `Background` (default), `Foreground` or `Orphan`.
    pub propagation_policy: Option<String>,
    /// Delete only this incarnation.
    pub uid: Option<String>,
    /// Delete only at this version.
    pub resource_version: Option<String>,
    /// Do everything but the deleting.
    pub dry_run: bool,
}

/// One request to one resource.
#[derive(Clone)]
pub struct Call {
    /// Who asks.
    pub user: Arc<User>,
    /// What for.
    pub resource: Arc<Resource>,
    /// In which version.
    pub version: String,
    /// Empty for cluster-scoped resources and for all namespaces.
    pub namespace: String,
    /// Empty where the request is not for one object.
    pub name: String,
    /// Such as `status`; empty for the object itself.
    pub subresource: String,
    /// Options of writes.
    pub options: WriteOptions,
    /// `metadata.managedFields` after this request, where it is an apply.
    pub managers: Option<Value>,
    /// Warnings for the client.
    pub warnings: Vec<String>,
}

impl Call {
    /// What the server does by itself to a resource of the cluster.
    pub fn internal(resource: Arc<Resource>) -> Self {
        Self {
            user: Arc::new(User::system("system:apiserver")),
            version: resource.storage.clone(),
            namespace: String::new(),
            name: String::new(),
            subresource: String::new(),
            options: WriteOptions::default(),
            managers: None,
            warnings: Vec::new(),
            resource,
        }
    }

    /// The version of the resource that the request uses.
    pub fn served(&self) -> Result<&Version, Status> {
        self.resource.version(&self.version).ok_or_else(Status::no_such_resource)
    }

    /// `v1` or `group/v1` of the request.
    pub fn api_version(&self) -> String {
        self.resource.api_version(&self.version)
    }

    /// Who writes, for `metadata.managedFields`.
    pub fn writer(&self) -> Writer {
        let manager = if self.options.manager.is_empty() { "lateen" } else { &self.options.manager };
        let subresource = if self.options.through.is_empty() { &self.subresource } else { self.options.through };
        Writer { manager: manager.to_owned(), api_version: self.api_version(), subresource: subresource.to_owned() }
    }

    /// Writes `metadata.managedFields` of an object that this request made out of `old`; `sent` is the list that came
    /// with the request.
    pub fn note_managers(&self, old: Option<&Value>, new: &mut Value, sent: Option<Value>) -> Result<(), Status> {
        match &self.managers {
            Some(managers) => apply::store(new, managers.clone()),
            None => apply::track(&self.served()?.schema, old, new, &self.writer(), sent.as_ref()),
        }
        Ok(())
    }

    /// The request as access rules see it.
    pub fn action<'a>(&'a self, verb: &'a str) -> Action<'a> {
        let resource = &self.resource;
        Action {
            verb,
            group: &resource.group,
            resource: &resource.plural,
            subresource: &self.subresource,
            namespace: auth::place(&resource.group, &resource.plural, &self.namespace, &self.name),
            name: &self.name,
            path: "",
        }
    }

    /// 404 for the request's object.
    pub fn not_found(&self) -> Status {
        Status::not_found(&self.resource.group, &self.resource.plural, &self.name)
    }

    /// 409 for creating the request's object.
    pub fn already_exists(&self) -> Status {
        Status::already_exists(&self.resource.group, &self.resource.plural, &self.name)
    }

    /// 409 for writing the request's object.
    pub fn modified(&self) -> Status {
        Status::modified(&self.resource.group, &self.resource.plural, &self.name)
    }

    /// 403 for the request.
    pub fn forbidden(&self, text: impl fmt::Display) -> Status {
        Status::forbidden(&self.resource.group, &self.resource.plural, &self.name, text)
    }

    /// 422 with what is wrong with the object; nothing where nothing is.
    pub fn check(&self, errors: &[FieldError]) -> Result<(), Status> {
        if errors.is_empty() {
            return Ok(());
        }
        Err(Status::invalid(&self.resource.group, &self.resource.kind, &self.name, errors))
    }

    /// A warning, once.
    pub fn warn(&mut self, text: impl Into<String>) {
        const MAX_WARNINGS: usize = 64;
        let text = text.into();
        if self.warnings.len() < MAX_WARNINGS && !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    /// Decodes an object of the request's kind: refuses values of wrong types, drops unknown
    /// fields and reports them as the request wants it. `duplicates` are fields that the parser
    /// saw twice.
    pub fn decode(&mut self, object: &mut Value, duplicates: Vec<String>) -> Result<(), Status> {
        let (kind, version) = (self.resource.kind.clone(), self.version.clone());
        let refuse = |text: String| {
            Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {text}"))
        };
        if !object.is_object() {
            return Err(refuse("json: the object provided is not a JSON object".into()));
        }
        let mut report = self.served()?.schema.decode(object);
        report.duplicate = duplicates;
        if let Some(text) = &report.mistyped {
            return Err(refuse(text.clone()));
        }
        let strict = report.strict();
        if strict.is_empty() {
            return Ok(());
        }
        match self.options.validation {
            FieldValidation::Ignore => Ok(()),
            FieldValidation::Warn => {
                strict.into_iter().for_each(|text| self.warn(text));
                Ok(())
            }
            FieldValidation::Strict => Err(refuse(format!("strict decoding error: {}", strict.join(", ")))),
        }
    }

    /// The object must say that it is of the request's kind and version, if it says anything.
    pub fn check_type(&self, object: &mut Value) -> Result<(), Status> {
        let expected = self.api_version();
        let kind = &self.resource.kind;
        let found_version = object["apiVersion"].as_str().unwrap_or(&expected);
        if found_version != expected {
            return Err(Status::bad_request(format!(
                "the API version in the data ({found_version}) does not match the expected API \
                 version ({expected})"
            )));
        }
        let found_kind = object["kind"].as_str().unwrap_or(kind);
        if found_kind != kind {
            return Err(Status::bad_request(format!(
                "{found_kind} in version {:?} cannot be handled as a {kind}: no kind \
                 {found_kind:?} is registered here",
                self.version
            )));
        }
        let map = crate::object::as_map(object);
        if !map.contains_key("apiVersion") || !map.contains_key("kind") {
            let rest = std::mem::take(map);
            map.insert("apiVersion".into(), expected.into());
            map.insert("kind".into(), kind.as_str().into());
            map.extend(rest.into_iter().filter(|(k, _)| k != "apiVersion" && k != "kind"));
        }
        Ok(())
    }
}
