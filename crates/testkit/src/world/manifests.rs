//! The Kubernetes objects of the world.

use serde_json::{Value, json};

use super::EXTERNAL_HOST;
use super::ports::PORTS;

/// What a workload is, seen from the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A pod with a sidecar behind an ordinary Service.
    Regular,
    /// A pod with a sidecar behind a Service without address.
    Headless,
    /// A pod of a StatefulSet, with a sidecar; its Service has no address either.
    StatefulSet,
    /// A pod without a sidecar.
    Naked,
    /// A pod with a sidecar that stands for a machine outside the cluster.
    Vm,
}

/// One workload: a Service, a service account and one pod, made by a Deployment or a StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Name of the Service and of the account; label `app`.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What it is.
    pub kind: Kind,
    /// Label `version`; the object that makes the pod is `NAME-VERSION`.
    pub version: String,
}

impl Workload {
    pub(super) fn new(name: &str, namespace: &str, kind: Kind) -> Self {
        Self { name: name.into(), namespace: namespace.into(), kind, version: "v1".into() }
    }

    pub(super) fn version(mut self, version: &str) -> Self {
        self.version = version.into();
        self
    }

    /// The name of the object that makes its pod, which the pod's name begins with.
    fn controller_name(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// The object that makes its pod, as `kubectl` names it: `KIND/NAME`.
    #[must_use]
    pub fn controller(&self) -> String {
        let kind = if self.kind == Kind::StatefulSet { "statefulset" } else { "deployment" };
        format!("{kind}/{}", self.controller_name())
    }

    /// The name by which every pod of the cluster finds its Service.
    #[must_use]
    pub fn host(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name, self.namespace)
    }

    /// The port of its Service that leads to `port`, as far as there is one.
    #[must_use]
    pub fn service_port(&self, port: &super::Port) -> Option<u16> {
        port.service.map(|number| if self.is_headless() { port.container } else { number })
    }

    /// Whether its Service has a port of this number.
    #[must_use]
    pub fn has_service_port(&self, number: u64) -> bool {
        PORTS.iter().filter_map(|port| self.service_port(port)).any(|port| u64::from(port) == number)
    }

    /// Whether its Service has no address of its own.
    #[must_use]
    pub fn is_headless(&self) -> bool {
        matches!(self.kind, Kind::Headless | Kind::StatefulSet)
    }

    fn class(&self) -> &'static str {
        match self.kind {
            Kind::Regular => "standard",
            Kind::Headless => "headless",
            Kind::StatefulSet => "statefulset",
            Kind::Naked => "naked",
            Kind::Vm => "vm",
        }
    }

    pub(super) fn objects(&self) -> [Value; 3] {
        let (name, namespace) = (&self.name, &self.namespace);
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace},
        });
        [account, self.service(), self.controller_object()]
    }

    fn service(&self) -> Value {
        let (name, namespace) = (&self.name, &self.namespace);
        let ports = PORTS
            .iter()
            .filter(|port| port.service.is_some())
            .map(|port| json!({"name": port.name, "port": self.service_port(port), "targetPort": port.container}));
        let mut spec = json!({"selector": {"app": name}, "ports": ports.collect::<Vec<_>>()});
        if self.is_headless() {
            spec["clusterIP"] = json!("None");
        }
        let metadata = json!({"name": name, "namespace": namespace, "labels": {"app": name}});
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    }

    fn controller_object(&self) -> Value {
        let labels = json!({"app": self.name, "version": self.version, "test.istio.io/class": self.class()});
        let selector = json!({"app": self.name, "version": self.version});
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": self.controller_name(), "namespace": self.namespace},
            "spec": {"selector": {"matchLabels": selector}, "template": {
                "metadata": {"labels": labels, "annotations": self.annotations()},
                "spec": {
                    "serviceAccountName": self.name,
                    "terminationGracePeriodSeconds": 0,
                    "containers": [self.container()],
                },
            }},
        });
        if self.kind == Kind::StatefulSet {
            object["kind"] = json!("StatefulSet");
            object["spec"]["serviceName"] = json!(self.name);
        }
        object
    }

    fn annotations(&self) -> Value {
        let config = r#"{"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true"}}"#;
        match self.kind {
            Kind::Naked => json!({"sidecar.istio.io/inject": "false"}),
            _ => json!({"proxy.istio.io/config": config}),
        }
    }

    fn container(&self) -> Value {
        let mut args: Vec<String> = ["cluster=primary", "crt=/cert.crt", "key=/cert.key", "metrics=15014"]
            .map(|flag| format!("--{flag}"))
            .into();
        args.push(format!("--version={}", self.version));
        for port in PORTS {
            let flags = [port.flag].into_iter().chain(port.also.iter().copied());
            args.extend(flags.map(|flag| format!("--{flag}={}", port.container)));
        }
        let ports = PORTS.map(|port| json!({"containerPort": port.container}));
        json!({
            "name": "app", "image": "gcr.io/istio-testing/app:latest", "args": args, "ports": ports,
            "env": [{"name": "INSTANCE_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, "failureThreshold": 30},
        })
    }
}

/// The namespaces of the workloads, with injection where one of them has a sidecar.
pub(super) fn namespaces(workloads: &[Workload]) -> Vec<Value> {
    let mut names: Vec<_> = workloads.iter().map(|workload| &workload.namespace).collect();
    names.dedup();
    let object = |name: &&String| {
        let meshed = workloads.iter().any(|workload| workload.namespace == **name && workload.kind != Kind::Naked);
        let labels = if meshed { json!({"istio-injection": "enabled"}) } else { json!({}) };
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    };
    names.iter().map(object).collect()
}

/// What makes `external` known to the mesh: by its host, with two ports for which the mesh begins TLS, and a second
/// address of it.
pub(super) fn external_service(namespace: &str, external: &str) -> Vec<Value> {
    let mut ports = vec![
        json!({"name": "http-tls-origination", "number": 8888, "protocol": "HTTP"}),
        json!({"name": "http2-tls-origination", "number": 8882, "protocol": "HTTP2"}),
    ];
    for (name, number, protocol) in
        [("http", 80, "HTTP"), ("http2", 85, "HTTP2"), ("grpc", 7070, "GRPC"), ("https", 443, "HTTPS")]
    {
        ports.push(json!({"name": name, "number": number, "protocol": protocol}));
    }
    let endpoint = json!({
        "address": format!("external.{external}.svc.cluster.local"),
        "ports": {"http-tls-origination": 443, "http2-tls-origination": 443},
    });
    let entry = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"name": "external-service", "namespace": namespace},
        "spec": {
            "exportTo": ["."], "hosts": [EXTERNAL_HOST], "location": "MESH_EXTERNAL", "resolution": "DNS",
            "endpoints": [endpoint], "ports": ports,
        },
    });
    let second = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "external-second", "namespace": external},
        "spec": {"selector": {"app": "external"}, "ports": [{"name": "https", "port": 443, "targetPort": 18443}]},
    });
    vec![entry, second]
}

/// The objects as one document.
pub(super) fn list(objects: Vec<Value>) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}
