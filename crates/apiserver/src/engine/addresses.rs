//! ClusterIPs and nodePorts. What is taken is known from the stored Services alone.

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

    /// Gives a Service what it asks for or needs and doesn't have yet.
    pub fn allocate(&self, service: &mut Value) -> Result<Taken, FieldError> {
        let mut taken = Taken::default();
        let result = self.allocate_into(service, &mut taken);
        if result.is_err() {
            self.give_back(&taken);
        }
        result.map(|()| taken)
    }

    fn allocate_into(&self, service: &mut Value, taken: &mut Taken) -> Result<(), FieldError> {
        let stored = service["metadata"]["resourceVersion"].as_str().is_some_and(|v| !v.is_empty());
        let spec = &mut service["spec"];
        let kind = spec["type"].as_str().unwrap_or_default().to_owned();
        if kind == "ExternalName" {
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                crate::object::as_map(spec).shift_remove(field);
            }
            return Ok(());
        }
        let wanted = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
        if wanted.is_empty() {
            let free = self.free_address()?;
            taken.addresses.push(free.into());
            spec["clusterIP"] = free.to_string().into();
        } else if wanted != "None" {
            self.take_address(&wanted, stored, taken)?;
        }
        spec["clusterIPs"] = json!([spec["clusterIP"]]);
        if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
            for port in spec["ports"].as_array_mut().into_iter().flatten() {
                self.allocate_port(port, stored, taken)?;
            }
        } else {
            for port in spec["ports"].as_array_mut().into_iter().flatten() {
                crate::object::as_map(port).shift_remove("nodePort");
            }
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

    fn take_address(&self, wanted: &str, stored: bool, taken: &mut Taken) -> Result<(), FieldError> {
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
        } else if !stored {
            return refuse(&format!("failed to allocate IP {wanted}: provided IP is already allocated"));
        }
        Ok(())
    }

    fn allocate_port(&self, port: &mut Value, stored: bool, taken: &mut Taken) -> Result<(), FieldError> {
        let mut used = self.used.lock();
        let wanted = port["nodePort"].as_u64().and_then(|n| u16::try_from(n).ok()).unwrap_or(0);
        if wanted == 0 {
            let (first, last) = self.ports;
            let count = u32::from(last - first) + 1;
            let offset = fastrand::u32(..count);
            let free = (0..count)
                .map(|i| first + u16::try_from((offset + i) % count).unwrap_or(0))
                .find(|p| !used.ports.contains(p));
            let Some(free) = free else {
                let text = "failed to allocate a nodePort: range is full";
                return Err(FieldError::invalid("spec.ports[0].nodePort", &json!(0), text));
            };
            used.ports.insert(free);
            taken.ports.push(free);
            port["nodePort"] = free.into();
        } else if used.ports.insert(wanted) {
            taken.ports.push(wanted);
        } else if !stored {
            let text = "provided port is already allocated";
            return Err(FieldError::invalid("spec.ports[0].nodePort", &json!(wanted), text));
        }
        Ok(())
    }
}
