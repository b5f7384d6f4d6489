use lateen_apiserver::{DeleteOptions, gvr};
use serde_json::{Value, json};

use crate::world::{World, deployment};

fn images(pods: &[lateen_apiserver::Object]) -> Vec<&str> {
    pods.iter().filter_map(|p| p["spec"]["containers"][0]["image"].as_str()).collect()
}

fn delete(policy: &str) -> DeleteOptions {
    DeleteOptions { propagation_policy: Some(policy.into()), ..DeleteOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_brings_up_its_pods_and_says_so() {
    let world = World::start().await;
    world.create(&gvr::DEPLOYMENTS, deployment("web", "v1", 3)).await;
    let done = world.rolled_out("web").await;
    for count in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
        assert_eq!(done["status"][count], 3, "{count}");
    }
    assert_eq!(done["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
    let pods = world.list(&gvr::PODS).await;
    assert_eq!(pods.len(), 3);
    let set = &world.list(&gvr::REPLICA_SETS).await[0];
    for pod in &pods {
        assert_eq!(pod["spec"]["nodeName"], "lateen");
        assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], set["metadata"]["uid"]);
        assert!(pod["metadata"]["labels"]["pod-template-hash"].is_string());
    }
    let reasons =
        |events: &[lateen_apiserver::Object], reason: &str| events.iter().filter(|e| e["reason"] == reason).count();
    let told = |events: &[lateen_apiserver::Object]| {
        reasons(events, "ScalingReplicaSet") == 1
            && reasons(events, "SuccessfulCreate") == 3
            && reasons(events, "Scheduled") == 3
    };
    world.until(&gvr::EVENTS, "events tell what was done", told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_template_replaces_the_pods_and_can_be_rolled_back() {
    let world = World::start().await;
    world.create(&gvr::DEPLOYMENTS, deployment("web", "v1", 3)).await;
    let first = world.rolled_out("web").await;
    let image = |image: &str| {
        let container = json!({"name": "app", "image": image, "ports": [{"name": "http", "containerPort": 8080}]});
        json!({"spec": {"template": {"spec": {"containers": [container]}}}})
    };
    world.patch(&gvr::DEPLOYMENTS, "web", image("v2")).await;
    world.rolled_out("web").await;
    world.until(&gvr::PODS, "only new pods are left", |pods| images(pods) == ["v2"; 3]).await;
    assert_eq!(world.list(&gvr::REPLICA_SETS).await.len(), 2);

    let back = json!({"spec": {"template": first["spec"]["template"]}});
    world.patch(&gvr::DEPLOYMENTS, "web", back).await;
    let done = world.rolled_out("web").await;
    assert_eq!(done["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    world.until(&gvr::PODS, "the first pods are back", |pods| images(pods) == ["v1"; 3]).await;
    assert_eq!(world.list(&gvr::REPLICA_SETS).await.len(), 2, "the old ReplicaSet is used again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_template_never_takes_away_what_works() {
    let world = World::start().await;
    world.create(&gvr::DEPLOYMENTS, deployment("web", "v1", 2)).await;
    world.rolled_out("web").await;
    let mut broken = deployment("web", "broken", 2);
    broken["spec"]["progressDeadlineSeconds"] = json!(1);
    world.patch(&gvr::DEPLOYMENTS, "web", broken).await;
    let late = |all: &[lateen_apiserver::Object]| {
        let conditions = all[0]["status"]["conditions"].as_array();
        conditions.is_some_and(|all| all.iter().any(|c| c["reason"] == "ProgressDeadlineExceeded"))
    };
    world.until(&gvr::DEPLOYMENTS, "the deadline is told", late).await;
    let pods = world.list(&gvr::PODS).await;
    assert_eq!(images(&pods).iter().filter(|i| **i == "v1").count(), 2);
    assert_eq!(pods.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recreation_and_scaling() {
    let world = World::start().await;
    let mut web = deployment("web", "v1", 2);
    web["spec"]["strategy"] = json!({"type": "Recreate"});
    world.create(&gvr::DEPLOYMENTS, web.clone()).await;
    world.rolled_out("web").await;
    web["spec"]["template"]["spec"]["containers"][0]["image"] = json!("v2");
    world.patch(&gvr::DEPLOYMENTS, "web", web).await;
    world.until(&gvr::PODS, "new pods replaced all old ones", |pods| images(pods) == ["v2"; 2]).await;
    world.rolled_out("web").await;
    for size in [4, 1, 0] {
        world.patch(&gvr::DEPLOYMENTS, "web", json!({"spec": {"replicas": size}})).await;
        world.until(&gvr::PODS, "the number follows", |pods| pods.len() == size).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_pods_are_replaced_and_deleted_owners_take_their_pods_along() {
    let world = World::start().await;
    world.create(&gvr::DEPLOYMENTS, deployment("web", "v1", 2)).await;
    world.rolled_out("web").await;
    let before = world.list(&gvr::PODS).await;
    let name = before[0]["metadata"]["name"].as_str().unwrap().to_owned();
    world.client.delete(&gvr::PODS, "default", &name, &DeleteOptions::default()).await.unwrap();
    let replaced = |pods: &[lateen_apiserver::Object]| {
        pods.len() == 2 && pods.iter().all(|p| p["metadata"]["name"] != name.as_str())
    };
    world.until(&gvr::PODS, "the pod is replaced", replaced).await;
    world.client.delete(&gvr::DEPLOYMENTS, "default", "web", &delete("Background")).await.unwrap();
    world.until(&gvr::REPLICA_SETS, "the ReplicaSet goes", <[_]>::is_empty).await;
    world.until(&gvr::PODS, "the pods go", <[_]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreground_deletion_waits_and_orphans_stay() {
    let world = World::start().await;
    for name in ["front", "orphaned"] {
        world.create(&gvr::DEPLOYMENTS, deployment(name, "v1", 1)).await;
        world.rolled_out(name).await;
    }
    world.client.delete(&gvr::DEPLOYMENTS, "default", "front", &delete("Foreground")).await.unwrap();
    world.client.delete(&gvr::DEPLOYMENTS, "default", "orphaned", &delete("Orphan")).await.unwrap();
    world.until(&gvr::DEPLOYMENTS, "both go", <[_]>::is_empty).await;
    let sets = world.until(&gvr::REPLICA_SETS, "one set stays", |sets| sets.len() == 1).await;
    assert_eq!(sets[0]["metadata"]["labels"]["app"], "orphaned");
    let owners = &sets[0]["metadata"]["ownerReferences"];
    assert!(owners.as_array().is_none_or(Vec::is_empty), "{owners}");
    let pods = world.until(&gvr::PODS, "its pod stays", |pods| pods.len() == 1).await;
    assert_eq!(pods[0]["metadata"]["labels"]["app"], "orphaned");
    // A Deployment that fits takes the ReplicaSet over again.
    world.create(&gvr::DEPLOYMENTS, deployment("orphaned", "v1", 1)).await;
    world.rolled_out("orphaned").await;
    assert_eq!(world.list(&gvr::REPLICA_SETS).await[0]["metadata"]["uid"], sets[0]["metadata"]["uid"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_namespace_gets_its_basics_and_goes_with_everything_inside() {
    let world = World::start().await;
    let client = &world.client;
    client.create(&gvr::NAMESPACES, "", json!({"metadata": {"name": "shop"}})).await.unwrap();
    let list = async |kind| client.list(kind, Some("shop")).await.unwrap().items;
    while list(&gvr::SERVICE_ACCOUNTS).await.is_empty() || list(&gvr::CONFIG_MAPS).await.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let root = client.get(&gvr::CONFIG_MAPS, "shop", "kube-root-ca.crt").await.unwrap();
    assert!(root["data"]["ca.crt"].as_str().unwrap().contains("BEGIN CERTIFICATE"));
    client.create(&gvr::DEPLOYMENTS, "shop", deployment("web", "v1", 2)).await.unwrap();
    while list(&gvr::PODS).await.len() < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    client.delete(&gvr::NAMESPACES, "", "shop", &DeleteOptions::default()).await.unwrap();
    for _ in 0..500 {
        if client.get(&gvr::NAMESPACES, "", "shop").await.is_err() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(client.get(&gvr::NAMESPACES, "", "shop").await.unwrap_err().code, 404);
    for kind in [&gvr::PODS, &gvr::DEPLOYMENTS, &gvr::CONFIG_MAPS] {
        assert!(list(kind).await.is_empty(), "{kind}");
    }
    assert!(!client.list(&gvr::NODES, None).await.unwrap().items.is_empty(), "what has no namespace stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_follow_pods_and_go_with_their_service() {
    let world = World::start().await;
    world.create(&gvr::DEPLOYMENTS, deployment("web", "v1", 2)).await;
    let service = json!({"metadata": {"name": "web"}, "spec": {
        "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}});
    world.create(&gvr::SERVICES, service).await;
    let ready = |slices: &[lateen_apiserver::Object], count: usize| {
        let mine = |s: &&lateen_apiserver::Object| s["metadata"]["labels"]["kubernetes.io/service-name"] == "web";
        let endpoints = |s: &lateen_apiserver::Object| s["endpoints"].as_array().map_or(0, Vec::len);
        slices.iter().filter(mine).map(endpoints).sum::<usize>() == count
    };
    let slices = world.until(&gvr::ENDPOINT_SLICES, "two endpoints", |s| ready(s, 2)).await;
    let web = slices.iter().find(|s| s["metadata"]["labels"]["kubernetes.io/service-name"] == "web").unwrap();
    assert_eq!(web["ports"][0]["port"], 8080);
    assert!(web["metadata"]["name"].as_str().unwrap().starts_with("web-"));
    let two = |all: &[lateen_apiserver::Object]| {
        let web = all.iter().find(|e| e["metadata"]["name"] == "web");
        web.is_some_and(|e| e["subsets"][0]["addresses"].as_array().is_some_and(|a| a.len() == 2))
    };
    world.until(&gvr::ENDPOINTS, "two addresses", two).await;
    world.patch(&gvr::DEPLOYMENTS, "web", json!({"spec": {"replicas": 1}})).await;
    world.until(&gvr::ENDPOINT_SLICES, "one endpoint", |s| ready(s, 1)).await;
    world.client.delete(&gvr::SERVICES, "default", "web", &DeleteOptions::default()).await.unwrap();
    let none = |all: &[lateen_apiserver::Object]| {
        all.iter().all(|s: &lateen_apiserver::Object| -> bool {
            let value: &Value = s;
            value["metadata"]["labels"]["kubernetes.io/service-name"] != "web"
        })
    };
    world.until(&gvr::ENDPOINT_SLICES, "the slices go", none).await;
    let gone = |all: &[lateen_apiserver::Object]| all.iter().all(|e| e["metadata"]["name"] != "web");
    world.until(&gvr::ENDPOINTS, "the Endpoints go", gone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_runs_its_pods_to_their_end() {
    let world = World::start().await;
    let job = json!({"metadata": {"name": "once"}, "spec": {"completions": 3, "parallelism": 2, "template": {
        "spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "once"}]}}}});
    world.create(&gvr::JOBS, job).await;
    let complete = |jobs: &[lateen_apiserver::Object]| {
        let conditions = jobs[0]["status"]["conditions"].as_array();
        conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Complete" && c["status"] == "True"))
    };
    let jobs = world.until(&gvr::JOBS, "the Job completes", complete).await;
    assert_eq!(jobs[0]["status"]["succeeded"], 3);
    assert_eq!(world.list(&gvr::PODS).await.len(), 3);
}
