//! Sidecar and gateway injection: a pod in, the pod with its proxy out, as Istio's injector does it.
//!
//! The order of work is [`decide()`], then a template (`sidecar`, `gateway`, `grpc-agent`, `grpc-simple`) merged over
//! the pod, then what the user asked of the injected containers merged over that, then probes, metrics annotations,
//! container order and status.

mod annotations;
mod capture;
mod customize;
mod decide;
mod environment;
mod gateway;
mod grpc;
mod merge;
mod metadata;
mod options;
mod order;
mod patch;
mod previous;
mod probes;
mod prometheus;
mod proxy;
mod settings;
mod sidecar;
mod volumes;
mod workload;

use serde_json::{Map, Value};

pub use decide::{Decision, Skip, decide};
pub use options::{CaptureOptions, Cni, InjectOptions, OptionsError, Program, ProxyOptions, Selection};
pub use patch::patch;
pub use workload::Workload;

use settings::Settings;

/// The container that is the proxy.
pub const PROXY_CONTAINER: &str = "istio-proxy";
/// The init container that sets up capture.
pub const INIT_CONTAINER: &str = "istio-init";
/// The init container that checks capture where a CNI plugin sets it up.
pub const VALIDATION_CONTAINER: &str = "istio-validation";
/// The annotation in which the injector records what it added.
pub const STATUS_ANNOTATION: &str = "sidecar.istio.io/status";

/// A pod at the door of the injector, with what is known about where it will live.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The pod as it was submitted, or the template of a workload.
    pub pod: &'a Value,
    /// The namespace that the pod will be created in (an admission request names it; the pod may not).
    pub namespace: &'a str,
    /// The annotations of that namespace.
    pub namespace_annotations: Option<&'a Map<String, Value>>,
    /// What the pod belongs to, where it isn't to be read off the pod itself.
    pub workload: Option<&'a Workload>,
}

/// Why a pod can't be injected. The pod is refused with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// The value of an annotation (or of the installation setting that it overrides) makes no sense.
    #[error("annotation {annotation} ({setting}): {reason}")]
    Annotation {
        /// The full name of the annotation.
        annotation: String,
        /// The name of the setting that the annotation overrides.
        setting: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The pod asks for a template that there isn't.
    #[error(
        "inject.istio.io/templates: no template {0:?}; there are sidecar, gateway, grpc-agent, grpc-simple, and those \
         under sidecarInjectorWebhook.templates of the installation"
    )]
    UnknownTemplate(String),
    /// A template of the installation can't be used.
    #[error("template {name:?} of the installation: {reason}")]
    CustomTemplate {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The document isn't a pod.
    #[error("{0} is missing or has the wrong type; send a complete Pod")]
    NotAPod(&'static str),
}

/// The pod with its proxy.
pub fn inject(request: &Request<'_>, options: &InjectOptions) -> Result<Value, InjectError> {
    if !request.pod["spec"]["containers"].is_array() {
        return Err(InjectError::NotAPod("spec.containers"));
    }
    let previous = previous::Previous::of(request.pod);
    let original = previous.strip(request.pod);
    let settings = Settings::resolve(&original, request, options)?;
    let overlay = overlay(&original, &settings)?;

    let mut pod = original.clone();
    let overrides = customize::take(&mut pod, &overlay);
    merge::merge(&mut pod, &overlay);
    customize::apply(&mut pod, &overrides);
    sidecar::keep_root(&mut pod, &settings);
    prometheus::merge(&mut pod, &settings);
    probes::rewrite(&mut pod, &settings, previous.probers());
    order::reorder(&mut pod, &settings);
    metadata::finish(&mut pod, &overlay, &overrides, &settings);
    Ok(pod)
}

/// The templates that the pod asks for, merged into one overlay.
fn overlay(pod: &Value, settings: &Settings<'_>) -> Result<Value, InjectError> {
    let mut overlay = Value::Object(Map::new());
    for template in settings.templates() {
        let part = match template.as_str() {
            "sidecar" => sidecar::overlay(pod, settings),
            "gateway" => gateway::overlay(pod, settings),
            "grpc-agent" => grpc::agent_overlay(pod, settings),
            "grpc-simple" => grpc::simple_overlay(pod, settings),
            _ => custom(&template, settings)?,
        };
        merge::merge(&mut overlay, &part);
    }
    Ok(overlay)
}

/// A template of the installation's own.
fn custom(name: &str, settings: &Settings<'_>) -> Result<Value, InjectError> {
    let text = settings.options.templates.get(name).and_then(Value::as_str);
    let text = text.ok_or_else(|| InjectError::UnknownTemplate(name.to_owned()))?;
    let bad = |reason: String| InjectError::CustomTemplate { name: name.to_owned(), reason };
    if text.contains("{{") {
        return Err(bad("it has {{ }} actions, which aren't carried out; write plain YAML".into()));
    }
    serde_saphyr::from_str(text).map_err(|error| bad(error.to_string()))
}

/// The named containers of a list of the pod's spec (`containers` or `initContainers`).
fn containers<'a>(pod: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    pod["spec"][list].as_array().into_iter().flatten()
}

/// The map under `key`, made if it isn't there.
fn object_at<'a>(parent: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    let slot = parent.as_object_mut()?.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if slot.is_null() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut()
}

#[cfg(test)]
mod tests;
