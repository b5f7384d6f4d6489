//! What proxies have seen: who called whom, for what.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lateen_api::discovery::Node;
use lateen_control_core::view::{BadNode, ProxyView};
use serde::Deserialize;
use serde_json::Value;

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Has it a sidecar, and not only the application.
    pub sidecar: bool,
}

/// A kind of call of a workload, as its sidecar's page `/callers` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Seen {
    /// Identity of the caller, if it proved one.
    pub principal: Option<String>,
    /// Its address, if it did not.
    pub address: Option<IpAddr>,
    /// Port of the workload.
    pub port: u16,
    /// Method; empty for byte streams.
    pub method: String,
    /// Path; empty for byte streams, `*` if there were too many.
    pub path: String,
    /// How many there were.
    pub calls: u64,
    /// How many of them were cut off for not being what the port accepts.
    pub refused: u64,
    /// How long ago the last was.
    pub seconds_ago: u64,
}

/// What all sidecars have seen.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// All pods.
    pub pods: Vec<Pod>,
    /// What was called, by the position of the pod in `pods`.
    pub calls: Vec<(usize, Seen)>,
    /// Pods whose sidecar could not be asked, by position, and why.
    pub unasked: Vec<(usize, String)>,
}

impl Pod {
    /// Reads an object; `None` for one that takes no traffic (it has no address, or has ended).
    #[must_use]
    pub fn parse(object: &Value) -> Option<Self> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let ended = matches!(text("/status/phase"), Some("Succeeded" | "Failed"));
        let ips = object.pointer("/status/podIPs").and_then(Value::as_array).into_iter().flatten();
        let addresses: Vec<IpAddr> = ips.filter_map(|ip| ip["ip"].as_str()?.parse().ok()).collect();
        let containers = |pointer: &str| object.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        let mut all = containers("/spec/containers").chain(containers("/spec/initContainers"));
        let labels = object.pointer("/metadata/labels").cloned().unwrap_or_default();
        Some(Pod {
            namespace: text("/metadata/namespace")?.to_owned(),
            name: text("/metadata/name")?.to_owned(),
            labels: serde_json::from_value(labels).unwrap_or_default(),
            sidecar: all.any(|container| container["name"] == "istio-proxy"),
            addresses,
        })
        .filter(|pod| !ended && !pod.addresses.is_empty())
    }

    /// Its sidecar, as the control plane sees it.
    ///
    /// # Errors
    /// When its names can't be those of a proxy.
    pub fn view(&self) -> Result<ProxyView, BadNode> {
        let Pod { namespace, name, .. } = self;
        let address = self.addresses.first().map(ToString::to_string).unwrap_or_default();
        let id = format!("sidecar~{address}~{name}.{namespace}~{namespace}.svc.cluster.local");
        let mut view = ProxyView::from_node(&Node { id, ..Default::default() })?;
        view.lateen = true;
        view.addresses = self.addresses.clone();
        view.labels = self.labels.clone();
        Ok(view)
    }

    /// What names it in a report: the label `app`, else its own name.
    #[must_use]
    pub fn shown(&self) -> String {
        let app = self.labels.get("app").or_else(|| self.labels.get("app.kubernetes.io/name"));
        format!("{}/{}", self.namespace, app.unwrap_or(&self.name))
    }
}

impl Observed {
    /// What an address stands for in a report.
    #[must_use]
    pub fn whose(&self, address: IpAddr) -> String {
        let pod = self.pods.iter().find(|pod| pod.addresses.contains(&address));
        match pod {
            Some(pod) if pod.sidecar => format!("{} (has a sidecar)", pod.shown()),
            Some(pod) => format!("{} (no sidecar)", pod.shown()),
            None => format!("{address} (no pod)"),
        }
    }
}
