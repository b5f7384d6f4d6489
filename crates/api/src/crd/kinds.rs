use schemars::JsonSchema;
use serde_json::{Value, json};

use super::schema::structural;
use crate::istio;

/// One printer column: heading, type and JSON path.
type Column = (&'static str, &'static str, &'static str);

const AGE: Column = ("Age", "date", ".metadata.creationTimestamp");
const THREE: &[&str] = &["v1", "v1alpha3", "v1beta1"];
const TWO: &[&str] = &["v1", "v1beta1"];

/// What is particular to one kind.
struct Kind {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: Option<&'static str>,
    versions: &'static [&'static str],
    storage: &'static str,
    columns: &'static [Column],
    /// Whether an object must have a `spec`.
    spec_required: bool,
}

/// All CRDs of Istio, as `apiextensions.k8s.io/v1` objects.
pub fn istio_crds() -> Vec<Value> {
    let mut all = networking();
    all.extend(security());
    all.extend(extensions());
    all
}

fn networking() -> Vec<Value> {
    let net = |kind, plural, short, versions, columns, spec_required| Kind {
        group: "networking.istio.io",
        kind,
        plural,
        short,
        versions,
        storage: versions_storage(versions),
        columns,
        spec_required,
    };
    vec![
        crd::<istio::DestinationRule>(&net(
            "DestinationRule",
            "destinationrules",
            Some("dr"),
            THREE,
            &[("Host", "string", ".spec.host"), AGE],
            false,
        )),
        crd::<istio::EnvoyFilter>(&net("EnvoyFilter", "envoyfilters", None, &["v1alpha3"], &[], false)),
        crd::<istio::Gateway>(&net("Gateway", "gateways", Some("gw"), THREE, &[], false)),
        crd::<istio::ProxyConfig>(&net("ProxyConfig", "proxyconfigs", None, &["v1beta1"], &[], false)),
        crd::<istio::ServiceEntry>(&net(
            "ServiceEntry",
            "serviceentries",
            Some("se"),
            THREE,
            &[
                ("Hosts", "string", ".spec.hosts"),
                ("Location", "string", ".spec.location"),
                ("Resolution", "string", ".spec.resolution"),
                AGE,
            ],
            true,
        )),
        crd::<istio::Sidecar>(&net("Sidecar", "sidecars", None, THREE, &[], false)),
        crd::<istio::VirtualService>(&net(
            "VirtualService",
            "virtualservices",
            Some("vs"),
            THREE,
            &[("Gateways", "string", ".spec.gateways"), ("Hosts", "string", ".spec.hosts"), AGE],
            false,
        )),
        crd::<istio::WorkloadEntry>(&net(
            "WorkloadEntry",
            "workloadentries",
            Some("we"),
            THREE,
            &[AGE, ("Address", "string", ".spec.address")],
            true,
        )),
        crd::<istio::WorkloadGroup>(&net("WorkloadGroup", "workloadgroups", Some("wg"), THREE, &[AGE], true)),
    ]
}

fn security() -> Vec<Value> {
    let sec = |kind, plural, short, columns| Kind {
        group: "security.istio.io",
        kind,
        plural,
        short: Some(short),
        versions: TWO,
        storage: "v1",
        columns,
        spec_required: false,
    };
    vec![
        crd::<istio::AuthorizationPolicy>(&sec(
            "AuthorizationPolicy",
            "authorizationpolicies",
            "ap",
            &[("Action", "string", ".spec.action"), AGE],
        )),
        crd::<istio::PeerAuthentication>(&sec(
            "PeerAuthentication",
            "peerauthentications",
            "pa",
            &[("Mode", "string", ".spec.mtls.mode"), AGE],
        )),
        crd::<istio::RequestAuthentication>(&sec("RequestAuthentication", "requestauthentications", "ra", &[])),
    ]
}

fn extensions() -> Vec<Value> {
    let ext = |kind, plural| Kind {
        group: "extensions.istio.io",
        kind,
        plural,
        short: None,
        versions: &["v1alpha1"],
        storage: "v1alpha1",
        columns: &[AGE],
        spec_required: true,
    };
    vec![
        crd::<istio::WasmPlugin>(&ext("WasmPlugin", "wasmplugins")),
        crd::<istio::TrafficExtension>(&ext("TrafficExtension", "trafficextensions")),
        crd::<istio::Telemetry>(&Kind {
            group: "telemetry.istio.io",
            kind: "Telemetry",
            plural: "telemetries",
            short: Some("telemetry"),
            versions: &["v1", "v1alpha1"],
            storage: "v1alpha1",
            columns: &[AGE],
            spec_required: false,
        }),
    ]
}

/// The stored version is the first listed: `v1` where it exists.
fn versions_storage(versions: &'static [&'static str]) -> &'static str {
    versions.first().copied().unwrap_or("v1")
}

fn crd<T: JsonSchema>(kind: &Kind) -> Value {
    let schema = object_schema(structural::<T>(), kind.spec_required);
    let versions: Vec<Value> = kind.versions.iter().map(|v| version(v, kind, &schema)).collect();
    let area = kind.group.split('.').next().unwrap_or_default();
    let mut names = json!({
        "categories": ["istio-io", format!("{area}-istio-io")],
        "kind": kind.kind,
        "listKind": format!("{}List", kind.kind),
        "plural": kind.plural,
        "singular": kind.kind.to_lowercase(),
    });
    if let Some(short) = kind.short {
        names["shortNames"] = json!([short]);
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{}", kind.plural, kind.group),
            "labels": {"app": "istio-pilot", "chart": "istio", "release": "istio"},
        },
        "spec": {"group": kind.group, "names": names, "scope": "Namespaced", "versions": versions},
    })
}

fn version(name: &str, kind: &Kind, schema: &Value) -> Value {
    let columns: Vec<Value> =
        kind.columns.iter().map(|(name, ty, path)| json!({"name": name, "type": ty, "jsonPath": path})).collect();
    let mut version = json!({
        "name": name,
        "served": true,
        "storage": name == kind.storage,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    });
    if !columns.is_empty() {
        version["additionalPrinterColumns"] = Value::Array(columns);
    }
    version
}

fn object_schema(spec: Value, spec_required: bool) -> Value {
    let mut schema = json!({
        "type": "object",
        "properties": {
            "spec": spec,
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        },
    });
    if spec_required {
        schema["required"] = json!(["spec"]);
    }
    schema
}
