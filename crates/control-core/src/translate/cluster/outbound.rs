//! Clusters of services.

use lateen_api::envoy::envoy::config::cluster::v3 as proto;
use lateen_api::envoy::envoy::config::endpoint::v3::ClusterLoadAssignment;
use lateen_mesh::Protocol;

use super::policy::{Policy, circuit_breakers};
use super::{Discovery, base, discovery, kind, locality_preference, rule_for, transport};
use crate::reads::{Fact, ReadSet};
use crate::resource::{Kind, Service};
use crate::snapshot::{Snapshot, TrafficRule};
use crate::translate::endpoint::localities;
use crate::translate::name::{self, ClusterName};
use crate::translate::provenance::IstioMetadata;
use crate::translate::scope::Scope;
use crate::translate::wire::{ads, duration};
use crate::view::ProxyView;

/// Makes the cluster of a service port or subset.
pub fn cluster(
    name: &ClusterName,
    view: &ProxyView,
    snapshot: &Snapshot,
    reads: &mut ReadSet,
) -> Option<proto::Cluster> {
    reads.read(Fact::Service(name.host.clone()));
    reads.read(Fact::DestinationRules(name.host.clone()));
    let scope = Scope::new(view, snapshot, reads);
    let service = &*scope.service(&name.host)?;
    let port = service.port(name.port)?;
    let rule = rule_for(service, &scope);
    let subset = rule.and_then(|r| r.spec.subsets.iter().find(|s| s.name == name.subset));
    if !name.subset.is_empty() && subset.is_none() {
        return None;
    }
    let found = discovery(service);
    let mut cluster = proto::Cluster {
        cluster_discovery_type: Some(kind(found)),
        metadata: metadata(service, name, rule),
        ..base(&name.to_string(), snapshot)
    };
    match found {
        Discovery::Eds => {
            cluster.eds_cluster_config =
                Some(proto::cluster::EdsClusterConfig { eds_config: Some(ads()), service_name: name.to_string() });
        }
        Discovery::StrictDns | Discovery::LogicalDns => {
            resolve_names(&mut cluster, snapshot);
            cluster.load_assignment = Some(ClusterLoadAssignment {
                cluster_name: name.to_string(),
                endpoints: limited(localities(name, service, &scope, reads), found),
                ..Default::default()
            });
        }
        Discovery::OriginalDst | Discovery::Static => {
            cluster.lb_policy = proto::cluster::LbPolicy::ClusterProvided.into();
        }
    }
    let policy = Policy { at_gateway: !view.is_sidecar(), ..Policy::effective(rule, subset, port.number) };
    policy.apply(&mut cluster, port.protocol, snapshot);
    if cluster.lb_policy != i32::from(proto::cluster::LbPolicy::ClusterProvided)
        && locality_preference(name, service, &scope, reads).is_some()
    {
        weigh_localities(&mut cluster);
    }
    transport::apply(&mut cluster, &transport::Towards { service, port, name, policy: &policy }, &scope, reads);
    Some(cluster)
}

/// Localities get traffic by the weights that come with them.
fn weigh_localities(cluster: &mut proto::Cluster) {
    use proto::cluster::common_lb_config::{LocalityConfigSpecifier, LocalityWeightedLbConfig};
    let config = cluster.common_lb_config.get_or_insert_default();
    config.locality_config_specifier =
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig {}));
}

/// A cluster that uses only the first answer has only one endpoint.
fn limited(
    mut localities: Vec<lateen_api::envoy::envoy::config::endpoint::v3::LocalityLbEndpoints>,
    found: Discovery,
) -> Vec<lateen_api::envoy::envoy::config::endpoint::v3::LocalityLbEndpoints> {
    if found == Discovery::LogicalDns {
        localities.truncate(1);
        localities.iter_mut().for_each(|l| l.lb_endpoints.truncate(1));
    }
    localities
}

// The typed DNS cluster that replaces these fields is not read by older proxies.
#[expect(deprecated)]
fn resolve_names(cluster: &mut proto::Cluster, snapshot: &Snapshot) {
    cluster.dns_refresh_rate = Some(duration(snapshot.mesh.dns_refresh_rate()));
    cluster.respect_dns_ttl = true;
    cluster.dns_lookup_family = proto::cluster::DnsLookupFamily::V4Only.into();
    cluster.dns_jitter = Some(duration(std::time::Duration::from_millis(100)));
}

fn metadata(
    service: &Service,
    name: &ClusterName,
    rule: Option<&TrafficRule>,
) -> Option<lateen_api::envoy::envoy::config::core::v3::Metadata> {
    let mut all = IstioMetadata::default().services([service]).number("default_original_port", name.port);
    if let Some(rule) = rule {
        all = all.config_named(Kind::DestinationRule, &rule.namespace, &rule.name);
    }
    if !name.subset.is_empty() {
        all = all.text("subset", &name.subset);
    }
    if service.external {
        all = all.flag("external", true);
    }
    all.build()
}

/// The cluster for traffic that keeps its original destination.
pub fn passthrough(snapshot: &Snapshot, reads: &mut ReadSet) -> proto::Cluster {
    reads.read(Fact::Mesh);
    let mut cluster = proto::Cluster {
        cluster_discovery_type: Some(kind(Discovery::OriginalDst)),
        lb_policy: proto::cluster::LbPolicy::ClusterProvided.into(),
        circuit_breakers: Some(circuit_breakers(None, None)),
        ..base(name::PASSTHROUGH, snapshot)
    };
    Policy::default().apply(&mut cluster, Protocol::Auto, snapshot);
    cluster
}
