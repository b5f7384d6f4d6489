//! Asks all sidecars what they have seen, and the API server what is configured.

use anyhow::Context;
use lateen_explain::observed::{Observed, Pod, Seen};
use serde_json::Value;

use super::kubectl;

/// What decides who may call whom.
const KINDS: &str = "namespaces,pods,services,endpointslices.discovery.k8s.io,peerauthentications.security.istio.io,\
                     authorizationpolicies.security.istio.io,requestauthentications.security.istio.io,\
                     sidecars.networking.istio.io,destinationrules.networking.istio.io,\
                     virtualservices.networking.istio.io,serviceentries.networking.istio.io";

/// All objects that decide about calls.
///
/// # Errors
/// When the API server doesn't answer.
pub fn objects() -> anyhow::Result<Vec<Value>> {
    let mut all = list(&["get", KINDS, "--all-namespaces", "-o", "json"])?;
    all.extend(list(&[
        "get",
        "configmaps",
        "-n",
        "istio-system",
        "--field-selector=metadata.name=istio",
        "-o",
        "json",
    ])?);
    Ok(all)
}

fn list(args: &[&str]) -> anyhow::Result<Vec<Value>> {
    let mut answer: Value = serde_json::from_str(&kubectl::output(args)?).context("kubectl's answer is not JSON")?;
    Ok(serde_json::from_value(answer["items"].take()).unwrap_or_default())
}

/// Asks the sidecars of one namespace, or of all.
#[must_use]
pub fn observe(objects: &[Value], namespace: Option<&str>) -> Observed {
    let pods = objects.iter().filter(|object| object["kind"] == "Pod").filter_map(Pod::parse);
    let mut observed = Observed { pods: pods.collect(), ..Observed::default() };
    let asked = |pod: &Pod| pod.sidecar && namespace.is_none_or(|namespace| pod.namespace == namespace);
    for position in (0..observed.pods.len()).filter(|position| asked(&observed.pods[*position])) {
        match ask(&observed.pods[position]) {
            Ok(calls) => observed.calls.extend(calls.into_iter().map(|seen| (position, seen))),
            Err(error) => observed.unasked.push((position, format!("{error:#}"))),
        }
    }
    observed
}

fn ask(pod: &Pod) -> anyhow::Result<Vec<Seen>> {
    let mut page = kubectl::get_json_inside(&pod.namespace, &pod.name, "istio-proxy", 15000, "/callers")?;
    serde_json::from_value(page["callers"].take()).context("the sidecar's page /callers is of another version")
}
