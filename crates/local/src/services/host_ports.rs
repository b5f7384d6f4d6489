//! Ports of the node that containers ask for with `hostPort`.

use std::net::{IpAddr, SocketAddr};

use lateen_apiserver::Object;
use lateen_nft::L4;
use serde_json::Value;

use super::targets::{l4, port_number};
use crate::controllers::object::Meta;
use crate::controllers::pods;

/// One such port of a running pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostPort {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) l4: L4,
    /// The port of the node.
    pub(super) number: u16,
    /// The address that the pod wants it at; none stands for every address.
    pub(super) host_ip: Option<IpAddr>,
    /// Where the container listens.
    pub(super) target: SocketAddr,
}

/// The host ports of all pods that have an address and aren't over.
pub(super) fn of(pods: &[Object]) -> Vec<HostPort> {
    pods.iter().filter(|pod| !pods::is_finished(pod)).flat_map(|pod| of_pod(pod)).collect()
}

fn of_pod(pod: &Value) -> Vec<HostPort> {
    let Ok(ip) = pod.text("/status/podIP").parse::<IpAddr>() else { return Vec::new() };
    let sidecars = pod.items("/spec/initContainers").iter().filter(|c| c["restartPolicy"] == "Always");
    let containers = pod.items("/spec/containers").iter().chain(sidecars);
    let ports = containers.flat_map(|container| container.items("/ports"));
    let one = |port: &Value| {
        let host_ip = port.text("/hostIP").parse::<IpAddr>().ok().filter(|ip| !ip.is_unspecified());
        Some(HostPort {
            namespace: pod.namespace().to_owned(),
            pod: pod.name().to_owned(),
            l4: l4(port)?,
            number: port_number(port, "hostPort")?,
            host_ip,
            target: SocketAddr::new(ip, port_number(port, "containerPort")?),
        })
    };
    ports.filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn host_ports_lead_to_the_container_of_a_pod_with_an_address() {
        let pod = |status: Value| {
            let ports = json!([{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81},
                {"containerPort": 53, "hostPort": 5353, "protocol": "UDP", "hostIP": "127.0.0.9"}]);
            Arc::new(json!({"metadata": {"name": "p", "namespace": "n"},
                "spec": {"containers": [{"ports": ports}]}, "status": status}))
        };
        assert!(of(&[pod(json!({})), pod(json!({"podIP": "10.0.0.1", "phase": "Failed"}))]).is_empty());
        let found = of(&[pod(json!({"podIP": "10.0.0.1"}))]);
        let shown: Vec<_> = found.iter().map(|p| (p.l4, p.number, p.target.to_string(), p.host_ip)).collect();
        assert_eq!(shown[0], (L4::Tcp, 8080, "10.0.0.1:80".to_owned(), None));
        assert_eq!(shown[1], (L4::Udp, 5353, "10.0.0.1:53".to_owned(), Some(IpAddr::from([127, 0, 0, 9]))));
        assert_eq!(shown.len(), 2);
    }
}
