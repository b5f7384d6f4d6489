//! What a StatefulSet needs next: a pure decision.

use jiff::Timestamp;
use lateen_apiserver::Object;
use serde_json::{Value, json};

use super::names;
use crate::controllers::object::Meta;
use crate::controllers::{pods, revisions};

/// Something to do.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Make the pod of this ordinal, by the present template or by the one before.
    Create {
        /// Which pod.
        ordinal: i64,
        /// By the present template.
        updated: bool,
    },
    /// Make sure that the claims of this pod are there.
    Claims(Object),
    /// Delete a pod that will be made again.
    Replace(Object),
    /// Delete a pod that has ended and will be made again.
    Restart(Object),
    /// Delete a pod that is one too many.
    Shrink(Object),
}

/// The names of the revisions that pods are of.
#[derive(Debug, Clone, Copy)]
pub struct Revisions<'a> {
    /// The one that was rolled out last.
    pub current: &'a str,
    /// The present one.
    pub update: &'a str,
}

/// The set and its pods by ordinal.
struct View<'a> {
    set: &'a Value,
    pods: Vec<(i64, &'a Object)>,
    revisions: Revisions<'a>,
    now: Timestamp,
}

/// Decide from the set and its pods.
#[must_use]
pub fn plan(set: &Value, pods: &[Object], revisions: Revisions<'_>, now: Timestamp) -> Vec<Action> {
    let mut numbered: Vec<_> = pods.iter().filter_map(|p| Some((names::ordinal(set, p)?, p))).collect();
    numbered.sort_by_key(|(ordinal, _)| *ordinal);
    let view = View { set, pods: numbered, revisions, now };
    let mut actions = Vec::new();
    if view.grow(&mut actions) && view.shrink(&mut actions) {
        view.update(&mut actions);
    }
    actions
}

fn is_up(pod: &Value) -> bool {
    pod.text("/status/phase") == "Running" && pods::is_ready(pod)
}

impl View<'_> {
    /// Whether each pod waits for the one before.
    fn in_order(&self) -> bool {
        self.set.text("/spec/podManagementPolicy") != "Parallel"
    }

    fn ordinals(&self) -> std::ops::Range<i64> {
        let start = names::start(self.set);
        start..start + names::wanted(self.set)
    }

    fn pod(&self, ordinal: i64) -> Option<&Object> {
        self.pods.iter().find(|(n, _)| *n == ordinal).map(|(_, pod)| *pod)
    }

    fn is_available(&self, pod: &Value) -> bool {
        is_up(pod) && pods::is_available(self.set, pod, self.now)
    }

    fn partition(&self) -> i64 {
        self.set.int("/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0)
    }

    fn is_on_delete(&self) -> bool {
        self.set.text("/spec/updateStrategy/type") == "OnDelete"
    }

    /// Pods that are missing, the first one first. Answers whether to go on.
    fn grow(&self, actions: &mut Vec<Action>) -> bool {
        for ordinal in self.ordinals() {
            let Some(pod) = self.pod(ordinal) else {
                let frozen = !self.is_on_delete() && ordinal < names::start(self.set) + self.partition();
                actions.push(Action::Create { ordinal, updated: !frozen });
                if self.in_order() {
                    return false;
                }
                continue;
            };
            if pods::is_finished(pod) {
                if !pod.is_terminating() {
                    actions.push(Action::Restart(pod.clone()));
                }
                if self.in_order() {
                    return false;
                }
                continue;
            }
            if !pod.is_terminating() {
                actions.push(Action::Claims(pod.clone()));
            }
            if self.in_order() && (pod.is_terminating() || !self.is_available(pod)) {
                return false;
            }
        }
        true
    }

    /// Pods that are too many, the last one first. Answers whether to go on.
    fn shrink(&self, actions: &mut Vec<Action>) -> bool {
        let wanted = self.ordinals();
        let condemned: Vec<&Object> =
            self.pods.iter().filter(|(ordinal, _)| !wanted.contains(ordinal)).map(|(_, pod)| *pod).collect();
        let first_broken = condemned.iter().find(|pod| !is_up(pod)).map(|pod| pod.uid());
        for pod in condemned.iter().rev() {
            if pod.is_terminating() {
                if self.in_order() {
                    return false;
                }
                continue;
            }
            if self.in_order() && !self.is_available(pod) && first_broken != Some(pod.uid()) {
                return false;
            }
            actions.push(Action::Shrink(Object::clone(pod)));
            if self.in_order() {
                return false;
            }
        }
        true
    }

    /// One pod of an old template, the last one first; it waits until those after it are up again.
    fn update(&self, actions: &mut Vec<Action>) {
        if self.is_on_delete() {
            return;
        }
        let first = names::start(self.set) + self.partition();
        for ordinal in self.ordinals().rev().take_while(|ordinal| *ordinal >= first) {
            let Some(pod) = self.pod(ordinal) else { return };
            let is_old = pod.label(revisions::HASH_LABEL) != Some(self.revisions.update);
            if is_old && !pod.is_terminating() {
                actions.push(Action::Replace(pod.clone()));
                return;
            }
            if pod.is_terminating() || !self.is_available(pod) {
                return;
            }
        }
    }
}

/// The status that the set should show.
#[must_use]
pub fn status(set: &Value, pods: &[Object], revisions: Revisions<'_>, now: Timestamp) -> Value {
    let view = View { set, pods: Vec::new(), revisions, now };
    let count = |test: &dyn Fn(&Value) -> bool| i64::try_from(pods.iter().filter(|p| test(p)).count()).unwrap_or(0);
    let of = |name: &str| count(&|p| !p.is_terminating() && p.label(revisions::HASH_LABEL) == Some(name));
    let (replicas, ready, updated) = (count(&|_| true), count(&is_up), of(revisions.update));
    let wanted = names::wanted(set);
    let rolled_out = !view.is_on_delete() && [replicas, ready, updated] == [wanted; 3];
    let current = if rolled_out { revisions.update } else { revisions.current };
    let mut status = json!({
        "observedGeneration": set.int("/metadata/generation").unwrap_or(0),
        "replicas": replicas,
        "availableReplicas": count(&|p| view.is_available(p)),
        "currentRevision": current,
        "updateRevision": revisions.update,
        "collisionCount": set.int("/status/collisionCount").unwrap_or(0),
    });
    for (name, number) in [("readyReplicas", ready), ("currentReplicas", of(current)), ("updatedReplicas", updated)] {
        if number > 0 {
            status[name] = number.into();
        }
    }
    status
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
