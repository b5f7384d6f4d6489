//! How many replicas each ReplicaSet of a Deployment should have next: a pure decision.

use serde_json::Value;

use crate::controllers::object::Meta;
use crate::controllers::portion::{int_or_percent, percent};

/// What a rollout looks at in one ReplicaSet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    /// `spec.replicas`.
    pub replicas: i64,
    /// `status.availableReplicas`.
    pub available: i64,
    /// The Deployment's replicas when this set was last scaled.
    pub desired_seen: Option<i64>,
    /// The Deployment's replicas and surge when this set was last scaled.
    pub max_seen: Option<i64>,
}

/// How a Deployment replaces its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// New pods come up before, and as, old ones go.
    Rolling {
        /// Pods there may be above the wanted number.
        surge: i64,
        /// Pods that may be missing from the wanted number.
        unavailable: i64,
    },
    /// All old pods go before the first new one comes.
    Recreate,
}

impl Strategy {
    /// The strategy that a Deployment's spec asks for, for its wanted number of replicas.
    #[must_use]
    pub fn of(deployment: &Value, desired: i64) -> Self {
        if deployment.text("/spec/strategy/type") == "Recreate" {
            return Self::Recreate;
        }
        let part = |name: &str, up| {
            let value = deployment.pointer(&format!("/spec/strategy/rollingUpdate/{name}"));
            int_or_percent(value, desired, up).unwrap_or_else(|| percent(25, desired, up))
        };
        let surge = part("maxSurge", true);
        let unavailable = part("maxUnavailable", false).min(desired);
        if surge == 0 && unavailable == 0 {
            return Self::Rolling { surge, unavailable: 1 };
        }
        Self::Rolling { surge, unavailable }
    }

    /// The most pods there may be at any time.
    #[must_use]
    pub fn ceiling(self, desired: i64) -> i64 {
        match self {
            Self::Rolling { surge, .. } if desired > 0 => desired + surge,
            _ => desired,
        }
    }

    /// Pods that may be missing from the wanted number.
    #[must_use]
    pub fn may_miss(self, desired: i64) -> i64 {
        match self {
            Self::Rolling { unavailable, .. } if desired > 0 => unavailable.min(desired),
            _ => 0,
        }
    }
}

/// The next step of a rollout, as new sizes; `None` keeps a set as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// The new set's size.
    pub new: Option<i64>,
    /// The old sets' sizes, in the order given.
    pub old: Vec<Option<i64>>,
}

impl Step {
    fn keep(old: &[Set]) -> Self {
        Self { new: None, old: vec![None; old.len()] }
    }
}

/// One step of a rolling update: first the new set grows as far as the ceiling allows, else old
/// sets (oldest first) shrink as far as availability allows.
#[must_use]
pub fn rolling(desired: i64, strategy: Strategy, new: &Set, old: &[Set]) -> Step {
    let mut step = Step::keep(old);
    if new.replicas != desired {
        let total = new.replicas + old.iter().map(|s| s.replicas).sum::<i64>();
        let next = if new.replicas > desired {
            desired
        } else {
            let room = (strategy.ceiling(desired) - total).max(0);
            new.replicas + room.min(desired - new.replicas)
        };
        if next != new.replicas {
            step.new = Some(next);
            return step;
        }
    }
    shrink_old(&mut step, desired, strategy, new, old);
    step
}

fn shrink_old(step: &mut Step, desired: i64, strategy: Strategy, new: &Set, old: &[Set]) {
    let old_total: i64 = old.iter().map(|s| s.replicas).sum();
    let floor = desired - strategy.may_miss(desired);
    let missing_new = new.replicas - new.available;
    let mut budget = new.replicas + old_total - floor - missing_new;
    if old_total == 0 || budget <= 0 {
        return;
    }
    let mut sizes: Vec<i64> = old.iter().map(|s| s.replicas).collect();
    // Pods that are not available serve nobody: they go first.
    for (size, set) in sizes.iter_mut().zip(old) {
        let cut = (*size - set.available).clamp(0, budget.max(0));
        *size -= cut;
        budget -= cut;
    }
    let available: i64 = new.available + old.iter().map(|s| s.available).sum::<i64>();
    let mut spare = (available - floor).max(0);
    for size in &mut sizes {
        let cut = (*size).min(spare);
        *size -= cut;
        spare -= cut;
    }
    for ((slot, set), size) in step.old.iter_mut().zip(old).zip(sizes) {
        *slot = (size != set.replicas).then_some(size);
    }
}

/// One step of a recreation: old sets go to nothing; once `old_pods` is 0 the new one comes.
#[must_use]
pub fn recreate(desired: i64, new: Option<&Set>, old: &[Set], old_pods: usize) -> Step {
    let mut step = Step::keep(old);
    for (slot, set) in step.old.iter_mut().zip(old) {
        *slot = (set.replicas != 0).then_some(0);
    }
    let old_gone = old_pods == 0 && step.old.iter().all(Option::is_none);
    if old_gone && new.is_none_or(|n| n.replicas != desired) {
        step.new = Some(desired);
    }
    step
}

/// Whether the Deployment's wanted number changed since its sets were last scaled.
#[must_use]
pub fn was_scaled(desired: i64, sets: &[&Set]) -> bool {
    sets.iter().any(|s| s.replicas > 0 && s.desired_seen.is_some_and(|seen| seen != desired))
}

/// Sizes after the wanted number changed (or while paused), without rolling any further: in the
/// midst of a rolling update each set gets its share.
#[must_use]
pub fn scale(desired: i64, strategy: Strategy, new: Option<&Set>, old: &[Set]) -> Step {
    let mut step = Step::keep(old);
    let active: Vec<usize> = (0..old.len()).filter(|i| old[*i].replicas > 0).collect();
    let new_active = new.is_some_and(|n| n.replicas > 0);
    match (new, new_active, active.as_slice()) {
        (Some(new), _, []) => step.new = (new.replicas != desired).then_some(desired),
        (_, false, [only]) => {
            step.old[*only] = (old[*only].replicas != desired).then_some(desired);
        }
        (Some(new), true, _) if is_saturated(new, desired) => {
            active.iter().for_each(|i| step.old[*i] = Some(0));
        }
        (None, _, []) => {}
        _ => share(&mut step, strategy.ceiling(desired), new, old),
    }
    step
}

fn is_saturated(set: &Set, desired: i64) -> bool {
    set.replicas == desired && set.available == desired && set.desired_seen == Some(desired)
}

/// Spread the change over the sets in proportion to their sizes, the largest first; what rounding
/// leaves goes to the largest.
fn share(step: &mut Step, ceiling: i64, new: Option<&Set>, old: &[Set]) {
    let mut sets: Vec<(Option<usize>, &Set)> = new.map(|n| (None, n)).into_iter().collect();
    sets.extend(old.iter().enumerate().map(|(i, s)| (Some(i), s)));
    sets.retain(|(_, s)| s.replicas > 0);
    sets.sort_by_key(|(_, s)| std::cmp::Reverse(s.replicas));
    let mut change = ceiling - sets.iter().map(|(_, s)| s.replicas).sum::<i64>();
    let mut sizes = Vec::with_capacity(sets.len());
    for (_, set) in &sets {
        let base = set.max_seen.filter(|m| *m > 0).unwrap_or(set.replicas);
        let ideal = (set.replicas * ceiling * 2 + base) / (base * 2) - set.replicas;
        let part = if change >= 0 { ideal.clamp(0, change) } else { ideal.clamp(change, 0) };
        change -= part;
        sizes.push(set.replicas + part);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + change).max(0);
    }
    for ((at, set), size) in sets.iter().zip(sizes) {
        let slot = match at {
            None => &mut step.new,
            Some(i) => &mut step.old[*i],
        };
        *slot = (size != set.replicas).then_some(size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(replicas: i64, available: i64) -> Set {
        Set { replicas, available, ..Set::default() }
    }

    fn rolling_strategy(surge: i64, unavailable: i64) -> Strategy {
        Strategy::Rolling { surge, unavailable }
    }

    #[test]
    fn the_strategy_is_read_with_percentages_and_defaults() {
        let of =
            |rolling: Value, desired| Strategy::of(&json!({"spec": {"strategy": {"rollingUpdate": rolling}}}), desired);
        assert_eq!(of(json!(null), 1), rolling_strategy(1, 0));
        assert_eq!(of(json!(null), 10), rolling_strategy(3, 2));
        assert_eq!(of(json!({"maxSurge": "50%", "maxUnavailable": 1}), 3), rolling_strategy(2, 1));
        assert_eq!(of(json!({"maxSurge": 0, "maxUnavailable": "0%"}), 3), rolling_strategy(0, 1));
        let recreate = json!({"spec": {"strategy": {"type": "Recreate"}}});
        assert_eq!(Strategy::of(&recreate, 3), Strategy::Recreate);
    }

    #[test]
    fn each_step_of_a_rolling_update_keeps_within_surge_and_availability() {
        let cases = [
            // (desired, surge, unavailable, new, old) -> (new, old)
            (3, 1, 0, set(0, 0), vec![set(3, 3)], Some(1), vec![None]),
            (3, 1, 0, set(1, 0), vec![set(3, 3)], None, vec![None]),
            (3, 1, 0, set(1, 1), vec![set(3, 3)], None, vec![Some(2)]),
            (3, 1, 0, set(1, 1), vec![set(2, 2)], Some(2), vec![None]),
            (3, 0, 1, set(0, 0), vec![set(3, 3)], None, vec![Some(2)]),
            (5, 1, 1, set(5, 5), vec![], None, vec![]),
            (2, 1, 0, set(4, 4), vec![], Some(2), vec![]),
            // Broken old pods go at once, the good ones stay.
            (3, 1, 0, set(1, 0), vec![set(1, 0), set(3, 3)], None, vec![Some(0), None]),
        ];
        for (desired, surge, unavailable, new, old, expect_new, expect_old) in cases {
            let step = rolling(desired, rolling_strategy(surge, unavailable), &new, &old);
            assert_eq!((step.new, step.old), (expect_new, expect_old), "{new:?} {old:?}");
        }
    }

    #[test]
    fn a_rolling_update_always_ends_with_only_new_pods() {
        for (desired, surge, unavailable) in [(1, 1, 0), (3, 1, 0), (3, 0, 1), (10, 3, 2), (0, 1, 0)] {
            let mut new = set(0, 0);
            let mut old = vec![set(desired, desired)];
            for _ in 0..100 {
                let step = rolling(desired, rolling_strategy(surge, unavailable), &new, &old);
                if let Some(n) = step.new {
                    new.replicas = n;
                }
                if let Some(Some(o)) = step.old.first() {
                    old[0].replicas = *o;
                }
                let total = new.replicas + old[0].replicas;
                assert!(total <= desired + surge, "{total} pods of {desired}");
                assert!(new.available + old[0].replicas.min(old[0].available) >= desired - unavailable);
                old[0].available = old[0].replicas;
                new.available = new.replicas;
            }
            assert_eq!((new.replicas, old[0].replicas), (desired, 0));
        }
    }

    #[test]
    fn recreation_waits_until_the_last_old_pod_is_gone() {
        let old = [set(2, 2)];
        assert_eq!(recreate(2, None, &old, 2).old, [Some(0)]);
        assert_eq!(recreate(2, None, &[set(0, 0)], 1), Step { new: None, old: vec![None] });
        assert_eq!(recreate(2, None, &[set(0, 0)], 0).new, Some(2));
        assert_eq!(recreate(2, Some(&set(2, 0)), &[set(0, 0)], 0).new, None);
    }

    #[test]
    fn scaling_in_the_midst_of_a_rollout_gives_each_set_its_share() {
        let with = |replicas, available, max| Set { replicas, available, desired_seen: Some(10), max_seen: Some(max) };
        let strategy = rolling_strategy(3, 2);
        let step = scale(15, strategy, Some(&with(5, 0, 13)), &[with(8, 8, 13)]);
        assert_eq!(step, Step { new: Some(7), old: vec![Some(11)] });
        assert!(was_scaled(15, &[&with(5, 0, 13)]));
        assert!(!was_scaled(10, &[&with(5, 0, 13)]));
    }

    #[test]
    fn scaling_a_deployment_at_rest_scales_its_one_set() {
        let step = scale(4, rolling_strategy(1, 0), Some(&set(2, 2)), &[set(0, 0)]);
        assert_eq!(step, Step { new: Some(4), old: vec![None] });
        let paused_before_first_rollout = scale(4, rolling_strategy(1, 0), None, &[set(2, 2)]);
        assert_eq!(paused_before_first_rollout.old, [Some(4)]);
    }
}
