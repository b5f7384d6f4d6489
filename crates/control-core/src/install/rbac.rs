//! What istiod may do: cluster-wide roles, and one in its own namespace.

use serde_json::{Value, json};

use super::InstallOptions;

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 6] = ["get", "list", "watch", "create", "update", "patch"];

pub(super) fn objects(options: &InstallOptions) -> Vec<Value> {
    let cluster = format!("istiod-clusterrole-{}", options.namespace);
    vec![
        role(options, "ClusterRole", &cluster, cluster_rules()),
        binding(options, "ClusterRole", &cluster),
        role(options, "Role", "istiod", namespace_rules()),
        binding(options, "Role", "istiod"),
    ]
}

fn cluster_rules() -> Value {
    json!([
        rule(
            &["admissionregistration.k8s.io"],
            &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            &["get", "list", "watch", "update", "patch"],
        ),
        rule(
            &["networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io",],
            &["*"],
            &READ,
        ),
        rule(
            &["networking.istio.io"],
            &["workloadentries", "workloadentries/status", "serviceentries/status"],
            &["get", "list", "watch", "create", "update", "patch", "delete"],
        ),
        rule(
            &["networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io",],
            &["*/status"],
            &["update", "patch"],
        ),
        rule(&["apiextensions.k8s.io"], &["customresourcedefinitions"], &READ),
        rule(&[""], &["pods", "nodes", "services", "namespaces", "endpoints", "secrets"], &READ,),
        rule(&["discovery.k8s.io"], &["endpointslices"], &READ),
        rule(&[""], &["configmaps"], &WRITE),
        rule(&[""], &["events"], &["create", "patch"]),
        rule(&["authentication.k8s.io"], &["tokenreviews"], &["create"]),
        rule(&["authorization.k8s.io"], &["subjectaccessreviews"], &["create"]),
        rule(&["gateway.networking.k8s.io"], &["*"], &["get", "list", "watch", "update", "patch"]),
        rule(&["gateway.networking.k8s.io"], &["gatewayclasses"], &["create"]),
        // The deployments of gateways, in the namespaces of their Gateways.
        rule(&[""], &["services", "serviceaccounts"], &WRITE),
        rule(&["apps"], &["deployments"], &WRITE),
        rule(&["networking.k8s.io"], &["ingresses", "ingressclasses"], &READ),
    ])
}

fn namespace_rules() -> Value {
    json!([
        rule(&[""], &["secrets", "serviceaccounts", "services"], &WRITE),
        rule(&["apps"], &["deployments"], &WRITE),
        rule(&["coordination.k8s.io"], &["leases"], &WRITE),
    ])
}

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": groups, "resources": resources, "verbs": verbs })
}

fn role(options: &InstallOptions, kind: &str, name: &str, rules: Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": metadata(options, kind, name),
        "rules": rules,
    })
}

fn binding(options: &InstallOptions, role_kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": format!("{role_kind}Binding"),
        "metadata": metadata(options, role_kind, name),
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": name },
        "subjects": [
            { "kind": "ServiceAccount", "name": "istiod", "namespace": options.namespace },
        ],
    })
}

fn metadata(options: &InstallOptions, role_kind: &str, name: &str) -> Value {
    let mut metadata = json!({ "name": name, "labels": super::labels(options) });
    if role_kind == "Role" {
        metadata["namespace"] = json!(options.namespace);
    }
    metadata
}
