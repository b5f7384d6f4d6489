//! What a Service of type LoadBalancer says about itself, and what is said about sockets that the
//! host can't have.

use std::io;
use std::net::SocketAddr;

use lateen_apiserver::Object;
use serde_json::{Value, json};

use super::front::{Front, HOST, Purpose, is_balanced};
use super::targets::port_number;
use crate::controllers::object::Meta;

/// Why the host can't have a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Problem {
    /// Another program, or another object of this cluster, has it.
    Taken,
    /// An ordinary user may not have it.
    NotPermitted,
    /// `loadBalancerSourceRanges` leave out those who would connect.
    Barred,
    /// The address is none of this machine's, or the like.
    Refused(i32),
}

impl Problem {
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::Taken,
            io::ErrorKind::PermissionDenied => Self::NotPermitted,
            _ => Self::Refused(error.raw_os_error().unwrap_or_default()),
        }
    }

    /// As `error` of a port in a Service's status.
    fn code(self) -> &'static str {
        match self {
            Self::Taken => "lateen.dev/PortInUse",
            Self::NotPermitted => "lateen.dev/PortNotPermitted",
            Self::Barred => "lateen.dev/SourceNotAllowed",
            Self::Refused(_) => "lateen.dev/PortRefused",
        }
    }
}

/// What is wrong with a socket, and what to do. `holder` is who has it, where that is known.
pub(super) fn explain(front: &Front, problem: Problem, holder: Option<&str>) -> String {
    let protocol = if front.key().0 { "UDP" } else { "TCP" };
    let at = front.at;
    let why = match (problem, holder) {
        (Problem::Taken, Some(holder)) => format!("{at} ({protocol}) on this machine belongs to {holder}"),
        (Problem::Taken, None) => format!("{at} ({protocol}) on this machine is in use by another program"),
        (Problem::NotPermitted, _) => format!(
            "an ordinary user can't listen on {at} ({protocol}): ports below \
             net.ipv4.ip_unprivileged_port_start are for root"
        ),
        (Problem::Barred, _) => {
            format!("nobody may connect to {at} ({protocol}): loadBalancerSourceRanges leave out {}", at.ip())
        }
        (Problem::Refused(code), _) => {
            format!("this machine refuses to listen on {at} ({protocol}): {}", io::Error::from_raw_os_error(code))
        }
    };
    let instead = match front.purpose {
        Purpose::LoadBalancer { node_port: Some(port), .. } => {
            format!("; the Service is reached at {} instead", SocketAddr::new(HOST, port))
        }
        Purpose::LoadBalancer { node_port: None, .. } => "; the Service is not reached from this machine".to_owned(),
        Purpose::NodePort => "; this nodePort is reached from pods only; choose another nodePort".to_owned(),
        Purpose::HostPort => "; this hostPort is reached from pods only".to_owned(),
    };
    why + &instead
}

/// What the status of the Service should say about its load balancer. `problem` is asked for each
/// port. `None` where it says so already, or where the status isn't ours.
pub(super) fn status(service: &Object, problem: impl Fn(&Value) -> Option<Problem>) -> Option<Value> {
    let now = service.pointer("/status/loadBalancer/ingress").cloned().unwrap_or(Value::Null);
    if !is_balanced(service) {
        let ours = now.as_array().is_some_and(|list| list.iter().any(|i| i["ip"] == HOST.to_string()));
        // As a patch: null takes the field away.
        return (ours && service["spec"]["type"] != "LoadBalancer").then(|| json!({"loadBalancer": {"ingress": null}}));
    }
    let ports: Vec<Value> = service.items("/spec/ports").iter().map(|port| shown(port, problem(port))).collect();
    let ingress = json!([{"ip": HOST.to_string(), "ipMode": "Proxy", "ports": ports}]);
    (now != ingress).then(|| json!({"loadBalancer": {"ingress": ingress}}))
}

fn shown(port: &Value, problem: Option<Problem>) -> Value {
    let protocol = port["protocol"].as_str().unwrap_or("TCP");
    let mut shown = json!({"port": port_number(port, "port"), "protocol": protocol});
    if let Some(problem) = problem {
        shown["error"] = problem.code().into();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use lateen_nft::L4;
    use std::sync::Arc;

    fn service(kind: &str, status: Value) -> Object {
        let ports = json!([{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]);
        Arc::new(json!({"spec": {"type": kind, "ports": ports}, "status": status}))
    }

    #[test]
    fn a_load_balancer_is_the_loopback_address_with_its_ports_problems() {
        let wanted = |port: &Value| (port["port"] == 80).then_some(Problem::NotPermitted);
        let status = status(&service("LoadBalancer", json!({"loadBalancer": {}})), wanted).unwrap();
        let ingress = &status["loadBalancer"]["ingress"][0];
        assert_eq!((&ingress["ip"], &ingress["ipMode"]), (&json!("127.0.0.1"), &json!("Proxy")));
        assert_eq!(ingress["ports"][0]["error"], "lateen.dev/PortNotPermitted");
        assert_eq!(ingress["ports"][1], json!({"port": 53, "protocol": "UDP"}));
        assert_eq!(super::status(&service("LoadBalancer", status), wanted), None, "said already");
    }

    #[test]
    fn what_was_a_load_balancer_says_so_no_more() {
        let ours = json!({"loadBalancer": {"ingress": [{"ip": "127.0.0.1", "ipMode": "Proxy"}]}});
        assert_eq!(status(&service("ClusterIP", ours), |_| None), Some(json!({"loadBalancer": {"ingress": null}})));
        assert_eq!(status(&service("ClusterIP", json!({"loadBalancer": {}})), |_| None), None);
    }

    #[test]
    fn a_problem_says_what_to_do() {
        let front = Front {
            l4: L4::Tcp,
            at: "127.0.0.1:80".parse().unwrap(),
            to: "10.244.0.1:30080".parse().unwrap(),
            purpose: Purpose::LoadBalancer { node_port: Some(30080), barred: false },
            owner: service("LoadBalancer", json!({})),
        };
        let text = explain(&front, Problem::of(&io::ErrorKind::PermissionDenied.into()), None);
        assert!(text.contains("ordinary user") && text.contains("reached at 127.0.0.1:30080 instead"), "{text}");
        let text = explain(&front, Problem::Taken, Some("Service default/other"));
        assert!(text.contains("belongs to Service default/other"), "{text}");
        let text = explain(&front, Problem::Barred, None);
        assert!(text.contains("loadBalancerSourceRanges leave out 127.0.0.1; the Service is reached at"), "{text}");
    }
}
