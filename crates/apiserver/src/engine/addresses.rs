//! ClusterIPs, their families, and nodePorts. What is taken is known from the stored Services alone.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::status::FieldError;

#[derive(Default)]
struct Used {
    addresses: BTreeSet<u32>,
    ports: BTreeSet<u16>,
}

/// What one allocation took.
#[derive(Default)]
pub struct Taken {
    addresses: Vec<u32>,
    ports: Vec<u16>,
}

pub struct Addresses {
    network: Ipv4Net,
    ports: (u16, u16),
    used: Mutex<Used>,
}

fn address(service: &Value) -> Option<u32> {
    service["spec"]["clusterIP"].as_str()?.parse::<Ipv4Addr>().ok().map(u32::from)
}

fn node_ports(service: &Value) -> impl Iterator<Item = u16> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    ports.filter_map(|p| p["nodePort"].as_u64().and_then(|n| u16::try_from(n).ok())).filter(|n| *n > 0)
}

impl Addresses {
    pub fn new(network: Ipv4Net, ports: (u16, u16)) -> Self {
        Self { network, ports, used: Mutex::default() }
    }

    /// Marks a stored Service's addresses as taken.
    pub fn note(&self, service: &Value) {
        let mut used = self.used.lock();
        used.addresses.extend(address(service));
        used.ports.extend(node_ports(service));
    }

    /// Frees the addresses of a Service that is gone.
    pub fn release(&self, service: &Value) {
        let mut used = self.used.lock();
        if let Some(address) = address(service) {
            used.addresses.remove(&address);
        }
        for port in node_ports(service) {
            used.ports.remove(&port);
        }
    }

    /// Frees what `old` had and `new` no longer has.
    pub fn release_difference(&self, old: &Value, new: &Value) {
        if old["kind"] != "Service" {
            return;
        }
        self.release(old);
        self.note(new);
    }

    /// Undoes an allocation whose Service was not stored.
    pub fn give_back(&self, taken: &Taken) {
        let mut used = self.used.lock();
        for address in &taken.addresses {
            used.addresses.remove(address);
        }
        for port in &taken.ports {
            used.ports.remove(port);
        }
    }

    /// Gives a Service what it asks for or needs and doesn't have yet. `old` is the Service that it
    /// replaces.
    pub fn allocate(&self, service: &mut Value, old: Option<&Value>) -> Result<Taken, FieldError> {
        let mut taken = Taken::default();
        let result = self.allocate_into(service, old, &mut taken);
        if result.is_err() {
            self.give_back(&taken);
        }
        result.map(|()| taken)
    }

    fn allocate_into(&self, service: &mut Value, old: Option<&Value>, taken: &mut Taken) -> Result<(), FieldError> {
        let spec = &mut service["spec"];
        let kind = spec["type"].as_str().unwrap_or_default().to_owned();
        if kind == "ExternalName" {
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                crate::object::as_map(spec).shift_remove(field);
            }
            return Ok(());
        }
        set_families(spec)?;
        let wanted = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
        if wanted.is_empty() {
            let free = self.free_address()?;
            taken.addresses.push(free.into());
            spec["clusterIP"] = free.to_string().into();
        } else if wanted != "None" {
            self.take_address(&wanted, old, taken)?;
        }
        spec["clusterIPs"] = json!([spec["clusterIP"]]);
        let needed = kind == "NodePort" || (kind == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] != false);
        let usable = matches!(kind.as_str(), "NodePort" | "LoadBalancer");
        let mut own: Vec<(u16, Value)> = Vec::new();
        for (index, port) in spec["ports"].as_array_mut().into_iter().flatten().enumerate() {
            let number = node_port(port);
            if !usable {
                crate::object::as_map(port).shift_remove("nodePort");
            } else if number == 0 && needed {
                self.free_port(port, index, taken)?;
            } else if number != 0 && !own.iter().any(|(n, protocol)| *n == number && *protocol != port["protocol"]) {
                self.take_port(number, index, old, taken)?;
            }
            own.push((node_port(port), port["protocol"].clone()));
        }
        Ok(())
    }

    /// Random, so that a deleted Service's address is not the next one's.
    fn free_address(&self) -> Result<Ipv4Addr, FieldError> {
        let (first, last) = (u32::from(self.network.network()), u32::from(self.network.broadcast()));
        // The lowest addresses are for those who ask for one (kubernetes, kube-dns).
        let start = first + ((last - first) / 16).clamp(1, 256);
        let mut used = self.used.lock();
        let offset = fastrand::u32(..last - start);
        let count = last - start;
        let free = (0..count).map(|i| start + (offset + i) % count).find(|a| !used.addresses.contains(a));
        let Some(free) = free else {
            return Err(FieldError {
                reason: "InternalError",
                field: "spec.clusterIPs".into(),
                message: "Internal error: failed to allocate a serviceIP: range is full".into(),
            });
        };
        used.addresses.insert(free);
        Ok(free.into())
    }

    fn take_address(&self, wanted: &str, old: Option<&Value>, taken: &mut Taken) -> Result<(), FieldError> {
        let refuse = |text: &str| Err(FieldError::invalid("spec.clusterIPs", &json!([wanted]), text));
        let Ok(parsed) = wanted.parse::<Ipv4Addr>() else {
            return refuse("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        };
        if !self.network.contains(&parsed) {
            let text = format!(
                "failed to allocate IP {wanted}: the provided IP ({wanted}) is not in the valid \
                 range. The range of valid IPs is {}",
                self.network
            );
            return refuse(&text);
        }
        if self.used.lock().addresses.insert(parsed.into()) {
            taken.addresses.push(parsed.into());
        } else if old.and_then(address) != Some(parsed.into()) {
            return refuse(&format!("failed to allocate IP {wanted}: provided IP is already allocated"));
        }
        Ok(())
    }

    fn free_port(&self, port: &mut Value, index: usize, taken: &mut Taken) -> Result<(), FieldError> {
        let mut used = self.used.lock();
        let (first, last) = self.ports;
        let count = u32::from(last - first) + 1;
        let offset = fastrand::u32(..count);
        let free = (0..count)
            .map(|i| first + u16::try_from((offset + i) % count).unwrap_or(0))
            .find(|p| !used.ports.contains(p));
        let Some(free) = free else {
            let text = "failed to allocate a nodePort: range is full";
            return Err(FieldError::invalid(format!("spec.ports[{index}].nodePort"), &json!(0), text));
        };
        used.ports.insert(free);
        taken.ports.push(free);
        port["nodePort"] = free.into();
        Ok(())
    }

    fn take_port(&self, wanted: u16, index: usize, old: Option<&Value>, taken: &mut Taken) -> Result<(), FieldError> {
        let refuse =
            |text: String| Err(FieldError::invalid(format!("spec.ports[{index}].nodePort"), &json!(wanted), text));
        let (first, last) = self.ports;
        if old.is_some_and(|old| node_ports(old).any(|port| port == wanted)) {
            return Ok(());
        }
        if !(first..=last).contains(&wanted) {
            let range = format!("{first}-{last}");
            return refuse(format!("provided port is not in the valid range. The range of valid ports is {range}"));
        }
        if !self.used.lock().ports.insert(wanted) {
            return refuse("provided port is already allocated".to_owned());
        }
        taken.ports.push(wanted);
        Ok(())
    }
}

fn node_port(port: &Value) -> u16 {
    port["nodePort"].as_u64().and_then(|n| u16::try_from(n).ok()).unwrap_or(0)
}

/// Fills in the address families of a Service, in a cluster that has IPv4 only.
fn set_families(spec: &mut Value) -> Result<(), FieldError> {
    let headless = spec["clusterIP"] == "None";
    let selectorless = spec["selector"].as_object().is_none_or(serde_json::Map::is_empty);
    let map = crate::object::as_map(spec);
    map.retain(|field, value| !(field == "ipFamilies" && value.as_array().is_none_or(Vec::is_empty)));
    map.retain(|field, value| !(field == "ipFamilyPolicy" && value.is_null()));
    if headless && selectorless {
        // Its endpoints are not the cluster's business: they may be of any family.
        let policy = map.entry("ipFamilyPolicy").or_insert("RequireDualStack".into()).clone();
        let families = map.entry("ipFamilies").or_insert(json!(["IPv4"]));
        if let Some(list) = families.as_array_mut()
            && policy != "SingleStack"
            && list.len() == 1
        {
            let other = if list[0] == "IPv4" { "IPv6" } else { "IPv4" };
            list.push(other.into());
        }
        return Ok(());
    }
    let families = map.entry("ipFamilies").or_insert(json!(["IPv4"])).clone();
    let policy = map.entry("ipFamilyPolicy").or_insert("SingleStack".into());
    if *policy == "RequireDualStack" {
        let text = "this cluster is not configured for dual-stack services";
        return Err(FieldError::invalid("spec.ipFamilyPolicy", policy, text));
    }
    let mut foreign = families.as_array().into_iter().flatten().enumerate().filter(|(_, family)| **family != "IPv4");
    match foreign.next() {
        Some((index, family)) => {
            Err(FieldError::invalid(format!("spec.ipFamilies[{index}]"), family, "not configured on this cluster"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        Addresses::new("10.96.0.0/24".parse().unwrap(), (30000, 30001))
    }

    fn service(spec: Value) -> Value {
        json!({"kind": "Service", "metadata": {"name": "web"}, "spec": spec})
    }

    fn refused(addresses: &Addresses, spec: Value) -> String {
        addresses.allocate(&mut service(spec), None).err().expect("refused").to_string()
    }

    #[test]
    fn families_are_those_of_the_cluster() {
        let addresses = addresses();
        for (spec, families, policy) in [
            (json!({"type": "ClusterIP"}), json!(["IPv4"]), "SingleStack"),
            (json!({"type": "ClusterIP", "ipFamilyPolicy": "PreferDualStack"}), json!(["IPv4"]), "PreferDualStack"),
            (json!({"clusterIP": "None", "selector": {"a": "b"}}), json!(["IPv4"]), "SingleStack"),
            (json!({"clusterIP": "None"}), json!(["IPv4", "IPv6"]), "RequireDualStack"),
        ] {
            let mut service = service(spec);
            addresses.allocate(&mut service, None).unwrap();
            assert_eq!(
                (&service["spec"]["ipFamilies"], &service["spec"]["ipFamilyPolicy"]),
                (&families, &json!(policy))
            );
            assert_eq!(service["spec"]["clusterIPs"], json!([service["spec"]["clusterIP"]]));
        }
        assert_eq!(
            refused(&addresses, json!({"ipFamilyPolicy": "RequireDualStack"})),
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack \
             services"
        );
        assert_eq!(
            refused(&addresses, json!({"ipFamilies": ["IPv6"]})),
            "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"
        );
    }

    #[test]
    fn node_ports_are_of_the_range_and_of_one_service() {
        let addresses = addresses();
        let port =
            |number: u16| json!({"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP", "nodePort": number}]});
        assert_eq!(
            refused(&addresses, port(80)),
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid \
             ports is 30000-30001"
        );
        let mut first = service(port(30000));
        addresses.allocate(&mut first, None).unwrap();
        let taken = "spec.ports[0].nodePort: Invalid value: 30000: provided port is already allocated";
        assert_eq!(refused(&addresses, port(30000)), taken);
        assert!(addresses.allocate(&mut first.clone(), Some(&first)).is_ok(), "an update keeps its own");
        let mut other = first.clone();
        other["spec"]["ports"][0]["nodePort"] = 30001.into();
        let mut changed = first.clone();
        let error = addresses.allocate(&mut changed, Some(&other)).err().expect("an update can't take another's");
        assert_eq!(error.to_string(), taken);
        let both = json!({"type": "NodePort", "ports": [
            {"port": 53, "protocol": "TCP", "nodePort": 30001}, {"port": 53, "protocol": "UDP", "nodePort": 30001}]});
        assert!(addresses.allocate(&mut service(both), None).is_ok(), "one number for both protocols");
        let none = json!({"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]});
        assert!(refused(&addresses, none).contains("range is full"));
    }

    #[test]
    fn a_load_balancer_may_do_without_node_ports() {
        let addresses = addresses();
        let mut service = service(json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
            "ports": [{"port": 80, "protocol": "TCP"}]}));
        addresses.allocate(&mut service, None).unwrap();
        assert_eq!(service["spec"]["ports"][0].get("nodePort"), None);
    }
}
