//! What translation knows about the proxy it works for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lateen_api::discovery::Node;
use lateen_api::google::protobuf::{Struct, Value, value::Kind};
use lateen_mesh::Locality;
use thiserror::Error;

use crate::resource::MeshConfig;
use crate::topology::Topology;

/// Why a node cannot be served.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BadNode {
    /// The id does not have its four parts.
    #[error("node id '{0}' is not <type>~<address>~<name>.<namespace>~<domain>")]
    Id(String),
    /// The type is none that is served.
    #[error("node type '{0}' is not known; sidecar and router are")]
    Type(String),
}

/// Kind of proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProxyKind {
    /// Beside a workload.
    Sidecar,
    /// A gateway.
    Router,
}

/// A proxy as translation sees it. Equal views get equal resources.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProxyView {
    /// Kind of proxy.
    pub kind: ProxyKind,
    /// The id it gave.
    pub id: String,
    /// Addresses of its workload.
    pub addresses: Vec<IpAddr>,
    /// Name of its pod.
    pub pod: String,
    /// Namespace of its workload.
    pub namespace: String,
    /// Labels of its workload.
    pub labels: BTreeMap<String, String>,
    /// Service account of its workload.
    pub service_account: String,
    /// Name of its workload.
    pub workload: String,
    /// Where it is; empty if unknown.
    pub locality: Locality,
    /// Cluster it is in.
    pub cluster: String,
    /// Is it Lateen's own proxy, which has the filters that Istio adds to Envoy.
    pub lateen: bool,
    /// Does it answer DNS from the name table.
    pub dns_capture: bool,
    /// Does it use the addresses that the control plane allocated to names.
    pub dns_auto_allocate: bool,
    /// Does it serve clients of HTTP/1.0 (`ISTIO_META_HTTP10`).
    pub http10: bool,
    /// What is in front of it, where it says so itself.
    pub own_topology: Option<Topology>,
}

impl ProxyView {
    /// Lateen's proxy of a workload of which no more is known.
    pub fn of(kind: ProxyKind, namespace: &str, labels: BTreeMap<String, String>) -> Self {
        Self {
            kind,
            id: String::new(),
            addresses: Vec::new(),
            pod: String::new(),
            namespace: namespace.to_owned(),
            labels,
            service_account: String::new(),
            workload: String::new(),
            locality: Locality::default(),
            cluster: String::new(),
            lateen: true,
            dns_capture: false,
            dns_auto_allocate: false,
            http10: false,
            own_topology: None,
        }
    }

    /// Reads the node that a proxy sent.
    pub fn from_node(node: &Node) -> Result<Self, BadNode> {
        let parts: Vec<&str> = node.id.split('~').collect();
        let [kind, address, name, _domain] = parts.as_slice() else {
            return Err(BadNode::Id(node.id.clone()));
        };
        let kind = match *kind {
            "sidecar" => ProxyKind::Sidecar,
            "router" => ProxyKind::Router,
            other => return Err(BadNode::Type(other.to_owned())),
        };
        let (pod, id_namespace) = name.rsplit_once('.').ok_or_else(|| BadNode::Id(node.id.clone()))?;
        let metadata = Metadata(node.metadata.as_ref());
        let namespace = metadata.text("NAMESPACE");
        Ok(Self {
            kind,
            id: node.id.clone(),
            addresses: addresses(address, &metadata.text("INSTANCE_IPS")),
            pod: pod.to_owned(),
            namespace: if namespace.is_empty() { id_namespace.to_owned() } else { namespace },
            labels: metadata.labels(),
            service_account: metadata.text("SERVICE_ACCOUNT"),
            workload: metadata.text("WORKLOAD_NAME"),
            locality: node.locality.as_ref().map(locality).unwrap_or_default(),
            cluster: metadata.text("CLUSTER_ID"),
            lateen: node.extensions.iter().any(|e| e.name == "lateen"),
            dns_capture: metadata.flag("DNS_CAPTURE"),
            dns_auto_allocate: metadata.flag("DNS_AUTO_ALLOCATE"),
            http10: metadata.flag("HTTP10"),
            own_topology: metadata.topology(),
        })
    }

    /// What is in front of it: as it says itself, else as for all gateways of the mesh.
    pub fn topology(&self, mesh: &MeshConfig) -> Topology {
        self.own_topology.or_else(|| mesh.gateway_topology()).unwrap_or_default()
    }

    /// Has its workload addresses of both families.
    pub fn is_dual_stack(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv4) && self.addresses.iter().any(IpAddr::is_ipv6)
    }

    /// Is it a sidecar.
    pub fn is_sidecar(&self) -> bool {
        self.kind == ProxyKind::Sidecar
    }
}

fn locality(told: &lateen_api::envoy::envoy::config::core::v3::Locality) -> Locality {
    Locality { region: told.region.clone(), zone: told.zone.clone(), subzone: told.sub_zone.clone() }
}

fn addresses(of_id: &str, listed: &str) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = of_id.parse().into_iter().collect();
    for address in listed.split(',').filter_map(|a| a.trim().parse().ok()) {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    all
}

/// A value of node metadata as JSON.
fn json(value: &Value) -> serde_json::Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::NumberValue(number)) => (*number).into(),
        Some(Kind::StringValue(text)) => text.as_str().into(),
        Some(Kind::BoolValue(flag)) => (*flag).into(),
        Some(Kind::StructValue(object)) => object.fields.iter().map(|(k, v)| (k.clone(), json(v))).collect(),
        Some(Kind::ListValue(list)) => list.values.iter().map(json).collect(),
    }
}

/// The metadata of a node.
struct Metadata<'a>(Option<&'a Struct>);

impl Metadata<'_> {
    fn kind(&self, key: &str) -> Option<&Kind> {
        self.0?.fields.get(key)?.kind.as_ref()
    }

    fn text(&self, key: &str) -> String {
        match self.kind(key) {
            Some(Kind::StringValue(text)) => text.clone(),
            _ => String::new(),
        }
    }

    fn flag(&self, key: &str) -> bool {
        match self.kind(key) {
            Some(Kind::StringValue(text)) => text == "true" || text == "1",
            Some(Kind::BoolValue(flag)) => *flag,
            _ => false,
        }
    }

    fn topology(&self) -> Option<Topology> {
        let Some(Kind::StructValue(config)) = self.kind("PROXY_CONFIG") else { return None };
        Some(Topology::parse(&json(config.fields.get("gatewayTopology")?)))
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let Some(Kind::StructValue(labels)) = self.kind("LABELS") else {
            return BTreeMap::new();
        };
        let text = |v: &Value| match &v.kind {
            Some(Kind::StringValue(text)) => Some(text.clone()),
            _ => None,
        };
        labels.fields.iter().filter_map(|(k, v)| Some((k.clone(), text(v)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str) -> Node {
        Node { id: id.into(), ..Default::default() }
    }

    #[test]
    fn a_node_id_says_who_asks() {
        let view = ProxyView::from_node(&node("sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local")).expect("reads");
        assert_eq!((view.pod.as_str(), view.namespace.as_str(), view.lateen), ("web-1", "shop", false));
        assert_eq!(view.addresses, ["10.0.0.1".parse::<IpAddr>().expect("address")]);
    }

    #[test]
    fn other_ids_are_refused() {
        for id in ["", "sidecar~1.1.1.1~a~b", "ztunnel~1.1.1.1~a.b~c", "sidecar~1.1.1.1"] {
            assert!(ProxyView::from_node(&node(id)).is_err(), "{id}");
        }
    }
}
