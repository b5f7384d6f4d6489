//! Consistent hashing: a ring of points, or Maglev's table.

use std::sync::Arc;

use xxhash_rust::xxh64::xxh64;

use crate::cluster::Policy;
use crate::endpoint::{Endpoint, EndpointSet};

/// Most points of a ring.
const MAX_RING: u64 = 8 << 20;

/// Endpoints by hash.
#[derive(Debug)]
pub struct Ring {
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
    /// Builds what the policy wants over the endpoints of the best priority; `None` when it wants none.
    pub fn build(policy: Policy, set: &EndpointSet) -> Option<Arc<Self>> {
        let endpoints = set.priorities.iter().find(|p| !p.endpoints.is_empty())?.endpoints.clone();
        let kind = match policy {
            Policy::RingHash { min_size } => Kind::Ring(points(&endpoints, min_size)),
            Policy::Maglev { size } => Kind::Table(table(&endpoints, size)),
            _ => return None,
        };
        Some(Arc::new(Self { endpoints, kind }))
    }

    /// The endpoint of a hash, or the next one that is fit.
    pub(super) fn pick(&self, hash: u64, fit: impl Fn(&Arc<Endpoint>) -> bool) -> Option<&Arc<Endpoint>> {
        match &self.kind {
            Kind::Ring(points) => {
                let start = points.partition_point(|(point, _)| *point < hash);
                let around = points[start..].iter().chain(&points[..start]);
                around.map(|(_, index)| &self.endpoints[*index as usize]).find(|endpoint| fit(endpoint))
            }
            Kind::Table(slots) => {
                let start = (hash % slots.len() as u64) as usize;
                let around = slots[start..].iter().chain(&slots[..start]);
                around.map(|index| &self.endpoints[*index as usize]).find(|endpoint| fit(endpoint))
            }
        }
    }
}

fn key(endpoint: &Endpoint) -> String {
    endpoint.address.to_string()
}

fn points(endpoints: &[Arc<Endpoint>], min_size: u64) -> Vec<(u64, u32)> {
    let total: u64 = endpoints.iter().map(|endpoint| u64::from(endpoint.weight.max(1))).sum();
    let least = endpoints.iter().map(|endpoint| u64::from(endpoint.weight.max(1))).min().unwrap_or(1);
    // As many points as make the lightest endpoint's share a whole number of them.
    let scale = (min_size * least).div_ceil(total).max(1) * total / least;
    let scale = scale.min(MAX_RING);
    let mut points = Vec::with_capacity(scale as usize);
    for (index, endpoint) in endpoints.iter().enumerate() {
        let share = (scale * u64::from(endpoint.weight.max(1)) / total).max(1);
        let key = key(endpoint);
        points.extend((0..share).map(|i| (xxh64(format!("{key}_{i}").as_bytes(), 0), index as u32)));
    }
    points.sort_unstable();
    points
}

fn table(endpoints: &[Arc<Endpoint>], size: u64) -> Vec<u32> {
    let size = size.clamp(3, 5_000_011);
    let empty = u32::MAX;
    let mut slots = vec![empty; size as usize];
    let max = endpoints.iter().map(|endpoint| endpoint.weight.max(1)).max().unwrap_or(1);
    let mut builders: Vec<(u64, u64, u64, f64)> = endpoints
        .iter()
        .map(|endpoint| {
            let key = key(endpoint);
            (xxh64(key.as_bytes(), 0) % size, xxh64(key.as_bytes(), 1) % (size - 1) + 1, 0, 0.0)
        })
        .collect();
    let mut filled = 0;
    while filled < size {
        for (index, builder) in builders.iter_mut().enumerate() {
            builder.3 += f64::from(endpoints[index].weight.max(1)) / f64::from(max);
            if builder.3 < 1.0 {
                continue;
            }
            builder.3 -= 1.0;
            while filled < size {
                let slot = ((builder.0 + builder.1 * builder.2) % size) as usize;
                builder.2 += 1;
                if slots[slot] == empty {
                    slots[slot] = index as u32;
                    filled += 1;
                    break;
                }
            }
        }
    }
    slots
}
