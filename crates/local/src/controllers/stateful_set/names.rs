//! What the pods of a StatefulSet and their claims are called and look like.

use serde_json::{Value, json};

use super::OWNER;
use crate::controllers::object::{Meta, controller_ref, map_mut};
use crate::controllers::revisions;

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The first ordinal.
pub fn start(set: &Value) -> i64 {
    set.int("/spec/ordinals/start").unwrap_or(0)
}

/// The number of pods it wants.
pub fn wanted(set: &Value) -> i64 {
    set.int("/spec/replicas").unwrap_or(1).max(0)
}

/// The ordinal in a pod's name, if it is one of this set's names.
pub fn ordinal(set: &Value, pod: &Value) -> Option<i64> {
    let number = pod.name().strip_prefix(set.name())?.strip_prefix('-')?;
    let plain = number == "0" || (!number.starts_with('0') && number.bytes().all(|c| c.is_ascii_digit()));
    number.parse().ok().filter(|_| plain)
}

/// The name of the claim that a template makes for a pod.
pub fn claim_name(set: &Value, template: &Value, ordinal: i64) -> String {
    format!("{}-{}-{ordinal}", template.name(), set.name())
}

/// The pod of this ordinal, by a revision's template.
pub fn pod(set: &Value, revision: &Value, ordinal: i64) -> Value {
    let template = revisions::template(revision);
    let name = format!("{}-{ordinal}", set.name());
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template["metadata"],
        "spec": template["spec"],
    });
    let metadata = map_mut(&mut pod, "/metadata");
    metadata.insert("name".into(), name.as_str().into());
    metadata.insert("namespace".into(), set.namespace().into());
    let owner = controller_ref(set, OWNER.api_version, OWNER.kind);
    metadata.insert("ownerReferences".into(), json!([owner]));
    let labels = map_mut(&mut pod, "/metadata/labels");
    labels.insert(revisions::HASH_LABEL.into(), revision.name().into());
    labels.insert(POD_NAME.into(), name.as_str().into());
    labels.insert(POD_INDEX.into(), ordinal.to_string().into());
    let spec = map_mut(&mut pod, "/spec");
    spec.insert("hostname".into(), name.into());
    if !set.text("/spec/serviceName").is_empty() {
        spec.insert("subdomain".into(), set.text("/spec/serviceName").into());
    }
    mount_claims(&mut pod, set, ordinal);
    pod
}

/// A claim takes the place of the template's volume of the same name.
fn mount_claims(pod: &mut Value, set: &Value, ordinal: i64) {
    let templates = set.items("/spec/volumeClaimTemplates");
    let mut volumes: Vec<Value> = templates
        .iter()
        .map(|t| json!({"name": t.name(), "persistentVolumeClaim": {"claimName": claim_name(set, t, ordinal)}}))
        .collect();
    let own = pod.items("/spec/volumes").iter().filter(|v| !templates.iter().any(|t| v["name"] == t.name()));
    volumes.extend(own.cloned());
    if !volumes.is_empty() {
        map_mut(pod, "/spec").insert("volumes".into(), volumes.into());
    }
}

/// The claims that the pod of this ordinal mounts.
pub fn claims(set: &Value, ordinal: i64) -> Vec<Value> {
    set.items("/spec/volumeClaimTemplates").iter().map(|template| claim(set, template, ordinal)).collect()
}

fn claim(set: &Value, template: &Value, ordinal: i64) -> Value {
    let mut claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": template["metadata"],
        "spec": template["spec"],
    });
    let metadata = map_mut(&mut claim, "/metadata");
    metadata.insert("name".into(), claim_name(set, template, ordinal).into());
    metadata.insert("namespace".into(), set.namespace().into());
    let selected = set.pointer("/spec/selector/matchLabels").and_then(Value::as_object).cloned().unwrap_or_default();
    map_mut(&mut claim, "/metadata/labels").extend(selected);
    claim
}

/// The owner that lets a claim go with the set, or with its pod when the set gets smaller; none lets it stay.
pub fn claim_owner(set: &Value, pod: &Value, condemned: bool) -> Option<Value> {
    let deletes = |when: &str| set["spec"]["persistentVolumeClaimRetentionPolicy"][when] == "Delete";
    let (owner, api_version, kind) = if condemned && deletes("whenScaled") {
        (pod, "v1", "Pod")
    } else if deletes("whenDeleted") {
        (set, OWNER.api_version, OWNER.kind)
    } else {
        return None;
    };
    Some(json!({"apiVersion": api_version, "kind": kind, "name": owner.name(), "uid": owner.uid()}))
}

/// `claim` with this owner among those that are neither the set nor a pod of it; none where that changes nothing.
pub fn owned(claim: &Value, set: &Value, owner: Option<Value>) -> Option<Value> {
    let ours =
        |r: &Value| r["uid"] == set.uid() || (r["kind"] == "Pod" && ordinal(set, &json!({"metadata": r})).is_some());
    let before = claim.items("/metadata/ownerReferences");
    let mut after: Vec<Value> = before.iter().filter(|r| !ours(r)).cloned().collect();
    after.extend(owner);
    if after == before {
        return None;
    }
    let mut claim = claim.clone();
    map_mut(&mut claim, "/metadata").insert("ownerReferences".into(), after.into());
    Some(claim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Value {
        json!({
            "metadata": {"name": "db", "namespace": "n", "uid": "u"},
            "spec": {
                "serviceName": "db",
                "selector": {"matchLabels": {"app": "db"}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
            },
        })
    }

    #[test]
    fn a_pod_has_a_name_a_host_name_and_its_claim() {
        let revision = json!({
            "metadata": {"name": "db-abc"},
            "data": {"spec": {"template": {"$patch": "replace", "metadata": {"labels": {"app": "db"}},
                "spec": {"volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]}}}},
        });
        let pod = pod(&set(), &revision, 3);
        assert_eq!(pod.name(), "db-3");
        assert_eq!((pod.text("/spec/hostname"), pod.text("/spec/subdomain")), ("db-3", "db"));
        assert_eq!(pod.label(POD_NAME), Some("db-3"));
        assert_eq!(pod.label(POD_INDEX), Some("3"));
        assert_eq!(pod.label(revisions::HASH_LABEL), Some("db-abc"));
        assert_eq!(pod["metadata"].get("$patch"), None);
        let claim = json!({"name": "data", "persistentVolumeClaim": {"claimName": "data-db-3"}});
        assert_eq!(pod["spec"]["volumes"], json!([claim, {"name": "tmp", "emptyDir": {}}]));
        let claims = claims(&set(), 3);
        assert_eq!(claims[0].name(), "data-db-3");
        assert_eq!(claims[0].label("app"), Some("db"));
    }

    #[test]
    fn only_its_own_names_are_a_sets_pods() {
        let of = |name: &str| ordinal(&set(), &json!({"metadata": {"name": name}}));
        assert_eq!((of("db-0"), of("db-12")), (Some(0), Some(12)));
        for other in ["db", "db-", "db-01", "db-x", "dbx-1", "db-1-2", "db--1"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn who_owns_a_claim_says_when_it_goes() {
        let pod = json!({"metadata": {"name": "db-1", "uid": "p"}});
        let owner = |deleted: &str, scaled: &str, condemned: bool| {
            let mut set = set();
            set["spec"]["persistentVolumeClaimRetentionPolicy"] = json!({"whenDeleted": deleted, "whenScaled": scaled});
            claim_owner(&set, &pod, condemned).map(|o| o.text("/uid").to_owned())
        };
        let (set_uid, pod_uid) = (Some("u".to_owned()), Some("p".to_owned()));
        assert_eq!(owner("Retain", "Retain", true), None);
        assert_eq!(owner("Delete", "Retain", true), set_uid);
        assert_eq!(owner("Delete", "Delete", false), set_uid);
        assert_eq!(owner("Delete", "Delete", true), pod_uid);
        assert_eq!(owner("Retain", "Delete", false), None);
        assert_eq!(owner("Retain", "Delete", true), pod_uid);
    }

    #[test]
    fn other_owners_of_a_claim_stay() {
        let mine = json!({"kind": "StatefulSet", "name": "db", "uid": "u"});
        let other = json!({"kind": "ConfigMap", "name": "x", "uid": "o"});
        let claim = json!({"metadata": {"ownerReferences": [other, mine]}});
        assert_eq!(owned(&claim, &set(), Some(mine)), None);
        let freed = owned(&claim, &set(), None).unwrap();
        assert_eq!(freed["metadata"]["ownerReferences"], json!([other]));
    }
}
