//! Endpoint assignments.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lateen_api::envoy::envoy::config::core::v3::{HealthStatus, Locality, address};
use lateen_api::envoy::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
use lateen_api::envoy::google::protobuf::value::Kind;

use super::LoadError;
use super::cluster::lateen_fields;
use super::convert::{host_port, number};
use crate::cluster::{ClusterConfig, Discovery};
use crate::endpoint::{Address, Endpoint, EndpointSet, EndpointState, LocalityGroup, Priority, Workload};
use crate::provenance::{flat, list, text};

/// Addresses that a name resolved to.
pub type Resolve<'r> = &'r dyn Fn(&str) -> Vec<IpAddr>;

/// Builds the endpoints of a cluster. States of endpoints in `old` are kept.
pub fn endpoints(
    config: &ClusterConfig,
    assignment: &ClusterLoadAssignment,
    resolve: Resolve<'_>,
    old: Option<&EndpointSet>,
) -> Result<EndpointSet, LoadError> {
    let mut priorities: BTreeMap<u32, Priority> = BTreeMap::new();
    let states = old.iter().flat_map(|old| old.iter()).map(|endpoint| (endpoint.id, &endpoint.state)).collect();
    let mut build = Build { config, resolve, states, last: None };
    for group in &assignment.endpoints {
        let priority = priorities.entry(group.priority).or_default();
        let built = build.locality(group)?;
        priority.endpoints.extend(built.endpoints.iter().cloned());
        priority.localities.push(built);
    }
    let factor = assignment.policy.as_ref().and_then(|policy| number(policy.overprovisioning_factor));
    Ok(EndpointSet { priorities: priorities.into_values().collect(), overprovisioning: factor.unwrap_or(140) })
}

/// The endpoints of one cluster under way.
struct Build<'b> {
    config: &'b ClusterConfig,
    resolve: Resolve<'b>,
    /// States of the endpoints that there were, by id.
    states: HashMap<u64, &'b Arc<EndpointState>>,
    /// Most endpoints are like the one before them in all but their address, and share that with it.
    last: Option<Arc<Endpoint>>,
}

impl Build<'_> {
    fn locality(&mut self, group: &LocalityLbEndpoints) -> Result<LocalityGroup, LoadError> {
        let mut endpoints = Vec::with_capacity(group.lb_endpoints.len());
        for endpoint in &group.lb_endpoints {
            for address in addresses(self.config, endpoint, self.resolve)? {
                endpoints.push(self.one(endpoint, address));
            }
        }
        Ok(LocalityGroup {
            name: group.locality.as_ref().map(locality_name).unwrap_or_default().into(),
            weight: number(group.load_balancing_weight),
            endpoints,
        })
    }

    fn one(&mut self, proto: &LbEndpoint, address: Address) -> Arc<Endpoint> {
        let mut endpoint = endpoint(self.config, proto, address);
        if let Some(state) = self.states.get(&endpoint.id) {
            endpoint.state = (*state).clone();
        }
        if let Some(last) = &self.last {
            share(&mut endpoint.workload, &last.workload);
            share(&mut endpoint.labels, &last.labels);
            share(&mut endpoint.container_ports, &last.container_ports);
        }
        let endpoint = Arc::new(endpoint);
        self.last = Some(endpoint.clone());
        endpoint
    }
}

/// Has `one` be the same thing as `other` if they are equal.
fn share<T: Clone + PartialEq>(one: &mut T, other: &T) {
    if one == other {
        one.clone_from(other);
    }
}

fn locality_name(locality: &Locality) -> String {
    let parts = [&locality.region, &locality.zone, &locality.sub_zone];
    parts.into_iter().take_while(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("/")
}

fn addresses(config: &ClusterConfig, endpoint: &LbEndpoint, resolve: Resolve<'_>) -> Result<Vec<Address>, LoadError> {
    let Some(HostIdentifier::Endpoint(inner)) = &endpoint.host_identifier else {
        return Err(LoadError::invalid("an endpoint has no address"));
    };
    let address = inner.address.as_ref().and_then(|address| address.address.as_ref());
    let socket = match address {
        Some(address::Address::SocketAddress(socket)) => socket,
        Some(address::Address::Pipe(pipe)) => {
            return Ok(vec![Address::Pipe(pipe.path.as_str().into())]);
        }
        Some(address::Address::EnvoyInternalAddress(_)) => {
            return Err(LoadError::Unsupported("an internal listener address".into()));
        }
        None => return Err(LoadError::invalid("an endpoint has no address")),
    };
    let (host, port) = host_port(socket)?;
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![Address::Socket((ip, port).into())]);
    }
    let Discovery::Dns { logical } = config.discovery else {
        return Err(LoadError::invalid(format!("endpoint {host:?} is not an IP address")));
    };
    let mut ips = resolve(host);
    if logical {
        ips.truncate(1);
    }
    Ok(ips.into_iter().map(|ip| Address::Socket((ip, port).into())).collect())
}

fn endpoint(config: &ClusterConfig, proto: &LbEndpoint, address: Address) -> Endpoint {
    let metadata = proto.metadata.as_ref();
    let group = |name: &str| metadata.and_then(|metadata| metadata.filter_metadata.get(name));
    let matching = group("envoy.transport_socket_match");
    let transport = config.transport(|key| matching.and_then(|fields| text(fields, key)));
    let id = config.endpoint_id(&address, &transport);
    let (hostname, further) = match &proto.host_identifier {
        Some(HostIdentifier::Endpoint(inner)) => (hostname(inner), further(inner)),
        _ => ("".into(), Box::default()),
    };
    let ports = lateen_fields(metadata).map(|fields| list(fields, "container_ports")).unwrap_or_default();
    Endpoint {
        id,
        address,
        further,
        hostname,
        weight: number(proto.load_balancing_weight).unwrap_or(1),
        healthy: is_healthy(proto.health_status),
        transport,
        workload: group("istio").and_then(|istio| text(istio, "workload")).and_then(workload),
        labels: Arc::new(group("envoy.lb").map(flat).unwrap_or_default()),
        container_ports: ports
            .iter()
            .filter_map(|value| match value.kind {
                Some(Kind::NumberValue(number)) => Some(number as u16),
                _ => None,
            })
            .collect(),
        state: Arc::default(),
    }
}

/// The addresses besides the first; any that is none is left out.
fn further(inner: &lateen_api::envoy::envoy::config::endpoint::v3::Endpoint) -> Box<[SocketAddr]> {
    let all = inner.additional_addresses.iter().filter_map(|additional| additional.address.as_ref()?.address.as_ref());
    let parsed = all.filter_map(|address| match address {
        address::Address::SocketAddress(socket) => {
            let (host, port) = host_port(socket).ok()?;
            Some((host.parse::<IpAddr>().ok()?, port).into())
        }
        _ => None,
    });
    parsed.collect()
}

/// The configured host name; for a named address, that name.
fn hostname(inner: &lateen_api::envoy::envoy::config::endpoint::v3::Endpoint) -> Box<str> {
    if !inner.hostname.is_empty() {
        return inner.hostname.as_str().into();
    }
    match inner.address.as_ref().and_then(|address| address.address.as_ref()) {
        Some(address::Address::SocketAddress(socket)) if socket.address.parse::<IpAddr>().is_err() => {
            socket.address.as_str().into()
        }
        _ => "".into(),
    }
}

fn is_healthy(status: i32) -> bool {
    !matches!(
        HealthStatus::try_from(status),
        Ok(HealthStatus::Unhealthy | HealthStatus::Draining | HealthStatus::Timeout)
    )
}

/// `name;namespace;canonical name;canonical revision;cluster`
fn workload(text: &str) -> Option<Arc<Workload>> {
    let mut parts = text.split(';').map(Arc::<str>::from);
    Some(Arc::new(Workload {
        name: parts.next()?,
        namespace: parts.next()?,
        canonical_name: parts.next()?,
        canonical_revision: parts.next()?,
        cluster: parts.next()?,
    }))
}
