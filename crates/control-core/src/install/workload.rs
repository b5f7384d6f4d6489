//! istiod itself: its ServiceAccount, Service and Deployment.

use serde_json::{Value, json};

use super::InstallOptions;

pub(super) fn service_account(options: &InstallOptions) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": "istiod", "namespace": options.namespace, "labels": super::labels(options) },
    })
}

pub(super) fn service(options: &InstallOptions) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "istiod", "namespace": options.namespace, "labels": super::labels(options) },
        "spec": {
            "selector": { "app": "istiod", "istio": "pilot" },
            "ports": [
                { "name": "grpc-xds", "port": 15010, "protocol": "TCP", "targetPort": 15010 },
                { "name": "https-dns", "port": 15012, "protocol": "TCP", "targetPort": 15012 },
                { "name": "https-webhook", "port": 443, "protocol": "TCP", "targetPort": 15017 },
                { "name": "http-monitoring", "port": 15014, "protocol": "TCP", "targetPort": 15014 },
            ],
        },
    })
}

pub(super) fn deployment(options: &InstallOptions) -> Value {
    let mut pod_labels = super::labels(options);
    pod_labels["sidecar.istio.io/inject"] = json!("false");
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "istiod", "namespace": options.namespace, "labels": super::labels(options) },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": "istiod", "istio": "pilot" } },
            "strategy": { "rollingUpdate": { "maxSurge": "100%", "maxUnavailable": "25%" } },
            "template": {
                "metadata": {
                    "labels": pod_labels,
                    "annotations": {
                        "prometheus.io/port": "15014",
                        "prometheus.io/scrape": "true",
                    },
                },
                "spec": {
                    "serviceAccountName": "istiod",
                    "securityContext": if has_user_ids(options) { json!({ "fsGroup": 1337 }) } else { json!({}) },
                    "containers": [container(options)],
                    "volumes": [{
                        "name": "istio-token",
                        "projected": { "sources": [{
                            "serviceAccountToken": {
                                "audience": "istio-ca",
                                "expirationSeconds": 43200,
                                "path": "istio-token",
                            },
                        }] },
                    }],
                },
            },
        },
    })
}

/// Where the proxy is known by a mark, that is because the cluster has a single user id.
fn has_user_ids(options: &InstallOptions) -> bool {
    !options.capture_by_mark
}

fn container(options: &InstallOptions) -> Value {
    let mut container = json!({
        "name": "discovery",
        "image": options.image,
        "args": ["control"],
        "ports": [
            { "name": "http-debug", "containerPort": 8080, "protocol": "TCP" },
            { "name": "grpc-xds", "containerPort": 15010, "protocol": "TCP" },
            { "name": "tls-xds", "containerPort": 15012, "protocol": "TCP" },
            { "name": "https-webhooks", "containerPort": 15017, "protocol": "TCP" },
            { "name": "http-monitoring", "containerPort": 15014, "protocol": "TCP" },
        ],
        "env": environment(options),
        "readinessProbe": {
            "httpGet": { "path": "/ready", "port": 8080 },
            "periodSeconds": 1,
            "timeoutSeconds": 5,
        },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
        },
        "volumeMounts": [
            { "name": "istio-token", "mountPath": "/var/run/secrets/tokens", "readOnly": true },
        ],
    });
    if has_user_ids(options) {
        for (key, value) in [("runAsNonRoot", json!(true)), ("runAsUser", json!(1337)), ("runAsGroup", json!(1337))] {
            container["securityContext"][key] = value;
        }
    }
    if !options.local {
        container["resources"] = json!({ "requests": { "cpu": "100m", "memory": "128Mi" } });
    }
    container
}

fn environment(options: &InstallOptions) -> Value {
    let field = |path: &str| json!({ "fieldRef": { "apiVersion": "v1", "fieldPath": path } });
    json!([
        { "name": "REVISION", "value": "default" },
        { "name": "PILOT_CERT_PROVIDER", "value": "istiod" },
        { "name": "POD_NAME", "valueFrom": field("metadata.name") },
        { "name": "POD_NAMESPACE", "valueFrom": field("metadata.namespace") },
        { "name": "SERVICE_ACCOUNT", "valueFrom": field("spec.serviceAccountName") },
        { "name": "INSTANCE_IP", "valueFrom": field("status.podIP") },
        { "name": "CLUSTER_ID", "value": options.cluster_id },
    ])
}
