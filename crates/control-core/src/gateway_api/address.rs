//! Where a gateway is reached, and whether it is.

use std::collections::BTreeSet;

use lateen_api::gateway_api as api;
use serde_json::{Value, json};

use super::{Cluster, Front, Problem};
use crate::resource::Object;

/// Annotation with another name for the objects of a gateway's deployment.
pub(super) const NAME_OVERRIDE: &str = "gateway.istio.io/name-override";
/// Annotation with another name for its ServiceAccount.
pub(super) const ACCOUNT_OVERRIDE: &str = "gateway.istio.io/service-account";

/// Is a gateway to get a deployment of its own.
pub(super) fn is_managed(gateway: &api::Gateway) -> bool {
    match gateway.addresses.as_slice() {
        [] => true,
        [one] => one.kind.as_deref().is_none_or(|kind| kind == "IPAddress"),
        _ => false,
    }
}

/// Name of the objects of a gateway's deployment.
pub(super) fn deployment_name(gateway: &Object<api::Gateway>) -> String {
    gateway.meta.annotations.get(NAME_OVERRIDE).cloned().unwrap_or_else(|| default_name(gateway))
}

fn default_name(gateway: &Object<api::Gateway>) -> String {
    format!("{}-{}", gateway.meta.name, gateway.spec.gateway_class_name)
}

/// Name of the ServiceAccount of a gateway's deployment; empty if it has no deployment of its own.
pub(super) fn account_name(gateway: &Object<api::Gateway>) -> String {
    if !is_managed(&gateway.spec) {
        return String::new();
    }
    gateway.meta.annotations.get(ACCOUNT_OVERRIDE).cloned().unwrap_or_else(|| default_name(gateway))
}

/// Hosts of the Services in front of a gateway, and what is wrong with its addresses.
pub(super) fn services(gateway: &Object<api::Gateway>, domain: &str) -> (Vec<String>, Option<Problem>) {
    let namespace = &gateway.meta.namespace;
    if is_managed(&gateway.spec) {
        return (vec![format!("{}.{namespace}.svc.{domain}", deployment_name(gateway))], None);
    }
    let (hosts, others): (Vec<_>, Vec<_>) =
        gateway.spec.addresses.iter().partition(|address| address.kind.as_deref() == Some("Hostname"));
    let full = |address: &&api::GatewayAddress| match address.value.contains('.') {
        true => address.value.clone(),
        false => format!("{}.{namespace}.svc.{domain}", address.value),
    };
    let ignored: Vec<&str> = others.iter().map(|address| address.value.as_str()).collect();
    let problem = (!ignored.is_empty()).then(|| {
        Problem::new("UnsupportedAddress", format!("only Hostname is supported, ignoring [{}]", ignored.join(" ")))
    });
    (hosts.iter().map(full).collect(), problem)
}

/// What became of the addresses of a gateway.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// `host:port` of Services that lead to it.
    assigned: BTreeSet<String>,
    internal: BTreeSet<String>,
    outside: BTreeSet<String>,
    warnings: BTreeSet<String>,
    unusable: bool,
    /// Are there Services to look at at all.
    wanted: bool,
}

impl Reached {
    /// Looks at the Services in front of a gateway that listens on `ports`.
    pub(super) fn find(services: &[String], ports: &BTreeSet<u32>, managed: bool, cluster: &dyn Cluster) -> Self {
        let mut reached = Self { wanted: !services.is_empty(), ..Self::default() };
        for host in services {
            match cluster.front(host) {
                Some(front) => ports.iter().for_each(|port| reached.look(host, *port, &front, managed)),
                None => {
                    reached.warnings.insert(format!("hostname \"{host}\" not found"));
                    reached.unusable = true;
                }
            }
        }
        reached
    }

    fn look(&mut self, host: &str, number: u32, front: &Front, managed: bool) {
        let port = u16::try_from(number).unwrap_or(0);
        if front.ready.contains(&port) {
            self.assigned.insert(format!("{host}:{number}"));
            self.internal.extend(front.internal.iter().cloned());
            self.outside.extend(front.outside.iter().cloned());
            if front.outside.is_empty() && front.load_balancer {
                self.warnings.insert(format!("address pending for hostname \"{host}\""));
            }
            return;
        }
        if front.ports.contains(&port) {
            // Pods of a gateway's own deployment come a little later than its Service.
            if !managed {
                self.warnings.insert(format!("no instances found for hostname \"{host}\""));
                self.unusable = true;
            }
            return;
        }
        let mut warning = format!("port {number} not found for hostname \"{host}\"");
        if let Some(meant) = front.targets.get(&port) {
            let meant: Vec<String> = meant.iter().map(u16::to_string).collect();
            warning.push_str(&format!(
                " (hint: the service port should be specified, not the workload port. Did you mean one of these \
                 ports: [{}]?)",
                meant.join(" ")
            ));
        }
        self.warnings.insert(warning);
        self.unusable = true;
    }

    /// What the condition Programmed says when nothing is wrong.
    pub(super) fn message(&self) -> String {
        if self.assigned.is_empty() {
            return "Resource programmed".to_owned();
        }
        format!("Resource programmed, assigned to service(s) {}", joined(&self.assigned))
    }

    pub(super) fn problem(&self) -> Option<Problem> {
        if !self.wanted {
            return Some(Problem::new("UnsupportedAddress", "Failed to assign to any requested addresses"));
        }
        if self.warnings.is_empty() {
            return None;
        }
        let reason = if self.unusable { "AddressNotUsable" } else { "AddressNotAssigned" };
        let warnings = self.warnings.iter().cloned().collect::<Vec<_>>().join("; ");
        let message = if self.assigned.is_empty() {
            format!("Failed to assign to any requested addresses: {warnings}")
        } else {
            let assigned = joined(&self.assigned);
            format!("Assigned to service(s) {assigned}, but failed to assign to all requested addresses: {warnings}")
        };
        Some(Problem::new(reason, message))
    }

    /// The addresses to show: those outside, else those in the cluster.
    pub(super) fn shown(&self) -> Vec<Value> {
        let all = if self.outside.is_empty() { &self.internal } else { &self.outside };
        let kind = |text: &str| if text.parse::<std::net::IpAddr>().is_ok() { "IPAddress" } else { "Hostname" };
        all.iter().map(|address| json!({"type": kind(address), "value": address})).collect()
    }
}

/// `a`, `a and b`, `a, b, and c`.
fn joined(all: &BTreeSet<String>) -> String {
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    match all.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [one, other] => format!("{one} and {other}"),
        [start @ .., last] => format!("{}, and {last}", start.join(", ")),
    }
}
