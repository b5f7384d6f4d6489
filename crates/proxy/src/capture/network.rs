//! What interception needs of the pod's network beside the rules.

use std::net::{IpAddr, Ipv6Addr};

use nix::errno::Errno;
use rtnetlink::{Handle, new_connection};

use super::CaptureError;

/// Index of the loopback interface in every network namespace.
const LOOPBACK: u32 = 1;
/// From where the proxy calls the application over IPv6. Unlike 127.0.0.6 it is nobody's by itself.
const SECOND_SOURCE: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

/// Gives the pod the address that the proxy calls the application from over IPv6.
pub(super) fn add_second_source() -> Result<(), CaptureError> {
    with_netlink(async |handle| {
        let added = handle.address().add(LOOPBACK, IpAddr::V6(SECOND_SOURCE), 128).execute().await;
        unless_there(added)
    })
}

fn with_netlink(work: impl AsyncFnOnce(Handle) -> Result<(), rtnetlink::Error>) -> Result<(), CaptureError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(CaptureError::Netlink)?;
    runtime.block_on(async {
        let (connection, handle, _) = new_connection().map_err(CaptureError::Netlink)?;
        let connection = tokio::spawn(connection);
        let done = work(handle).await.map_err(CaptureError::Network);
        connection.abort();
        done
    })
}

/// Capturing twice is no error.
fn unless_there(result: Result<(), rtnetlink::Error>) -> Result<(), rtnetlink::Error> {
    match result {
        Err(rtnetlink::Error::NetlinkError(message)) if message.raw_code() == -(Errno::EEXIST as i32) => Ok(()),
        other => other,
    }
}
