//! The proxy container.

use serde_json::{Map, Value, json};

use super::{PROXY_CONTAINER, capture, environment, settings::Settings};

/// What a proxy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sidecar,
    Gateway,
}

impl Kind {
    /// The word on the command line.
    fn word(self) -> &'static str {
        match self {
            Kind::Sidecar => "sidecar",
            Kind::Gateway => "router",
        }
    }
}

/// The fields that every kind of proxy container shares.
pub(super) fn container(settings: &Settings<'_>, kind: Kind) -> Value {
    let options = &settings.options.proxy;
    let mut container = json!({
        "name": PROXY_CONTAINER,
        "image": settings.annotation("sidecar.istio.io/proxyImage").unwrap_or(&options.image),
        "args": arguments(settings, kind),
        "ports": [{ "name": "http-envoy-prom", "containerPort": 15090, "protocol": "TCP" }],
    });
    if !options.image_pull_policy.is_empty() {
        container["imagePullPolicy"] = json!(options.image_pull_policy);
    }
    container
}

fn arguments(settings: &Settings<'_>, kind: Kind) -> Vec<String> {
    let options = settings.options;
    let level = settings.annotation("sidecar.istio.io/logLevel").unwrap_or(&options.proxy.log_level);
    let parts = settings.annotation("sidecar.istio.io/componentLogLevel").unwrap_or(&options.proxy.component_log_level);
    let mut words = options.program.proxy.clone();
    words.extend([
        kind.word().to_owned(),
        "--domain".into(),
        format!("$(POD_NAMESPACE).svc.{}", options.cluster_domain),
        format!("--proxyLogLevel={level}"),
        format!("--proxyComponentLogLevel={parts}"),
        format!("--log_output_level={}", agent_log_level(settings)),
    ]);
    if options.proxy.log_as_json {
        words.push("--log_as_json".into());
    }
    words
}

pub(super) fn agent_log_level<'a>(settings: &'a Settings<'_>) -> &'a str {
    settings.annotation("sidecar.istio.io/agentLogLevel").unwrap_or(&settings.options.proxy.agent_log_level)
}

/// The environment of a sidecar or gateway.
pub(super) fn environment(pod: &Value, settings: &Settings<'_>, kind: Kind) -> Vec<Value> {
    let mut env = environment::identity(settings);
    env.push(environment::cpu_limit());
    env.push(environment::proxy_config(settings));
    env.push(environment::pod_ports(pod));
    let (containers, memory) = (environment::app_containers(pod), environment::memory_limit());
    env.extend(if kind == Kind::Sidecar { [containers, memory] } else { [memory, containers] });
    env.extend(environment::place(settings));
    env.push(environment::value("ISTIO_META_INTERCEPTION_MODE", settings.interception.as_str()));
    env.extend(environment::belonging(pod, settings));
    if kind == Kind::Sidecar && settings.options.otel_attributes {
        env.push(environment::value("OTEL_RESOURCE_ATTRIBUTES", otel_attributes(pod, settings)));
    }
    env.extend(environment::proxy_metadata(settings));
    if settings.options.capture.by_mark && kind == Kind::Sidecar {
        env.push(environment::value("LATEEN_CAPTURE_MARK", capture::PROXY_MARK));
    }
    env
}

fn otel_attributes(pod: &Value, settings: &Settings<'_>) -> String {
    let namespace = settings.namespace;
    let labels = &pod["metadata"]["labels"];
    let version = ["app.kubernetes.io/version", "version"].into_iter().find_map(|name| labels[name].as_str());
    let mut attributes = format!("service.namespace={namespace}");
    if let Some(version) = version {
        attributes.push_str(&format!(",service.version={version}"));
    }
    let application = super::containers(pod, "containers").find(|container| container["name"] != PROXY_CONTAINER);
    let name = application.and_then(|container| container["name"].as_str()).unwrap_or_default();
    attributes.push_str(&format!(",service.instance.id={namespace}.$(POD_NAME).{name}"));
    attributes
}

/// `resources`: once an annotation sets one of the four figures, only the annotated ones hold.
pub(super) fn resources(settings: &Settings<'_>) -> Value {
    let note = |name: &str| settings.annotation(&format!("sidecar.istio.io/{name}"));
    let figures = [
        ("requests", "cpu", note("proxyCPU")),
        ("requests", "memory", note("proxyMemory")),
        ("limits", "cpu", note("proxyCPULimit")),
        ("limits", "memory", note("proxyMemoryLimit")),
    ];
    if figures.iter().all(|(_, _, figure)| figure.is_none()) {
        return settings.options.proxy.resources.clone();
    }
    let mut resources = Map::new();
    for (part, name, figure) in figures {
        if let Some(figure) = figure {
            let fields = resources.entry(part).or_insert_with(|| json!({}));
            fields[name] = json!(quantity(figure));
        }
    }
    Value::Object(resources)
}

/// A quantity in the form that Kubernetes stores: whole CPUs without `m`.
fn quantity(text: &str) -> String {
    match text.strip_suffix('m').and_then(|millis| millis.parse::<u64>().ok()) {
        Some(millis) if millis % 1000 == 0 && millis > 0 => (millis / 1000).to_string(),
        _ => text.to_owned(),
    }
}

/// The readiness probe, and the startup probe that goes before it.
pub(super) fn probes(settings: &Settings<'_>) -> Vec<(&'static str, Value)> {
    if settings.status_port == 0 {
        return Vec::new();
    }
    let options = &settings.options.proxy;
    let number = |name: &str, default: u32| {
        let annotation = settings.annotation(&format!("readiness.status.sidecar.istio.io/{name}"));
        annotation.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let get = json!({ "path": "/healthz/ready", "port": 15021 });
    let mut readiness = json!({
        "httpGet": get,
        "periodSeconds": number("periodSeconds", options.readiness_period),
        "timeoutSeconds": 3,
        "failureThreshold": number("failureThreshold", options.readiness_failures),
    });
    let delay = number("initialDelaySeconds", options.readiness_initial_delay);
    if delay > 0 {
        readiness["initialDelaySeconds"] = json!(delay);
    }
    let mut probes = vec![("readinessProbe", readiness)];
    if options.startup {
        let startup = json!({
            "httpGet": get,
            "periodSeconds": 1,
            "timeoutSeconds": 3,
            "failureThreshold": options.startup_failures,
        });
        probes.push(("startupProbe", startup));
    }
    probes
}
