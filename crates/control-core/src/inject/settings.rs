//! What holds for one pod: the installation's options, overridden by the pod's annotations.

use serde_json::{Map, Value};

use super::{Decision, InjectError, InjectOptions, PROXY_CONTAINER, Request, Workload, annotations};

const TEMPLATES: &str = "inject.istio.io/templates";
const PROXY_CONFIG: &str = "proxy.istio.io/config";

/// The resolved settings of one injection.
pub(super) struct Settings<'a> {
    pub options: &'a InjectOptions,
    pub namespace: &'a str,
    pub workload: Workload,
    /// `defaultConfig` of the mesh, with the pod's own on top; fields at their default left out.
    pub proxy_config: Map<String, Value>,
    pub interception: String,
    pub status_port: u16,
    /// The proxy is an init container that keeps running.
    pub native: bool,
    pub uid: u64,
    pub gid: u64,
    annotations: Map<String, Value>,
}

impl<'a> Settings<'a> {
    pub fn resolve(pod: &Value, request: &Request<'a>, options: &'a InjectOptions) -> Result<Self, InjectError> {
        annotations::check(pod)?;
        let annotations = pod["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        let note = |name: &str| annotations.get(name).and_then(Value::as_str);
        let proxy_config = proxy_config(&options.proxy_config, note(PROXY_CONFIG), options)?;
        let interception = note("sidecar.istio.io/interceptionMode")
            .or_else(|| proxy_config.get("interceptionMode")?.as_str())
            .unwrap_or("REDIRECT")
            .to_owned();
        let status_port = note("status.sidecar.istio.io/port")
            .and_then(|port| port.trim().parse().ok())
            .unwrap_or(options.proxy.status_port);
        let native =
            note("sidecar.istio.io/nativeSidecar").and_then(annotations::truth).unwrap_or(options.native_sidecars);
        let (uid, gid) = user(pod, request, options, &interception);
        Ok(Settings {
            options,
            namespace: request.namespace,
            workload: request.workload.cloned().unwrap_or_else(|| Workload::of_pod(pod)),
            proxy_config,
            interception,
            status_port,
            native,
            uid,
            gid,
            annotations,
        })
    }

    /// The pod's annotation of that name.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).and_then(Value::as_str)
    }

    /// The templates to apply, each once, in order.
    pub fn templates(&self) -> Vec<String> {
        let Some(named) = self.annotation(TEMPLATES) else {
            return self.options.default_templates.clone();
        };
        let mut templates: Vec<String> = Vec::new();
        for name in named.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if !templates.iter().any(|known| known == name) {
                templates.push(name.to_owned());
            }
        }
        templates
    }

    /// The application waits until the proxy is ready.
    pub fn hold_application(&self) -> bool {
        self.proxy_config.get("holdApplicationUntilProxyStarts") == Some(&Value::Bool(true))
    }

    /// Environment that ProxyConfig adds to the containers.
    pub fn proxy_metadata(&self) -> impl Iterator<Item = (&String, String)> {
        let entries = self.proxy_config.get("proxyMetadata").and_then(Value::as_object);
        entries.into_iter().flatten().map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (name, text)
        })
    }
}

/// The mesh's `defaultConfig` with the pod's annotation on top. Of `proxyMetadata` single entries are replaced.
fn proxy_config(
    mesh: &Value,
    annotation: Option<&str>,
    options: &InjectOptions,
) -> Result<Map<String, Value>, InjectError> {
    let mut config = mesh.as_object().cloned().unwrap_or_default();
    if let Some(text) = annotation {
        let refused = |reason: String| InjectError::Annotation {
            annotation: PROXY_CONFIG.into(),
            setting: "defaultConfig",
            reason,
        };
        let own: Value = serde_saphyr::from_str(text).map_err(|error| refused(format!("not YAML: {error}")))?;
        let own = own.as_object().ok_or_else(|| refused("not a mapping of ProxyConfig fields".into()))?;
        for (name, value) in own {
            let metadata = (name == "proxyMetadata").then(|| config.get_mut(name)).flatten();
            match (metadata.and_then(Value::as_object_mut), value.as_object()) {
                (Some(present), Some(added)) => present.extend(added.clone()),
                _ => drop(config.insert(name.clone(), value.clone())),
            }
        }
    }
    let default_address = format!("istiod.{}.svc:15012", options.istio_namespace);
    config.retain(|name, value| match name.as_str() {
        "discoveryAddress" => *value != default_address,
        "statusPort" => *value != 15020,
        "interceptionMode" => *value != "REDIRECT",
        _ => !value.is_null(),
    });
    Ok(config)
}

/// The user and group of the proxy: what a user-declared proxy container says, else what the platform hands out,
/// else 1337.
fn user(pod: &Value, request: &Request<'_>, options: &InjectOptions, interception: &str) -> (u64, u64) {
    let (mut uid, mut gid) = (1337, 1337);
    if options.openshift && interception != "TPROXY" {
        let range = |name: &str| request.namespace_annotations.and_then(|all| last_of_range(all.get(name)?));
        uid = range("openshift.io/sa.scc.uid-range").unwrap_or(uid);
        gid = range("openshift.io/sa.scc.supplemental-groups").unwrap_or(gid);
    }
    let declared = super::containers(pod, "containers")
        .chain(super::containers(pod, "initContainers"))
        .find(|container| container["name"] == PROXY_CONTAINER);
    if let Some(context) = declared.map(|container| &container["securityContext"]) {
        uid = context["runAsUser"].as_u64().unwrap_or(uid);
        gid = context["runAsGroup"].as_u64().unwrap_or(gid);
    }
    (uid, gid)
}

/// The last id of `first/count`, which applications don't get by default.
fn last_of_range(range: &Value) -> Option<u64> {
    let (first, count) = range.as_str()?.split_once('/')?;
    first.parse::<u64>().ok()?.checked_add(count.parse::<u64>().ok()?)?.checked_sub(1)
}

/// Convenience for callers that hold a request: the decision about its pod.
impl Request<'_> {
    /// Whether this pod gets a proxy.
    pub fn decide(&self, options: &InjectOptions) -> Decision {
        super::decide(self.pod, self.namespace, options)
    }
}
