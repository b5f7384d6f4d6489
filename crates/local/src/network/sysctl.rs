//! Kernel settings of network namespaces.

use std::fs;
use std::io;

/// Settings without which Services don't work, then such as only make things better.
const SANDBOX: [(&str, &str); 1] = [("net/ipv4/ip_forward", "1")];
const SANDBOX_OPTIONAL: [(&str, &str); 7] = [
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/ip_unprivileged_port_start", "0"),
    // Short-lived connections to Services would fill the table for two minutes each.
    ("net/netfilter/nf_conntrack_tcp_timeout_time_wait", "5"),
    ("net/netfilter/nf_conntrack_tcp_timeout_close", "5"),
    ("net/netfilter/nf_conntrack_tcp_timeout_fin_wait", "20"),
    ("net/ipv6/conf/all/disable_ipv6", "0"),
];
/// Settings for a second address family.
const SECOND_FAMILY: [(&str, &str); 2] =
    [("net/ipv6/conf/all/disable_ipv6", "0"), ("net/ipv6/conf/all/forwarding", "1")];
const POD_SECOND_FAMILY: [(&str, &str); 3] = [
    ("net/ipv6/conf/all/disable_ipv6", "0"),
    ("net/ipv6/conf/default/disable_ipv6", "0"),
    // Nobody else is on a pod's link: its own addresses need no search for others that have them.
    ("net/ipv6/conf/default/accept_dad", "0"),
];
const POD_OPTIONAL: [(&str, &str); 6] = [
    ("net/ipv4/ip_unprivileged_port_start", "0"),
    ("net/ipv4/ping_group_range", "0 65535"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/netfilter/nf_conntrack_tcp_timeout_time_wait", "5"),
    ("net/netfilter/nf_conntrack_tcp_timeout_close", "5"),
    ("net/netfilter/nf_conntrack_tcp_timeout_fin_wait", "20"),
];

fn write((name, value): (&str, &str)) -> io::Result<()> {
    fs::write(format!("/proc/sys/{name}"), value)
}

/// Makes the current network namespace forward between pods.
pub(crate) fn sandbox() -> Result<(), (&'static str, io::Error)> {
    for (name, value) in SANDBOX {
        write((name, value)).map_err(|e| (name, e))?;
    }
    for setting in SANDBOX_OPTIONAL {
        let _ = write(setting);
    }
    Ok(())
}

/// Makes the current network namespace forward between pods in the second family too.
pub(crate) fn second_family() -> Result<(), (&'static str, io::Error)> {
    SECOND_FAMILY.into_iter().try_for_each(|(name, value)| write((name, value)).map_err(|e| (name, e)))
}

/// Settings of the current network namespace when it is a pod's.
pub(crate) fn pod(dual_stack: bool) {
    let second: &[_] = if dual_stack { &POD_SECOND_FAMILY } else { &[] };
    for setting in POD_OPTIONAL.iter().chain(second) {
        let _ = write(*setting);
    }
}
