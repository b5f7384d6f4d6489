//! The sandbox's own network namespace.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::route::RouteScope;
use rtnetlink::{LinkUnspec, RouteMessageBuilder, new_connection};

use super::{API_IP, DNS_IP, LOOPBACK, NODE_IP, SERVICE_NET};

/// Brings loopback up, with the addresses that the cluster itself answers on.
pub(crate) async fn set_up() -> Result<(), String> {
    let (connection, handle, _) = new_connection().map_err(|e| format!("netlink: {e}"))?;
    let connection = tokio::spawn(connection);
    let result = async {
        handle.link().set(LinkUnspec::new_with_index(LOOPBACK).up().build()).execute().await?;
        for address in [NODE_IP, API_IP, DNS_IP] {
            add(&handle, address).await?;
        }
        add_service_route(&handle).await?;
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

async fn add(handle: &rtnetlink::Handle, address: Ipv4Addr) -> Result<(), rtnetlink::Error> {
    handle.address().add(LOOPBACK, IpAddr::V4(address), 32).execute().await
}
