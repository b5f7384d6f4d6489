//! Picking an endpoint.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::cluster::{Cluster, Policy};
use crate::endpoint::Endpoint;
use crate::head::RequestHead;

mod hash;
mod priority;
mod ring;

pub use hash::{HashKind, HashPolicy};
pub use ring::Ring;

/// What a pick depends on besides the cluster.
#[derive(Debug, Clone, Copy)]
pub struct PickContext<'a> {
    /// Milliseconds of a steady clock.
    pub now: u64,
    /// Random number.
    pub random: u64,
    /// Hash of the request, for the policies that want one.
    pub hash: Option<u64>,
    /// Endpoints to leave alone while there are others.
    pub avoid: &'a [u64],
    /// Picks before one of those is taken after all.
    pub attempts: u32,
}

/// The hash of a request, by the route's policies; `source` is the client's address.
pub fn request_hash(
    policies: &[HashPolicy],
    head: &(impl RequestHead + ?Sized),
    source: std::net::IpAddr,
) -> Option<u64> {
    hash::combine(policies, head, source)
}

/// The hash of a connection's client.
pub fn source_hash(source: std::net::IpAddr) -> u64 {
    hash::source(source)
}

impl Cluster {
    /// Picks an endpoint; `None` when there is no healthy one.
    pub fn pick(&self, context: PickContext<'_>) -> Option<&Arc<Endpoint>> {
        let mut random = context.random;
        let mut picked = self.pick_once(context, random)?;
        for _ in 0..context.attempts {
            if !context.avoid.contains(&picked.id) {
                break;
            }
            random = mix(random);
            picked = self.pick_once(context, random)?;
        }
        Some(picked)
    }

    fn pick_once(&self, context: PickContext<'_>, random: u64) -> Option<&Arc<Endpoint>> {
        // What is hashed decides on the priority too, so that it leads to the same endpoint each time.
        let hash = context.hash.filter(|_| self.ring.is_some());
        let (index, panic) =
            priority::choose(&self.endpoints, self.panic_percent, context.now, hash.unwrap_or(random))?;
        let fit = |endpoint: &Arc<Endpoint>| panic || healthy(endpoint, context.now);
        if let (Some(ring), Some(hash)) = (&self.ring, hash) {
            return ring.pick(index, hash, fit);
        }
        let priority = self.endpoints.priorities.get(index)?;
        let weighted = self.locality_weighted && priority.localities.len() > 1;
        let endpoints = if weighted { priority::locality(&self.endpoints, priority, fit, random) } else { None };
        self.among(endpoints.unwrap_or(&priority.endpoints), fit, mix(random))
    }

    fn among<'s>(
        &self,
        endpoints: &'s [Arc<Endpoint>],
        fit: impl Fn(&Arc<Endpoint>) -> bool,
        random: u64,
    ) -> Option<&'s Arc<Endpoint>> {
        if let [only] = endpoints {
            return fit(only).then_some(only);
        }
        if endpoints.windows(2).any(|pair| pair[0].weight != pair[1].weight) {
            return weighted(endpoints, fit, random, self.policy == Policy::LeastRequest);
        }
        match self.policy {
            Policy::LeastRequest => {
                let first = nth_fit(endpoints, &fit, random as usize)?;
                let others = (1..self.choices.max(2)).filter_map(|choice| {
                    nth_fit(endpoints, &fit, mix(random.wrapping_add(u64::from(choice))) as usize)
                });
                Some(others.fold(first, |best, other| if active(other) < active(best) { other } else { best }))
            }
            Policy::RoundRobin => nth_fit(endpoints, fit, self.state.turn.fetch_add(1, Relaxed)),
            _ => nth_fit(endpoints, fit, random as usize),
        }
    }
}

/// Whether an endpoint may be used at `now`.
pub fn healthy(endpoint: &Endpoint, now: u64) -> bool {
    endpoint.healthy && !endpoint.state.health.ejected(now)
}

fn active(endpoint: &Endpoint) -> u32 {
    endpoint.state.active.load(Relaxed)
}

/// The endpoint at `start`, counted round, or the next one that is fit.
fn nth_fit(endpoints: &[Arc<Endpoint>], fit: impl Fn(&Arc<Endpoint>) -> bool, start: usize) -> Option<&Arc<Endpoint>> {
    let len = endpoints.len();
    let start = start.checked_rem(len)?;
    let (tail, head) = (&endpoints[start..], &endpoints[..start]);
    tail.iter().chain(head).find(|endpoint| fit(endpoint))
}

fn weighted(
    endpoints: &[Arc<Endpoint>],
    fit: impl Fn(&Arc<Endpoint>) -> bool,
    random: u64,
    by_load: bool,
) -> Option<&Arc<Endpoint>> {
    // A busy endpoint weighs less, as in Envoy's weighted least request.
    let weight = |endpoint: &Arc<Endpoint>| {
        let weight = u64::from(endpoint.weight.max(1)) * 1024;
        if by_load { (weight / u64::from(active(endpoint) + 1)).max(1) } else { weight }
    };
    let total: u64 = endpoints.iter().filter(|endpoint| fit(endpoint)).map(weight).sum();
    let mut left = random.checked_rem(total)?;
    endpoints.iter().filter(|endpoint| fit(endpoint)).find(|endpoint| {
        let weight = weight(endpoint);
        let hit = left < weight;
        left = left.saturating_sub(weight);
        hit
    })
}

/// Another number as random as the first.
fn mix(random: u64) -> u64 {
    let mut z = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
