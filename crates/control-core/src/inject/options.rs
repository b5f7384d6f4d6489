//! The settings of the injector: what an installation decides, for every pod.

use serde_json::{Map, Value, json};

/// What the injector puts into pods, and into which.
#[derive(Debug, Clone, PartialEq)]
pub struct InjectOptions {
    /// The revision of the control plane that injects.
    pub revision: String,
    /// The namespace of the control plane.
    pub istio_namespace: String,
    /// The DNS suffix of the cluster.
    pub cluster_domain: String,
    /// The trust domain of identities.
    pub trust_domain: String,
    /// The name of this cluster.
    pub cluster_id: String,
    /// The name of the mesh; empty: its trust domain.
    pub mesh_id: String,
    /// The network of this cluster's pods; empty in a mesh of one network.
    pub network: String,
    /// Which pods get a proxy.
    pub selection: Selection,
    /// Templates of the installation's own: pod fragments in YAML, by name.
    pub templates: Map<String, Value>,
    /// The templates for pods that name none.
    pub default_templates: Vec<String>,
    /// Annotations that every injected pod gets.
    pub injected_annotations: Map<String, Value>,
    /// Secrets to pull images with, for pods that name none.
    pub image_pull_secrets: Vec<String>,
    /// The proxy container.
    pub proxy: ProxyOptions,
    /// The capture of traffic.
    pub capture: CaptureOptions,
    /// The command lines of the proxy image.
    pub program: Program,
    /// The proxy as an init container that keeps running, instead of a container beside the others.
    pub native_sidecars: bool,
    /// Send the kubelet's probes through the proxy's agent.
    pub rewrite_probes: bool,
    /// Serve the application's metrics merged with the proxy's.
    pub prometheus_merge: bool,
    /// `defaultConfig` of MeshConfig.
    pub proxy_config: Value,
    /// A CNI plugin sets up capture.
    pub cni: Option<Cni>,
    /// The cluster hands out user ids per namespace, as OpenShift does.
    pub openshift: bool,
    /// Tell the application's OpenTelemetry library who it is.
    pub otel_attributes: bool,
    /// Mount the certificates of the namespace's `istio.default` Secret.
    pub mount_mtls_certs: bool,
}

/// Which pods get a proxy, where their own labels and annotations don't say.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// Inject by default.
    pub enabled: bool,
    /// Label selectors of pods that never get a proxy.
    pub never: Vec<Value>,
    /// Label selectors of pods that always get one.
    pub always: Vec<Value>,
}

/// The proxy container's settings, before annotations.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyOptions {
    /// The image of the proxy.
    pub image: String,
    /// `imagePullPolicy`; empty leaves it to the cluster.
    pub image_pull_policy: String,
    /// The proxy's log level.
    pub log_level: String,
    /// The log levels of the proxy's parts.
    pub component_log_level: String,
    /// The agent's log level.
    pub agent_log_level: String,
    /// Log in JSON.
    pub log_as_json: bool,
    /// Run the container privileged.
    pub privileged: bool,
    /// `resources` of the proxy and init containers.
    pub resources: Value,
    /// The port of the agent's health and metrics; 0 switches it off.
    pub status_port: u16,
    /// `readinessProbe` timing.
    pub readiness_initial_delay: u32,
    /// Seconds between readiness probes.
    pub readiness_period: u32,
    /// Failures until unready.
    pub readiness_failures: u32,
    /// Whether there is a startup probe.
    pub startup: bool,
    /// Failures until the startup probe gives up, one each second.
    pub startup_failures: u32,
    /// `lifecycle` of the container instead of the default one.
    pub lifecycle: Option<Value>,
    /// Where proxies find the certificate authority; empty: istiod.
    pub ca_address: String,
}

/// Which traffic is captured, before annotations.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptureOptions {
    /// The image of the init container.
    pub image: String,
    /// Destinations to capture.
    pub include_ip_ranges: String,
    /// Destinations to leave alone.
    pub exclude_ip_ranges: String,
    /// Inbound ports to capture.
    pub include_inbound_ports: String,
    /// Inbound ports to leave alone.
    pub exclude_inbound_ports: String,
    /// Outbound ports to capture whatever their destination.
    pub include_outbound_ports: String,
    /// Outbound ports to leave alone.
    pub exclude_outbound_ports: String,
    /// Know the proxy's own traffic by a socket mark, where its user can't be told apart from the application's.
    pub by_mark: bool,
    /// Apply nftables rules where the init container could use either.
    pub native_nftables: bool,
}

/// The command lines that the containers run. Lateen's and Istio's images differ in these only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The words that start capture.
    pub capture: Vec<String>,
    /// The words that start the proxy; the kind of proxy follows.
    pub proxy: Vec<String>,
    /// Run before the proxy is stopped: begins to drain. Empty: the proxy drains when it is told to stop.
    pub drain: Vec<String>,
    /// Run after the proxy has started, to hold the application until the proxy is ready.
    pub wait: Vec<String>,
    /// The same for an agent without a data path of its own.
    pub wait_agent: Vec<String>,
}

/// A CNI plugin that sets up capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cni {
    /// Chained into the cluster's own plugin.
    Chained,
    /// Named per pod, through multus.
    Multus,
}

/// The injector's configuration can't be read.
#[derive(Debug, thiserror::Error)]
#[error("{part} is not valid YAML; correct that key of the ConfigMap: {reason}")]
pub struct OptionsError {
    /// Which text: `values`, `config` or `mesh`.
    pub part: &'static str,
    reason: String,
}

impl Default for InjectOptions {
    fn default() -> Self {
        InjectOptions::from_values(&Value::Null, &Value::Null, &Value::Null)
    }
}

impl InjectOptions {
    /// Reads the keys `values` and `config` of ConfigMap `istio-sidecar-injector` and `mesh` of ConfigMap `istio`.
    /// An empty text means the defaults.
    pub fn from_config_maps(values: &str, config: &str, mesh: &str) -> Result<Self, OptionsError> {
        Ok(InjectOptions::from_values(&parse("values", values)?, &parse("config", config)?, &parse("mesh", mesh)?))
    }

    /// Reads parsed installation values, injector configuration and MeshConfig. Whatever they don't say is Istio's
    /// default.
    pub fn from_values(values: &Value, config: &Value, mesh: &Value) -> Self {
        let values = Values(values);
        let trust_domain = Values(mesh).text("/trustDomain", "cluster.local");
        InjectOptions {
            revision: values.text("/revision", "default"),
            istio_namespace: values.text("/global/istioNamespace", "istio-system"),
            cluster_domain: values.text("/global/proxy/clusterDomain", "cluster.local"),
            cluster_id: values.text("/global/multiCluster/clusterName", "Kubernetes"),
            mesh_id: values.text("/global/meshID", &trust_domain),
            trust_domain,
            network: values.text("/global/network", ""),
            selection: Selection {
                enabled: Values(config).text("/policy", &values.text("/global/proxy/autoInject", "enabled"))
                    != "disabled",
                never: selectors(config, &values, "neverInjectSelector"),
                always: selectors(config, &values, "alwaysInjectSelector"),
            },
            templates: config["templates"]
                .as_object()
                .or_else(|| values.get("/sidecarInjectorWebhook/templates")?.as_object())
                .cloned()
                .unwrap_or_default(),
            default_templates: default_templates(config, &values),
            injected_annotations: config["injectedAnnotations"]
                .as_object()
                .or_else(|| values.get("/sidecarInjectorWebhook/injectedAnnotations")?.as_object())
                .cloned()
                .unwrap_or_default(),
            image_pull_secrets: values.texts("/global/imagePullSecrets"),
            proxy: ProxyOptions::from_values(&values),
            capture: CaptureOptions::from_values(&values),
            program: Program::default(),
            native_sidecars: values.flag("/lateen/nativeSidecars", true),
            rewrite_probes: values.flag("/sidecarInjectorWebhook/rewriteAppHTTPProbe", true),
            prometheus_merge: Values(mesh).flag("/enablePrometheusMerge", true),
            proxy_config: mesh["defaultConfig"].clone(),
            cni: values.cni(),
            openshift: values.text("/global/platform", "") == "openshift",
            otel_attributes: otel_attributes(mesh),
            mount_mtls_certs: values.flag("/global/mountMtlsCerts", false),
        }
    }
}

impl ProxyOptions {
    fn from_values(values: &Values<'_>) -> Self {
        ProxyOptions {
            image: values.image("/global/proxy/image"),
            image_pull_policy: values.text("/global/imagePullPolicy", ""),
            log_level: values.text("/global/proxy/logLevel", "warning"),
            component_log_level: values.text("/global/proxy/componentLogLevel", "misc:error"),
            agent_log_level: values.text("/global/logging/level", "default:info"),
            log_as_json: values.flag("/global/logAsJson", false),
            privileged: values.flag("/global/proxy/privileged", false),
            resources: values.get("/global/proxy/resources").map_or_else(default_resources, without_nulls),
            status_port: u16::try_from(values.number("/global/proxy/statusPort", 15020)).unwrap_or(15020),
            readiness_initial_delay: values.number("/global/proxy/readinessInitialDelaySeconds", 0),
            readiness_period: values.number("/global/proxy/readinessPeriodSeconds", 15),
            readiness_failures: values.number("/global/proxy/readinessFailureThreshold", 4),
            startup: values.flag("/global/proxy/startupProbe/enabled", true),
            startup_failures: values.number("/global/proxy/startupProbe/failureThreshold", 600),
            lifecycle: values
                .get("/global/proxy/lifecycle")
                .filter(|lifecycle| lifecycle.as_object().is_some_and(|fields| !fields.is_empty()))
                .cloned(),
            ca_address: values.text("/global/caAddress", ""),
        }
    }
}

impl CaptureOptions {
    fn from_values(values: &Values<'_>) -> Self {
        let text = |name: &str, default: &str| values.given(&format!("/global/proxy/{name}"), default);
        CaptureOptions {
            image: values.image("/global/proxy_init/image"),
            include_ip_ranges: text("includeIPRanges", "*"),
            exclude_ip_ranges: text("excludeIPRanges", ""),
            include_inbound_ports: text("includeInboundPorts", "*"),
            exclude_inbound_ports: text("excludeInboundPorts", ""),
            include_outbound_ports: text("includeOutboundPorts", ""),
            exclude_outbound_ports: text("excludeOutboundPorts", ""),
            by_mark: values.flag("/lateen/captureByMark", false),
            native_nftables: values.flag("/global/nativeNftables", false),
        }
    }
}

impl Default for Program {
    fn default() -> Self {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect();
        Program {
            capture: words("capture"),
            proxy: words("proxy"),
            drain: Vec::new(),
            wait: words("lateen request --wait=600 GET 15021 /healthz/ready"),
            wait_agent: words("lateen request --wait=600 GET 15020 /healthz/ready"),
        }
    }
}

fn parse(part: &'static str, text: &str) -> Result<Value, OptionsError> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str(text).map_err(|error| OptionsError { part, reason: error.to_string() })
}

fn default_resources() -> Value {
    json!({
        "requests": { "cpu": "100m", "memory": "128Mi" },
        "limits": { "cpu": "2", "memory": "1Gi" },
    })
}

/// A value of `null` removes the default beneath it, as in Helm.
fn without_nulls(value: &Value) -> Value {
    let Value::Object(fields) = value else {
        return value.clone();
    };
    let kept = fields.iter().filter(|(_, field)| !field.is_null());
    let mut kept: Map<String, Value> = kept.map(|(name, field)| (name.clone(), without_nulls(field))).collect();
    kept.retain(|_, field| field.as_object().is_none_or(|fields| !fields.is_empty()));
    Value::Object(kept)
}

fn selectors(config: &Value, values: &Values<'_>, name: &str) -> Vec<Value> {
    config[name]
        .as_array()
        .or_else(|| values.get(&format!("/sidecarInjectorWebhook/{name}"))?.as_array())
        .cloned()
        .unwrap_or_default()
}

fn default_templates(config: &Value, values: &Values<'_>) -> Vec<String> {
    let mut named = Values(config).texts("/defaultTemplates");
    if named.is_empty() {
        named = values.texts("/sidecarInjectorWebhook/defaultTemplates");
    }
    if named.is_empty() {
        named.push("sidecar".into());
    }
    named
}

fn otel_attributes(mesh: &Value) -> bool {
    mesh["extensionProviders"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|provider| provider["opentelemetry"]["serviceAttributeEnrichment"] == "OTEL_SEMANTIC_CONVENTIONS")
}

/// Installation values, read by JSON pointer.
struct Values<'a>(&'a Value);

impl<'a> Values<'a> {
    fn get(&self, pointer: &str) -> Option<&'a Value> {
        self.0.pointer(pointer).filter(|value| !value.is_null())
    }

    /// The text there; the default also where it is empty.
    fn text(&self, pointer: &str, default: &str) -> String {
        match self.get(pointer).and_then(Value::as_str) {
            Some(text) if !text.is_empty() => text.to_owned(),
            _ => default.to_owned(),
        }
    }

    /// The text there, even if it is empty; numbers as text.
    fn given(&self, pointer: &str, default: &str) -> String {
        match self.get(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => default.to_owned(),
        }
    }

    fn texts(&self, pointer: &str) -> Vec<String> {
        let items = self.get(pointer).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn flag(&self, pointer: &str, default: bool) -> bool {
        self.get(pointer).and_then(Value::as_bool).unwrap_or(default)
    }

    fn number(&self, pointer: &str, default: u32) -> u32 {
        self.get(pointer).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
    }

    /// A complete image reference as it is; a bare name below `global.hub` with `global.tag`.
    fn image(&self, pointer: &str) -> String {
        let image = self.text(pointer, "lateen");
        if image.contains('/') {
            return image;
        }
        let hub = self.text("/global/hub", "lateen");
        let tag = self.given("/global/tag", env!("CARGO_PKG_VERSION"));
        format!("{hub}/{image}:{tag}")
    }

    fn cni(&self) -> Option<Cni> {
        let enabled = self.flag("/pilot/cni/enabled", self.flag("/cni/enabled", false));
        let provider = self.text("/pilot/cni/provider", &self.text("/cni/provider", "default"));
        enabled.then_some(if provider == "multus" { Cni::Multus } else { Cni::Chained })
    }
}
