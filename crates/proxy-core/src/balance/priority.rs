//! How load spreads over priorities and localities, as Envoy does it.

use std::sync::Arc;

use super::healthy;
use crate::endpoint::{Endpoint, EndpointSet, LocalityGroup, Priority};

/// Endpoints of a priority: all, and those that are fit.
struct Count {
    all: u64,
    fit: u64,
}

impl Count {
    /// Whether so few are fit that all count as such.
    fn in_panic(&self, percent: u32) -> bool {
        self.fit * 100 < self.all * u64::from(percent) || (self.all == 0 && percent > 0)
    }
}

/// The priority for a request, and whether its endpoints are used whatever they are; `None` when nothing is usable.
pub(super) fn choose(set: &EndpointSet, panic_percent: u32, now: u64, random: u64) -> Option<(usize, bool)> {
    if let ([_], 0) = (set.priorities.as_slice(), panic_percent) {
        return Some((0, false));
    }
    let count = |priority: &Priority| Count {
        all: priority.endpoints.len() as u64,
        fit: priority.endpoints.iter().filter(|endpoint| healthy(endpoint, now)).count() as u64,
    };
    let counts: Vec<Count> = set.priorities.iter().map(count).collect();
    let available: Vec<u64> =
        counts.iter().map(|count| available(count.fit, count.all, set.overprovisioning)).collect();
    let total = available.iter().sum::<u64>().min(100);
    if total < 100 && counts.iter().all(|count| count.in_panic(panic_percent)) {
        let all: Vec<u64> = counts.iter().map(|count| count.all).collect();
        return Some((pick(&all, random)?, true));
    }
    let mut left = 100;
    let mut loads: Vec<u64> = available
        .iter()
        .map(|available| {
            let load = (available * 100).checked_div(total).unwrap_or(0).min(left);
            left -= load;
            load
        })
        .collect();
    // What rounding leaves over goes to the first that can take it.
    *loads.iter_mut().find(|load| **load > 0)? += left;
    let chosen = pick(&loads, random % 100)?;
    Some((chosen, total < 100 && counts[chosen].in_panic(panic_percent)))
}

/// How much of its load a group can take, in percent: a share of its endpoints may fail before others must help.
fn available(fit: u64, all: u64, overprovisioning: u32) -> u64 {
    (fit * u64::from(overprovisioning)).checked_div(all).unwrap_or(0).min(100)
}

/// The index that `random` falls on when each has its share.
fn pick(shares: &[u64], random: u64) -> Option<usize> {
    let mut left = random.checked_rem(shares.iter().sum())?;
    shares.iter().position(|share| {
        let hit = left < *share;
        left = left.saturating_sub(*share);
        hit
    })
}

/// The endpoints of one locality, chosen by the weights of localities and by how many of their endpoints are fit.
pub(super) fn locality<'p>(
    set: &EndpointSet,
    priority: &'p Priority,
    fit: impl Fn(&Arc<Endpoint>) -> bool,
    random: u64,
) -> Option<&'p [Arc<Endpoint>]> {
    let share = |group: &LocalityGroup| {
        let fit = group.endpoints.iter().filter(|endpoint| fit(endpoint)).count() as u64;
        u64::from(group.weight.unwrap_or(0)) * available(fit, group.endpoints.len() as u64, set.overprovisioning)
    };
    let shares: Vec<u64> = priority.localities.iter().map(share).collect();
    Some(&priority.localities[pick(&shares, random >> 8)?].endpoints)
}
