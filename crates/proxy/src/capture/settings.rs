//! What is to be captured, resolved from the command line.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use lateen_nft::Owner;

use super::args::CaptureArgs;

/// Why the arguments make no sense.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// A list holds something that is no port.
    #[error("{flag}: `{value}` is not a port; give numbers from 1 to 65535, separated by commas, or `*`")]
    Port {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
    },
    /// A list holds something that is no network.
    #[error("{flag}: `{value}` is not an IP range; write it like 10.0.0.0/8, or `*` for everything")]
    Range {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
    },
    /// An interception mode that does not exist.
    #[error("-m: `{0}` is not an interception mode; use REDIRECT or TPROXY")]
    Mode(String),
}

/// How incoming connections reach the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Their destination is rewritten to the proxy's port.
    Redirect,
    /// They keep their addresses and are handed to the proxy's transparent socket.
    Tproxy,
}

/// A selection where `*` means all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection<T> {
    /// Everything.
    All,
    /// Only these.
    Only(Vec<T>),
}

impl<T> Selection<T> {
    /// The selected ones, where not everything is.
    pub fn only(&self) -> &[T] {
        match self {
            Selection::All => &[],
            Selection::Only(items) => items,
        }
    }
}

/// By what the rules know the proxy's own sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxySocket {
    /// The user it runs as.
    User(Owner),
    /// The group it runs as.
    Group(Owner),
    /// The mark it sets.
    Mark(u32),
}

/// Which DNS queries go to the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DnsCapture {
    /// None.
    #[default]
    Off,
    /// Those to these servers.
    Servers(Vec<IpAddr>),
    /// All.
    All,
}

/// What is to be captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureConfig {
    /// Port of the outbound listener.
    pub outbound_port: u16,
    /// Port of the inbound listener.
    pub inbound_port: u16,
    /// Port where other proxies open tunnels: never captured.
    pub tunnel_port: u16,
    /// The proxy's own sockets.
    pub proxy: Vec<ProxySocket>,
    /// How incoming connections are captured.
    pub mode: Mode,
    /// Mark of packets for the transparent socket.
    pub tproxy_mark: u32,
    /// Ports on which incoming connections are captured.
    pub inbound_ports: Selection<u16>,
    /// Ports on which they are not.
    pub inbound_exclude: Vec<u16>,
    /// Destinations to which outgoing connections are captured.
    pub outbound_ranges: Selection<IpNet>,
    /// Destinations to which they are not.
    pub outbound_ranges_exclude: Vec<IpNet>,
    /// Ports to which outgoing connections are captured whatever their address.
    pub outbound_ports: Vec<u16>,
    /// Ports to which they never are.
    pub outbound_ports_exclude: Vec<u16>,
    /// Groups whose outgoing connections are captured.
    pub groups: Selection<Owner>,
    /// Groups whose outgoing connections are not.
    pub groups_exclude: Vec<Owner>,
    /// Interfaces left alone.
    pub exclude_interfaces: Vec<String>,
    /// Interfaces of virtual machines, whose traffic is outgoing although it comes in.
    pub virtual_interfaces: Vec<String>,
    /// Which DNS queries go to the proxy.
    pub dns: DnsCapture,
    /// Whether IPv6 is captured, too.
    pub ipv6: bool,
    /// What counts as the pod talking to itself.
    pub loopback: Ipv4Net,
    /// Whether packets outside any known connection are dropped.
    pub drop_invalid: bool,
}

impl CaptureConfig {
    /// Resolves the arguments, given what the pod looks like.
    pub fn resolve(args: &CaptureArgs, nameservers: &[IpAddr], has_ipv6: bool) -> Result<CaptureConfig, ArgsError> {
        let mode = match args.mode.as_str() {
            "" | "REDIRECT" => Mode::Redirect,
            "TPROXY" => Mode::Tproxy,
            other => return Err(ArgsError::Mode(other.to_owned())),
        };
        let dns = match (args.redirect_dns, args.capture_all_dns) {
            (_, true) => DnsCapture::All,
            (true, false) if !nameservers.is_empty() => DnsCapture::Servers(nameservers.to_vec()),
            _ => DnsCapture::Off,
        };
        Ok(CaptureConfig {
            outbound_port: args.proxy_port,
            inbound_port: args.inbound_port,
            tunnel_port: args.tunnel_port,
            proxy: proxy_sockets(args),
            mode,
            tproxy_mark: args.tproxy_mark,
            inbound_ports: select(&args.inbound_ports, |v| port("-b", v))?,
            inbound_exclude: list(&args.inbound_exclude, |v| port("-d", v))?,
            outbound_ranges: select(&args.outbound_ranges, |v| range("-i", v))?,
            outbound_ranges_exclude: list(&args.outbound_ranges_exclude, |v| range("-x", v))?,
            outbound_ports: list(&args.outbound_ports, |v| port("-q", v))?,
            outbound_ports_exclude: list(&args.outbound_ports_exclude, |v| port("-o", v))?,
            groups: select(&args.groups, |v| Ok(Owner::parse(v)))?,
            groups_exclude: list(&args.groups_exclude, |v| Ok(Owner::parse(v)))?,
            exclude_interfaces: list(&args.exclude_interfaces, |v| Ok(v.to_owned()))?,
            virtual_interfaces: list(&args.virtual_interfaces, |v| Ok(v.to_owned()))?,
            dns,
            ipv6: args.dual_stack || has_ipv6,
            loopback: args.loopback,
            drop_invalid: args.drop_invalid,
        })
    }

    /// Whether the loopback network is among the destinations that are captured.
    pub(super) fn captures_loopback(&self) -> bool {
        self.outbound_ranges.only().iter().any(|net| net.addr().is_loopback())
    }

    /// The addresses of one's own that are not redirected, one for each family in use.
    pub(super) fn loopbacks(&self) -> Vec<IpNet> {
        let mut nets = vec![IpNet::V4(self.loopback)];
        if self.ipv6 {
            nets.push(IpNet::from(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1u16])));
        }
        nets
    }

    /// The source addresses by which the proxy's connections to the application are known.
    pub(super) fn passthrough_sources(&self) -> Vec<IpNet> {
        let mut nets = vec![IpNet::from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6)))];
        if self.ipv6 {
            nets.push(IpNet::from(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 6u16])));
        }
        nets
    }
}

fn proxy_sockets(args: &CaptureArgs) -> Vec<ProxySocket> {
    if let Some(mark) = args.proxy_mark {
        return vec![ProxySocket::Mark(mark)];
    }
    let users = items(&args.proxy_uid).map(|v| ProxySocket::User(Owner::parse(v)));
    let groups = items(&args.proxy_gid).map(|v| ProxySocket::Group(Owner::parse(v)));
    users.chain(groups).collect()
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|v| !v.is_empty())
}

fn list<T>(text: &str, parse: impl Fn(&str) -> Result<T, ArgsError>) -> Result<Vec<T>, ArgsError> {
    items(text).map(parse).collect()
}

fn select<T>(text: &str, parse: impl Fn(&str) -> Result<T, ArgsError>) -> Result<Selection<T>, ArgsError> {
    if text.trim() == "*" { Ok(Selection::All) } else { list(text, parse).map(Selection::Only) }
}

fn port(flag: &'static str, value: &str) -> Result<u16, ArgsError> {
    match u16::from_str(value) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(ArgsError::Port { flag, value: value.to_owned() }),
    }
}

fn range(flag: &'static str, value: &str) -> Result<IpNet, ArgsError> {
    let net = IpNet::from_str(value).or_else(|_| IpAddr::from_str(value).map(IpNet::from));
    net.map_err(|_| ArgsError::Range { flag, value: value.to_owned() })
}
