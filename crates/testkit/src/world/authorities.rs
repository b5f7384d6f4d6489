//! What authentication and authorization lean on outside the workloads: external authorizers as the mesh configuration
//! names them, and a server of the keys that signed the tokens.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::{Value, json};

use crate::conformance;
use crate::kubectl::Kubectl;

/// Where they run, without sidecars.
pub(super) const NAMESPACE: &str = "authority";

/// The Deployments, Services and namespace; the key server only where the conformance data brings keys.
///
/// # Errors
/// When the keys are there and can't be read.
pub(super) fn objects() -> anyhow::Result<Vec<Value>> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    let mut objects = vec![namespace];
    let authorizer = json!({"name": "ext-authz", "image": "gcr.io/istio-testing/ext-authz:latest"});
    objects.extend(served("ext-authz", &authorizer, &[("http", 8000, 8000), ("grpc", 9000, 9000)]));
    let keys = conformance::folder().map(|folder| folder.join("security/jwks.json"));
    if let Some(keys) = keys.filter(|path| path.is_file()) {
        let args = ["-listen=:8000".to_owned(), format!("-text={}", std::fs::read_to_string(keys)?)];
        let server = json!({"name": "jwks", "image": "hashicorp/http-echo", "args": args});
        objects.extend(served("jwks", &server, &[("http", 80, 8000)]));
    }
    Ok(objects)
}

/// A Deployment of one container and its Service; the first port tells when it is ready.
fn served(name: &str, container: &Value, ports: &[(&str, u16, u16)]) -> [Value; 2] {
    let metadata = json!({"name": name, "namespace": NAMESPACE, "labels": {"app": name}});
    let mut container = container.clone();
    let probed = ports.first().map(|(_, _, port)| port);
    container["readinessProbe"] = json!({"tcpSocket": {"port": probed}, "periodSeconds": 1});
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [container]});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}}, "spec": spec,
        }},
    });
    let ports: Vec<_> =
        ports.iter().map(|(name, port, target)| json!({"name": name, "port": port, "targetPort": target})).collect();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {"selector": {"app": name}, "ports": ports},
    });
    [deployment, service]
}

/// What stands for the authorizers and the key server in policies.
pub(super) fn names() -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("provider.http", "ext-authz-http".to_owned()),
        ("provider.grpc", "ext-authz-grpc".to_owned()),
        ("jwks.uri", format!("http://jwks.{NAMESPACE}.svc.cluster.local/jwks.json")),
    ])
}

/// Makes the authorizers known in the mesh configuration, with the headers that Istio's tests send and expect, and has
/// gateways believe one proxy in front of them.
///
/// # Errors
/// When the configuration can't be read or changed.
pub(super) fn configure(kubectl: &Kubectl) -> anyhow::Result<()> {
    let map = kubectl.get(&["configmap", "istio", "-n", "istio-system"])?;
    let mesh = map["data"]["mesh"].as_str().context("the mesh configuration")?;
    let of_proxies = "defaultConfig:\n";
    let mesh = mesh.replace(of_proxies, &format!("{of_proxies}  gatewayTopology: {{numTrustedProxies: 1}}\n"));
    let service = format!("ext-authz.{NAMESPACE}.svc.cluster.local");
    let http = json!({
        "service": service, "port": 8000,
        "headersToUpstreamOnAllow": ["x-ext-authz-*"], "headersToDownstreamOnDeny": ["x-ext-authz-*"],
        "includeRequestHeadersInCheck": ["x-ext-authz"],
        "includeAdditionalHeadersInCheck": {
            "x-ext-authz-additional-header-new": "additional-header-new-value",
            "x-ext-authz-additional-header-override": "additional-header-override-value",
        },
    });
    let providers = json!([
        {"name": "ext-authz-http", "envoyExtAuthzHttp": http},
        {"name": "ext-authz-grpc", "envoyExtAuthzGrpc": {"service": service, "port": 9000}},
    ]);
    // JSON is YAML.
    let patch = json!({"data": {"mesh": format!("{mesh}extensionProviders: {providers}\n")}});
    let args = ["patch", "configmap", "istio", "-n", "istio-system", "--type=merge", "-p", &patch.to_string()];
    kubectl.run(&args).map(drop)
}
