//! Pod networks: namespaces, routed veth pairs and addresses.

pub(crate) mod addresses;
pub(crate) mod connect;
pub(crate) mod egress;
pub(crate) mod host;
pub(crate) mod pod;
pub(crate) mod sysctl;

use std::net::Ipv4Addr;

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
/// Network of the gateway alone.
const GATEWAY_NET: (Ipv4Addr, u8) = (GATEWAY, 32);
/// Index of the loopback interface in every network namespace.
const LOOPBACK: u32 = 1;
/// Where the API server listens on the node, behind `kubernetes.default`.
pub(crate) const API_PORT: u16 = 6443;
