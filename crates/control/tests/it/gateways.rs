//! What istiod does about the Gateway API's objects.

use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::cluster::Cluster;

const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({ "apiVersion": GATEWAY_API, "kind": kind, "metadata": { "name": name, "namespace": "default" }, "spec": spec })
}

fn is_true(condition: &'static str) -> impl Fn(&Value) -> bool {
    move |all| {
        let mut all = all.as_array().into_iter().flatten();
        all.any(|one| one["type"] == condition && one["status"] == "True")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_gets_its_deployment_and_all_get_their_statuses() {
    let cluster = Cluster::start().await;
    let _istiod = cluster.istiod().await;
    let listeners = json!([{ "name": "http", "port": 8080, "protocol": "HTTP" }]);
    cluster.create(object("Gateway", "edge", json!({ "gatewayClassName": "istio", "listeners": listeners }))).await;
    let rules = json!([{ "backendRefs": [{ "name": "nobody", "port": 80 }] }]);
    cluster.create(object("HTTPRoute", "shop", json!({ "parentRefs": [{ "name": "edge" }], "rules": rules }))).await;

    let classes = cluster.api(GATEWAY_API, "GatewayClass", None);
    cluster.until(&classes, "istio", "/status/conditions", is_true("Accepted")).await;

    let services = cluster.api("v1", "Service", Some("default"));
    let has_port = |ports: &Value| ports.as_array().is_some_and(|ports| ports.iter().any(|p| p["port"] == 8080));
    cluster.until(&services, "edge-istio", "/spec/ports", has_port).await;
    let deployments = cluster.api("apps/v1", "Deployment", Some("default"));
    let owner = cluster.until(&deployments, "edge-istio", "/metadata/ownerReferences/0", Value::is_object).await;
    assert_eq!((&owner["kind"], &owner["name"]), (&json!("Gateway"), &json!("edge")));
    let accounts = cluster.api("v1", "ServiceAccount", Some("default"));
    cluster.until(&accounts, "edge-istio", "/metadata/name", Value::is_string).await;

    let gateways = cluster.api(GATEWAY_API, "Gateway", Some("default"));
    cluster.until(&gateways, "edge", "/status/conditions", is_true("Accepted")).await;
    cluster.until(&gateways, "edge", "/status/listeners/0/attachedRoutes", |attached| *attached == 1).await;
    let routes = cluster.api(GATEWAY_API, "HTTPRoute", Some("default"));
    let conditions = cluster.until(&routes, "shop", "/status/parents/0/conditions", is_true("Accepted")).await;
    let refs = conditions.as_array().unwrap().iter().find(|one| one["type"] == "ResolvedRefs").unwrap();
    assert_eq!((&refs["status"], &refs["reason"]), (&json!("False"), &json!("BackendNotFound")));

    // What is as it should be is left alone, whatever happens elsewhere.
    let before = routes.get("shop").await.unwrap().metadata.resource_version;
    cluster.create(object("HTTPRoute", "other", json!({ "parentRefs": [{ "name": "edge" }], "rules": rules }))).await;
    cluster.until(&gateways, "edge", "/status/listeners/0/attachedRoutes", |attached| *attached == 2).await;
    assert_eq!(routes.get("shop").await.unwrap().metadata.resource_version, before);

    // A class that is deleted comes back.
    classes.delete("istio", &DeleteParams::default()).await.unwrap();
    cluster.until(&classes, "istio", "/status/conditions", is_true("Accepted")).await;
}
