//! The templates for applications whose gRPC library speaks xDS itself: `grpc-agent` with an agent beside it that
//! brings certificates, `grpc-simple` with a bootstrap file only.

use serde_json::{Value, json};

use super::{
    PROXY_CONTAINER, environment, metadata,
    proxy::{self, Kind},
    settings::Settings,
    volumes,
};

/// The agent, and the environment that the application's containers need.
pub(super) fn agent_overlay(pod: &Value, settings: &Settings<'_>) -> Value {
    let mounted = [
        volumes::workload_socket(),
        volumes::workload_certs(),
        volumes::root_certificate(),
        volumes::data(),
        volumes::scratch("istio-xds"),
        volumes::token(),
        volumes::pod_info(),
    ];
    let mut containers = vec![agent(pod, settings, &mounted)];
    containers.extend(application(pod).map(|name| {
        json!({
            "name": name,
            "env": [
                { "name": "GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT", "value": "true" },
                { "name": "GRPC_XDS_BOOTSTRAP", "value": "/etc/istio/proxy/grpc-bootstrap.json" },
            ],
            "volumeMounts": [
                { "name": "istio-data", "mountPath": "/var/lib/istio/data" },
                { "name": "istio-xds", "mountPath": "/etc/istio/proxy" },
                { "name": "workload-certs", "mountPath": "/var/run/secrets/workload-spiffe-credentials" },
            ],
        })
    }));
    let mut annotations = metadata::annotations(pod, settings);
    annotations.insert("sidecar.istio.io/rewriteAppHTTPProbers".into(), json!("false"));
    json!({
        "metadata": { "labels": metadata::canonical_labels(pod, settings), "annotations": annotations },
        "spec": {
            "containers": containers,
            "volumes": volumes::declarations(&mounted, &AGENT_VOLUMES),
        },
    })
}

const AGENT_VOLUMES: [&str; 7] =
    ["workload-socket", "workload-certs", "istio-xds", "istio-data", "istio-podinfo", "istio-token", "istiod-ca-cert"];

fn application(pod: &Value) -> impl Iterator<Item = &Value> {
    let others = super::containers(pod, "containers").filter(|container| container["name"] != PROXY_CONTAINER);
    others.map(|container| &container["name"])
}

fn agent(pod: &Value, settings: &Settings<'_>, mounted: &[volumes::Mounted]) -> Value {
    let mut env = vec![
        environment::value("ISTIO_META_GENERATOR", "grpc"),
        environment::value("OUTPUT_CERTS", "/var/lib/istio/data"),
    ];
    env.extend(environment::identity(settings));
    env.push(environment::proxy_config(settings));
    env.push(environment::pod_ports(pod));
    env.push(environment::app_containers(pod));
    env.extend(environment::place(settings));
    env.extend(environment::belonging(pod, settings));
    env.extend(environment::proxy_metadata(settings));
    env.push(environment::value("ISTIO_META_DNS_CAPTURE", "false"));
    env.push(environment::value("DISABLE_ENVOY", "true"));

    let mut container = proxy::container(settings, Kind::Sidecar);
    container["env"] = json!(env);
    container["resources"] = proxy::resources(settings);
    container["volumeMounts"] = json!(volumes::mounts(mounted));
    container["ports"] = json!([{ "name": "mesh-metrics", "containerPort": 15020, "protocol": "TCP" }]);
    container["lifecycle"] = json!({ "postStart": { "exec": { "command": settings.options.program.wait_agent } } });
    for (name, mut probe) in proxy::probes(settings) {
        if name == "readinessProbe" {
            probe["httpGet"]["port"] = json!(settings.status_port);
            container[name] = probe;
        }
    }
    container
}

/// A bootstrap file that names istiod, written by an init container before the application starts.
pub(super) fn simple_overlay(pod: &Value, settings: &Settings<'_>) -> Value {
    let mount = json!({ "name": "grpc-io-proxyless-bootstrap", "mountPath": "/var/lib/grpc/data/" });
    let containers: Vec<Value> = application(pod)
        .map(|name| {
            json!({
                "name": name,
                "env": [
                    { "name": "GRPC_XDS_BOOTSTRAP", "value": "/var/lib/grpc/data/bootstrap.json" },
                    { "name": "GRPC_GO_LOG_VERBOSITY_LEVEL", "value": "99" },
                    { "name": "GRPC_GO_LOG_SEVERITY_LEVEL", "value": "info" },
                ],
                "volumeMounts": [mount],
            })
        })
        .collect();
    let field = |path: &str| json!({ "fieldRef": { "fieldPath": path } });
    json!({
        "metadata": { "annotations": { "sidecar.istio.io/rewriteAppHTTPProbers": "false" } },
        "spec": {
            "initContainers": [{
                "name": "grpc-bootstrap-init",
                "image": "busybox:1.28",
                "command": ["sh", "-c", BOOTSTRAP_SCRIPT],
                "env": [
                    { "name": "INSTANCE_IP", "valueFrom": field("status.podIP") },
                    { "name": "POD_NAME", "valueFrom": field("metadata.name") },
                    { "name": "POD_NAMESPACE", "valueFrom": field("metadata.namespace") },
                    { "name": "ISTIO_NAMESPACE", "value": settings.options.istio_namespace },
                ],
                "volumeMounts": [mount],
            }],
            "containers": containers,
            "volumes": [{ "name": "grpc-io-proxyless-bootstrap", "emptyDir": {} }],
        },
    })
}

/// Single quotes keep the JSON away from the shell; the two variables step out of them.
const BOOTSTRAP_SCRIPT: &str = r#"NODE_ID="sidecar~${INSTANCE_IP}~${POD_NAME}.${POD_NAMESPACE}~cluster.local"
SERVER_URI="dns:///istiod.${ISTIO_NAMESPACE}.svc:15010"
echo '
{
  "xds_servers": [
    {
      "server_uri": "'${SERVER_URI}'",
      "channel_creds": [{"type": "insecure"}],
      "server_features" : ["xds_v3"]
    }
  ],
  "node": {
    "id": "'${NODE_ID}'",
    "metadata": {
      "GENERATOR": "grpc"
    }
  }
}' > /var/lib/grpc/data/bootstrap.json"#;
