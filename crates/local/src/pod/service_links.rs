//! Variables that tell a container where the Services of its namespace are.

use lateen_apiserver::Object;
use serde_json::Value;

use super::env::Variables;
use crate::controllers::object::Meta;

/// Adds the variables of these Services, as Kubernetes names them. Those without an address of
/// their own have none.
pub(super) fn add(variables: &mut Variables, services: &[Object]) {
    for service in services {
        let ip = service.text("/spec/clusterIP");
        if !matches!(ip, "" | "None") && service["spec"]["type"] != "ExternalName" {
            of_service(variables, service, ip);
        }
    }
}

fn of_service(variables: &mut Variables, service: &Value, ip: &str) {
    let name = upper(service.name());
    variables.set(&format!("{name}_SERVICE_HOST"), ip);
    for (index, port) in service.items("/spec/ports").iter().enumerate() {
        let number = port["port"].to_string();
        let protocol = Some(port.text("/protocol")).filter(|p| !p.is_empty()).unwrap_or("TCP");
        let url = format!("{}://{ip}:{number}", protocol.to_lowercase());
        if index == 0 {
            variables.set(&format!("{name}_SERVICE_PORT"), number.as_str());
            variables.set(&format!("{name}_PORT"), url.as_str());
        }
        if !port.text("/name").is_empty() {
            variables.set(&format!("{name}_SERVICE_PORT_{}", upper(port.text("/name"))), number.as_str());
        }
        let link = format!("{name}_PORT_{number}_{}", protocol.to_uppercase());
        variables.set(&link, url.as_str());
        variables.set(&format!("{link}_PROTO"), protocol.to_lowercase());
        variables.set(&format!("{link}_PORT"), number.as_str());
        variables.set(&format!("{link}_ADDR"), ip);
    }
}

fn upper(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn a_container_finds_services_in_its_environment() {
        let service = |name: &str, spec: Value| Arc::new(json!({"metadata": {"name": name}, "spec": spec}));
        let ports =
            json!([{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
        let mut variables = Variables::default();
        add(
            &mut variables,
            &[
                service("my-db", json!({"clusterIP": "10.96.0.9", "ports": ports})),
                service("pods", json!({"clusterIP": "None", "ports": ports})),
                service("out", json!({"type": "ExternalName"})),
            ],
        );
        for (name, value) in [
            ("MY_DB_SERVICE_HOST", "10.96.0.9"),
            ("MY_DB_SERVICE_PORT", "80"),
            ("MY_DB_SERVICE_PORT_DNS", "53"),
            ("MY_DB_PORT", "tcp://10.96.0.9:80"),
            ("MY_DB_PORT_53_UDP", "udp://10.96.0.9:53"),
            ("MY_DB_PORT_53_UDP_PROTO", "udp"),
            ("MY_DB_PORT_80_TCP_ADDR", "10.96.0.9"),
        ] {
            assert_eq!(variables.get(name), Some(value), "{name}");
        }
        assert!(variables.into_list().iter().all(|(name, _)| name.starts_with("MY_DB")));
    }
}
