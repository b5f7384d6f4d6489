//! Picking an endpoint.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::cluster::{Cluster, Policy};
use crate::endpoint::{Endpoint, LocalityGroup, Priority};
use crate::head::RequestHead;

mod hash;
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
        let (priority, panic) = self.priority(context.now, random)?;
        let fit = |endpoint: &Arc<Endpoint>| panic || healthy(endpoint, context.now);
        if let (Some(ring), Some(hash)) = (&self.ring, context.hash) {
            return ring.pick(hash, fit);
        }
        let endpoints = if self.locality_weighted { by_locality(priority, fit, random) } else { None };
        self.among(endpoints.unwrap_or(&priority.endpoints), fit, mix(random))
    }

    /// The priority to use, and whether its endpoints count as healthy whatever they are.
    fn priority(&self, now: u64, random: u64) -> Option<(&Priority, bool)> {
        let set = &self.endpoints;
        if let ([only], 0) = (set.priorities.as_slice(), self.panic_percent) {
            return Some((only, false));
        }
        let factor = u64::from(if set.overprovisioning == 0 { 140 } else { set.overprovisioning });
        let mut left = 100u64;
        let roll = random % 100;
        let mut fallback = None;
        let mut taken = 0;
        for priority in &set.priorities {
            let all = priority.endpoints.len() as u64;
            let fit = priority.endpoints.iter().filter(|endpoint| healthy(endpoint, now)).count() as u64;
            if all == 0 {
                continue;
            }
            if fit > 0 || fallback.is_none() {
                fallback = fallback.filter(|(_, fit)| *fit > 0).or(Some((priority, fit)));
            }
            let share = (fit * factor / all).min(100).min(left);
            if share > 0 && roll < taken + share {
                return Some((priority, self.in_panic(fit, all)));
            }
            taken += share;
            left -= share;
        }
        let (priority, fit) = fallback?;
        let panic = self.in_panic(fit, priority.endpoints.len() as u64);
        (fit > 0 || panic).then_some((priority, panic))
    }

    fn in_panic(&self, fit: u64, all: u64) -> bool {
        fit * 100 < all * u64::from(self.panic_percent)
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

fn by_locality(priority: &Priority, fit: impl Fn(&Arc<Endpoint>) -> bool, random: u64) -> Option<&[Arc<Endpoint>]> {
    let weight = |group: &LocalityGroup| {
        let fit = group.endpoints.iter().filter(|endpoint| fit(endpoint)).count() as u64;
        let all = group.endpoints.len().max(1) as u64;
        u64::from(group.weight.unwrap_or(0)) * (fit * 140 / all).min(100)
    };
    let total: u64 = priority.localities.iter().map(weight).sum();
    let mut left = (random >> 8).checked_rem(total)?;
    let group = priority.localities.iter().find(|group| {
        let weight = weight(group);
        let hit = left < weight;
        left = left.saturating_sub(weight);
        hit
    })?;
    Some(&group.endpoints)
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
