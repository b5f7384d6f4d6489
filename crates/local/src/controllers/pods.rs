//! Making pods, and questions that several controllers ask about them.

use std::time::Duration;

use jiff::Timestamp;
use lateen_apiserver::{Object, Status, gvr};
use serde_json::{Value, json};

use super::api::{Api, OwnerKind};
use super::object::{Meta, controller_ref};
use crate::events::{Recorder, Type};

/// A new pod by the template of the object that will own it.
#[must_use]
pub fn by_template(owner: &Value, kind: OwnerKind) -> Value {
    let template = &owner["spec"]["template"];
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template["metadata"],
        "spec": template["spec"],
    });
    if !pod["metadata"].is_object() {
        pod["metadata"] = json!({});
    }
    pod["metadata"]["generateName"] = format!("{}-", owner.name()).into();
    pod["metadata"]["namespace"] = owner.namespace().into();
    pod["metadata"]["ownerReferences"] = json!([controller_ref(owner, kind.api_version, kind.kind)]);
    pod
}

/// Whether all containers have ended for good.
#[must_use]
pub fn is_finished(pod: &Value) -> bool {
    matches!(pod.text("/status/phase"), "Succeeded" | "Failed")
}

/// Whether it counts as one of its owner's pods: neither ended nor asked to end.
#[must_use]
pub fn is_active(pod: &Value) -> bool {
    !is_finished(pod) && !pod.is_terminating()
}

/// Whether it is ready for requests.
#[must_use]
pub fn is_ready(pod: &Value) -> bool {
    pod.condition_true("Ready")
}

/// When it became ready, if it is.
#[must_use]
pub fn ready_since(pod: &Value) -> Option<Timestamp> {
    let ready = pod.condition("Ready").filter(|c| c["status"] == "True")?;
    ready.text("/lastTransitionTime").parse().ok()
}

/// How long until the pod has been ready for `min_ready` seconds; zero once it has been.
/// `None` while it isn't ready.
fn until_available(pod: &Value, min_ready: i64, now: Timestamp) -> Option<Duration> {
    if !is_ready(pod) {
        return None;
    }
    if min_ready <= 0 {
        return Some(Duration::ZERO);
    }
    let ready_for = now.as_second() - ready_since(pod)?.as_second();
    Some(Duration::from_secs(u64::try_from(min_ready - ready_for).unwrap_or(0)))
}

/// For how many seconds a pod of `owner` has to be ready before it counts as available.
fn min_ready(owner: &Value) -> i64 {
    owner.int("/spec/minReadySeconds").unwrap_or(0)
}

/// Whether a pod of `owner` has been ready for as long as its owner asks.
#[must_use]
pub fn is_available(owner: &Value, pod: &Value, now: Timestamp) -> bool {
    until_available(pod, min_ready(owner), now).is_some_and(|wait| wait.is_zero())
}

/// When the next of `owner`'s pods becomes available with nothing else happening.
#[must_use]
pub fn until_next_available(owner: &Value, pods: &[Object], now: Timestamp) -> Option<Duration> {
    let waits = pods.iter().filter_map(|pod| until_available(pod, min_ready(owner), now));
    waits.filter(|wait| !wait.is_zero()).min()
}

/// Makes a pod of `owner`, whose events tell how that went.
pub async fn create(api: &Api, events: &Recorder, owner: &Object, pod: Value) -> Result<Object, Status> {
    let made = api.create(&gvr::PODS, pod).await;
    match &made {
        Ok(pod) => events.record(owner, Type::Normal, "SuccessfulCreate", &format!("Created pod: {}", pod.name())),
        Err(error) => events.record(owner, Type::Warning, "FailedCreate", &format!("Error creating: {error}")),
    }
    made
}

/// Deletes a pod of `owner`, whose events tell of it.
pub async fn delete(api: &Api, events: &Recorder, owner: &Object, pod: &Object) -> Result<(), Status> {
    api.delete(&gvr::PODS, pod).await?;
    events.record(owner, Type::Normal, "SuccessfulDelete", &format!("Deleted pod: {}", pod.name()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_available_once_ready_long_enough() {
        let pod = |status: &str| {
            json!({"status": {"conditions": [{
                "type": "Ready", "status": status, "lastTransitionTime": "1970-01-01T00:00:10Z"
            }]}})
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(until_available(&pod("False"), 0, at(99)), None);
        assert_eq!(until_available(&pod("True"), 0, at(10)), Some(Duration::ZERO));
        assert_eq!(until_available(&pod("True"), 5, at(12)), Some(Duration::from_secs(3)));
        assert_eq!(until_available(&pod("True"), 5, at(15)), Some(Duration::ZERO));
    }
}
