//! `lateen capture`: redirects the traffic of a pod to its proxy, with Istio's rules.

mod args;
mod chains;
mod mangle;
mod nat;
mod network;
mod raw;
mod settings;

use std::io;

use lateen_nft::{Chain, Family, Ruleset, Table};
use nix::ifaddrs::getifaddrs;

pub use args::CaptureArgs;
pub use settings::{ArgsError, CaptureConfig, DnsCapture, Mode, ProxySocket, Selection};

use crate::resolv_conf::ResolvConf;

/// Why capture could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The arguments make no sense.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// The kernel refused the rules.
    #[error("capture: {0}")]
    Rules(#[from] lateen_nft::Error),
    /// The pod's interfaces could not be listed.
    #[error("capture: cannot list network interfaces: {0}")]
    Interfaces(#[source] io::Error),
    /// Netlink could not be used.
    #[error("capture: cannot reach the kernel over netlink: {0}")]
    Netlink(#[source] io::Error),
    /// An address or route could not be made.
    #[error("capture: cannot change the pod's addresses and routes (CAP_NET_ADMIN is needed): {0}")]
    Network(#[source] rtnetlink::Error),
    /// A mode that the data plane cannot serve.
    #[error(
        "capture: TPROXY interception is not available; use -m REDIRECT (annotation sidecar.istio.io/interceptionMode)"
    )]
    Tproxy,
}

const TABLES: [&str; 3] = ["istio-proxy-nat", "istio-proxy-mangle", "istio-proxy-raw"];

/// The rules for a configuration.
pub fn ruleset(config: &CaptureConfig) -> Ruleset {
    let tables: [Vec<Chain>; 3] = [nat::chains(config), mangle::chains(config), raw::chains(config)];
    let tables = TABLES.into_iter().zip(tables).filter(|(_, chains)| !chains.is_empty());
    let tables = tables.map(|(name, chains)| Table { chains, ..Table::new(Family::Inet, name) });
    Ruleset { tables: tables.collect() }
}

/// Runs the command: prints the rules and applies them, or removes them.
pub fn run(args: &CaptureArgs) -> Result<(), CaptureError> {
    if args.cleanup {
        return cleanup();
    }
    let nameservers = ResolvConf::read().nameservers;
    let config = CaptureConfig::resolve(args, &nameservers, has_ipv6()?)?;
    let rules = ruleset(&config);
    print!("{}", rules.render());
    if args.dry_run {
        return Ok(());
    }
    if config.mode == Mode::Tproxy {
        return Err(CaptureError::Tproxy);
    }
    cleanup()?;
    if config.ipv6 {
        network::add_second_source()?;
    }
    Ok(lateen_nft::apply(&rules)?)
}

fn cleanup() -> Result<(), CaptureError> {
    for table in TABLES {
        lateen_nft::delete_table(Family::Inet, table)?;
    }
    Ok(())
}

/// Whether the pod has an IPv6 address that others can reach.
fn has_ipv6() -> Result<bool, CaptureError> {
    let interfaces = getifaddrs().map_err(|e| CaptureError::Interfaces(e.into()))?;
    let mut addresses = interfaces.filter_map(|i| Some(i.address?.as_sockaddr_in6()?.ip()));
    Ok(addresses.any(|ip| !ip.is_loopback() && !ip.is_unicast_link_local()))
}
