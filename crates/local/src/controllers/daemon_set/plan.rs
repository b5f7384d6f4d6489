//! What a DaemonSet needs next: a pure decision.

use std::time::Duration;

use jiff::Timestamp;
use lateen_apiserver::Object;
use serde_json::{Value, json};

use crate::controllers::object::Meta;
use crate::controllers::{fitness, pods, portion, revisions};

/// Why a pod goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It has ended, and daemons don't.
    Failed,
    /// It has no business on its node, or there are two.
    Surplus,
    /// Its template is an old one.
    Outdated,
}

/// What to do.
#[derive(Debug)]
pub struct Plan {
    /// Nodes that need a pod.
    pub create: Vec<String>,
    /// Pods to delete.
    pub delete: Vec<(Object, Gone)>,
    /// The set's status.
    pub status: Value,
    /// When a pod becomes available with nothing else happening.
    pub look_again: Option<Duration>,
}

/// One node and the set's pods on it.
struct Place<'a> {
    node: &'a str,
    wanted: bool,
    /// Those that neither have ended nor are to end, the oldest first.
    live: Vec<&'a Object>,
    ended: Vec<&'a Object>,
    leaving: bool,
}

impl<'a> Place<'a> {
    fn of_template(&self, hash: &str, present: bool) -> Option<&'a Object> {
        let is_present = |pod: &Value| pod.label(revisions::HASH_LABEL) == Some(hash);
        self.live.iter().copied().find(|pod| is_present(pod) == present)
    }
}

struct Rollout<'a> {
    set: &'a Value,
    hash: &'a str,
    now: Timestamp,
}

/// Decide from the set, a pod of it, the nodes and its pods.
#[must_use]
pub fn plan(set: &Value, sample: &Value, nodes: &[Object], pods: &[Object], hash: &str, now: Timestamp) -> Plan {
    let places: Vec<Place<'_>> = nodes.iter().map(|node| place(sample, node, pods)).collect();
    let rollout = Rollout { set, hash, now };
    let mut plan = Plan { create: Vec::new(), delete: Vec::new(), status: Value::Null, look_again: None };
    for place in &places {
        rollout.manage(place, &mut plan);
    }
    if set.text("/spec/updateStrategy/type") != "OnDelete" {
        rollout.roll(&places, &mut plan);
    }
    plan.status = rollout.status(&places);
    plan.look_again = pods::until_next_available(set, pods, now);
    plan
}

fn place<'a>(sample: &Value, node: &'a Value, pods: &'a [Object]) -> Place<'a> {
    let mut here: Vec<&Object> = pods.iter().filter(|pod| node_of(pod) == node.name()).collect();
    here.sort_by_key(|pod| (pod.created(), pod.name().to_owned()));
    let leaving = here.iter().any(|pod| pod.is_terminating());
    here.retain(|pod| !pod.is_terminating());
    let (ended, live) = here.into_iter().partition(|pod| pods::is_finished(pod));
    Place { node: node.name(), wanted: fitness::refusal(sample, node).is_none(), live, ended, leaving }
}

/// The node that a pod is on, or is meant for.
fn node_of(pod: &Value) -> &str {
    let bound = pod.text("/spec/nodeName");
    let field = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/\
                 matchFields/0/values/0";
    if bound.is_empty() { pod.text(field) } else { bound }
}

impl Rollout<'_> {
    fn is_available(&self, pod: &Value) -> bool {
        pods::is_available(self.set, pod, self.now)
    }

    fn limit(&self, name: &str, of: usize, default: i64) -> usize {
        let value = self.set.pointer(&format!("/spec/updateStrategy/rollingUpdate/{name}"));
        let limit = portion::int_or_percent(value, i64::try_from(of).unwrap_or(i64::MAX), true);
        usize::try_from(limit.unwrap_or(default)).unwrap_or(0)
    }

    fn surge(&self, of: usize) -> usize {
        self.limit("maxSurge", of, 0)
    }

    /// One pod where one is wanted, none elsewhere.
    fn manage(&self, place: &Place<'_>, plan: &mut Plan) {
        plan.delete.extend(place.ended.iter().map(|pod| (Object::clone(pod), Gone::Failed)));
        if !place.wanted {
            plan.delete.extend(place.live.iter().map(|pod| (Object::clone(pod), Gone::Surplus)));
        } else if place.live.is_empty() && place.ended.is_empty() && !place.leaving {
            plan.create.push(place.node.to_owned());
        } else {
            // While it rolls with a surge, a node has one pod of each template.
            let keep = [self.surge(1) > 0 || place.live.len() < 2, true];
            let kept: Vec<&str> = [false, true]
                .into_iter()
                .zip(keep)
                .filter_map(|(present, keep)| place.of_template(self.hash, present).filter(|_| keep).map(|p| p.uid()))
                .collect();
            let kept = if kept.is_empty() { place.live.first().map(|p| p.uid()).into_iter().collect() } else { kept };
            let surplus = place.live.iter().filter(|pod| !kept.contains(&pod.uid()));
            plan.delete.extend(surplus.map(|pod| (Object::clone(pod), Gone::Surplus)));
        }
    }

    /// Replace pods of old templates, as many at a time as the strategy allows.
    fn roll(&self, places: &[Place<'_>], plan: &mut Plan) {
        let wanted: Vec<&Place<'_>> = places.iter().filter(|p| p.wanted).collect();
        let surge = self.surge(wanted.len());
        let mut candidates = Vec::new();
        let mut busy = 0;
        for place in wanted.iter().copied() {
            match (place.of_template(self.hash, false), place.of_template(self.hash, true)) {
                (Some(old), None) if !self.is_available(old) => self.replace(place, old, surge > 0, plan),
                (Some(old), None) => candidates.push((place, old)),
                (Some(old), Some(new)) if self.is_available(new) => {
                    if surge > 0 {
                        plan.delete.push((old.clone(), Gone::Outdated));
                    }
                }
                (None, Some(new)) => busy += usize::from(surge == 0 && !self.is_available(new)),
                _ => busy += 1,
            }
        }
        let limit = if surge > 0 { surge } else { self.limit("maxUnavailable", wanted.len(), 1) };
        for (place, old) in candidates.into_iter().take(limit.saturating_sub(busy)) {
            self.replace(place, old, surge > 0, plan);
        }
    }

    fn replace(&self, place: &Place<'_>, old: &Object, surge: bool, plan: &mut Plan) {
        if surge {
            plan.create.push(place.node.to_owned());
        } else {
            plan.delete.push((old.clone(), Gone::Outdated));
        }
    }

    fn status(&self, places: &[Place<'_>]) -> Value {
        let count = |test: &dyn Fn(&Place<'_>) -> bool| places.iter().filter(|p| test(p)).count();
        let any = |p: &Place<'_>, test: &dyn Fn(&Value) -> bool| p.live.iter().any(|pod| test(pod));
        let desired = count(&|p| p.wanted);
        let available = count(&|p| p.wanted && any(p, &|pod| self.is_available(pod)));
        let mut status = json!({
            "currentNumberScheduled": count(&|p| p.wanted && !p.live.is_empty()),
            "numberMisscheduled": count(&|p| !p.wanted && !p.live.is_empty()),
            "desiredNumberScheduled": desired,
            "numberReady": count(&|p| p.wanted && any(p, &pods::is_ready)),
            "observedGeneration": self.set.int("/metadata/generation").unwrap_or(0),
        });
        let updated = count(&|p| p.wanted && p.of_template(self.hash, true).is_some());
        for (name, number) in [
            ("updatedNumberScheduled", updated),
            ("numberAvailable", available),
            ("numberUnavailable", desired - available),
        ] {
            if number > 0 {
                status[name] = number.into();
            }
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn node(name: &str) -> Object {
        Arc::new(json!({"metadata": {"name": name, "labels": {"zone": name}}}))
    }

    fn pod(name: &str, node: &str, hash: &str, ready: bool) -> Object {
        Arc::new(json!({
            "metadata": {"name": name, "uid": name, "labels": {revisions::HASH_LABEL: hash}},
            "spec": {"nodeName": node},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" },
                "lastTransitionTime": "1970-01-01T00:00:00Z"}]},
        }))
    }

    fn acts(strategy: Value, sample: Value, pods: &[Object]) -> (Vec<String>, Vec<String>) {
        let set = json!({"metadata": {"name": "d"}, "spec": {"updateStrategy": strategy}});
        let nodes = [node("a"), node("b")];
        let plan = plan(&set, &sample, &nodes, pods, "new", Timestamp::from_second(100).unwrap());
        let deleted = plan.delete.iter().map(|(pod, why)| format!("{} {why:?}", pod.name()));
        (plan.create, deleted.collect())
    }

    fn rolling(unavailable: i64, surge: i64) -> Value {
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}})
    }

    fn strings(all: &[&str]) -> Vec<String> {
        all.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn every_node_that_fits_gets_one_pod() {
        let none = (Vec::new(), Vec::new());
        assert_eq!(acts(rolling(1, 0), json!({}), &[]).0, ["a", "b"]);
        let both = [pod("p", "a", "new", true), pod("q", "b", "new", false)];
        assert_eq!(acts(rolling(1, 0), json!({}), &both), none);
        let only_a = json!({"spec": {"nodeSelector": {"zone": "a"}}});
        assert_eq!(acts(rolling(1, 0), only_a, &both), (Vec::new(), strings(&["q Surplus"])));
        let twice = [pod("p", "a", "new", true), pod("p2", "a", "new", true), pod("q", "b", "new", true)];
        assert_eq!(acts(rolling(1, 0), json!({}), &twice).1, ["p2 Surplus"]);
    }

    #[test]
    fn old_pods_are_replaced_a_few_at_a_time() {
        let old = [pod("p", "a", "old", true), pod("q", "b", "old", true)];
        assert_eq!(acts(rolling(1, 0), json!({}), &old).1, ["p Outdated"]);
        assert_eq!(acts(rolling(2, 0), json!({}), &old).1, ["p Outdated", "q Outdated"]);
        let half = [pod("p", "a", "new", false), pod("q", "b", "old", true)];
        assert_eq!(acts(rolling(1, 0), json!({}), &half).1, [""; 0]);
        let broken = [pod("p", "a", "old", false), pod("q", "b", "old", true)];
        assert_eq!(acts(rolling(1, 0), json!({}), &broken).1, ["p Outdated", "q Outdated"]);
        assert_eq!(acts(json!({"type": "OnDelete"}), json!({}), &old).1, [""; 0]);
    }

    #[test]
    fn with_a_surge_the_new_pod_comes_first() {
        let old = [pod("p", "a", "old", true), pod("q", "b", "old", true)];
        assert_eq!(acts(rolling(0, 1), json!({}), &old), (strings(&["a"]), Vec::new()));
        let coming = [pod("p", "a", "old", true), pod("p2", "a", "new", false), pod("q", "b", "old", true)];
        assert_eq!(acts(rolling(0, 1), json!({}), &coming), (Vec::new(), Vec::new()));
        let come = [pod("p", "a", "old", true), pod("p2", "a", "new", true), pod("q", "b", "old", true)];
        assert_eq!(acts(rolling(0, 1), json!({}), &come), (strings(&["b"]), strings(&["p Outdated"])));
    }

    #[test]
    fn the_status_counts_nodes() {
        let set = json!({"metadata": {"name": "d", "generation": 4}, "spec": {}});
        let pods = [pod("p", "a", "new", true), pod("q", "b", "old", false)];
        let nodes = [node("a"), node("b")];
        let status = plan(&set, &json!({}), &nodes, &pods, "new", Timestamp::from_second(100).unwrap()).status;
        let expect = json!({
            "currentNumberScheduled": 2, "numberMisscheduled": 0, "desiredNumberScheduled": 2, "numberReady": 1,
            "observedGeneration": 4, "updatedNumberScheduled": 1, "numberAvailable": 1, "numberUnavailable": 1,
        });
        assert_eq!(status, expect);
    }
}
