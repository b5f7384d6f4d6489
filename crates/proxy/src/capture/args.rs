//! The flags of `lateen capture`: those of Istio's init container.

use ipnet::Ipv4Net;

/// Capture the traffic of the current network namespace for the proxy.
#[derive(Clone, Debug, clap::Args)]
pub struct CaptureArgs {
    /// Port of the proxy's outbound listener
    #[arg(short = 'p', long = "envoy-port", env = "ENVOY_PORT", default_value_t = 15001)]
    pub proxy_port: u16,
    /// Port of the proxy's inbound listener
    #[arg(short = 'z', long = "inbound-capture-port", env = "INBOUND_CAPTURE_PORT", default_value_t = 15006)]
    pub inbound_port: u16,
    /// Port on which other proxies open tunnels
    #[arg(short = 'e', long = "inbound-tunnel-port", env = "INBOUND_TUNNEL_PORT", default_value_t = 15008)]
    pub tunnel_port: u16,
    /// Users (comma-separated) whose traffic is the proxy's own
    #[arg(short = 'u', long = "proxy-uid", env = "PROXY_UID", default_value = "1337")]
    pub proxy_uid: String,
    /// Groups (comma-separated) whose traffic is the proxy's own
    #[arg(short = 'g', long = "proxy-gid", env = "PROXY_GID", default_value = "1337")]
    pub proxy_gid: String,
    /// Know the proxy's sockets by this mark instead of by user and group
    #[arg(long, env = "LATEEN_CAPTURE_MARK")]
    pub proxy_mark: Option<u32>,
    /// How incoming connections are captured: REDIRECT or TPROXY
    #[arg(
        short = 'm',
        long = "istio-inbound-interception-mode",
        env = "ISTIO_INBOUND_INTERCEPTION_MODE",
        default_value = ""
    )]
    pub mode: String,
    /// Mark of packets for a transparent listener
    #[arg(short = 't', long = "istio-inbound-tproxy-mark", env = "ISTIO_INBOUND_TPROXY_MARK", default_value_t = 1337)]
    pub tproxy_mark: u32,
    /// Routing table of marked packets
    #[arg(
        short = 'r',
        long = "istio-inbound-tproxy-route-table",
        env = "ISTIO_INBOUND_TPROXY_ROUTE_TABLE",
        default_value_t = 133
    )]
    pub tproxy_table: u32,
    /// Ports on which incoming connections are captured; * for all
    #[arg(short = 'b', long = "istio-inbound-ports", env = "ISTIO_INBOUND_PORTS", default_value = "")]
    pub inbound_ports: String,
    /// Ports on which incoming connections are not captured
    #[arg(short = 'd', long = "istio-local-exclude-ports", env = "ISTIO_LOCAL_EXCLUDE_PORTS", default_value = "")]
    pub inbound_exclude: String,
    /// IP ranges to which outgoing connections are captured; * for all
    #[arg(short = 'i', long = "istio-service-cidr", env = "ISTIO_SERVICE_CIDR", default_value = "")]
    pub outbound_ranges: String,
    /// IP ranges to which outgoing connections are not captured
    #[arg(short = 'x', long = "istio-service-exclude-cidr", env = "ISTIO_SERVICE_EXCLUDE_CIDR", default_value = "")]
    pub outbound_ranges_exclude: String,
    /// Ports to which outgoing connections are captured whatever their address
    #[arg(short = 'q', long = "istio-outbound-ports", env = "ISTIO_OUTBOUND_PORTS", default_value = "")]
    pub outbound_ports: String,
    /// Ports to which outgoing connections are not captured
    #[arg(
        short = 'o',
        long = "istio-local-outbound-ports-exclude",
        env = "ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE",
        default_value = ""
    )]
    pub outbound_ports_exclude: String,
    /// Groups whose outgoing connections are captured; * for all
    #[arg(long = "istio-outbound-owner-groups", env = "ISTIO_OUTBOUND_OWNER_GROUPS", default_value = "*")]
    pub groups: String,
    /// Groups whose outgoing connections are not captured
    #[arg(
        long = "istio-outbound-owner-groups-exclude",
        env = "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE",
        default_value = ""
    )]
    pub groups_exclude: String,
    /// Interfaces that are left alone
    #[arg(short = 'c', long = "istio-exclude-interfaces", env = "ISTIO_EXCLUDE_INTERFACES", default_value = "")]
    pub exclude_interfaces: String,
    /// Interfaces of virtual machines, whose incoming traffic counts as outgoing
    #[arg(
        short = 'k',
        long = "reroute-virtual-interfaces",
        alias = "kube-virt-interfaces",
        env = "ISTIO_REROUTE_VIRTUAL_INTERFACES",
        default_value = ""
    )]
    pub virtual_interfaces: String,
    /// Send DNS queries to the proxy
    #[arg(long, env = "ISTIO_META_DNS_CAPTURE", value_parser = clap::builder::FalseyValueParser::new())]
    pub redirect_dns: bool,
    /// Send DNS queries to whatever server to the proxy, not only those to the pod's nameservers
    #[arg(long, env = "CAPTURE_ALL_DNS", value_parser = clap::builder::FalseyValueParser::new())]
    pub capture_all_dns: bool,
    /// Capture IPv6 even where no interface has an address yet
    #[arg(long, env = "ISTIO_DUAL_STACK", value_parser = clap::builder::FalseyValueParser::new())]
    pub dual_stack: bool,
    /// Drop packets outside any known connection
    #[arg(long, env = "INVALID_DROP", value_parser = clap::builder::FalseyValueParser::new())]
    pub drop_invalid: bool,
    /// What counts as the pod talking to itself
    #[arg(long = "host-ipv4-loopback-cidr", env = "HOST_IPV4_LOOPBACK_CIDR", default_value = "127.0.0.1/32")]
    pub loopback: Ipv4Net,
    /// Print the rules, change nothing
    #[arg(short = 'n', long, env = "DRY_RUN", value_parser = clap::builder::FalseyValueParser::new())]
    pub dry_run: bool,
    /// Remove our rules instead
    #[arg(long, alias = "cleanup-only")]
    pub cleanup: bool,
    /// Accepted for compatibility: rules are always nf_tables rules
    #[arg(long, hide = true)]
    pub native_nftables: bool,
}
