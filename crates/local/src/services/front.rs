//! Which sockets the host is to have for Services and host ports: a pure function of the objects.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use lateen_apiserver::Object;
use lateen_nft::L4;
use serde_json::Value;

use super::host_ports;
use super::rules::Node;
use super::targets::{Answer, ByService, Place, answer, by_service, l4, port_number};
use crate::controllers::object::Meta;

/// Where the host reaches Services: its own loopback address, so that nothing of the cluster is
/// open to other machines.
pub(super) const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Why a socket is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A `nodePort`.
    NodePort,
    /// A port of a Service of type LoadBalancer.
    LoadBalancer {
        /// The port that leads there too.
        node_port: Option<u16>,
        /// `loadBalancerSourceRanges` leave this machine out.
        barred: bool,
    },
    /// A container's `hostPort`.
    HostPort,
}

/// A socket of the host that leads into the cluster.
#[derive(Debug, Clone)]
pub(super) struct Front {
    pub(super) l4: L4,
    /// Where on the host.
    pub(super) at: SocketAddr,
    /// Where to, inside the cluster.
    pub(super) to: SocketAddr,
    pub(super) purpose: Purpose,
    /// The Service or pod that it is for.
    pub(super) owner: Object,
}

impl Front {
    /// What tells sockets apart.
    pub(super) fn key(&self) -> (bool, SocketAddr) {
        (self.l4 == L4::Udp, self.at)
    }

    /// Whether nobody may connect there.
    pub(super) fn is_barred(&self) -> bool {
        matches!(self.purpose, Purpose::LoadBalancer { barred: true, .. })
    }
}

/// All sockets, the oldest object's first. Several may want the same place. Ports that nobody
/// answers for have none: who connects is refused.
pub(super) fn wanted(services: &[Object], slices: &[Object], pods: &[Object], node: &Node) -> Vec<Front> {
    let by_service = by_service(slices);
    let mut fronts = Vec::new();
    for service in oldest_first(services) {
        fronts.extend(of_service(service, &by_service, node));
    }
    for pod in oldest_first(pods) {
        fronts.extend(of_pod(pod, node));
    }
    fronts
}

fn oldest_first(objects: &[Object]) -> Vec<&Object> {
    let mut sorted: Vec<&Object> = objects.iter().collect();
    sorted.sort_by_key(|o| (o.created(), o.namespace().to_owned(), o.name().to_owned()));
    sorted
}

/// Whether this Service's load balancer is ours to provide.
pub(super) fn is_balanced(service: &Value) -> bool {
    service["spec"]["type"] == "LoadBalancer" && service.text("/spec/loadBalancerClass").is_empty()
}

/// Whether `loadBalancerSourceRanges` leave out the address that all clients of this machine have.
fn is_barred(service: &Value) -> bool {
    let ranges = service.items("/spec/loadBalancerSourceRanges");
    let holds = |range: &Value| range.as_str().and_then(|text| text.trim().parse::<IpNet>().ok());
    !ranges.is_empty() && !ranges.iter().filter_map(holds).any(|range| range.contains(&HOST))
}

fn of_service(service: &Object, slices: &ByService<'_>, node: &Node) -> Vec<Front> {
    if !matches!(service.text("/spec/type"), "NodePort" | "LoadBalancer") {
        return Vec::new();
    }
    let slices = slices.get(&(service.namespace(), service.name())).map_or(&[][..], Vec::as_slice);
    let mut fronts = Vec::new();
    for port in service.items("/spec/ports") {
        let Some(l4) = l4(port) else { continue };
        let Some(ip) = node.ips.iter().find(|ip| answers(service, port, slices, **ip, node)) else { continue };
        let front = |number: u16, to: SocketAddr, purpose: Purpose| Front {
            l4,
            at: SocketAddr::new(HOST, number),
            to,
            purpose,
            owner: service.clone(),
        };
        let node_port = port_number(port, "nodePort");
        fronts.extend(node_port.map(|number| front(number, (*ip, number).into(), Purpose::NodePort)));
        if let Some(number) = port_number(port, "port").filter(|_| is_balanced(service)) {
            let cluster = service.text("/spec/clusterIP").parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, number));
            let to = node_port.map(|number| (*ip, number).into()).or(cluster);
            let purpose = Purpose::LoadBalancer { node_port, barred: is_barred(service) };
            fronts.extend(to.map(|to| front(number, to, purpose)));
        }
    }
    fronts
}

/// Whether somebody answers, in the address family of this address of the node.
fn answers(service: &Value, port: &Value, slices: &[&Value], ip: IpAddr, node: &Node) -> bool {
    let place = Place { node: &node.name, zone: &node.zone };
    let local = service["spec"]["externalTrafficPolicy"] == "Local";
    matches!(answer(port, slices, ip.is_ipv6(), local, place), Answer::Targets(_))
}

fn of_pod(pod: &Object, node: &Node) -> Vec<Front> {
    let Some(node_ip) = node.ips.first() else { return Vec::new() };
    let front = |port: host_ports::HostPort| Front {
        l4: port.l4,
        at: SocketAddr::new(port.host_ip.unwrap_or(HOST), port.number),
        to: SocketAddr::new(*node_ip, port.number),
        purpose: Purpose::HostPort,
        owner: pod.clone(),
    };
    host_ports::of(std::slice::from_ref(pod)).into_iter().map(front).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::SERVICE_NAME;
    use serde_json::json;
    use std::sync::Arc;

    fn node() -> Node {
        Node {
            name: "lateen".into(),
            zone: "local".into(),
            ips: vec![[10, 244, 0, 1].into()],
            pods: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn shown(service: Value, answered: bool) -> Vec<String> {
        let service = Arc::new(json!({"metadata": {"name": "web", "namespace": "n"}, "spec": service}));
        let addresses = if answered { json!([{"addresses": ["10.244.0.5"], "nodeName": "lateen"}]) } else { json!([]) };
        let slice = Arc::new(json!({"metadata": {"namespace": "n", "labels": {SERVICE_NAME: "web"}},
            "addressType": "IPv4", "ports": [{"name": "", "port": 8080}], "endpoints": addresses}));
        let fronts = wanted(&[service], &[slice], &[], &node());
        fronts.iter().map(|f| format!("{} -> {}", f.at, f.to)).collect()
    }

    #[test]
    fn node_ports_and_load_balancers_are_reached_on_loopback() {
        let ports = json!([{"port": 80, "nodePort": 30080}]);
        let node_port = json!({"type": "NodePort", "clusterIP": "10.96.0.9", "ports": ports});
        assert_eq!(shown(node_port.clone(), true), ["127.0.0.1:30080 -> 10.244.0.1:30080"]);
        let balanced = json!({"type": "LoadBalancer", "clusterIP": "10.96.0.9", "ports": ports});
        let both = ["127.0.0.1:30080 -> 10.244.0.1:30080", "127.0.0.1:80 -> 10.244.0.1:30080"];
        assert_eq!(shown(balanced.clone(), true), both);
        let without = json!({"type": "LoadBalancer", "clusterIP": "10.96.0.9", "ports": [{"port": 80}]});
        assert_eq!(shown(without, true), ["127.0.0.1:80 -> 10.96.0.9:80"]);
        assert!(shown(node_port, false).is_empty(), "who connects where nobody answers is refused");
        assert!(shown(json!({"type": "ClusterIP", "clusterIP": "10.96.0.9", "ports": ports}), true).is_empty());
        let mut other = balanced;
        other["loadBalancerClass"] = "example.com/other".into();
        assert_eq!(shown(other, true).len(), 1, "the load balancer is somebody else's business");
    }

    #[test]
    fn source_ranges_let_this_machine_in_or_not() {
        for (ranges, barred) in [
            (json!(null), false),
            (json!([]), false),
            (json!(["10.0.0.0/8"]), true),
            (json!(["10.0.0.0/8", " 127.0.0.0/8 "]), false),
            (json!(["0.0.0.0/0"]), false),
            (json!(["::/0"]), true),
        ] {
            assert_eq!(is_barred(&json!({"spec": {"loadBalancerSourceRanges": ranges}})), barred, "{ranges}");
        }
    }

    #[test]
    fn host_ports_are_reached_where_the_pod_says() {
        let ports = json!([{"containerPort": 80, "hostPort": 8080},
            {"containerPort": 81, "hostPort": 8081, "hostIP": "127.0.0.7"}]);
        let pod = Arc::new(json!({"metadata": {"name": "p", "namespace": "n"}, "status": {"podIP": "10.244.0.5"},
            "spec": {"containers": [{"ports": ports}]}}));
        let fronts = wanted(&[], &[], &[pod], &node());
        let shown: Vec<_> = fronts.iter().map(|f| format!("{} -> {}", f.at, f.to)).collect();
        assert_eq!(shown, ["127.0.0.1:8080 -> 10.244.0.1:8080", "127.0.0.7:8081 -> 10.244.0.1:8081"]);
    }
}
