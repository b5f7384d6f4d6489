//! What istiod writes into the status of objects.

use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use lateen_control_core::install::{INJECTOR_WEBHOOK, VALIDATOR_WEBHOOK};
use serde_json::{Value, json};

use crate::cluster::Cluster;

const NETWORKING: &str = "networking.istio.io/v1";

fn virtual_service(name: &str, gateway: &str) -> Value {
    json!({ "apiVersion": NETWORKING, "kind": "VirtualService",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "hosts": ["shop.com"], "gateways": [gateway],
            "http": [{ "directResponse": { "status": 200 } }] } })
}

fn says(reason: &'static str) -> impl Fn(&Value) -> bool {
    move |condition| condition["type"] == "InEffect" && condition["reason"] == reason
}

/// A cluster whose API server does not ask istiod about objects: nothing leads it there.
async fn start() -> Cluster {
    let cluster = Cluster::start().await;
    for (kind, name) in
        [("ValidatingWebhookConfiguration", VALIDATOR_WEBHOOK), ("MutatingWebhookConfiguration", INJECTOR_WEBHOOK)]
    {
        let api = cluster.api("admissionregistration.k8s.io/v1", kind, None);
        api.delete(name, &Default::default()).await.unwrap();
    }
    cluster
}

async fn version(api: &Api<DynamicObject>, name: &str) -> String {
    api.get(name).await.unwrap().metadata.resource_version.unwrap()
}

/// A gateway's pod that runs.
async fn run_gateway(cluster: &Cluster) {
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "default", "namespace": "default" } });
    cluster.create(account).await;
    cluster
        .create(json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "edge", "namespace": "default", "labels": { "app": "edge" } },
            "spec": { "containers": [{ "name": "istio-proxy", "image": "lateen", "args": ["proxy", "router"] }] } }))
        .await;
    let pods = cluster.api("v1", "Pod", Some("default"));
    let running = json!({ "status": { "phase": "Running", "podIP": "10.0.0.9", "podIPs": [{ "ip": "10.0.0.9" }] } });
    pods.patch_status("edge", &PatchParams::default(), &Patch::Merge(running)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_say_whether_they_are_in_effect() {
    let cluster = start().await;
    let _istiod = cluster.istiod().await;
    cluster.create(virtual_service("web", "edge")).await;
    let services = cluster.api(NETWORKING, "VirtualService", Some("default"));
    let first = cluster.until(&services, "web", "/status/conditions/0", says("GatewayAbsent")).await;
    assert_eq!(first["status"], "False");
    assert_eq!(first["message"], "not in effect: gateways[0]: there is no Gateway default/edge");

    let port = json!({ "number": 80, "name": "http", "protocol": "HTTP" });
    cluster
        .create(json!({ "apiVersion": NETWORKING, "kind": "Gateway",
            "metadata": { "name": "edge", "namespace": "default" },
            "spec": { "selector": { "app": "edge" }, "servers": [{ "port": port, "hosts": ["shop.com"] }] } }))
        .await;
    cluster.until(&services, "web", "/status/conditions/0", says("GatewayWithoutProxies")).await;
    run_gateway(&cluster).await;
    let last = cluster.until(&services, "web", "/status/conditions/0", says("InEffect")).await;
    assert_eq!((&last["status"], &last["message"]), (&json!("True"), &json!("in effect on 1 proxy")));

    // Others' conditions stay, and our own comes back when somebody changes it.
    let theirs = json!({ "status": { "conditions": [{ "type": "Theirs", "status": "True" }] } });
    services.patch_status("web", &PatchParams::default(), &Patch::Merge(theirs)).await.unwrap();
    cluster.until(&services, "web", "/status/conditions/1", says("InEffect")).await;
    let kept = cluster.until(&services, "web", "/status/conditions/0", |theirs| theirs["type"] == "Theirs").await;
    assert_eq!(kept["status"], "True");

    // What is as it should be is left alone, whatever is written elsewhere.
    let before = version(&services, "web").await;
    cluster.create(virtual_service("other", "gone")).await;
    cluster.until(&services, "other", "/status/conditions/0", says("GatewayAbsent")).await;
    assert_eq!(version(&services, "web").await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_without_effect_say_so() {
    let cluster = start().await;
    let _istiod = cluster.istiod().await;
    let version = "networking.istio.io/v1alpha3";
    cluster
        .create(json!({ "apiVersion": version, "kind": "EnvoyFilter",
            "metadata": { "name": "lua", "namespace": "default" }, "spec": {} }))
        .await;
    let filters = cluster.api(version, "EnvoyFilter", Some("default"));
    let told = cluster.until(&filters, "lua", "/status/conditions/0", says("Unsupported")).await;
    assert_eq!(told["message"], "not in effect: Lateen does not support EnvoyFilter");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_istiod_takes_over_at_once() {
    let cluster = start().await;
    let leases = cluster.api("coordination.k8s.io/v1", "Lease", Some("istio-system"));
    let holder = |name: &'static str| move |holder: &Value| holder == name;
    let first = cluster.istiod_of_pod("istiod-0").await;
    cluster.until(&leases, "istio-status-leader", "/spec/holderIdentity", holder("istiod-0")).await;
    let _second = cluster.istiod_of_pod("istiod-1").await;
    drop(first);
    cluster.until(&leases, "istio-status-leader", "/spec/holderIdentity", holder("istiod-1")).await;
    cluster.create(virtual_service("web", "edge")).await;
    let services = cluster.api(NETWORKING, "VirtualService", Some("default"));
    cluster.until(&services, "web", "/status/conditions/0", says("GatewayAbsent")).await;
}
