//! Deployments of gateways: the pods of a Gateway, the Service in front of them and their identity.

use std::collections::{BTreeMap, BTreeSet};

use lateen_api::gateway_api as api;
use serde_json::{Map, Value, json};

use super::CONTROLLER;
use super::address;
use super::gateway::Gateway;
use crate::inject::{InjectError, InjectOptions, Request, STATUS_ANNOTATION, inject};

/// Annotation with the type of a gateway's Service.
const SERVICE_TYPE: &str = "networking.istio.io/service-type";
/// Label of objects with the name of their Gateway.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// Annotations that say something about the Gateway itself.
const OWN_ANNOTATIONS: [&str; 2] = ["kubectl.kubernetes.io/", "gateway.istio.io/"];

/// What a Gateway without addresses of its own gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Namespace of the Gateway and of all its objects.
    pub namespace: String,
    /// Name of the Gateway.
    pub gateway: String,
    uid: String,
    class: String,
    name: String,
    account: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    service_type: String,
    address: Option<String>,
    /// Name, number and protocol of each port.
    ports: Vec<(String, u32, String)>,
}

/// The deployments that Gateways are to have.
pub(super) fn deployments(gateways: &[Gateway<'_>]) -> Vec<Deployment> {
    gateways.iter().filter(|gateway| address::is_managed(&gateway.object.spec)).map(Deployment::new).collect()
}

impl Deployment {
    fn new(gateway: &Gateway<'_>) -> Self {
        let object = gateway.object;
        let (labels, mut annotations) = match &object.spec.infrastructure {
            Some(own) => (own.labels.clone(), own.annotations.clone()),
            None => (object.meta.labels.clone(), object.meta.annotations.clone()),
        };
        annotations.retain(|key, _| !OWN_ANNOTATIONS.iter().any(|start| key.starts_with(start)));
        let service_type = annotations.get(SERVICE_TYPE).or_else(|| object.meta.annotations.get(SERVICE_TYPE));
        Self {
            namespace: object.meta.namespace.clone(),
            gateway: object.meta.name.clone(),
            uid: object.uid.clone(),
            class: object.spec.gateway_class_name.clone(),
            name: address::deployment_name(object),
            account: gateway.account.clone(),
            service_type: service_type.cloned().unwrap_or_else(|| "LoadBalancer".to_owned()),
            labels,
            annotations,
            address: object.spec.addresses.first().map(|own| own.value.clone()).filter(|value| !value.is_empty()),
            ports: ports(gateway),
        }
    }

    /// Is this the host of its Service.
    pub(crate) fn is_front(&self, host: &lateen_mesh::Hostname) -> bool {
        let service = host.as_str().strip_prefix(self.name.as_str()).and_then(|rest| rest.strip_prefix('.'));
        service
            .and_then(|rest| rest.strip_prefix(self.namespace.as_str()))
            .is_some_and(|rest| rest.starts_with(".svc."))
    }

    /// Its objects, in the order to apply them.
    pub fn objects(&self, options: &InjectOptions) -> Result<Vec<Value>, InjectError> {
        let account = self.object("v1", "ServiceAccount", &self.account);
        let mut deployment = self.object("apps/v1", "Deployment", &self.name);
        deployment["spec"] = json!({
            "selector": { "matchLabels": { GATEWAY_NAME: self.gateway } },
            "template": self.pod(options)?,
        });
        let mut service = self.object("v1", "Service", &self.name);
        service["spec"] = self.service();
        Ok(vec![account, deployment, service])
    }

    fn object(&self, api_version: &str, kind: &str, name: &str) -> Value {
        json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": self.labels(),
                "annotations": self.annotations,
                "ownerReferences": [{
                    "apiVersion": format!("{}/v1", api::GROUP),
                    "kind": "Gateway",
                    "name": self.gateway,
                    "uid": self.uid,
                }],
            },
        })
    }

    fn labels(&self) -> BTreeMap<&str, &str> {
        let given = self.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let own = [
            ("gateway.istio.io/managed", "istio.io-gateway-controller"),
            ("gateway.networking.k8s.io/gateway-class-name", self.class.as_str()),
            (GATEWAY_NAME, self.gateway.as_str()),
        ];
        [("istio.io/dataplane-mode", "none")].into_iter().chain(given).chain(own).collect()
    }

    fn service(&self) -> Value {
        let port = |(name, number, protocol): &(String, u32, String)| json!({"name": name, "port": number, "protocol": "TCP", "appProtocol": protocol});
        let mut service = json!({
            "type": self.service_type,
            "ipFamilyPolicy": "PreferDualStack",
            "selector": { GATEWAY_NAME: self.gateway },
            "ports": self.ports.iter().map(port).collect::<Vec<_>>(),
        });
        if let Some(address) = &self.address {
            service["loadBalancerIP"] = json!(address);
        }
        service
    }

    /// The template of its pods, with the proxy in it already: webhooks may leave its namespace out.
    fn pod(&self, options: &InjectOptions) -> Result<Value, InjectError> {
        let mut labels: Map<String, Value> = self.labels().into_iter().map(|(k, v)| (k.to_owned(), json!(v))).collect();
        labels.insert("service.istio.io/canonical-name".into(), json!(self.name));
        labels.insert("service.istio.io/canonical-revision".into(), json!("latest"));
        labels.insert("sidecar.istio.io/inject".into(), json!("true"));
        let mut annotations: Map<String, Value> =
            self.annotations.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        annotations.insert("inject.istio.io/templates".into(), json!("gateway"));
        annotations.insert("prometheus.io/path".into(), json!("/stats/prometheus"));
        annotations.insert("prometheus.io/port".into(), json!("15020"));
        annotations.insert("prometheus.io/scrape".into(), json!("true"));
        let port = |name: &str, number: u16| json!({"name": name, "containerPort": number, "protocol": "TCP"});
        let pod = json!({
            "metadata": { "labels": labels, "annotations": annotations },
            "spec": {
                "serviceAccountName": self.account,
                "containers": [{
                    "name": crate::inject::PROXY_CONTAINER,
                    "image": "auto",
                    "ports": [port("metrics", 15020), port("status-port", 15021)],
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "capabilities": { "drop": ["ALL"] },
                        "privileged": false,
                        "readOnlyRootFilesystem": true,
                        "runAsNonRoot": !options.capture.by_mark,
                    },
                }],
            },
        });
        let workload = crate::inject::Workload::new(&self.name, "Deployment", "apps/v1");
        let request =
            Request { pod: &pod, namespace: &self.namespace, namespace_annotations: None, workload: Some(&workload) };
        let mut made = inject(&request, options)?;
        if let Some(annotations) = made["metadata"]["annotations"].as_object_mut() {
            annotations.remove(STATUS_ANNOTATION);
            annotations.remove("inject.istio.io/templates");
        }
        // The proxy is there: the webhook has nothing to add.
        made["metadata"]["labels"]["sidecar.istio.io/inject"] = json!("false");
        Ok(made)
    }
}

/// The port for health checks, then one for each port that is listened on.
fn ports(gateway: &Gateway<'_>) -> Vec<(String, u32, String)> {
    let mut all = vec![("status-port".to_owned(), 15021, "tcp".to_owned())];
    let mut names = BTreeSet::from(["status-port".to_owned()]);
    for listener in gateway.all_listeners().filter(|listener| !listener.is_in_conflict()) {
        if all.iter().any(|(_, number, _)| *number == listener.port) {
            continue;
        }
        let protocol = listener.protocol.to_ascii_lowercase();
        let short = port_name(&listener.name).filter(|name| !names.contains(name));
        let name = short.unwrap_or_else(|| format!("{protocol}-{}", listener.port));
        names.insert(name.clone());
        all.push((name, listener.port, protocol));
    }
    all
}

/// A listener's name, if a port can be called so.
fn port_name(name: &str) -> Option<String> {
    let allowed = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let letter = name.chars().any(|c| c.is_ascii_lowercase());
    let edges = !name.starts_with('-') && !name.ends_with('-') && !name.contains("--");
    (name.len() <= 15 && allowed && letter && edges).then(|| name.to_owned())
}

/// The GatewayClass that is there without being asked for.
pub fn gateway_class() -> Value {
    json!({
        "apiVersion": format!("{}/v1", api::GROUP),
        "kind": "GatewayClass",
        "metadata": { "name": super::CLASS },
        "spec": { "controllerName": CONTROLLER, "description": "The default Istio GatewayClass" },
    })
}
