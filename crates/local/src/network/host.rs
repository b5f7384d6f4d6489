//! The sandbox's own network namespace.

use std::net::{IpAddr, Ipv4Addr};

use rtnetlink::{LinkUnspec, new_connection};

use super::{API_IP, DNS_IP, NODE_IP};

const LOOPBACK: u32 = 1;

/// Brings loopback up, with the addresses that the cluster itself answers on.
pub(crate) async fn set_up() -> Result<(), String> {
    let (connection, handle, _) = new_connection().map_err(|e| format!("netlink: {e}"))?;
    let connection = tokio::spawn(connection);
    let result = async {
        handle.link().set(LinkUnspec::new_with_index(LOOPBACK).up().build()).execute().await?;
        for address in [NODE_IP, API_IP, DNS_IP] {
            add(&handle, address).await?;
        }
        Ok(())
    }
    .await
    .map_err(|e: rtnetlink::Error| format!("set up loopback: {e}"));
    connection.abort();
    result
}

async fn add(handle: &rtnetlink::Handle, address: Ipv4Addr) -> Result<(), rtnetlink::Error> {
    handle.address().add(LOOPBACK, IpAddr::V4(address), 32).execute().await
}
