//! Requests to resources: which verb, which options, what answer.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, Response, StatusCode, header};
use serde_json::{Map, Value, json};

use super::{
    Incoming, body,
    path::{Target, after_proxy},
    proxy,
    query::Query,
    respond, watch,
};
use crate::{
    admission::{self, Foreign},
    auth::{self, Action},
    engine::{Call, DeleteOptions, Engine, Item, ListResult, ScaleChange, WriteOptions},
    object::{self, Object},
    patch::PatchType,
    status::{FieldError, Status},
    streams::{self, PodStream},
};

type Answer = Result<Response<Body>, Status>;

fn verb(method: &Method, target: &Target, watching: bool) -> Result<&'static str, Status> {
    let one = !target.name.is_empty();
    Ok(match *method {
        Method::GET | Method::HEAD if watching && target.subresource.is_empty() => "watch",
        Method::GET | Method::HEAD if one => "get",
        Method::GET | Method::HEAD => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if one => "delete",
        Method::DELETE => "deletecollection",
        _ => return Err(Status::method_not_allowed()),
    })
}

/// Answers a request to a resource.
pub async fn serve(engine: Arc<Engine>, incoming: Incoming, target: Target, query: Query) -> Answer {
    let verb = verb(incoming.request.method(), &target, query.flag("watch"))?;
    authorize(&engine, &incoming, &target, verb, &query)?;
    let resource = engine.resource(&target.gvr)?;
    check_scope(&target, resource.namespaced)?;
    let mut call = Call {
        user: Arc::clone(&incoming.user),
        version: target.gvr.version.to_string(),
        namespace: target.namespace,
        name: target.name,
        subresource: target.subresource,
        options: write_options(&query, &incoming)?,
        managers: None,
        warnings: Vec::new(),
        resource,
    };
    if let Some(text) = &call.served()?.deprecated {
        let text = text.clone();
        call.warn(text);
    }
    let request = Request { engine, incoming, query, verb };
    let answer = if call.subresource.is_empty() {
        request.object(&mut call).await
    } else {
        request.subresource(&mut call).await
    };
    // Refusals carry warnings too.
    let mut response = answer.unwrap_or_else(|status| respond::status(&status));
    respond::warn(&mut response, &call.warnings);
    Ok(response)
}

/// Writers that don't name themselves are known by the beginning of their user agent.
fn write_options(query: &Query, incoming: &Incoming) -> Result<WriteOptions, Status> {
    const MAX_MANAGER: usize = 128;
    let mut options = query.write_options()?;
    if options.manager.is_empty() {
        let agent = incoming.request.headers().get(header::USER_AGENT).and_then(|v| v.to_str().ok());
        let name = agent.and_then(|agent| agent.split('/').next()).unwrap_or("unknown");
        options.manager = name.chars().filter(|c| !c.is_control()).take(MAX_MANAGER).collect();
    } else if options.manager.chars().count() > MAX_MANAGER {
        return Err(Status::bad_request(format!(
            "fieldManager: Invalid value: {:?}: may not be more than {MAX_MANAGER} bytes",
            options.manager
        )));
    }
    Ok(options)
}

/// What a stream to a pod asks for, as admission sees it; logs are only read.
fn connection(stream: PodStream, query: &Query) -> Option<(Foreign, Value)> {
    let kind = match stream {
        PodStream::Log => return None,
        PodStream::Exec => admission::EXEC,
        PodStream::Attach => admission::ATTACH,
        PodStream::PortForward => admission::PORT_FORWARD,
    };
    let mut options = json!({"kind": kind.2, "apiVersion": kind.api_version()});
    if stream == PodStream::PortForward {
        let ports: Vec<u16> = query.all("ports").iter().filter_map(|port| port.parse().ok()).collect();
        if !ports.is_empty() {
            options["ports"] = json!(ports);
        }
        return Some((kind, options));
    }
    for flag in ["stdin", "stdout", "stderr", "tty"].into_iter().filter(|flag| query.flag(flag)) {
        options[flag] = true.into();
    }
    if !query.get("container").is_empty() {
        options["container"] = query.get("container").into();
    }
    if stream == PodStream::Exec {
        options["command"] = json!(query.all("command"));
    }
    Some((kind, options))
}

/// Before anything else, so that nobody learns what there is without the right to see it.
fn authorize(engine: &Engine, incoming: &Incoming, target: &Target, verb: &str, query: &Query) -> Result<(), Status> {
    let gvr = &target.gvr;
    let collection = matches!(verb, "list" | "watch" | "deletecollection") && target.name.is_empty();
    let one = if collection { query.single_name() } else { None };
    let name = one.as_deref().unwrap_or(&target.name);
    let namespace = auth::place(&gvr.group, &gvr.resource, &target.namespace, &target.name);
    let subresource = &target.subresource;
    let action = Action { verb, group: &gvr.group, resource: &gvr.resource, subresource, namespace, name, path: "" };
    engine.rbac.check(&incoming.user, &action)
}

fn check_scope(target: &Target, namespaced: bool) -> Result<(), Status> {
    let misplaced =
        if namespaced { target.namespace.is_empty() && !target.name.is_empty() } else { !target.namespace.is_empty() };
    if misplaced { Err(Status::no_such_resource()) } else { Ok(()) }
}

struct Request {
    engine: Arc<Engine>,
    incoming: Incoming,
    query: Query,
    verb: &'static str,
}

impl Request {
    fn accept(&self) -> String {
        respond::accept(&self.incoming.request)
    }

    fn show(&self, call: &Call, code: StatusCode, object: &Object) -> Answer {
        let form = respond::form(&self.accept())?;
        let include = respond::Include::parse(self.query.get("includeObject"));
        if form == respond::Form::Whole {
            return Ok(respond::json(code, object));
        }
        let value = respond::object(form, include, &call.resource, &call.version, object);
        Ok(respond::json(code, &value))
    }

    async fn body(&mut self) -> Result<(Value, Vec<String>), Status> {
        let media = body::media_type(self.incoming.request.headers());
        let bytes = body::read(std::mem::take(self.incoming.request.body_mut())).await?;
        if bytes.is_empty() {
            return Err(Status::bad_request("the request has no body"));
        }
        body::parse(&bytes, &media)
    }

    async fn object(mut self, call: &mut Call) -> Answer {
        match self.verb {
            "get" => {
                let object = self.engine.get(call)?;
                self.show(call, StatusCode::OK, &object)
            }
            "list" => self.list(call),
            "watch" => self.watch(call),
            "create" if call.name.is_empty() => {
                if call.resource.namespaced && call.namespace.is_empty() {
                    return Err(Status::method_not_allowed());
                }
                let (object, duplicates) = self.body().await?;
                let created = self.engine.create(call, object, duplicates).await?;
                self.show(call, StatusCode::CREATED, &created)
            }
            "update" if !call.name.is_empty() => {
                let (object, duplicates) = self.body().await?;
                let updated = self.engine.update(call, object, duplicates).await?;
                self.show(call, StatusCode::OK, &updated)
            }
            "patch" if !call.name.is_empty() => self.patch(call).await,
            "delete" => self.delete(call).await,
            "deletecollection" => {
                let options = self.delete_options().await?;
                let list = self.query.list_options()?;
                let deleted = self.engine.delete_collection(call, &list, &options).await?;
                let result = ListResult {
                    items: deleted.into_iter().map(Item::Made).collect(),
                    version: self.engine.store.version(),
                    continue_token: String::new(),
                    remaining: 0,
                };
                self.show_list(call, result)
            }
            _ => Err(Status::method_not_allowed()),
        }
    }

    fn list(&self, call: &Call) -> Answer {
        let list = self.engine.list(call, &self.query.list_options()?)?;
        self.show_list(call, list)
    }

    fn show_list(&self, call: &Call, list: ListResult) -> Answer {
        let mut meta = Map::new();
        meta.insert("resourceVersion".into(), list.version.to_string().into());
        if !list.continue_token.is_empty() {
            meta.insert("continue".into(), list.continue_token.as_str().into());
            if list.remaining > 0 {
                meta.insert("remainingItemCount".into(), list.remaining.into());
            }
        }
        let form = respond::form(&self.accept())?;
        if form == respond::Form::Whole {
            let head = json!({
                "kind": call.resource.list_kind,
                "apiVersion": call.api_version(),
                "metadata": meta,
            });
            return Ok(respond::list(&head, list.items));
        }
        let objects: Vec<Object> = list.items.iter().map(Item::object).collect();
        let value = if form == respond::Form::Metadata {
            let items: Vec<Value> = objects.iter().map(|o| respond::metadata(o)).collect();
            json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": meta,
                "items": items,
            })
        } else {
            let include = respond::Include::parse(self.query.get("includeObject"));
            respond::table(&call.resource, &call.version, &objects, include, meta)
        };
        Ok(respond::json(StatusCode::OK, &value))
    }

    fn watch(&self, call: &Call) -> Answer {
        let form = respond::form(&self.accept())?;
        watch::stream(Arc::clone(&self.engine), call, &self.query, form)
    }

    fn check_patch_options(&self, kind: PatchType) -> Result<(), Status> {
        let error = if kind == PatchType::Apply && self.query.get("fieldManager").is_empty() {
            FieldError::required("fieldManager", "is required for apply patch")
        } else if kind != PatchType::Apply && !self.query.get("force").is_empty() {
            FieldError::forbidden("force", "may not be specified for non-apply patch")
        } else {
            return Ok(());
        };
        Err(Status::invalid("meta.k8s.io", "PatchOptions", "", &[error]))
    }

    async fn patch(&mut self, call: &mut Call) -> Answer {
        let media = body::media_type(self.incoming.request.headers());
        let kind = PatchType::from_media_type(&media).ok_or_else(|| {
            Status::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, \
                 application/strategic-merge-patch+json, application/apply-patch+yaml (got {media:?})"
            ))
        })?;
        self.check_patch_options(kind)?;
        let (patch, _) = self.body().await?;
        let is_new = !self.engine.has(call);
        let patched = self.engine.patch(call, kind, &patch).await?;
        let code = if is_new { StatusCode::CREATED } else { StatusCode::OK };
        self.show(call, code, &patched)
    }

    /// Options from the body win over those in the query.
    async fn delete_options(&mut self) -> Result<DeleteOptions, Status> {
        let mut options = self.query.delete_options()?;
        let bytes = body::read(std::mem::take(self.incoming.request.body_mut())).await?;
        if bytes.is_empty() {
            return Ok(options);
        }
        let media = body::media_type(self.incoming.request.headers());
        let (value, _) = body::parse(&bytes, &media)?;
        let text = |v: &Value| v.as_str().map(str::to_owned);
        options.grace_period_seconds = value["gracePeriodSeconds"].as_i64().or(options.grace_period_seconds);
        options.propagation_policy = text(&value["propagationPolicy"]).or(options.propagation_policy);
        if value["orphanDependents"] == true {
            options.propagation_policy = Some("Orphan".into());
        }
        options.uid = text(&value["preconditions"]["uid"]);
        options.resource_version = text(&value["preconditions"]["resourceVersion"]);
        options.dry_run |= value["dryRun"].as_array().is_some_and(|d| !d.is_empty());
        Ok(options)
    }

    async fn delete(&mut self, call: &mut Call) -> Answer {
        let options = self.delete_options().await?;
        let deleted = self.engine.delete(call, &options).await?;
        if !deleted.gone {
            return self.show(call, StatusCode::OK, &deleted.object);
        }
        let mut details = json!({"name": call.name});
        if !call.resource.group.is_empty() {
            details["group"] = call.resource.group.as_str().into();
        }
        details["kind"] = call.resource.plural.as_str().into();
        details["uid"] = object::uid(&deleted.object).into();
        Ok(respond::json(
            StatusCode::OK,
            &json!({
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Success",
                "details": details,
            }),
        ))
    }

    async fn subresource(mut self, call: &mut Call) -> Answer {
        if call.name.is_empty() {
            return Err(Status::no_such_resource());
        }
        let collection = Arc::clone(&call.resource.collection);
        let subresource = call.subresource.clone();
        match (&*collection, subresource.as_str(), self.verb) {
            (_, "status", _) if call.served()?.status => self.status(call).await,
            (_, "scale", _) if call.served()?.scale.is_some() => self.scale(call).await,
            ("certificates.k8s.io/certificatesigningrequests", "approval", _) => {
                call.subresource = "status".into();
                self.status(call).await
            }
            ("/namespaces", "finalize", "update") => {
                let (object, _) = self.body().await?;
                let done = self.engine.finalize(call, &object).await?;
                self.show(call, StatusCode::OK, &done)
            }
            ("/serviceaccounts", "token", "create") => {
                let (object, _) = self.body().await?;
                let answer = self.engine.request_token(call, object).await?;
                Ok(respond::json(StatusCode::CREATED, &answer))
            }
            ("/pods", "eviction", "create") => {
                let (object, _) = self.body().await?;
                self.engine.evict(call, object).await?;
                Ok(respond::json(
                    StatusCode::CREATED,
                    &json!({
                        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                        "code": 201,
                    }),
                ))
            }
            ("/pods" | "/services", "proxy", _) => {
                let rest = after_proxy(self.incoming.request.uri().path()).to_owned();
                proxy::serve(&self.engine, call, &rest, self.incoming.request).await
            }
            ("/pods", "log", "get") => self.stream(call, PodStream::Log).await,
            ("/pods", "exec", "get" | "create") => self.stream(call, PodStream::Exec).await,
            ("/pods", "attach", "get" | "create") => self.stream(call, PodStream::Attach).await,
            ("/pods", "portforward", "get" | "create") => self.stream(call, PodStream::PortForward).await,
            _ => Err(Status::no_such_resource()),
        }
    }

    async fn stream(self, call: &mut Call, stream: PodStream) -> Answer {
        let pod = self.engine.get(call)?;
        if let Some((kind, options)) = connection(stream, &self.query) {
            self.engine.admit_connection(call, kind, options).await?;
        }
        let runtime = self.engine.config.runtime.clone();
        let runtime = runtime.ok_or_else(crate::config::no_runtime)?;
        streams::serve(stream, pod, self.incoming.request, runtime).await
    }

    async fn status(&mut self, call: &mut Call) -> Answer {
        match self.verb {
            "get" => {
                let object = self.engine.get(call)?;
                self.show(call, StatusCode::OK, &object)
            }
            "update" => {
                let (object, duplicates) = self.body().await?;
                let updated = self.engine.update(call, object, duplicates).await?;
                self.show(call, StatusCode::OK, &updated)
            }
            "patch" => self.patch(call).await,
            _ => Err(Status::method_not_allowed()),
        }
    }

    async fn scale(&mut self, call: &mut Call) -> Answer {
        let value = match self.verb {
            "get" => self.engine.get_scale(call)?,
            "update" => {
                let (object, _) = self.body().await?;
                self.engine.set_scale(call, ScaleChange::Replace(object)).await?
            }
            "patch" => {
                let media = body::media_type(self.incoming.request.headers());
                let kind = PatchType::from_media_type(&media).unwrap_or(PatchType::Merge);
                let (patch, _) = self.body().await?;
                self.engine.set_scale(call, ScaleChange::Patch(kind, patch)).await?
            }
            _ => return Err(Status::method_not_allowed()),
        };
        match respond::form(&self.accept())? {
            respond::Form::Whole => Ok(respond::json(StatusCode::OK, &value)),
            respond::Form::Metadata => Ok(respond::json(StatusCode::OK, &respond::metadata(&value))),
            respond::Form::Table => Ok(respond::json(StatusCode::OK, &respond::scale_table(&value))),
        }
    }
}
