//! What a DestinationRule says about a cluster: pool, outlier detection, load balancing.

use std::collections::HashMap;

use lateen_api::envoy::envoy::config::cluster::v3 as proto;
use lateen_api::envoy::envoy::config::cluster::v3::circuit_breakers::thresholds::RetryBudget as Budget;
use lateen_api::envoy::envoy::config::core::v3 as core;
use lateen_api::envoy::envoy::extensions::upstreams::http::v3 as upstream;
use lateen_api::envoy::envoy::r#type::v3::Percent;
use lateen_api::istio as api;
use lateen_mesh::Protocol;

use super::IDLE;
use crate::snapshot::{Snapshot, TrafficRule};
use crate::translate::wire::{any, duration, number, parse_duration};

/// The traffic policy that is in force for one cluster.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// How endpoints are chosen.
    pub load_balancer: Option<api::LoadBalancerSettings>,
    /// Limits.
    pub pool: Option<api::ConnectionPoolSettings>,
    /// When endpoints are taken out.
    pub outliers: Option<api::OutlierDetection>,
    /// Retries in relation to requests, if the rule says anything about it.
    pub retry_budget: Option<api::RetryBudget>,
    /// TLS, if the rule says anything about it.
    pub tls: Option<api::ClientTlsSettings>,
    /// Is it for a gateway: unlike a sidecar it speaks what its client speaks only where the rule says so.
    pub at_gateway: bool,
}

impl Policy {
    /// The policy of a rule, overridden by its subset, for one port. Settings for a port replace all others.
    pub fn effective(rule: Option<&TrafficRule>, subset: Option<&api::Subset>, port: u16) -> Self {
        let base = rule.and_then(|r| r.spec.traffic_policy.as_ref());
        let own = subset.and_then(|s| s.traffic_policy.as_ref());
        let at_port = |policy: Option<&api::TrafficPolicy>| policy.and_then(|p| of_port(p, port)).cloned();
        let retry_budget = own.into_iter().chain(base).find_map(|p| p.retry_budget.clone());
        let port_policy = at_port(own).or_else(|| at_port(base));
        if let Some(p) = port_policy {
            return Self {
                load_balancer: p.load_balancer,
                pool: p.connection_pool,
                outliers: p.outlier_detection,
                tls: p.tls,
                retry_budget,
                at_gateway: false,
            };
        }
        let pick = own.into_iter().chain(base);
        Self {
            load_balancer: pick.clone().find_map(|p| p.load_balancer.clone()),
            pool: pick.clone().find_map(|p| p.connection_pool.clone()),
            outliers: pick.clone().find_map(|p| p.outlier_detection.clone()),
            tls: pick.clone().find_map(|p| p.tls.clone()),
            retry_budget,
            at_gateway: false,
        }
    }

    /// Writes the policy into a cluster.
    pub fn apply(&self, cluster: &mut proto::Cluster, protocol: Protocol, snapshot: &Snapshot) {
        cluster.circuit_breakers = Some(circuit_breakers(self.pool.as_ref(), self.retry_budget(snapshot)));
        let tcp = self.pool.as_ref().and_then(|p| p.tcp.as_ref());
        if let Some(timeout) = tcp.and_then(|t| parse_duration(t.connect_timeout.as_deref())) {
            cluster.connect_timeout = Some(timeout);
        }
        let keepalive = tcp.and_then(|t| t.tcp_keepalive.as_ref()).or(snapshot.mesh.raw.tcp_keepalive.as_ref());
        cluster.upstream_connection_options = keepalive.map(connection_options);
        cluster.outlier_detection = self.outliers.as_ref().map(outlier_detection);
        // Endpoints count as usable however few are healthy, unless the rule says otherwise.
        let healthy = self.outliers.as_ref().map_or(0, |o| o.min_health_percent);
        cluster.common_lb_config = Some(proto::cluster::CommonLbConfig {
            healthy_panic_threshold: Some(Percent { value: f64::from(healthy.max(0)) }),
            ..Default::default()
        });
        self.balance(cluster);
        cluster.typed_extension_protocol_options = self.http_options(protocol, snapshot);
    }

    /// The budget of the rule; else, unless the rule limits retries by number, 20 % and at least three.
    fn retry_budget(&self, snapshot: &Snapshot) -> Option<Budget> {
        let limited = self.pool.as_ref().and_then(|p| p.http.as_ref()).is_some_and(|h| h.max_retries.unwrap_or(0) > 0);
        if self.retry_budget.is_none() && (limited || !snapshot.mesh.safe_retries()) {
            return None;
        }
        let own = self.retry_budget.clone().unwrap_or_default();
        Some(Budget {
            budget_percent: Some(Percent { value: own.percent.unwrap_or(20.0) }),
            min_retry_concurrency: number(own.min_retry_concurrency.unwrap_or(3)),
            ..Default::default()
        })
    }

    fn balance(&self, cluster: &mut proto::Cluster) {
        use proto::cluster::LbPolicy;
        if cluster.lb_policy == i32::from(LbPolicy::ClusterProvided) {
            return;
        }
        let settings = self.load_balancer.as_ref();
        if let Some(hash) = settings.and_then(|s| s.consistent_hash.as_ref()) {
            hash_balance(cluster, hash);
            return;
        }
        let simple = settings.and_then(|s| s.simple).unwrap_or(api::SimpleLb::LeastRequest);
        cluster.lb_policy = match simple {
            api::SimpleLb::RoundRobin => LbPolicy::RoundRobin.into(),
            api::SimpleLb::Random => LbPolicy::Random.into(),
            api::SimpleLb::Passthrough => {
                use proto::cluster::{ClusterDiscoveryType, DiscoveryType};
                cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into()));
                cluster.eds_cluster_config = None;
                cluster.load_assignment = None;
                LbPolicy::ClusterProvided.into()
            }
            _ => LbPolicy::LeastRequest.into(),
        };
        slow_start(cluster, settings);
    }

    /// HTTP towards the endpoints: version and limits.
    fn http_options(
        &self,
        protocol: Protocol,
        snapshot: &Snapshot,
    ) -> HashMap<String, lateen_api::google::protobuf::Any> {
        use upstream::http_protocol_options::{
            ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig, explicit_http_config::ProtocolConfig,
        };
        let http = self.pool.as_ref().and_then(|p| p.http.as_ref());
        let h2 = core::Http2ProtocolOptions {
            max_concurrent_streams: http
                .and_then(|h| h.max_concurrent_streams)
                .and_then(|n| number(n.try_into().ok()?))
                .or(number(MAX_STREAMS)),
            connection_keepalive: http.and_then(|h| h.http2_keep_alive.as_ref()).map(keepalive),
            ..Default::default()
        };
        let h1 = core::Http1ProtocolOptions::default();
        let use_client = http.and_then(|h| h.use_client_protocol).unwrap_or(false);
        let upgrade = match http.and_then(|h| h.h2_upgrade_policy) {
            Some(api::H2UpgradePolicy::Upgrade) => true,
            Some(api::H2UpgradePolicy::DoNotUpgrade) => false,
            _ => snapshot.mesh.upgrade_to_h2() && protocol.is_http(),
        };
        let version = if use_client || (protocol.is_auto() && !upgrade && !self.at_gateway) {
            UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
                http_protocol_options: Some(h1),
                http2_protocol_options: Some(h2),
                ..Default::default()
            })
        } else {
            let config = if protocol.is_http2() || upgrade {
                ProtocolConfig::Http2ProtocolOptions(h2)
            } else {
                ProtocolConfig::HttpProtocolOptions(h1)
            };
            UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(config) })
        };
        if protocol.is_tcp() && !upgrade && http.is_none() {
            return HashMap::new();
        }
        let options = upstream::HttpProtocolOptions {
            common_http_protocol_options: Some(common_http(http, self.pool.as_ref().and_then(|p| p.tcp.as_ref()))),
            upstream_protocol_options: Some(version),
            ..Default::default()
        };
        HashMap::from([("envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(), any(&options))])
    }
}

/// Streams of one HTTP/2 connection: as many as the protocol allows.
const MAX_STREAMS: u32 = 2_147_483_647;

fn of_port(policy: &api::TrafficPolicy, port: u16) -> Option<&api::PortTrafficPolicy> {
    policy.port_level_settings.iter().find(|s| s.port.as_ref().is_some_and(|p| p.number == u32::from(port)))
}

fn common_http(http: Option<&api::HttpSettings>, tcp: Option<&api::TcpSettings>) -> core::HttpProtocolOptions {
    let idle = http.and_then(|h| parse_duration(h.idle_timeout.as_deref()));
    let requests = http.and_then(|h| h.max_requests_per_connection).and_then(|n| u32::try_from(n).ok());
    core::HttpProtocolOptions {
        idle_timeout: Some(idle.unwrap_or_else(|| duration(IDLE))),
        max_requests_per_connection: requests.filter(|n| *n > 0).and_then(number),
        max_connection_duration: tcp.and_then(|t| parse_duration(t.max_connection_duration.as_deref())),
        ..Default::default()
    }
}

fn keepalive(settings: &api::Http2KeepAlive) -> core::KeepaliveSettings {
    core::KeepaliveSettings {
        interval: parse_duration(settings.interval.as_deref()),
        timeout: parse_duration(settings.timeout.as_deref()),
        ..Default::default()
    }
}

/// Limits; without a limit the largest number there is.
pub fn circuit_breakers(
    pool: Option<&api::ConnectionPoolSettings>,
    retry_budget: Option<Budget>,
) -> proto::CircuitBreakers {
    let limit =
        |value: Option<i32>| number(value.and_then(|v| u32::try_from(v).ok()).filter(|v| *v > 0).unwrap_or(u32::MAX));
    let tcp = pool.and_then(|p| p.tcp.as_ref());
    let http = pool.and_then(|p| p.http.as_ref());
    proto::CircuitBreakers {
        thresholds: vec![proto::circuit_breakers::Thresholds {
            max_connections: limit(tcp.and_then(|t| t.max_connections)),
            max_pending_requests: limit(http.and_then(|h| h.http1_max_pending_requests)),
            max_requests: limit(http.and_then(|h| h.http2_max_requests)),
            max_retries: limit(http.and_then(|h| h.max_retries)),
            retry_budget,
            track_remaining: true,
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn connection_options(keepalive: &api::TcpKeepalive) -> proto::UpstreamConnectionOptions {
    let seconds = |text: Option<&str>| parse_duration(text).and_then(|d| number(d.seconds.try_into().ok()?));
    proto::UpstreamConnectionOptions {
        tcp_keepalive: Some(core::TcpKeepalive {
            keepalive_probes: (keepalive.probes > 0).then(|| number(keepalive.probes)).flatten(),
            keepalive_time: seconds(keepalive.time.as_deref()),
            keepalive_interval: seconds(keepalive.interval.as_deref()),
        }),
        ..Default::default()
    }
}

fn outlier_detection(settings: &api::OutlierDetection) -> proto::OutlierDetection {
    let enforced = |count: Option<u32>| count.map(|c| if c > 0 { 100 } else { 0 });
    let gateway =
        settings.consecutive_gateway_errors.or(settings.consecutive_errors.and_then(|c| u32::try_from(c).ok()));
    let mut detection = proto::OutlierDetection {
        enforcing_success_rate: number(0),
        consecutive_5xx: settings.consecutive_5xx_errors.filter(|c| *c > 0).and_then(number),
        enforcing_consecutive_5xx: enforced(settings.consecutive_5xx_errors).and_then(number),
        consecutive_gateway_failure: gateway.filter(|c| *c > 0).and_then(number),
        enforcing_consecutive_gateway_failure: enforced(gateway).and_then(number),
        interval: parse_duration(settings.interval.as_deref()),
        base_ejection_time: parse_duration(settings.base_ejection_time.as_deref()),
        max_ejection_percent: u32::try_from(settings.max_ejection_percent).ok().filter(|p| *p > 0).and_then(number),
        split_external_local_origin_errors: settings.split_external_local_origin_errors,
        ..Default::default()
    };
    if settings.split_external_local_origin_errors {
        detection.consecutive_local_origin_failure =
            settings.consecutive_local_origin_failures.filter(|c| *c > 0).and_then(number);
        detection.enforcing_consecutive_local_origin_failure =
            enforced(settings.consecutive_local_origin_failures).and_then(number);
        detection.enforcing_local_origin_success_rate = number(0);
    }
    detection
}

fn hash_balance(cluster: &mut proto::Cluster, hash: &api::ConsistentHash) {
    use proto::cluster::{LbConfig, LbPolicy, MaglevLbConfig, RingHashLbConfig};
    if let Some(maglev) = &hash.maglev {
        cluster.lb_policy = LbPolicy::Maglev.into();
        cluster.lb_config = maglev.table_size.map(|size| {
            LbConfig::MaglevLbConfig(MaglevLbConfig {
                table_size: Some(lateen_api::google::protobuf::UInt64Value { value: size }),
            })
        });
        return;
    }
    let size = hash.ring_hash.as_ref().and_then(|r| r.minimum_ring_size).or(hash.minimum_ring_size).unwrap_or(1024);
    cluster.lb_policy = LbPolicy::RingHash.into();
    cluster.lb_config = Some(LbConfig::RingHashLbConfig(RingHashLbConfig {
        minimum_ring_size: Some(lateen_api::google::protobuf::UInt64Value { value: size }),
        ..Default::default()
    }));
}

fn slow_start(cluster: &mut proto::Cluster, settings: Option<&api::LoadBalancerSettings>) {
    use proto::cluster::{LbConfig, LbPolicy, LeastRequestLbConfig, RoundRobinLbConfig, SlowStartConfig};
    let Some(settings) = settings else { return };
    let window = settings.warmup.as_ref().map(|w| w.duration.as_str()).or(settings.warmup_duration_secs.as_deref());
    let Some(window) = parse_duration(window) else { return };
    let warmup = settings.warmup.as_ref();
    let config = SlowStartConfig {
        slow_start_window: Some(window),
        aggression: warmup
            .and_then(|w| w.aggression)
            .map(|value| core::RuntimeDouble { default_value: value, runtime_key: String::new() }),
        min_weight_percent: Some(Percent { value: warmup.and_then(|w| w.minimum_percent).unwrap_or(10.0) }),
    };
    if cluster.lb_policy == i32::from(LbPolicy::RoundRobin) {
        cluster.lb_config = Some(LbConfig::RoundRobinLbConfig(RoundRobinLbConfig { slow_start_config: Some(config) }));
    } else if cluster.lb_policy == i32::from(LbPolicy::LeastRequest) {
        cluster.lb_config = Some(LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
            slow_start_config: Some(config),
            ..Default::default()
        }));
    }
}
