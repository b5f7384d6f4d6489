use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lateen_mesh::Locality;
use serde_json::Value;

use super::metadata::Meta;
use crate::inject::PROXY_CONTAINER;
use crate::view::ProxyKind;

/// A pod, as far as others talk to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Addresses; empty until it has some, and once it has ended.
    pub addresses: Vec<IpAddr>,
    /// Service account.
    pub service_account: String,
    /// Node it runs on.
    pub node: String,
    /// Where it is, if its labels say so; else it is where its node is.
    pub locality: Option<Locality>,
    /// Name of the workload it belongs to, such as its Deployment.
    pub workload: String,
    /// Uses the node's own network.
    pub host_network: bool,
    /// `hostname` and `subdomain`, for names of its own under a headless Service.
    pub dns: Option<(String, String)>,
    /// Named container ports.
    pub ports: BTreeMap<String, u16>,
    /// All ports that its containers declare, without the sidecar's.
    pub container_ports: BTreeSet<u16>,
    /// Its proxy, if it has one.
    pub proxy: Option<ProxyKind>,
}

impl Pod {
    /// Has it a sidecar that accepts mesh TLS.
    pub fn has_mesh_tls(&self) -> bool {
        self.labels.get("security.istio.io/tlsMode").map(String::as_str) == Some("istio")
    }
}

/// Reads a Pod.
pub(super) fn parse(object: Value) -> Result<Pod, String> {
    let meta = Meta::of(&object);
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let ended = matches!(text("/status/phase").as_str(), "Succeeded" | "Failed");
    let service_account = match text("/spec/serviceAccountName") {
        name if name.is_empty() => "default".into(),
        name => name,
    };
    Ok(Pod {
        addresses: if ended { Vec::new() } else { addresses(&object) },
        service_account,
        node: text("/spec/nodeName"),
        workload: workload_name(&object, &meta),
        locality: locality(&meta.labels),
        host_network: object.pointer("/spec/hostNetwork").and_then(Value::as_bool).unwrap_or(false),
        dns: Some((text("/spec/hostname"), text("/spec/subdomain"))).filter(|(h, s)| !h.is_empty() && !s.is_empty()),
        ports: container_ports(&object).filter_map(|(name, port)| Some((name?.to_owned(), port))).collect(),
        container_ports: container_ports(&object).map(|(_, port)| port).collect(),
        proxy: proxy(&object),
        namespace: meta.namespace,
        name: meta.name,
        labels: meta.labels,
    })
}

/// What a pod's own label says of where it is.
fn locality(labels: &BTreeMap<String, String>) -> Option<Locality> {
    let text = labels.get("topology.istio.io/locality").or_else(|| labels.get("istio-locality"))?;
    Some(Locality::parse_label(text))
}

fn addresses(object: &Value) -> Vec<IpAddr> {
    let list = object.pointer("/status/podIPs").and_then(Value::as_array);
    let mut all: Vec<IpAddr> = list.into_iter().flatten().filter_map(|a| a.get("ip")?.as_str()?.parse().ok()).collect();
    if all.is_empty() {
        all.extend(object.pointer("/status/podIP").and_then(Value::as_str).and_then(|a| a.parse::<IpAddr>().ok()));
    }
    all
}

/// The Deployment behind a ReplicaSet, another controller by its own name, or the pod itself.
fn workload_name(object: &Value, meta: &Meta) -> String {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let controller = owners
        .into_iter()
        .flatten()
        .find(|o| o.get("controller").and_then(Value::as_bool).unwrap_or(false))
        .and_then(|o| Some((o.get("kind")?.as_str()?, o.get("name")?.as_str()?)));
    match controller {
        Some(("ReplicaSet", name)) => {
            let hash = meta.labels.get("pod-template-hash");
            hash.and_then(|h| name.strip_suffix(h.as_str())?.strip_suffix('-')).unwrap_or(name).to_owned()
        }
        Some((_, name)) => name.to_owned(),
        None => meta.name.clone(),
    }
}

fn containers(object: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["/spec/containers", "/spec/initContainers"];
    lists.into_iter().filter_map(|path| object.pointer(path)?.as_array()).flatten()
}

fn is_proxy(container: &Value) -> bool {
    container.get("name").and_then(Value::as_str) == Some(PROXY_CONTAINER)
}

/// What its proxy was started as.
fn proxy(object: &Value) -> Option<ProxyKind> {
    let container = containers(object).find(|c| is_proxy(c))?;
    let mut arguments = container.get("args").and_then(Value::as_array).into_iter().flatten();
    let router = arguments.any(|argument| argument.as_str() == Some("router"));
    Some(if router { ProxyKind::Router } else { ProxyKind::Sidecar })
}

/// Names and numbers of the ports that containers declare; the sidecar's own are not meant for callers.
fn container_ports(object: &Value) -> impl Iterator<Item = (Option<&str>, u16)> {
    containers(object).filter(|c| !is_proxy(c)).filter_map(|c| c.get("ports")?.as_array()).flatten().filter_map(|p| {
        let number = u16::try_from(p.get("containerPort")?.as_u64()?).ok()?;
        Some((p.get("name").and_then(Value::as_str), number))
    })
}
