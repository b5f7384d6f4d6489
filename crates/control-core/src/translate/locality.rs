//! Preference by locality: which endpoints of a service a caller gets first, and in what shares.

use std::collections::BTreeMap;
use std::sync::Arc;

use lateen_api::istio as api;
use lateen_mesh::Locality;

use crate::resource::TrafficDistribution;
use crate::snapshot::Endpoint;

/// Label of the node that a workload runs on.
pub const HOSTNAME: &str = "kubernetes.io/hostname";

/// The setting in force for a destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// What is wanted.
    pub setting: api::LocalityLbSetting,
    /// Endpoints are ordered even without outlier detection.
    pub forced: bool,
}

/// Of the settings of a DestinationRule, a Service and the mesh the first that is given; `None` when it is off.
pub fn effective(
    mesh: &api::LocalityLbSetting,
    rule: Option<&api::LocalityLbSetting>,
    traffic: TrafficDistribution,
) -> Option<Effective> {
    let given = |setting: &api::LocalityLbSetting| {
        (setting.enabled != Some(false)).then(|| Effective { setting: setting.clone(), forced: false })
    };
    if let Some(rule) = rule {
        return given(rule);
    }
    let mut labels = vec![
        "topology.istio.io/network",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "topology.istio.io/subzone",
    ];
    match traffic {
        TrafficDistribution::Any => return given(mesh),
        TrafficDistribution::SameZone => {}
        TrafficDistribution::SameNode => labels.push(HOSTNAME),
    }
    let setting = api::LocalityLbSetting {
        failover_priority: labels.into_iter().map(str::to_owned).collect(),
        enabled: Some(true),
        ..Default::default()
    };
    Some(Effective { setting, forced: true })
}

/// Who calls.
pub struct Caller<'a> {
    /// Where it is.
    pub locality: &'a Locality,
    /// Its labels, those of its place included.
    pub label: &'a dyn Fn(&str) -> Option<String>,
}

/// Endpoints that are treated alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Group<'a> {
    /// Where they are.
    pub locality: &'a Locality,
    /// The endpoints.
    pub endpoints: Vec<&'a Arc<Endpoint>>,
    /// Share of the traffic relative to other groups of the same priority.
    pub weight: u32,
    /// 0 is used first.
    pub priority: u32,
}

impl<'a> Group<'a> {
    /// A group of first priority; its endpoints' weights make its own.
    pub fn new(locality: &'a Locality, endpoints: Vec<&'a Arc<Endpoint>>) -> Self {
        let weight = endpoints.iter().map(|e| e.weight.max(1)).fold(0, u32::saturating_add);
        Self { locality, endpoints, weight, priority: 0 }
    }
}

/// Gives groups the shares or priorities that `setting` wants for `caller`. Without `failover` only shares are given:
/// where nothing tells that endpoints fail, lower priorities would never be used.
pub fn arrange<'a>(
    mut groups: Vec<Group<'a>>,
    caller: &Caller<'_>,
    setting: &api::LocalityLbSetting,
    failover: bool,
) -> Vec<Group<'a>> {
    if !setting.distribute.is_empty() {
        distribute(&mut groups, caller.locality, &setting.distribute);
    } else if failover {
        if !setting.failover_priority.is_empty() {
            groups = by_labels(groups, caller, &setting.failover_priority);
        }
        if setting.failover_priority.is_empty() || !setting.failover.is_empty() {
            by_distance(&mut groups, caller.locality, &setting.failover);
        }
        close_gaps(&mut groups);
    }
    groups
}

/// Fixed shares. A share for several localities is divided by their weights; localities without one get nothing.
fn distribute(groups: &mut Vec<Group<'_>>, caller: &Locality, rules: &[api::LocalityDistribute]) {
    let Some(rule) = rules.iter().find(|rule| caller.is_within(&rule.from)) else { return };
    let mut left: Vec<Option<u32>> = groups.iter().map(|group| Some(group.weight)).collect();
    for (pattern, share) in &rule.to {
        let chosen: Vec<usize> =
            (0..groups.len()).filter(|i| left[*i].is_some() && groups[*i].locality.is_within(pattern)).collect();
        let total: u64 = chosen.iter().map(|i| u64::from(groups[*i].weight)).sum();
        for i in chosen {
            let weight = u64::from(left[i].take().unwrap_or(0)) * u64::from(*share);
            groups[i].weight = u32::try_from(weight.div_ceil(total.max(1))).unwrap_or(u32::MAX);
        }
    }
    let mut missed = left.iter().map(Option::is_some);
    groups.retain(|group| !missed.next().unwrap_or(false) && group.weight > 0);
}

/// Divides groups by how many of `labels`, in order, endpoints have in common with the caller.
fn by_labels<'a>(groups: Vec<Group<'a>>, caller: &Caller<'_>, labels: &[String]) -> Vec<Group<'a>> {
    let wanted: Vec<(&str, Option<String>)> = labels
        .iter()
        .map(|label| match label.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (label.as_str(), (caller.label)(label)),
        })
        .collect();
    let lowest = wanted.len();
    let priority = |endpoint: &Endpoint| {
        let unlike = wanted.iter().position(|(key, value)| {
            let own = label_of(endpoint, key);
            own.as_deref().unwrap_or_default() != value.as_deref().unwrap_or_default()
        });
        u32::try_from(unlike.map_or(0, |index| lowest - index)).unwrap_or(u32::MAX)
    };
    let divide = |group: Group<'a>| {
        let mut parts: BTreeMap<u32, Vec<&'a Arc<Endpoint>>> = BTreeMap::new();
        for endpoint in group.endpoints {
            parts.entry(priority(endpoint)).or_default().push(endpoint);
        }
        parts.into_iter().map(move |(priority, endpoints)| Group { priority, ..Group::new(group.locality, endpoints) })
    };
    groups.into_iter().flat_map(divide).collect()
}

/// Orders groups by their distance; of other regions the one named by `failover` comes first.
fn by_distance(groups: &mut [Group<'_>], caller: &Locality, failover: &[api::LocalityFailover]) {
    const STEPS: u32 = 5;
    let next = failover.iter().find(|rule| rule.from == caller.region);
    for group in groups {
        let distance = match caller.distance(group.locality) {
            3 if next.is_some_and(|rule| rule.to != group.locality.region) => 4,
            distance => distance,
        };
        group.priority = group.priority.saturating_mul(STEPS).saturating_add(distance);
    }
}

/// Priorities count up from 0 without gaps.
fn close_gaps(groups: &mut [Group<'_>]) {
    let mut used: Vec<u32> = groups.iter().map(|group| group.priority).collect();
    used.sort_unstable();
    used.dedup();
    for group in groups {
        let rank = used.partition_point(|priority| *priority < group.priority);
        group.priority = u32::try_from(rank).unwrap_or(u32::MAX);
    }
}

/// A label of an endpoint; those of its place follow from where it is.
fn label_of(endpoint: &Endpoint, key: &str) -> Option<String> {
    endpoint.labels.get(key).cloned().or_else(|| place_label(&endpoint.locality, &endpoint.node, key))
}

/// The label that tells where a workload on `node` is.
pub fn place_label(locality: &Locality, node: &str, key: &str) -> Option<String> {
    let value = match key {
        "topology.kubernetes.io/region" => &locality.region,
        "topology.kubernetes.io/zone" => &locality.zone,
        "topology.istio.io/subzone" => &locality.subzone,
        "topology.istio.io/cluster" => super::endpoint::CLUSTER,
        HOSTNAME => node,
        _ => return None,
    };
    (!value.is_empty()).then(|| value.to_owned())
}
