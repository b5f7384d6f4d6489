//! Route configurations.

use std::sync::Arc;

use lateen_api::envoy::envoy::config::route::v3::{RouteConfiguration, VirtualHost as ProtoHost};

use super::convert::header_ops;
use super::route::{Inherited, route};
use super::{Context, LoadError, filter};
use crate::header_ops::BothOps;
use crate::provenance::provenance;
use crate::virtual_host::{RouteTable, VirtualHost};

/// Loads a route configuration.
pub fn route_table(context: &mut Context<'_>, proto: &RouteConfiguration) -> Result<RouteTable, LoadError> {
    if proto.vhds.is_some() {
        return Err(LoadError::Unsupported("virtual host discovery".into()));
    }
    let mut hosts = Vec::with_capacity(proto.virtual_hosts.len());
    for host in &proto.virtual_hosts {
        let built = virtual_host(context, proto, host)
            .map_err(|error| LoadError::invalid(format!("virtual host {:?}: {error}", host.name)))?;
        hosts.push((Arc::new(built), host.domains.clone()));
    }
    let mut table = RouteTable::new(proto.name.as_str().into(), hosts)?;
    table.ops = BothOps {
        request: header_ops(&proto.request_headers_to_add, &proto.request_headers_to_remove)?,
        response: header_ops(&proto.response_headers_to_add, &proto.response_headers_to_remove)?,
    };
    table.most_specific_wins = proto.most_specific_header_mutations_wins;
    table.ignore_port = proto.ignore_port_in_host_matching;
    Ok(table)
}

fn virtual_host(
    context: &mut Context<'_>,
    table: &RouteConfiguration,
    proto: &ProtoHost,
) -> Result<VirtualHost, LoadError> {
    let filters = filter::per_route(&proto.typed_per_filter_config)?;
    let mirrors = if proto.request_mirror_policies.is_empty() {
        &table.request_mirror_policies
    } else {
        &proto.request_mirror_policies
    };
    let inherited = Inherited { retry: proto.retry_policy.as_ref(), mirrors, cors: filters.cors, fault: filters.fault };
    let mut routes = Vec::with_capacity(proto.routes.len());
    for (index, entry) in proto.routes.iter().enumerate() {
        let built = route(context, entry, &inherited)
            .map_err(|error| LoadError::invalid(format!("route {index} ({:?}): {error}", entry.name)))?;
        routes.push(Arc::new(built));
    }
    Ok(VirtualHost {
        name: proto.name.as_str().into(),
        routes,
        ops: BothOps {
            request: header_ops(&proto.request_headers_to_add, &proto.request_headers_to_remove)?,
            response: header_ops(&proto.response_headers_to_add, &proto.response_headers_to_remove)?,
        },
        attempt_count_in_request: proto.include_request_attempt_count,
        attempt_count_in_response: proto.include_attempt_count_in_response,
        require_tls: proto.require_tls == 2,
        provenance: provenance(proto.metadata.as_ref()),
    })
}
