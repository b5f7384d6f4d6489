//! Listeners and their filter chains.

use std::sync::Arc;

use lateen_api::envoy::envoy::config::listener::v3::{
    Filter, FilterChain as ProtoChain, FilterChainMatch, Listener as ProtoListener, ListenerFilter,
    ListenerFilterChainMatchPredicate, filter::ConfigType, listener_filter_chain_match_predicate::Rule,
};
use lateen_api::envoy::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use lateen_api::envoy::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy as ProtoTcp, tcp_proxy::ClusterSpecifier,
};
use lateen_api::envoy::envoy::r#type::v3::hash_policy::PolicySpecifier;
use lateen_api::envoy::google::protobuf::Any;

use super::access_log::access_logs;
use super::convert::{is, listener_addr, number, port, prefixes, some_duration, truth, unpack};
use super::{Context, LoadError, http, rbac, tls};
use crate::chain::{ChainMatch, FilterChain, TcpProxy, TcpTarget, Terminal};
use crate::listener::{Direction, Listener, PortRanges, Sniff};
use crate::provenance::provenance;
use crate::rbac::Check;

/// Loads a listener.
pub fn listener(context: &mut Context<'_>, proto: &ProtoListener) -> Result<Listener, LoadError> {
    if proto.filter_chain_matcher.is_some() {
        return Err(LoadError::Unsupported("a filter chain matcher tree".into()));
    }
    let mut chains = Vec::with_capacity(proto.filter_chains.len());
    for (index, chain) in proto.filter_chains.iter().enumerate() {
        let built = filter_chain(context, chain)
            .map_err(|error| LoadError::invalid(format!("filter chain {index} ({:?}): {error}", chain.name)))?;
        chains.push(Arc::new(built));
    }
    let default_chain = proto.default_filter_chain.as_ref().map(|chain| filter_chain(context, chain)).transpose()?;
    let legacy_bind = proto.deprecated_v1.as_ref().and_then(|v1| v1.bind_to_port.as_ref());
    Ok(Listener {
        name: proto.name.as_str().into(),
        address: listener_addr(proto.address.as_ref())?,
        more_addresses: proto
            .additional_addresses
            .iter()
            .map(|additional| listener_addr(additional.address.as_ref()))
            .collect::<Result<_, _>>()?,
        bind_to_port: truth(proto.bind_to_port.as_ref().or(legacy_bind), true),
        use_original_dst: truth(proto.use_original_dst.as_ref(), false),
        original_dst: truth(proto.use_original_dst.as_ref(), false)
            || has_filter(&proto.listener_filters, "original_dst"),
        proxy_protocol: has_filter(&proto.listener_filters, "proxy_protocol"),
        direction: match proto.traffic_direction {
            1 => Direction::Inbound,
            2 => Direction::Outbound,
            _ => Direction::Gateway,
        },
        sniff: sniff(proto),
        chains,
        default_chain: default_chain.map(Arc::new),
        access_logs: access_logs(&proto.access_log)?,
        provenance: provenance(proto.metadata.as_ref()),
    })
}

fn has_filter(filters: &[ListenerFilter], name: &str) -> bool {
    filters.iter().any(|filter| filter.name.ends_with(name))
}

fn sniff(proto: &ProtoListener) -> Sniff {
    let find = |name: &str| {
        let filter = proto.listener_filters.iter().find(|filter| filter.name.ends_with(name))?;
        let mut ranges = PortRanges::default();
        if let Some(disabled) = &filter.filter_disabled {
            disabled_ports(disabled, &mut ranges);
        }
        Some(ranges)
    };
    let timeout = match &proto.listener_filters_timeout {
        Some(timeout) => some_duration(Some(timeout)),
        None => Some(std::time::Duration::from_secs(15)),
    };
    Sniff {
        tls: find("tls_inspector"),
        http: find("http_inspector"),
        timeout,
        continue_on_timeout: proto.continue_on_listener_filters_timeout,
    }
}

fn disabled_ports(predicate: &ListenerFilterChainMatchPredicate, ranges: &mut PortRanges) {
    match &predicate.rule {
        Some(Rule::DestinationPortRange(range)) => {
            let clamp = |value: i32| u16::try_from(value.clamp(0, 65_535)).unwrap_or(u16::MAX);
            ranges.0.push((clamp(range.start), clamp(range.end)));
        }
        Some(Rule::OrMatch(set)) => set.rules.iter().for_each(|rule| disabled_ports(rule, ranges)),
        Some(Rule::AnyMatch(true)) => ranges.0.push((0, u16::MAX)),
        _ => {}
    }
}

fn filter_chain(context: &mut Context<'_>, proto: &ProtoChain) -> Result<FilterChain, LoadError> {
    Ok(FilterChain {
        name: proto.name.as_str().into(),
        matcher: proto.filter_chain_match.as_ref().map(chain_match).transpose()?.unwrap_or_default(),
        tls: tls::downstream(proto.transport_socket.as_ref())?,
        handshake_timeout: some_duration(proto.transport_socket_connect_timeout.as_ref()),
        terminal: terminal(context, &proto.filters)?,
        provenance: provenance(proto.metadata.as_ref()),
    })
}

fn chain_match(proto: &FilterChainMatch) -> Result<ChainMatch, LoadError> {
    Ok(ChainMatch {
        destination_port: number(proto.destination_port).map(port).transpose()?,
        prefixes: prefixes(&proto.prefix_ranges)?,
        server_names: proto.server_names.iter().map(|name| name.to_ascii_lowercase().into()).collect(),
        transport: proto.transport_protocol.as_str().into(),
        protocols: proto.application_protocols.iter().map(|name| name.as_str().into()).collect(),
        direct_sources: prefixes(&proto.direct_source_prefix_ranges)?,
        source_local: match proto.source_type {
            1 => Some(true),
            2 => Some(false),
            _ => None,
        },
        sources: prefixes(&proto.source_prefix_ranges)?,
        source_ports: proto.source_ports.iter().map(|value| port(*value)).collect::<Result<_, _>>()?,
    })
}

/// Network filters other than the last that matter here.
#[derive(Default)]
struct Seen {
    stats: bool,
    metadata_exchange: bool,
    checks: Vec<Check>,
    refuse: Option<Arc<str>>,
}

fn terminal(context: &mut Context<'_>, filters: &[Filter]) -> Result<Terminal, LoadError> {
    let mut seen = Seen::default();
    for filter in filters {
        let Some(ConfigType::TypedConfig(any)) = &filter.config_type else {
            note(&mut seen, filter, &Any::default());
            continue;
        };
        if let Some(check) = rbac::check(context, any) {
            seen.checks.push(check);
            continue;
        }
        let done = if is::<HttpConnectionManager>(any) {
            let mut hcm = http::hcm(context, &unpack(any)?)?;
            // What is decided about connections holds for each of their requests.
            hcm.filters.checks.splice(..0, seen.checks);
            Terminal::Http(Arc::new(hcm))
        } else if is::<ProtoTcp>(any) {
            let mut proxy = tcp_proxy(context, &unpack(any)?, &seen)?;
            proxy.checks = seen.checks;
            Terminal::Tcp(Arc::new(proxy))
        } else {
            note(&mut seen, filter, any);
            continue;
        };
        return Ok(match seen.refuse {
            Some(text) => Terminal::Close(text),
            None => done,
        });
    }
    Ok(Terminal::Close(seen.refuse.unwrap_or_else(|| "the filter chain has no filter that serves".into())))
}

fn note(seen: &mut Seen, filter: &Filter, any: &Any) {
    let named = |part: &str| filter.name.contains(part) || any.type_url.contains(part);
    if named("metadata_exchange") || named("metadataexchange") {
        seen.metadata_exchange = true;
    } else if named("istio.stats") || named("stats.PluginConfig") || named("TypedStruct") {
        seen.stats = true;
    } else if !named("set_filter_state") && !named("sni_cluster") {
        seen.refuse = Some(format!("network filter {} is not supported by this proxy", filter.name).into());
    }
}

fn tcp_proxy(context: &mut Context<'_>, proto: &ProtoTcp, seen: &Seen) -> Result<TcpProxy, LoadError> {
    if proto.tunneling_config.is_some() {
        return Err(LoadError::Unsupported("tunnelling of TCP in HTTP".into()));
    }
    let target = match &proto.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => TcpTarget::Single(context.cluster(name)),
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            let clusters: Vec<_> =
                weighted.clusters.iter().map(|entry| (context.cluster(&entry.name), entry.weight)).collect();
            let total = clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
            if total == 0 {
                return Err(LoadError::invalid("the weights of a TCP proxy's clusters are all zero"));
            }
            TcpTarget::Weighted { clusters, total }
        }
        None => return Err(LoadError::invalid("a TCP proxy has no cluster")),
    };
    let idle = match &proto.idle_timeout {
        Some(timeout) => some_duration(Some(timeout)),
        None => Some(std::time::Duration::from_secs(3600)),
    };
    Ok(TcpProxy {
        stat_prefix: proto.stat_prefix.as_str().into(),
        target,
        idle_timeout: idle,
        max_duration: some_duration(proto.max_downstream_connection_duration.as_ref()),
        hash_source: proto
            .hash_policy
            .iter()
            .any(|policy| matches!(policy.policy_specifier, Some(PolicySpecifier::SourceIp(_)))),
        connect_attempts: number(proto.max_connect_attempts).unwrap_or(1).max(1),
        access_logs: access_logs(&proto.access_log)?,
        stats: seen.stats,
        metadata_exchange: seen.metadata_exchange,
        checks: Vec::new(),
    })
}
