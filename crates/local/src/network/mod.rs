//! Pod networks: namespaces, routed veth pairs and addresses.

pub(crate) mod addresses;
pub(crate) mod connect;
pub(crate) mod egress;
pub(crate) mod host;
pub(crate) mod pod;
pub(crate) mod sysctl;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_packet_route::address::AddressHeaderFlags;
use rtnetlink::Handle;

/// The node's own address in the pod network.
pub const NODE_IP: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// Where every pod sends its packets; not an address of any interface.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The API server's Service address, `kubernetes.default`.
pub const API_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// The cluster DNS server's Service address.
pub const DNS_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Network of the Services' addresses.
pub(crate) const SERVICE_NET: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 96, 0, 0), 16);
/// Network of the pods' addresses.
pub(crate) const POD_NET: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 244, 0, 0), 16);
/// Network of the Services' second addresses, where there are two families.
pub(crate) const SERVICE_NET_6: (Ipv6Addr, u8) = (Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0), 112);
/// Network of the pods' second addresses.
pub(crate) const POD_NET_6: (Ipv6Addr, u8) = (Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 0), 112);
/// Where pods send packets of the second family; not an address of any interface.
const GATEWAY_6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// Network of the gateway alone.
const GATEWAY_NET: (Ipv4Addr, u8) = (GATEWAY, 32);
/// Index of the loopback interface in every network namespace.
const LOOPBACK: u32 = 1;
/// Where the API server listens on the node, behind `kubernetes.default`.
pub(crate) const API_PORT: u16 = 6443;

/// The address of the second family that goes with an address of [`POD_NET`]: both end alike.
pub(crate) fn second(address: Ipv4Addr) -> Ipv6Addr {
    let [_, _, high, low] = address.octets();
    let mut segments = POD_NET_6.0.segments();
    segments[7] = u16::from_be_bytes([high, low]);
    segments.into()
}

/// Adds an address of the second family; it is good at once, since nobody else can have it.
pub(crate) async fn add_second(handle: &Handle, link: u32, address: Ipv6Addr) -> Result<(), rtnetlink::Error> {
    let mut request = handle.address().add(link, address.into(), 128);
    request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
    request.execute().await
}

/// An address of [`POD_NET`], and the one that goes with it where there are two families.
pub(crate) fn both(address: Ipv4Addr, dual_stack: bool) -> Vec<IpAddr> {
    let second = dual_stack.then(|| second(address).into());
    std::iter::once(address.into()).chain(second).collect()
}

/// The networks of the pods.
pub(crate) fn pod_nets(dual_stack: bool) -> Vec<IpNet> {
    let second = dual_stack.then(|| Ipv6Net::new_assert(POD_NET_6.0, POD_NET_6.1).into());
    std::iter::once(Ipv4Net::new_assert(POD_NET.0, POD_NET.1).into()).chain(second).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_address_ends_like_the_first() {
        assert_eq!(second(Ipv4Addr::new(10, 244, 1, 2)).to_string(), "fd00:10:244::102");
        assert_eq!(both(NODE_IP, true), [IpAddr::from(NODE_IP), "fd00:10:244::1".parse().unwrap()]);
        assert_eq!(both(NODE_IP, false), [IpAddr::from(NODE_IP)]);
    }
}
