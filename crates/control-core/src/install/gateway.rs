//! Gateways: pods that the injector turns into proxies at the edge of the mesh, and what leads to them.

use serde_json::{Value, json};

use super::InstallOptions;

/// Annotation of objects whose readiness nobody has to wait for.
pub const WAIT: &str = "lateen.dev/wait";

/// One gateway of an installation.
pub(super) struct Gateway {
    /// Name of its Deployment and Service.
    name: &'static str,
    /// Label `istio` of its pods, by which Gateways select it.
    istio: &'static str,
    /// Kind of Service.
    service: &'static str,
    /// Is it reached from outside, with a port for the health checks of load balancers.
    outside: bool,
}

/// Where requests from outside come in.
pub(super) const INGRESS: Gateway =
    Gateway { name: "istio-ingressgateway", istio: "ingressgateway", service: "LoadBalancer", outside: true };
/// Where requests to the outside go out.
pub(super) const EGRESS: Gateway =
    Gateway { name: "istio-egressgateway", istio: "egressgateway", service: "ClusterIP", outside: false };

impl Gateway {
    pub(super) fn objects(&self, options: &InstallOptions) -> Vec<Value> {
        let account = self.account();
        vec![
            self.object(options, "v1", "ServiceAccount", &account, json!({})),
            self.object(
                options,
                RBAC,
                "Role",
                &format!("{}-sds", self.name),
                json!({ "rules": [{
                "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "watch", "list"],
            }] }),
            ),
            self.object(
                options,
                RBAC,
                "RoleBinding",
                &format!("{}-sds", self.name),
                json!({
                    "roleRef": {
                        "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": format!("{}-sds", self.name),
                    },
                    "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": options.namespace }],
                }),
            ),
            self.object(options, "v1", "Service", self.name, json!({ "spec": self.service() })),
            self.object(options, "apps/v1", "Deployment", self.name, json!({ "spec": self.deployment(options) })),
        ]
    }

    fn account(&self) -> String {
        format!("{}-service-account", self.name)
    }

    fn object(&self, options: &InstallOptions, api_version: &str, kind: &str, name: &str, rest: Value) -> Value {
        let mut object = rest;
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(kind);
        object["metadata"] = json!({ "name": name, "namespace": options.namespace, "labels": self.labels(options) });
        if kind == "Deployment" {
            object["metadata"]["annotations"] = json!({ WAIT: "false" });
        }
        object
    }

    fn labels(&self, options: &InstallOptions) -> Value {
        json!({
            "app": self.name,
            "istio": self.istio,
            "app.kubernetes.io/name": self.name,
            "app.kubernetes.io/part-of": "istio",
            "app.kubernetes.io/managed-by": "lateen",
            "app.kubernetes.io/version": options.version,
        })
    }

    fn service(&self) -> Value {
        let port = |name: &str, port: u16, target: u16| json!({ "name": name, "port": port, "targetPort": target, "protocol": "TCP" });
        let mut ports = Vec::new();
        if self.outside {
            ports.push(port("status-port", 15021, 15021));
        }
        ports.extend([port("http2", 80, 8080), port("https", 443, 8443)]);
        json!({
            "type": self.service,
            "selector": { "app": self.name, "istio": self.istio },
            "ports": ports,
        })
    }

    fn deployment(&self, options: &InstallOptions) -> Value {
        let mut labels = self.labels(options);
        labels["sidecar.istio.io/inject"] = json!("true");
        json!({
            "replicas": 1,
            "selector": { "matchLabels": { "app": self.name, "istio": self.istio } },
            "strategy": { "rollingUpdate": { "maxSurge": "100%", "maxUnavailable": "25%" } },
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {
                        "inject.istio.io/templates": "gateway",
                        "prometheus.io/path": "/stats/prometheus",
                        "prometheus.io/port": "15020",
                        "prometheus.io/scrape": "true",
                    },
                },
                "spec": {
                    "serviceAccountName": self.account(),
                    "containers": [{
                        "name": "istio-proxy",
                        "image": "auto",
                        "ports": [
                            { "containerPort": 15021, "protocol": "TCP" },
                            { "containerPort": 8080, "protocol": "TCP" },
                            { "containerPort": 8443, "protocol": "TCP" },
                        ],
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "capabilities": { "drop": ["ALL"] },
                            "readOnlyRootFilesystem": true,
                        },
                    }],
                },
            },
        })
    }
}

const RBAC: &str = "rbac.authorization.k8s.io/v1";
