//! What the API server gets from the webhooks.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::istiod::{TestIstiod, http};

fn review(object: Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": { "uid": "u1", "namespace": "shop", "object": object, "dryRun": true },
    })
}

async fn ask(istiod: &TestIstiod, path: &str, object: Value) -> Value {
    let io = istiod.connect(istiod.servers.addresses.webhook).await;
    let (status, body) = http(io, path, Some(&review(object))).await;
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["response"]["uid"], "u1");
    answer["response"].clone()
}

fn settings() -> [Value; 2] {
    let map = |name: &str, data: Value| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": { "name": name, "namespace": "istio-system" },
        })
    };
    [
        map("istio", json!({ "mesh": "{}" })),
        map("istio-sidecar-injector", json!({ "values": "{}", "config": "policy: enabled" })),
    ]
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "generateName": "web-", "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "web", "image": "hashicorp/http-echo" }] },
    })
}

#[tokio::test]
async fn a_pod_gets_its_sidecar() {
    let istiod = TestIstiod::with(&settings()).await;
    let mut answer = Value::Null;
    for _ in 0..100 {
        answer = ask(&istiod, "/inject", pod()).await;
        if answer["allowed"] == true {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(answer["patchType"], "JSONPatch", "{answer}");
    let patch = answer["patch"].as_str().unwrap();
    let patch = base64::engine::general_purpose::STANDARD.decode(patch).unwrap();
    let patch = String::from_utf8(patch).unwrap();
    assert!(patch.contains("istio-proxy"), "{patch}");
}

#[tokio::test]
async fn a_pod_is_refused_while_the_settings_are_unknown() {
    let istiod = TestIstiod::start().await;
    let answer = ask(&istiod, "/inject", pod()).await;
    assert_eq!(answer["allowed"], false);
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(message.contains("istio-sidecar-injector"), "{message}");
}

#[tokio::test]
async fn broken_configuration_is_refused_by_field() {
    let istiod = TestIstiod::start().await;
    let broken = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": { "name": "reviews", "namespace": "shop" },
        "spec": { "hosts": ["reviews"], "http": [{ "timeout": "-1s", "route": [{ "destination": { "host": "reviews" } }] }] },
    });
    let answer = ask(&istiod, "/validate", broken).await;
    assert_eq!(answer["allowed"], false, "{answer}");
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(message.contains("spec.http[0].timeout"), "{message}");
}
