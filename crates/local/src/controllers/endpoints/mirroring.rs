//! EndpointSlices for Endpoints that somebody made by hand, for a Service without selector.

use std::net::IpAddr;

use lateen_apiserver::{Object, Status, gvr};
use serde_json::{Value, json};

use super::slices::{MANAGED_BY_LABEL, SERVICE_NAME, plan};
use super::{carry_out, has_selector, legacy};
use crate::controllers::api::{Api, Key};
use crate::controllers::object::{Meta, controller_ref};
use crate::controllers::queue::{Next, Reconcile};
use crate::events::Recorder;

/// This controller's name in a slice's label, as in Kubernetes.
pub const MANAGED_BY: &str = "endpointslicemirroring-controller.k8s.io";
/// Label of Endpoints that are not to be mirrored.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Annotation of Endpoints that are a lock and no endpoints.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Addresses of a subset that are mirrored, as in Kubernetes.
const LIMIT: usize = 1000;

/// The controller that mirrors Endpoints.
pub struct Mirroring {
    api: Api,
    events: Recorder,
}

impl Mirroring {
    /// A controller that works through `api`.
    #[must_use]
    pub fn new(api: Api, events: Recorder) -> Self {
        Self { api, events }
    }
}

impl Reconcile for Mirroring {
    type Key = Key;
    type Error = Status;

    fn name(&self) -> &'static str {
        "endpointslicemirroring"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Status> {
        let Some(endpoints) = self.api.find(&gvr::ENDPOINTS, &key.namespace, &key.name).await? else {
            // Its slices are the garbage collector's.
            return Ok(Next::Done);
        };
        let service = self.api.find(&gvr::SERVICES, &key.namespace, &key.name).await?;
        let mirrored = service.is_some_and(|s| !has_selector(&s)) && is_mirrored(&endpoints);
        let wanted = if mirrored { slices(&endpoints) } else { Vec::new() };
        let mut present = self.api.list_in(&gvr::ENDPOINT_SLICES, &key.namespace).await?;
        present.retain(|s| s.label(SERVICE_NAME) == Some(&key.name) && s.label(MANAGED_BY_LABEL) == Some(MANAGED_BY));
        carry_out(&self.api, &self.events, &endpoints, plan(wanted, &present)).await?;
        Ok(Next::Done)
    }
}

fn is_mirrored(endpoints: &Object) -> bool {
    endpoints.label(SKIP) != Some("true")
        && endpoints.annotation(LEADER).is_none()
        && endpoints.label(legacy::MANAGED_BY_LABEL).is_none()
        && !endpoints.is_terminating()
}

/// One slice for each subset and address family.
fn slices(endpoints: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in endpoints.items("/subsets") {
        for (kind, v6) in [("IPv4", false), ("IPv6", true)] {
            let of_kind = |address: &&Value| address.text("/ip").parse().is_ok_and(|ip: IpAddr| ip.is_ipv6() == v6);
            let list = |field: &str, ready: bool| {
                let addresses = subset.items(field).iter().filter(of_kind);
                addresses.map(|address| endpoint(address, ready)).collect::<Vec<_>>()
            };
            let mut found = list("/addresses", true);
            found.extend(list("/notReadyAddresses", false));
            found.truncate(LIMIT);
            if !found.is_empty() {
                all.push(slice(endpoints, kind, &ports(subset), found));
            }
        }
    }
    all
}

fn ports(subset: &Value) -> Value {
    let port = |port: &Value| {
        let mut shown = json!({"name": port.text("/name"), "protocol": port["protocol"], "port": port["port"]});
        if let Some(app) = port["appProtocol"].as_str() {
            shown["appProtocol"] = app.into();
        }
        shown
    };
    subset.items("/ports").iter().map(port).collect()
}

fn endpoint(address: &Value, ready: bool) -> Value {
    let mut endpoint = json!({"addresses": [address["ip"]], "conditions": {"ready": ready}});
    for field in ["hostname", "nodeName", "targetRef"] {
        if !address[field].is_null() {
            endpoint[field] = address[field].clone();
        }
    }
    endpoint
}

fn slice(endpoints: &Value, kind: &str, ports: &Value, found: Vec<Value>) -> Value {
    let mut labels = endpoints["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.insert(SERVICE_NAME.into(), endpoints.name().into());
    labels.insert(MANAGED_BY_LABEL.into(), MANAGED_BY.into());
    let mut annotations = endpoints["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    annotations.shift_remove(LAST_APPLIED);
    let mut slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": format!("{}-", endpoints.name()),
            "namespace": endpoints.namespace(),
            "labels": labels,
            "ownerReferences": [controller_ref(endpoints, "v1", "Endpoints")],
        },
        "addressType": kind,
        "endpoints": found,
        "ports": ports,
    });
    if !annotations.is_empty() {
        slice["metadata"]["annotations"] = annotations.into();
    }
    slice
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn each_family_of_each_subset_has_a_slice() {
        let endpoints = json!({
            "metadata": {"name": "db", "namespace": "n", "uid": "e", "labels": {"team": "x"},
                "annotations": {LAST_APPLIED: "{}"}},
            "subsets": [
                {"addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1", "hostname": "six"}],
                 "notReadyAddresses": [{"ip": "192.0.2.2"}], "ports": [{"port": 5432, "protocol": "TCP"}]},
            ],
        });
        let slices = slices(&endpoints);
        let shown: Vec<_> = slices.iter().map(|s| (s.text("/addressType"), s.items("/endpoints").len())).collect();
        assert_eq!(shown, [("IPv4", 2), ("IPv6", 1)]);
        assert_eq!(slices[0]["ports"], json!([{"name": "", "protocol": "TCP", "port": 5432}]));
        assert_eq!(slices[0]["endpoints"][1]["conditions"]["ready"], false);
        assert_eq!(slices[1]["endpoints"][0]["hostname"], "six");
        assert_eq!((slices[0].label(SERVICE_NAME), slices[0].label("team")), (Some("db"), Some("x")));
        assert_eq!(slices[0]["metadata"].get("annotations"), None);
    }

    #[test]
    fn some_endpoints_are_not_mirrored() {
        let endpoints = |metadata: Value| Arc::new(json!({"metadata": metadata}));
        assert!(is_mirrored(&endpoints(json!({}))));
        assert!(!is_mirrored(&endpoints(json!({"labels": {SKIP: "true"}}))));
        assert!(!is_mirrored(&endpoints(json!({"annotations": {LEADER: "{}"}}))));
        assert!(!is_mirrored(&endpoints(json!({"labels": {legacy::MANAGED_BY_LABEL: legacy::MANAGED_BY}}))));
    }
}
