//! Which volume suits a claim: pure decisions.

use lateen_apiserver::Object;
use serde_json::Value;

use super::IS_DEFAULT;
use crate::controllers::object::Meta;
use crate::controllers::selector;
use crate::pod::quantity::Quantity;

/// The class of claims that name none: the newest of those marked so.
#[must_use]
pub fn default_class(classes: &[Object]) -> Option<&Object> {
    let marked = classes.iter().filter(|c| c.annotation(IS_DEFAULT) == Some("true"));
    marked.max_by_key(|c| (c.created(), std::cmp::Reverse(c.name().to_owned())))
}

/// The volume to bind to: the one set aside for the claim, else the smallest free one that has all that is asked for.
#[must_use]
pub fn best<'a>(claim: &Value, volumes: &'a [Object]) -> Option<&'a Object> {
    let mine = volumes.iter().find(|v| is_for(v, claim));
    let free = volumes.iter().filter(|v| v["spec"]["claimRef"].is_null() && suits(v, claim));
    mine.or_else(|| free.min_by_key(|v| (size(v), v.name().to_owned())))
}

/// Whether a volume names this claim as the one it is for.
#[must_use]
pub fn is_for(volume: &Value, claim: &Value) -> bool {
    let reference = &volume["spec"]["claimRef"];
    let uid = reference.text("/uid");
    reference["name"] == claim.name()
        && reference["namespace"] == claim.namespace()
        && (uid.is_empty() || uid == claim.uid())
}

fn suits(volume: &Value, claim: &Value) -> bool {
    let (has, asks) = (&volume["spec"], &claim["spec"]);
    let class = |spec: &Value| spec.text("/storageClassName").to_owned();
    let modes = asks.items("/accessModes").iter().all(|mode| has.items("/accessModes").contains(mode));
    !volume.is_terminating()
        && modes
        && class(has) == class(asks)
        && has["volumeMode"] == asks["volumeMode"]
        && size(volume) >= asked(claim)
        && (asks["selector"].is_null() || selector::matches(&asks["selector"], &volume["metadata"]["labels"]))
}

fn quantity(text: &str) -> Option<Quantity> {
    Quantity::parse(text).ok()
}

fn size(volume: &Value) -> Option<Quantity> {
    quantity(volume.text("/spec/capacity/storage"))
}

fn asked(claim: &Value) -> Option<Quantity> {
    quantity(claim.text("/spec/resources/requests/storage"))
}

/// Whether a bound claim asks for more than it has.
#[must_use]
pub fn wants_more(claim: &Value) -> bool {
    quantity(claim.text("/status/capacity/storage")).is_some_and(|has| asked(claim) > Some(has))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn claim(more: Value) -> Value {
        let mut claim = json!({
            "metadata": {"name": "c", "namespace": "n", "uid": "u"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}},
                "storageClassName": "", "volumeMode": "Filesystem"},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            claim["spec"][key] = value.clone();
        }
        claim
    }

    fn volume(name: &str, size: &str, more: Value) -> Object {
        let mut volume = json!({
            "metadata": {"name": name, "labels": {"disk": name}},
            "spec": {"accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "capacity": {"storage": size},
                "volumeMode": "Filesystem"},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            volume["spec"][key] = value.clone();
        }
        Arc::new(volume)
    }

    #[test]
    fn the_smallest_volume_with_all_that_is_asked_for_is_taken() {
        let all = [
            volume("small", "1Gi", json!({})),
            volume("large", "10Gi", json!({})),
            volume("right", "3072Mi", json!({})),
            volume("fast", "2Gi", json!({"storageClassName": "fast"})),
            volume("taken", "2Gi", json!({"claimRef": {"name": "x", "namespace": "n", "uid": "x"}})),
        ];
        let best = |claim: Value| best(&claim, &all).map(|v| v.name().to_owned());
        assert_eq!(best(claim(json!({}))), Some("right".into()));
        assert_eq!(best(claim(json!({"storageClassName": "fast"}))), Some("fast".into()));
        assert_eq!(best(claim(json!({"selector": {"matchLabels": {"disk": "large"}}}))), Some("large".into()));
        assert_eq!(best(claim(json!({"accessModes": ["ReadWriteMany"]}))), None);
        assert_eq!(best(claim(json!({"volumeMode": "Block"}))), None);
    }

    #[test]
    fn a_volume_set_aside_for_a_claim_goes_to_it() {
        let aside = volume("aside", "1Gi", json!({"claimRef": {"name": "c", "namespace": "n"}}));
        let all = [volume("right", "2Gi", json!({})), aside];
        assert_eq!(best(&claim(json!({})), &all).unwrap().name(), "aside");
    }

    #[test]
    fn the_newest_default_class_counts() {
        let class = |name: &str, default: &str, created: &str| {
            Arc::new(
                json!({"metadata": {"name": name, "creationTimestamp": created, "annotations": {IS_DEFAULT: default}}}),
            )
        };
        let all = [
            class("old", "true", "2026-01-01T00:00:00Z"),
            class("new", "true", "2026-01-02T00:00:00Z"),
            class("other", "false", "2026-01-03T00:00:00Z"),
        ];
        assert_eq!(default_class(&all).unwrap().name(), "new");
        assert!(default_class(&all[2..]).is_none());
    }
}
