//! The pods that use claims.

use lateen_apiserver::{Object, Status, gvr};
use serde_json::Value;

use super::{SELECTED_NODE, waits_for_consumer};
use crate::controllers::api::{Api, Key};
use crate::controllers::object::{Meta, map_mut};

/// The claims that a pod uses.
pub fn claims_of(pod: &Value) -> impl Iterator<Item = Key> {
    let name = |volume: &Value| match volume.text("/persistentVolumeClaim/claimName") {
        "" if volume["ephemeral"].is_object() => Some(format!("{}-{}", pod.name(), volume.text("/name"))),
        "" => None,
        name => Some(name.to_owned()),
    };
    let names = pod.items("/spec/volumes").iter().filter_map(name);
    names.map(|name| Key::new(pod.namespace(), name))
}

/// Why a pod has to wait for its claims, if it has to. A claim that waits for a pod is told that one is there.
pub async fn unbound(api: &Api, pod: &Value, nodes: &[Object]) -> Result<Option<String>, Status> {
    let mut waiting = None;
    for key in claims_of(pod) {
        let Some(claim) = api.find(&gvr::PERSISTENT_VOLUME_CLAIMS, &key.namespace, &key.name).await? else {
            return Ok(Some(format!("persistentvolumeclaim {:?} not found", key.name)));
        };
        if claim.is_terminating() {
            return Ok(Some(format!("persistentvolumeclaim {:?} is being deleted", key.name)));
        }
        if claim.text("/status/phase") == "Bound" {
            continue;
        }
        let class = api.find(&gvr::STORAGE_CLASSES, "", claim.text("/spec/storageClassName")).await?;
        if class.is_some_and(|class| waits_for_consumer(&class)) {
            if claim.annotation(SELECTED_NODE).is_none() {
                select_node(api, &claim, nodes).await?;
            }
            waiting = waiting.or(Some("waiting for PersistentVolumeClaims to be bound".to_owned()));
        } else {
            waiting = Some("pod has unbound immediate PersistentVolumeClaims".to_owned());
        }
    }
    Ok(waiting)
}

async fn select_node(api: &Api, claim: &Object, nodes: &[Object]) -> Result<(), Status> {
    let Some(node) = nodes.first() else { return Ok(()) };
    let mut claim = Value::clone(claim);
    map_mut(&mut claim, "/metadata/annotations").insert(SELECTED_NODE.into(), node.name().into());
    api.update(&gvr::PERSISTENT_VOLUME_CLAIMS, claim).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_names_its_claims() {
        let pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"volumes": [
            {"name": "a", "emptyDir": {}}, {"name": "b", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "c", "ephemeral": {"volumeClaimTemplate": {}}}]}});
        assert_eq!(claims_of(&pod).collect::<Vec<_>>(), [Key::new("n", "data"), Key::new("n", "p-c")]);
    }
}
