use schemars::JsonSchema;
use serde_json::{Value, json};

use super::schema::structural;
use crate::{gateway_api, istio};

/// One printer column: heading, type and JSON path.
type Column = (&'static str, &'static str, &'static str);

const AGE: Column = ("Age", "date", ".metadata.creationTimestamp");
const THREE: &[&str] = &["v1", "v1alpha3", "v1beta1"];
const TWO: &[&str] = &["v1", "v1beta1"];
const ONE: &[&str] = &["v1"];
/// Where the API server asks who approved a definition of a group of Kubernetes itself.
const APPROVAL: &str =
    "unapproved, made of the types that are read; the Gateway API's own definitions may take its place";

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

/// The CRDs of the Gateway API, as far as its kinds are served: for clusters of our own. They have neither the defaults
/// nor the rules of the Gateway API's own definitions, which may be applied over them.
pub fn gateway_api_crds() -> Vec<Value> {
    let kind = |kind, plural, short, versions, columns| Kind {
        group: gateway_api::GROUP,
        kind,
        plural,
        short,
        versions,
        storage: "v1",
        columns,
        spec_required: true,
    };
    const HOSTS: &[Column] = &[("Hostnames", "string", ".spec.hostnames"), AGE];
    let gateway: &[Column] = &[
        ("Class", "string", ".spec.gatewayClassName"),
        ("Address", "string", ".status.addresses[*].value"),
        ("Programmed", "string", ".status.conditions[?(@.type==\"Programmed\")].status"),
        AGE,
    ];
    let class: &[Column] = &[
        ("Controller", "string", ".spec.controllerName"),
        ("Accepted", "string", ".status.conditions[?(@.type==\"Accepted\")].status"),
        AGE,
    ];
    let set: &[Column] = &[
        ("Accepted", "string", ".status.conditions[?(@.type==\"Accepted\")].status"),
        ("Programmed", "string", ".status.conditions[?(@.type==\"Programmed\")].status"),
        AGE,
    ];
    let mut all = vec![
        crd::<gateway_api::GatewayClass>(&kind("GatewayClass", "gatewayclasses", Some("gc"), TWO, class)),
        crd::<gateway_api::Gateway>(&kind("Gateway", "gateways", Some("gtw"), TWO, gateway)),
        crd::<gateway_api::ListenerSet>(&kind("ListenerSet", "listenersets", Some("lset"), ONE, set)),
        crd::<gateway_api::HttpRoute>(&kind("HTTPRoute", "httproutes", None, TWO, HOSTS)),
        crd::<gateway_api::GrpcRoute>(&kind("GRPCRoute", "grpcroutes", None, ONE, HOSTS)),
        crd::<gateway_api::TlsRoute>(&kind("TLSRoute", "tlsroutes", None, ONE, HOSTS)),
        crd::<gateway_api::TcpRoute>(&kind("TCPRoute", "tcproutes", None, ONE, &[AGE])),
        crd::<gateway_api::ReferenceGrant>(&kind("ReferenceGrant", "referencegrants", Some("refgrant"), TWO, &[AGE])),
        crd::<gateway_api::BackendTlsPolicy>(&kind(
            "BackendTLSPolicy",
            "backendtlspolicies",
            Some("btlspolicy"),
            ONE,
            &[AGE],
        )),
    ];
    for crd in &mut all {
        crd["metadata"] = json!({
            "name": crd["metadata"]["name"],
            "annotations": { "api-approved.kubernetes.io": APPROVAL },
        });
        crd["spec"]["names"]["categories"] = json!(["gateway-api"]);
        if crd["spec"]["names"]["kind"] == "GatewayClass" {
            crd["spec"]["scope"] = json!("Cluster");
        }
    }
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
