//! What istiod knows, as the debug pages show it.

use std::collections::BTreeMap;

use lateen_control_core::resource::{Config, Service};
use lateen_control_core::snapshot::{Endpoint, Snapshot};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Pages made from the state of the mesh.
pub const PAGES: [&str; 4] = ["configz", "endpointz", "mesh", "registryz"];

/// The page of this name.
pub fn page(name: &str, snapshot: &Snapshot) -> Option<Value> {
    Some(match name {
        "configz" => configs(snapshot),
        "endpointz" => snapshot.services.iter().map(|service| endpoints(service, snapshot)).collect(),
        "mesh" => serde_json::to_value(&snapshot.mesh.raw).unwrap_or_default(),
        "registryz" => snapshot.services.iter().map(|service| registry(service)).collect(),
        _ => return None,
    })
}

fn registry(service: &Service) -> Value {
    let ports = service
        .ports
        .iter()
        .map(|port| json!({ "name": port.name, "port": port.number, "protocol": format!("{:?}", port.protocol) }));
    json!({
        "hostname": service.hostname.to_string(),
        "ports": ports.collect::<Vec<_>>(),
        "addresses": service.addresses,
        "autoAllocatedAddresses": service.allocated,
        "resolution": format!("{:?}", service.resolution),
        "meshExternal": service.external,
        "creationTime": service.created,
        "attributes": {
            "serviceRegistry": format!("{:?}", service.registry),
            "name": service.name(),
            "namespace": service.namespace(),
            "labelSelectors": service.selector,
            "exportTo": service.export_to,
        },
    })
}

fn endpoints(service: &Service, snapshot: &Snapshot) -> Value {
    let found = snapshot.endpoints.of_service(&service.hostname, service.namespace());
    let by_port: BTreeMap<&u16, Vec<Value>> = found
        .iter()
        .flat_map(|found| &found.by_port)
        .map(|(port, all)| (port, all.iter().map(|one| endpoint(one)).collect()))
        .collect();
    let ports = by_port.into_iter().map(|(port, all)| (port.to_string(), Value::Array(all)));
    json!({ "svc": service.hostname.to_string(), "ports": ports.collect::<Map<_, _>>() })
}

fn endpoint(endpoint: &Endpoint) -> Value {
    json!({
        "address": endpoint.address,
        "additionalAddresses": endpoint.further,
        "port": endpoint.port,
        "namespace": endpoint.namespace,
        "workload": endpoint.workload,
        "serviceAccount": endpoint.service_account,
        "tls": endpoint.mesh_tls,
        "weight": endpoint.weight,
        "labels": endpoint.labels,
    })
}

fn configs(snapshot: &Snapshot) -> Value {
    let services = snapshot.virtual_services.iter().map(|config| object("VirtualService", config));
    let gateways = snapshot.gateways.iter().map(|config| object("Gateway", config));
    services.chain(gateways).collect()
}

fn object<T: Serialize>(kind: &str, config: &Config<T>) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": kind,
        "metadata": {
            "name": config.meta.name,
            "namespace": config.meta.namespace,
            "labels": config.meta.labels,
            "annotations": config.meta.annotations,
            "creationTimestamp": config.meta.created,
        },
        "spec": *config.spec,
    })
}
