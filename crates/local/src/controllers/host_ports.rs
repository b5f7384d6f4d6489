//! Ports of a node that pods ask for with `hostPort`: each is given to one pod.

use lateen_apiserver::Object;
use serde_json::Value;

use super::object::Meta;
use super::pods;

/// Protocol, port and address of each port of the node that the pod asks for.
pub fn of(pod: &Value) -> Vec<(&str, i64, &str)> {
    let containers = pod.items("/spec/containers").iter().chain(pod.items("/spec/initContainers"));
    let ports = containers.flat_map(|container| container.items("/ports"));
    let wanted = ports.filter(|port| port.int("/hostPort").is_some_and(|number| number != 0));
    wanted.map(|p| (or(p, "/protocol", "TCP"), p.int("/hostPort").unwrap_or(0), or(p, "/hostIP", "0.0.0.0"))).collect()
}

fn or<'a>(port: &'a Value, field: &str, default: &'a str) -> &'a str {
    Some(port.text(field)).filter(|text| !text.is_empty()).unwrap_or(default)
}

/// What is said where another of `pods` has one of the ports already.
pub fn taken(pod: &Value, node: &Value, pods: &[Object]) -> Option<String> {
    let wanted = of(pod);
    let here = pods.iter().filter(|p| p.text("/spec/nodeName") == node.name() && !pods::is_finished(p));
    let every = |ip: &str| ip == "0.0.0.0";
    let clash = here.flat_map(|p| of(p)).any(|(protocol, port, ip)| {
        wanted.iter().any(|w| w.0 == protocol && w.1 == port && (w.2 == ip || every(w.2) || every(ip)))
    });
    clash.then(|| "1 node(s) didn't have free ports for the requested pod ports".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_port_of_the_node_is_given_to_one_pod() {
        let node = json!({"metadata": {"name": "lateen"}});
        let pod = |port: i64, protocol: &str, ip: &str| {
            let ports = json!([{"containerPort": 80, "hostPort": port, "protocol": protocol, "hostIP": ip}]);
            json!({"spec": {"nodeName": "lateen", "containers": [{"ports": ports}]}})
        };
        let there = [Object::new(pod(8080, "TCP", "127.0.0.1"))];
        for (wanted, clash) in [
            (pod(8080, "TCP", ""), true),
            (pod(8080, "TCP", "127.0.0.1"), true),
            (pod(8080, "TCP", "127.0.0.2"), false),
            (pod(8080, "UDP", ""), false),
            (pod(8081, "TCP", ""), false),
        ] {
            assert_eq!(taken(&wanted, &node, &there).is_some(), clash, "{wanted}");
        }
    }
}
