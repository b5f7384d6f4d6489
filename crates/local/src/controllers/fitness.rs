//! Which node a pod may run on.

use serde_json::{Value, json};

use super::object::Meta;
use super::selector;

/// Why `pod` may not run on `node`.
#[must_use]
pub fn refusal(pod: &Value, node: &Value) -> Option<String> {
    let tolerated = |taint: &Value| pod.items("/spec/tolerations").iter().any(|t| tolerates(t, taint));
    let closed = json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"});
    if node["spec"]["unschedulable"] == true && !tolerated(&closed) {
        return Some("1 node(s) were unschedulable".to_owned());
    }
    let labels = &node["metadata"]["labels"];
    if !selector::matches_map(&pod["spec"]["nodeSelector"], labels) || !affine(pod, node) {
        return Some("1 node(s) didn't match Pod's node affinity/selector".to_owned());
    }
    let blocks = |taint: &&Value| taint["effect"] != "PreferNoSchedule" && !tolerated(taint);
    let taint = node.items("/spec/taints").iter().find(blocks)?;
    let (key, value) = (taint.text("/key"), taint.text("/value"));
    Some(format!("1 node(s) had untolerated taint {{{key}: {value}}}"))
}

fn affine(pod: &Value, node: &Value) -> bool {
    let fields = json!({"metadata.name": node.name()});
    let required = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    match pod.pointer(required) {
        None | Some(Value::Null) => true,
        Some(required) => required.items("/nodeSelectorTerms").iter().any(|term| {
            let asks = |part: &str| json!({"matchExpressions": term[part]});
            selector::matches(&asks("matchExpressions"), &node["metadata"]["labels"])
                && selector::matches(&asks("matchFields"), &fields)
        }),
    }
}

fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let any = |v: &Value| v.is_null() || v == "";
    let effect = &toleration["effect"];
    let key = &toleration["key"];
    (any(effect) || *effect == taint["effect"])
        && (any(key) || *key == taint["key"])
        && (toleration["operator"] == "Exists" || toleration.text("/value") == taint.text("/value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_go_where_selector_affinity_and_taints_allow() {
        let node = json!({
            "metadata": {"name": "lateen", "labels": {"zone": "a"}},
            "spec": {"taints": [{"key": "only", "value": "x", "effect": "NoSchedule"}]},
        });
        let tolerating = json!([{"key": "only", "operator": "Exists"}]);
        let affinity = |zone: &str| {
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "zone", "operator": "In", "values": [zone]}]}]}}})
        };
        let cases = [
            (json!({}), Some("untolerated taint {only: x}")),
            (json!({"tolerations": tolerating}), None),
            (json!({"tolerations": [{"key": "only", "value": "y"}]}), Some("untolerated")),
            (json!({"tolerations": tolerating, "nodeSelector": {"zone": "b"}}), Some("affinity/selector")),
            (json!({"tolerations": tolerating, "affinity": affinity("a")}), None),
            (json!({"tolerations": tolerating, "affinity": affinity("b")}), Some("affinity/selector")),
        ];
        for (spec, expect) in cases {
            let why = refusal(&json!({"spec": spec}), &node);
            match expect {
                None => assert_eq!(why, None, "{spec}"),
                Some(part) => assert!(why.unwrap().contains(part), "{spec}"),
            }
        }
        let closed = json!({"spec": {"unschedulable": true}});
        assert!(refusal(&json!({}), &closed).unwrap().contains("unschedulable"));
        let daemon = json!({"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"});
        assert_eq!(refusal(&json!({"spec": {"tolerations": [daemon]}}), &closed), None);
    }

    #[test]
    fn a_pod_can_be_meant_for_one_node() {
        let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]});
        let pod = json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [term]}}}}});
        assert_eq!(refusal(&pod, &json!({"metadata": {"name": "a"}})), None);
        assert!(refusal(&pod, &json!({"metadata": {"name": "b"}})).is_some());
    }
}
