//! Putting the mesh's own objects into the cluster and waiting until they work.

use std::time::Duration;

use lateen_apiserver::{Client, Gvr, PatchType, Status, gvr};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// How often readiness is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Creates what is missing and brings what is there up to date, in the order given.
pub(super) async fn apply(client: &Client, manifests: &[Value]) -> Result<(), String> {
    for manifest in manifests {
        let result = apply_one(client, manifest).await;
        result.map_err(|e| format!("apply {}: {e}", described(manifest)))?;
    }
    Ok(())
}

async fn apply_one(client: &Client, manifest: &Value) -> Result<(), Status> {
    let kind = resource(manifest);
    let namespace = manifest["metadata"]["namespace"].as_str().unwrap_or_default();
    let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
    match client.create(&kind, namespace, manifest.clone()).await {
        Err(status) if status.is_already_exists() => {
            client.patch(&kind, namespace, name, PatchType::Merge, manifest, None).await.map(drop)
        }
        // Access rules and the like, which a local cluster doesn't have.
        Err(status) if status.is_not_found() && !client.kinds().contains(&kind) => {
            tracing::debug!(object = described(manifest), "kind is not served; left out");
            Ok(())
        }
        other => other.map(drop),
    }
}

fn described(manifest: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{} {}", text(&manifest["kind"]), text(&manifest["metadata"]["name"]))
}

/// The resource that an object belongs to.
fn resource(object: &Value) -> Gvr {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Gvr::new(group, version, plural(object["kind"].as_str().unwrap_or_default()))
}

/// The plural resource name of a kind, as all kinds that are installed form it.
fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    if let Some(stem) = lower.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o'])) {
        format!("{stem}ies")
    } else if lower == "endpoints" {
        lower
    } else if lower.ends_with('s') {
        format!("{lower}es")
    } else {
        format!("{lower}s")
    }
}

/// Annotation of objects that the start of the cluster doesn't wait for; the value is `false`.
const WAIT: &str = "lateen.dev/wait";

/// Waits until every Deployment among the manifests is available, but for those that say not to.
pub(super) async fn wait_ready(client: &Client, manifests: &[Value], until: Instant) -> Result<(), String> {
    let awaited =
        |manifest: &&Value| manifest["kind"] == "Deployment" && manifest["metadata"]["annotations"][WAIT] != "false";
    for manifest in manifests.iter().filter(awaited) {
        let namespace = manifest["metadata"]["namespace"].as_str().unwrap_or("default");
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
        while !available(client, namespace, name).await {
            if Instant::now() > until {
                let why = problem(client, namespace).await;
                return Err(format!("deployment {namespace}/{name} did not become available{why}"));
            }
            sleep(LOOK).await;
        }
    }
    Ok(())
}

async fn available(client: &Client, namespace: &str, name: &str) -> bool {
    let Ok(deployment) = client.get(&gvr::DEPLOYMENTS, namespace, name).await else { return false };
    let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    let observed = deployment["status"]["observedGeneration"].as_i64();
    observed >= deployment["metadata"]["generation"].as_i64()
        && deployment["status"]["updatedReplicas"].as_i64().unwrap_or(0) >= wanted
        && deployment["status"]["availableReplicas"].as_i64().unwrap_or(0) >= wanted
}

/// What a pod of the namespace waits for, as far as it says.
async fn problem(client: &Client, namespace: &str) -> String {
    let pods = client.list(&gvr::PODS, Some(namespace)).await.map(|list| list.items).unwrap_or_default();
    let waiting = pods.iter().find_map(|pod| {
        let statuses = pod["status"]["containerStatuses"].as_array()?;
        let state = statuses.iter().find_map(|status| status["state"]["waiting"].as_object())?;
        let text = |key: &str| state.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(format!(": {} {}", text("reason"), text("message")))
    });
    waiting.unwrap_or_else(|| if pods.is_empty() { ": it has no pods".to_owned() } else { String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_are_those_of_the_kinds_we_install() {
        for (kind, expect) in [
            ("Namespace", "namespaces"),
            ("AuthorizationPolicy", "authorizationpolicies"),
            ("Gateway", "gateways"),
            ("ServiceEntry", "serviceentries"),
            ("Ingress", "ingresses"),
            ("Endpoints", "endpoints"),
            ("CustomResourceDefinition", "customresourcedefinitions"),
            ("Telemetry", "telemetries"),
        ] {
            assert_eq!(plural(kind), expect);
        }
    }
}
