//! ClusterIPs, their families, and nodePorts. What is taken is known from the stored Services alone.

mod families;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::status::FieldError;

#[derive(Default)]
struct Used {
    addresses: BTreeSet<IpAddr>,
    ports: BTreeSet<u16>,
}

/// What one allocation took.
#[derive(Default)]
pub struct Taken {
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
}

pub struct Addresses {
    /// One for each family of the cluster, IPv4 first.
    networks: Vec<IpNet>,
    ports: (u16, u16),
    used: Mutex<Used>,
}

fn addresses(service: &Value) -> impl Iterator<Item = IpAddr> {
    let more = service["spec"]["clusterIPs"].as_array().into_iter().flatten();
    let all = std::iter::once(&service["spec"]["clusterIP"]).chain(more);
    all.filter_map(|ip| ip.as_str()?.parse().ok())
}

fn node_ports(service: &Value) -> impl Iterator<Item = u16> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    ports.filter_map(|p| p["nodePort"].as_u64().and_then(|n| u16::try_from(n).ok())).filter(|n| *n > 0)
}

impl Addresses {
    pub fn new(network: Ipv4Net, second: Option<Ipv6Net>, ports: (u16, u16)) -> Self {
        let networks = std::iter::once(IpNet::V4(network)).chain(second.map(IpNet::V6));
        Self { networks: networks.collect(), ports, used: Mutex::default() }
    }

    /// Marks a stored Service's addresses as taken.
    pub fn note(&self, service: &Value) {
        let mut used = self.used.lock();
        used.addresses.extend(addresses(service));
        used.ports.extend(node_ports(service));
    }

    /// Frees the addresses of a Service that is gone.
    pub fn release(&self, service: &Value) {
        let mut used = self.used.lock();
        for address in addresses(service) {
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
        families::fill(spec, old, self.networks.len() > 1)?;
        self.cluster_ips(spec, old, taken)?;
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

    /// An address of each of the Service's families.
    fn cluster_ips(&self, spec: &mut Value, old: Option<&Value>, taken: &mut Taken) -> Result<(), FieldError> {
        if spec["clusterIP"] == "None" {
            spec["clusterIPs"] = json!(["None"]);
            return Ok(());
        }
        let families = spec["ipFamilies"].as_array().cloned().unwrap_or_default();
        let mut ips = Vec::new();
        for (index, family) in families.iter().enumerate() {
            let listed = spec["clusterIPs"][index].as_str();
            let wanted = listed.or(spec["clusterIP"].as_str().filter(|_| index == 0)).unwrap_or_default().to_owned();
            let network = self.networks.iter().find(|network| network.addr().is_ipv6() == (family == "IPv6"));
            let Some(network) = network else { continue };
            if wanted.is_empty() {
                let free = self.free_address(network)?;
                taken.addresses.push(free);
                ips.push(free.to_string());
            } else {
                self.take_address(&wanted, network, old, taken)?;
                ips.push(wanted);
            }
        }
        spec["clusterIP"] = json!(ips.first());
        spec["clusterIPs"] = json!(ips);
        Ok(())
    }

    /// Random, so that a deleted Service's address is not the next one's.
    fn free_address(&self, network: &IpNet) -> Result<IpAddr, FieldError> {
        let (first, last) = (number(network.network()), number(network.broadcast()));
        // The lowest addresses are for those who ask for one (kubernetes, kube-dns).
        let start = first + ((last - first) / 16).clamp(1, 256);
        let mut used = self.used.lock();
        let count = last - start;
        let offset = fastrand::u128(..count);
        let address = |number: u128| match network {
            IpNet::V4(_) => u32::try_from(number).ok().map(|number| Ipv4Addr::from(number).into()),
            IpNet::V6(_) => Some(Ipv6Addr::from(number).into()),
        };
        let mut candidates = (0..count).filter_map(|i| address(start + (offset + i) % count));
        let Some(free) = candidates.find(|candidate| !used.addresses.contains(candidate)) else {
            return Err(FieldError {
                reason: "InternalError",
                field: "spec.clusterIPs".into(),
                message: "Internal error: failed to allocate a serviceIP: range is full".into(),
            });
        };
        used.addresses.insert(free);
        Ok(free)
    }

    fn take_address(
        &self,
        wanted: &str,
        network: &IpNet,
        old: Option<&Value>,
        taken: &mut Taken,
    ) -> Result<(), FieldError> {
        let refuse = |text: &str| Err(FieldError::invalid("spec.clusterIPs", &json!([wanted]), text));
        let Ok(parsed) = wanted.parse::<IpAddr>() else {
            return refuse("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        };
        if !network.contains(&parsed) {
            let text = format!(
                "failed to allocate IP {wanted}: the provided IP ({wanted}) is not in the valid \
                 range. The range of valid IPs is {network}"
            );
            return refuse(&text);
        }
        if self.used.lock().addresses.insert(parsed) {
            taken.addresses.push(parsed);
        } else if !old.is_some_and(|old| addresses(old).any(|address| address == parsed)) {
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

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn node_port(port: &Value) -> u16 {
    port["nodePort"].as_u64().and_then(|n| u16::try_from(n).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        Addresses::new("10.96.0.0/24".parse().unwrap(), None, (30000, 30001))
    }

    fn dual() -> Addresses {
        let second = "fd00:10:96::/112".parse().unwrap();
        Addresses::new("10.96.0.0/24".parse().unwrap(), Some(second), (30000, 30001))
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
    fn a_dual_stack_cluster_gives_the_families_that_are_asked_for_in_their_order() {
        let addresses = dual();
        let (four, six) = ("10.96.0.", "fd00:10:96::");
        for (spec, starts, policy) in [
            (json!({}), &[four][..], "SingleStack"),
            (json!({"ipFamilies": ["IPv6"]}), &[six], "SingleStack"),
            (json!({"clusterIP": "fd00:10:96::7"}), &["fd00:10:96::7"], "SingleStack"),
            (json!({"ipFamilyPolicy": "PreferDualStack"}), &[four, six], "PreferDualStack"),
            (json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}), &[six, four], "RequireDualStack"),
        ] {
            let mut service = service(spec);
            addresses.allocate(&mut service, None).unwrap();
            let ips = service["spec"]["clusterIPs"].as_array().unwrap();
            let fit = ips.iter().zip(starts).all(|(ip, start)| ip.as_str().unwrap().starts_with(start));
            assert!(fit && ips.len() == starts.len(), "{service}");
            assert_eq!((&service["spec"]["clusterIP"], &service["spec"]["ipFamilyPolicy"]), (&ips[0], &json!(policy)));
            assert_eq!(service["spec"]["ipFamilies"].as_array().unwrap().len(), starts.len());
        }
        assert_eq!(
            refused(&addresses, json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"]})),
            "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be RequireDualStack or PreferDualStack when \
             multiple IP families are specified"
        );
        assert!(refused(&addresses, json!({"clusterIP": "fd00:10:96::7"})).contains("already allocated"));
        assert!(refused(&addresses, json!({"clusterIP": "fd00:1::7"})).contains("fd00:10:96::/112"));
    }

    #[test]
    fn a_service_gains_and_loses_its_second_family() {
        let addresses = dual();
        let mut single = service(json!({"selector": {"app": "web"}}));
        addresses.allocate(&mut single, None).unwrap();
        let mut both = single.clone();
        both["spec"]["ipFamilyPolicy"] = "PreferDualStack".into();
        addresses.allocate(&mut both, Some(&single)).unwrap();
        assert_eq!(both["spec"]["clusterIPs"][0], single["spec"]["clusterIP"]);
        let second = both["spec"]["clusterIPs"][1].clone();
        assert!(second.as_str().unwrap().starts_with("fd00:10:96::"));
        let mut again = both.clone();
        again["spec"]["ipFamilyPolicy"] = "SingleStack".into();
        addresses.allocate(&mut again, Some(&both)).unwrap();
        assert_eq!(
            (&again["spec"]["clusterIPs"], &again["spec"]["ipFamilies"]),
            (&single["spec"]["clusterIPs"], &json!(["IPv4"]))
        );
        addresses.release_difference(&both, &again);
        assert!(addresses.allocate(&mut service(json!({"clusterIP": second})), None).is_ok(), "it is free again");
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
