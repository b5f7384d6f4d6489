//! The sandbox's own network namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::route::RouteScope;
use rtnetlink::{LinkUnspec, RouteMessageBuilder, new_connection};

use super::{API_IP, DNS_IP, LOOPBACK, NODE_IP, SERVICE_NET, SERVICE_NET_6, add_second, second, sysctl};

/// Brings loopback up, with the addresses that the cluster itself answers on.
pub(crate) async fn set_up(dual_stack: bool) -> Result<(), String> {
    if dual_stack {
        sysctl::second_family()
            .map_err(|(name, e)| format!("IPv6 (--dual-stack): set {name}: {e}; is IPv6 off in this kernel?"))?;
    }
    let (connection, handle, _) = new_connection().map_err(|e| format!("netlink: {e}"))?;
    let connection = tokio::spawn(connection);
    let result = async {
        handle.link().set(LinkUnspec::new_with_index(LOOPBACK).up().build()).execute().await?;
        for address in [NODE_IP, API_IP, DNS_IP] {
            handle.address().add(LOOPBACK, IpAddr::V4(address), 32).execute().await?;
        }
        add_service_route(&handle).await?;
        if dual_stack {
            add_second(&handle, LOOPBACK, second(NODE_IP)).await?;
            add_second_service_route(&handle).await?;
        }
        Ok(())
    }
    .await
    .map_err(|e: rtnetlink::Error| format!("set up loopback: {e}"));
    connection.abort();
    result
}

/// Lets the node itself use ClusterIPs: a packet needs some route, and the node's own address as
/// its source, before the Service rules send it to a pod.
async fn add_service_route(handle: &rtnetlink::Handle) -> Result<(), rtnetlink::Error> {
    let (network, prefix) = SERVICE_NET;
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(network, prefix)
        .output_interface(LOOPBACK)
        .pref_source(NODE_IP)
        .scope(RouteScope::Link)
        .build();
    handle.route().add(route).execute().await
}

async fn add_second_service_route(handle: &rtnetlink::Handle) -> Result<(), rtnetlink::Error> {
    let (network, prefix) = SERVICE_NET_6;
    let route = RouteMessageBuilder::<Ipv6Addr>::new()
        .destination_prefix(network, prefix)
        .output_interface(LOOPBACK)
        .pref_source(second(NODE_IP))
        .build();
    handle.route().add(route).execute().await
}
