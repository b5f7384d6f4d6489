//! Consistent hashing: a ring of points, or Maglev's table.

use std::sync::Arc;

use xxhash_rust::xxh64::xxh64;

use crate::cluster::Policy;
use crate::endpoint::{Endpoint, EndpointSet, Priority};

/// Most points of a ring.
const MAX_RING: u64 = 8 << 20;
/// Most slots of a table; a prime.
const MAX_TABLE: u64 = 5_000_011;
/// A slot without an endpoint.
const EMPTY: u32 = u32::MAX;

/// Endpoints by hash, for each priority.
#[derive(Debug)]
pub struct Ring(Vec<Circle>);

/// Endpoints of one priority by hash.
#[derive(Debug)]
struct Circle {
    endpoints: Vec<Arc<Endpoint>>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Points sorted by hash.
    Ring(Vec<(u64, u32)>),
    /// Endpoint of every slot.
    Table(Vec<u32>),
}

impl Ring {
    /// Builds what the policy wants; `None` when it wants none. With `by_locality` the weights of localities count.
    pub fn build(policy: Policy, by_locality: bool, set: &EndpointSet) -> Option<Arc<Self>> {
        if !matches!(policy, Policy::RingHash { .. } | Policy::Maglev { .. }) {
            return None;
        }
        let circle = |priority: &Priority| {
            let shares = shares(priority, by_locality);
            let kind = match policy {
                Policy::Maglev { size } => Kind::Table(table(&priority.endpoints, &shares, size)),
                Policy::RingHash { min_size } => Kind::Ring(points(&priority.endpoints, &shares, min_size)),
                _ => Kind::Ring(Vec::new()),
            };
            Circle { endpoints: priority.endpoints.clone(), kind }
        };
        Some(Arc::new(Self(set.priorities.iter().map(circle).collect())))
    }

    /// The endpoint of a hash in a priority, or the next one that is fit.
    pub(super) fn pick(
        &self,
        priority: usize,
        hash: u64,
        fit: impl Fn(&Arc<Endpoint>) -> bool,
    ) -> Option<&Arc<Endpoint>> {
        let circle = self.0.get(priority)?;
        match &circle.kind {
            Kind::Ring(points) => {
                let start = points.partition_point(|(point, _)| *point < hash);
                let around = points[start..].iter().chain(&points[..start]);
                around.map(|(_, index)| &circle.endpoints[*index as usize]).find(|endpoint| fit(endpoint))
            }
            Kind::Table(slots) => {
                let start = hash.checked_rem(slots.len() as u64)? as usize;
                let around = slots[start..].iter().chain(&slots[..start]);
                around.map(|index| &circle.endpoints[*index as usize]).find(|endpoint| fit(endpoint))
            }
        }
    }
}

/// The share of each endpoint, in their order; all make 1.
fn shares(priority: &Priority, by_locality: bool) -> Vec<f64> {
    let of = |endpoints: &[Arc<Endpoint>], whole: f64| -> Vec<f64> {
        let sum: f64 = endpoints.iter().map(|endpoint| f64::from(endpoint.weight.max(1))).sum();
        endpoints.iter().map(|endpoint| f64::from(endpoint.weight.max(1)) * whole / sum).collect()
    };
    if !by_locality || priority.localities.is_empty() {
        return of(&priority.endpoints, 1.0);
    }
    let used = || priority.localities.iter().filter(|group| !group.endpoints.is_empty());
    let sum: f64 = used().map(|group| f64::from(group.weight.unwrap_or(0))).sum();
    used().flat_map(|group| of(&group.endpoints, f64::from(group.weight.unwrap_or(0)) / sum)).collect()
}

fn key(endpoint: &Endpoint) -> String {
    endpoint.address.to_string()
}

fn points(endpoints: &[Arc<Endpoint>], shares: &[f64], min_size: u64) -> Vec<(u64, u32)> {
    let least = shares.iter().copied().filter(|share| *share > 0.0).fold(1.0, f64::min);
    // As many points as make the lightest endpoint's share a whole number of them.
    let scale = ((least * min_size as f64).ceil() / least).min(MAX_RING as f64);
    let mut points = Vec::with_capacity(scale.ceil() as usize);
    let mut wanted = 0.0;
    for (index, (endpoint, share)) in endpoints.iter().zip(shares).enumerate() {
        let key = key(endpoint);
        // Shares need not be whole; what one endpoint lacks the next one makes up for.
        wanted += scale * share;
        let mut number = 0;
        while (points.len() as f64) < wanted {
            points.push((xxh64(format!("{key}_{number}").as_bytes(), 0), index as u32));
            number += 1;
        }
    }
    points.sort_unstable();
    points
}

/// A host's way through the table: where it begins, how far it steps, how often it has stepped, when its next turn is.
struct Walk {
    start: u64,
    stride: u64,
    steps: u64,
    turn: f64,
}

fn table(endpoints: &[Arc<Endpoint>], shares: &[f64], size: u64) -> Vec<u32> {
    let size = size.clamp(3, MAX_TABLE);
    let heaviest = shares.iter().copied().fold(0.0, f64::max);
    if heaviest <= 0.0 {
        return Vec::new();
    }
    let walk = |endpoint: &Arc<Endpoint>| {
        let key = key(endpoint);
        let (start, stride) = (xxh64(key.as_bytes(), 0) % size, xxh64(key.as_bytes(), 1) % (size - 1) + 1);
        Walk { start, stride, steps: 0, turn: 0.0 }
    };
    let mut walks: Vec<Walk> = endpoints.iter().map(walk).collect();
    let mut slots = vec![EMPTY; size as usize];
    let mut filled = 0;
    let mut round = 0.0;
    while filled < size {
        round += 1.0;
        for (index, (walk, share)) in walks.iter_mut().zip(shares).enumerate() {
            // The heaviest endpoint has its turn in every round, one of a third of its weight in every third.
            if round * share < walk.turn || filled == size || *share <= 0.0 {
                continue;
            }
            walk.turn += heaviest;
            loop {
                let slot = ((walk.start + walk.stride * walk.steps) % size) as usize;
                walk.steps += 1;
                if slots[slot] == EMPTY {
                    slots[slot] = index as u32;
                    filled += 1;
                    break;
                }
            }
        }
    }
    slots
}
