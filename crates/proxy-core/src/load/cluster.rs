//! Clusters.

use std::time::Duration;

use lateen_api::envoy::envoy::config::cluster::v3::{
    Cluster as ProtoCluster, OutlierDetection,
    circuit_breakers::thresholds::RetryBudget as ProtoBudget,
    cluster::{ClusterDiscoveryType, DiscoveryType, LbConfig, LbPolicy, common_lb_config::LocalityConfigSpecifier},
};
use lateen_api::envoy::envoy::config::core::v3::{HttpProtocolOptions as CommonHttp, Metadata};
use lateen_api::envoy::envoy::extensions::upstreams::http::v3::{
    HttpProtocolOptions,
    http_protocol_options::{UpstreamProtocolOptions, explicit_http_config::ProtocolConfig},
};
use xxhash_rust::xxh64::xxh64;

use super::convert::{duration, is, number, port, socket_addr, some_duration, unpack};
use super::{LoadError, tls};
use crate::cluster::{ClusterConfig, Discovery, HttpVersion, Keepalive, Limits, Policy, RetryBudget, ServiceRef};
use crate::outlier::OutlierConfig;
use crate::provenance::{as_struct, fields, list, provenance, text};
use crate::tables::ClusterId;

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Loads a cluster's configuration.
pub fn cluster(id: ClusterId, proto: &ProtoCluster) -> Result<ClusterConfig, LoadError> {
    let http = http_options(proto)?;
    let common = http
        .as_ref()
        .and_then(|http| http.common_http_protocol_options)
        .or(proto.common_http_protocol_options)
        .unwrap_or_default();
    Ok(ClusterConfig {
        id,
        name: proto.name.as_str().into(),
        discovery: discovery(proto)?,
        policy: policy(proto)?,
        choices: choices(proto),
        locality_weighted: locality_weighted(proto),
        panic_percent: panic_percent(proto),
        connect_timeout: some_duration(proto.connect_timeout.as_ref()).unwrap_or(Duration::from_secs(5)),
        transports: transports(proto)?,
        http: http_version(proto, http.as_ref()),
        limits: limits(proto),
        outlier: proto.outlier_detection.as_ref().map(outlier),
        bind: bind(proto)?,
        keepalive: keepalive(proto),
        max_requests_per_connection: max_requests(proto, &common),
        max_concurrent_streams: max_streams(proto, http.as_ref()),
        max_connection_duration: some_duration(common.max_connection_duration.as_ref()),
        idle_timeout: idle_timeout(&common),
        keep_alpn: istio_flag(proto.metadata.as_ref(), "alpn_override") == Some("false"),
        services: services(proto.metadata.as_ref()),
        external: istio_flag(proto.metadata.as_ref(), "external") == Some("true"),
        connection_id: connection_id(proto),
        dns_refresh: some_duration(proto.dns_refresh_rate.as_ref()).unwrap_or(Duration::from_secs(60)),
        provenance: provenance(proto.metadata.as_ref()),
    })
}

fn http_options(proto: &ProtoCluster) -> Result<Option<HttpProtocolOptions>, LoadError> {
    let any = proto.typed_extension_protocol_options.get(HTTP_OPTIONS);
    any.filter(|any| is::<HttpProtocolOptions>(any)).map(unpack).transpose()
}

fn discovery(proto: &ProtoCluster) -> Result<Discovery, LoadError> {
    let kind = match &proto.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => *kind,
        None => 0,
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            return Err(LoadError::Unsupported(format!("cluster type {:?}", custom.name)));
        }
    };
    Ok(match DiscoveryType::try_from(kind).unwrap_or(DiscoveryType::Static) {
        DiscoveryType::Static => Discovery::Static,
        DiscoveryType::StrictDns => Discovery::Dns { logical: false },
        DiscoveryType::LogicalDns => Discovery::Dns { logical: true },
        DiscoveryType::Eds => {
            let name = proto.eds_cluster_config.as_ref().map_or("", |eds| eds.service_name.as_str());
            Discovery::Eds(if name.is_empty() { proto.name.as_str().into() } else { name.into() })
        }
        DiscoveryType::OriginalDst => {
            let port_override = match &proto.lb_config {
                Some(LbConfig::OriginalDstLbConfig(config)) => number(config.upstream_port_override),
                _ => None,
            };
            Discovery::OriginalDst { port: port_override.map(port).transpose()? }
        }
    })
}

fn policy(proto: &ProtoCluster) -> Result<Policy, LoadError> {
    Ok(match LbPolicy::try_from(proto.lb_policy) {
        Ok(LbPolicy::RoundRobin) => Policy::RoundRobin,
        Ok(LbPolicy::LeastRequest) => Policy::LeastRequest,
        Ok(LbPolicy::Random) => Policy::Random,
        Ok(LbPolicy::RingHash) => {
            let min_size = match &proto.lb_config {
                Some(LbConfig::RingHashLbConfig(ring)) => ring.minimum_ring_size.map(|size| size.value),
                _ => None,
            };
            Policy::RingHash { min_size: min_size.unwrap_or(1024).clamp(1, 8 << 20) }
        }
        Ok(LbPolicy::Maglev) => {
            let size = match &proto.lb_config {
                Some(LbConfig::MaglevLbConfig(maglev)) => maglev.table_size.map(|size| size.value),
                _ => None,
            };
            Policy::Maglev { size: size.unwrap_or(65_537) }
        }
        Ok(LbPolicy::ClusterProvided) => Policy::Provided,
        Ok(LbPolicy::LoadBalancingPolicyConfig) | Err(_) => {
            return Err(LoadError::Unsupported(format!("load balancing policy {}", proto.lb_policy)));
        }
    })
}

fn choices(proto: &ProtoCluster) -> u32 {
    match &proto.lb_config {
        Some(LbConfig::LeastRequestLbConfig(config)) => number(config.choice_count).unwrap_or(2).clamp(2, 100),
        _ => 2,
    }
}

fn locality_weighted(proto: &ProtoCluster) -> bool {
    let specifier = proto.common_lb_config.as_ref().and_then(|config| config.locality_config_specifier.as_ref());
    matches!(specifier, Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)))
}

fn panic_percent(proto: &ProtoCluster) -> u32 {
    let threshold = proto.common_lb_config.as_ref().and_then(|config| config.healthy_panic_threshold.as_ref());
    threshold.map_or(50, |percent| percent.value.clamp(0.0, 100.0) as u32)
}

type Transports = Vec<(crate::cluster::Labels, crate::endpoint::Transport)>;

fn transports(proto: &ProtoCluster) -> Result<Transports, LoadError> {
    let mut all = Transports::new();
    for choice in &proto.transport_socket_matches {
        let labels = choice.r#match.as_ref().map(crate::provenance::flat).unwrap_or_default();
        let mut labels: Vec<_> = labels.into_iter().collect();
        labels.sort();
        all.push((labels, tls::upstream(choice.transport_socket.as_ref())?));
    }
    all.push((Vec::new(), tls::upstream(proto.transport_socket.as_ref())?));
    Ok(all)
}

fn http_version(proto: &ProtoCluster, http: Option<&HttpProtocolOptions>) -> HttpVersion {
    match http.and_then(|http| http.upstream_protocol_options.as_ref()) {
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)) => match explicit.protocol_config {
            Some(ProtocolConfig::Http2ProtocolOptions(_)) => HttpVersion::Http2,
            _ => HttpVersion::Http1,
        },
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(_)) => HttpVersion::Downstream,
        Some(UpstreamProtocolOptions::AutoConfig(_)) => HttpVersion::Negotiated,
        None if proto.protocol_selection == 1 => HttpVersion::Downstream,
        None if proto.http2_protocol_options.is_some() => HttpVersion::Http2,
        None => HttpVersion::Http1,
    }
}

fn max_streams(proto: &ProtoCluster, http: Option<&HttpProtocolOptions>) -> u32 {
    let explicit = match http.and_then(|http| http.upstream_protocol_options.as_ref()) {
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)) => match &explicit.protocol_config {
            Some(ProtocolConfig::Http2ProtocolOptions(http2)) => number(http2.max_concurrent_streams),
            _ => None,
        },
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(config)) => {
            config.http2_protocol_options.as_ref().and_then(|http2| number(http2.max_concurrent_streams))
        }
        _ => None,
    };
    let legacy = proto.http2_protocol_options.as_ref().and_then(|http2| number(http2.max_concurrent_streams));
    explicit.or(legacy).unwrap_or(i32::MAX as u32).max(1)
}

fn max_requests(proto: &ProtoCluster, common: &CommonHttp) -> u32 {
    number(common.max_requests_per_connection).or(number(proto.max_requests_per_connection)).unwrap_or(0)
}

/// An hour unless configured; zero is for ever.
fn idle_timeout(common: &CommonHttp) -> Option<Duration> {
    match common.idle_timeout.as_ref() {
        Some(timeout) => some_duration(Some(timeout)),
        None => Some(Duration::from_secs(3600)),
    }
}

fn limits(proto: &ProtoCluster) -> [Limits; 2] {
    let defaults = Limits { connections: 1024, pending: 1024, requests: 1024, retries: 3, budget: None };
    let mut limits = [defaults; 2];
    let thresholds = proto.circuit_breakers.iter().flat_map(|breakers| &breakers.thresholds);
    for threshold in thresholds {
        let slot = &mut limits[usize::from(threshold.priority == 1)];
        *slot = Limits {
            connections: number(threshold.max_connections).unwrap_or(defaults.connections),
            pending: number(threshold.max_pending_requests).unwrap_or(defaults.pending),
            requests: number(threshold.max_requests).unwrap_or(defaults.requests),
            retries: number(threshold.max_retries).unwrap_or(defaults.retries),
            budget: threshold.retry_budget.as_ref().map(retry_budget),
        };
    }
    limits
}

/// 20 % and at least three, unless it says otherwise.
fn retry_budget(budget: &ProtoBudget) -> RetryBudget {
    RetryBudget {
        percent: budget.budget_percent.map_or(20, |percent| percent.value.clamp(0.0, 100.0) as u32),
        least: number(budget.min_retry_concurrency).unwrap_or(3),
    }
}

fn outlier(config: &OutlierDetection) -> OutlierConfig {
    let enforced = |percent: Option<u32>, default: u32| percent.unwrap_or(default) > 0;
    let five = number(config.consecutive_5xx).unwrap_or(5);
    let gateway = number(config.consecutive_gateway_failure).unwrap_or(5);
    let local = number(config.consecutive_local_origin_failure).unwrap_or(5);
    OutlierConfig {
        consecutive_5xx: enforced(number(config.enforcing_consecutive_5xx), 100).then_some(five),
        consecutive_gateway: enforced(number(config.enforcing_consecutive_gateway_failure), 0).then_some(gateway),
        consecutive_local: enforced(number(config.enforcing_consecutive_local_origin_failure), 100).then_some(local),
        split_local: config.split_external_local_origin_errors,
        interval: some_duration(config.interval.as_ref()).unwrap_or(Duration::from_secs(10)),
        base_ejection: some_duration(config.base_ejection_time.as_ref()).unwrap_or(Duration::from_secs(30)),
        max_ejection: some_duration(config.max_ejection_time.as_ref()).unwrap_or(Duration::from_secs(300)),
        max_percent: number(config.max_ejection_percent).unwrap_or(10),
    }
}

fn bind(proto: &ProtoCluster) -> Result<Vec<std::net::SocketAddr>, LoadError> {
    let Some(bind) = &proto.upstream_bind_config else { return Ok(Vec::new()) };
    let further = bind.extra_source_addresses.iter().filter_map(|extra| extra.address.as_ref());
    bind.source_address.iter().chain(further).map(socket_addr).collect()
}

fn keepalive(proto: &ProtoCluster) -> Option<Keepalive> {
    let keepalive = proto.upstream_connection_options.as_ref()?.tcp_keepalive.as_ref()?;
    let seconds = |value: Option<u32>| value.map(|seconds| Duration::from_secs(u64::from(seconds)));
    Some(Keepalive {
        probes: number(keepalive.keepalive_probes),
        time: seconds(number(keepalive.keepalive_time)),
        interval: seconds(number(keepalive.keepalive_interval)),
    })
}

fn istio_flag<'m>(metadata: Option<&'m Metadata>, key: &str) -> Option<&'m str> {
    text(metadata?.filter_metadata.get("istio")?, key)
}

fn services(metadata: Option<&Metadata>) -> Vec<ServiceRef> {
    let Some(istio) = metadata.and_then(|metadata| metadata.filter_metadata.get("istio")) else {
        return Vec::new();
    };
    let all = list(istio, "services").iter().filter_map(as_struct);
    all.filter_map(|service| {
        Some(ServiceRef {
            host: text(service, "host")?.into(),
            name: text(service, "name")?.into(),
            namespace: text(service, "namespace")?.into(),
        })
    })
    .collect()
}

/// A hash of what connections depend on, so that they survive other changes.
fn connection_id(proto: &ProtoCluster) -> u64 {
    use prost::Message;
    let mut bytes = Vec::new();
    for choice in &proto.transport_socket_matches {
        bytes.extend(choice.transport_socket.iter().flat_map(Message::encode_to_vec));
    }
    bytes.extend(proto.transport_socket.iter().flat_map(Message::encode_to_vec));
    bytes.extend(proto.upstream_bind_config.iter().flat_map(Message::encode_to_vec));
    if let Some(options) = proto.typed_extension_protocol_options.get(HTTP_OPTIONS) {
        bytes.extend(&options.value);
    }
    bytes.extend(duration(&proto.connect_timeout.unwrap_or_default()).as_nanos().to_le_bytes());
    xxh64(&bytes, 0)
}

/// Fields of a cluster's own metadata, under `lateen`.
pub fn lateen_fields(metadata: Option<&Metadata>) -> Option<&lateen_api::envoy::google::protobuf::Struct> {
    metadata?.filter_metadata.get("lateen").or_else(|| {
        let istio = metadata?.filter_metadata.get("istio")?;
        fields(istio, "lateen")
    })
}
