use lateen_apiserver::{DeleteOptions, Gvr, Object, gvr};
use serde_json::{Value, json};

use crate::world::World;

fn template(name: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "app", "image": image}]},
    })
}

fn stateful_set(name: &str, replicas: i64, more: &Value) -> Value {
    let mut set = json!({"metadata": {"name": name}, "spec": {
        "replicas": replicas,
        "serviceName": name,
        "selector": {"matchLabels": {"app": name}},
        "template": template(name, "v1"),
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}],
    }});
    for (key, value) in more.as_object().into_iter().flatten() {
        set["spec"][key] = value.clone();
    }
    set
}

fn names(objects: &[Object]) -> Vec<&str> {
    objects.iter().filter_map(|o| o["metadata"]["name"].as_str()).collect()
}

fn images(pods: &[Object]) -> Vec<&str> {
    pods.iter().filter_map(|p| p["spec"]["containers"][0]["image"].as_str()).collect()
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}})
}

async fn delete(world: &World, kind: &Gvr, name: &str) {
    world.client.delete(kind, "default", name, &DeleteOptions::default()).await.unwrap();
}

fn has_condition(objects: &[Object], kind: &str) -> bool {
    let conditions = objects.first().and_then(|o| o["status"]["conditions"].as_array());
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == kind && c["status"] == "True"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stateful_set_keeps_names_and_claims() {
    let world = World::start().await;
    world.create(&gvr::STATEFUL_SETS, stateful_set("db", 3, &json!({}))).await;
    let ready = |sets: &[Object]| sets[0]["status"]["readyReplicas"] == 3 && sets[0]["status"]["currentReplicas"] == 3;
    world.until(&gvr::STATEFUL_SETS, "three pods are ready", ready).await;
    let pods = world.list(&gvr::PODS).await;
    assert_eq!(names(&pods), ["db-0", "db-1", "db-2"]);
    assert_eq!(pods[1]["metadata"]["labels"]["apps.kubernetes.io/pod-index"], "1");
    assert_eq!(pods[1]["spec"]["subdomain"], "db");
    let claims = world.list(&gvr::PERSISTENT_VOLUME_CLAIMS).await;
    assert_eq!(names(&claims), ["data-db-0", "data-db-1", "data-db-2"]);
    assert!(claims.iter().all(|c| c["status"]["phase"] == "Bound"), "{claims:?}");

    let volume = claims[1]["spec"]["volumeName"].clone();
    world.patch(&gvr::STATEFUL_SETS, "db", json!({"spec": {"replicas": 1}})).await;
    world.until(&gvr::PODS, "the last pods go", |pods| names(pods) == ["db-0"]).await;
    assert_eq!(world.list(&gvr::PERSISTENT_VOLUME_CLAIMS).await.len(), 3, "claims stay");
    world.patch(&gvr::STATEFUL_SETS, "db", json!({"spec": {"replicas": 2}})).await;
    world.until(&gvr::PODS, "the second comes back", |pods| names(pods) == ["db-0", "db-1"]).await;
    let claim = world.client.get(&gvr::PERSISTENT_VOLUME_CLAIMS, "default", "data-db-1").await.unwrap();
    assert_eq!(claim["spec"]["volumeName"], volume);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stateful_set_rolls_from_the_end_to_its_partition() {
    let world = World::start().await;
    let partition = |number: i64| json!({"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": number}}}});
    world.create(&gvr::STATEFUL_SETS, stateful_set("db", 3, &json!({"podManagementPolicy": "Parallel"}))).await;
    world.until(&gvr::STATEFUL_SETS, "all are ready", |s| s[0]["status"]["readyReplicas"] == 3).await;
    world.patch(&gvr::STATEFUL_SETS, "db", partition(2)).await;
    world.patch(&gvr::STATEFUL_SETS, "db", image("v2")).await;
    world.until(&gvr::PODS, "the last one is new", |pods| images(pods) == ["v1", "v1", "v2"]).await;
    let settled = |sets: &[Object]| {
        let status = &sets[0]["status"];
        status["updatedReplicas"] == 1 && status["currentReplicas"] == 2 && status["readyReplicas"] == 3
    };
    let sets = world.until(&gvr::STATEFUL_SETS, "it stays so", settled).await;
    assert_ne!(sets[0]["status"]["currentRevision"], sets[0]["status"]["updateRevision"]);
    world.patch(&gvr::STATEFUL_SETS, "db", partition(0)).await;
    world.until(&gvr::PODS, "all are new", |pods| images(pods) == ["v2"; 3]).await;
    let done = |sets: &[Object]| sets[0]["status"]["currentRevision"] == sets[0]["status"]["updateRevision"];
    world.until(&gvr::STATEFUL_SETS, "the rollout is over", done).await;
    let revisions = world.list(&gvr::CONTROLLER_REVISIONS).await;
    let mut numbers: Vec<_> = revisions.iter().filter_map(|r| r["revision"].as_i64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_go_with_the_set_where_it_says_so() {
    let world = World::start().await;
    let policy = json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"}});
    world.create(&gvr::STATEFUL_SETS, stateful_set("db", 2, &policy)).await;
    world.until(&gvr::STATEFUL_SETS, "both are ready", |s| s[0]["status"]["readyReplicas"] == 2).await;
    world.patch(&gvr::STATEFUL_SETS, "db", json!({"spec": {"replicas": 1}})).await;
    let one = |claims: &[Object]| names(claims) == ["data-db-0"];
    world.until(&gvr::PERSISTENT_VOLUME_CLAIMS, "the second claim goes with its pod", one).await;
    let one_volume = |volumes: &[Object]| volumes.len() == 1;
    world.until(&gvr::PERSISTENT_VOLUMES, "its volume goes too", one_volume).await;
    delete(&world, &gvr::STATEFUL_SETS, "db").await;
    world.until(&gvr::PERSISTENT_VOLUME_CLAIMS, "the last claim goes", <[_]>::is_empty).await;
    world.until(&gvr::PERSISTENT_VOLUMES, "and its volume", <[_]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_find_the_volumes_that_suit_them() {
    let world = World::start().await;
    let volume = |name: &str, size: &str| {
        json!({"metadata": {"name": name}, "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
            "storageClassName": "by-hand", "hostPath": {"path": "/nowhere"}}})
    };
    for (name, size) in [("small", "1Gi"), ("large", "10Gi")] {
        world.client.create(&gvr::PERSISTENT_VOLUMES, "", volume(name, size)).await.unwrap();
    }
    let claim = |name: &str, class: Option<&str>| {
        json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": "2Gi"}}}})
    };
    world.create(&gvr::PERSISTENT_VOLUME_CLAIMS, claim("mine", Some("by-hand"))).await;
    world.create(&gvr::PERSISTENT_VOLUME_CLAIMS, claim("usual", None)).await;
    let bound = |claims: &[Object]| claims.iter().all(|c| c["status"]["phase"] == "Bound");
    let claims = world.until(&gvr::PERSISTENT_VOLUME_CLAIMS, "both are bound", bound).await;
    assert_eq!(claims[0]["spec"]["volumeName"], "large");
    assert_eq!(claims[0]["status"]["capacity"]["storage"], "10Gi");
    assert_eq!(claims[1]["spec"]["storageClassName"], "standard");
    delete(&world, &gvr::PERSISTENT_VOLUME_CLAIMS, "mine").await;
    let released = |volumes: &[Object]| {
        volumes.iter().any(|v| v["metadata"]["name"] == "large" && v["status"]["phase"] == "Released")
    };
    world.until(&gvr::PERSISTENT_VOLUMES, "a volume made by hand stays", released).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_waits_for_its_first_pod_where_its_class_says_so_and_stays_while_it_is_used() {
    let world = World::start().await;
    let class = json!({"metadata": {"name": "lazy"}, "provisioner": "lateen.io/directory",
        "volumeBindingMode": "WaitForFirstConsumer"});
    world.client.create(&gvr::STORAGE_CLASSES, "", class).await.unwrap();
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "lazy",
        "resources": {"requests": {"storage": "1Gi"}}}});
    world.create(&gvr::PERSISTENT_VOLUME_CLAIMS, claim).await;
    let waits = |events: &[Object]| events.iter().any(|e| e["reason"] == "WaitForFirstConsumer");
    world.until(&gvr::EVENTS, "it says that it waits", waits).await;
    assert_eq!(world.list(&gvr::PERSISTENT_VOLUME_CLAIMS).await[0]["status"]["phase"], "Pending");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "app", "image": "v1"}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}});
    world.create(&gvr::PODS, pod).await;
    world.until(&gvr::PODS, "the pod runs", |pods| pods[0]["status"]["phase"] == "Running").await;
    delete(&world, &gvr::PERSISTENT_VOLUME_CLAIMS, "c").await;
    let held = world.list(&gvr::PERSISTENT_VOLUME_CLAIMS).await;
    assert!(held[0]["metadata"]["deletionTimestamp"].is_string());
    delete(&world, &gvr::PODS, "p").await;
    world.until(&gvr::PERSISTENT_VOLUME_CLAIMS, "it goes after its pod", <[_]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_set_has_a_pod_on_the_node_and_replaces_it() {
    let world = World::start().await;
    let set = json!({"metadata": {"name": "agent"}, "spec": {
        "selector": {"matchLabels": {"app": "agent"}}, "template": template("agent", "v1")}});
    world.create(&gvr::DAEMON_SETS, set).await;
    let shown = |sets: &[Object]| sets[0]["status"]["numberAvailable"] == 1;
    world.until(&gvr::DAEMON_SETS, "its pod is available", shown).await;
    let first = world.list(&gvr::PODS).await;
    assert_eq!(first[0]["spec"]["nodeName"], "lateen");
    world.patch(&gvr::DAEMON_SETS, "agent", image("v2")).await;
    world.until(&gvr::PODS, "its pod is new", |pods| images(pods) == ["v2"]).await;
    let updated =
        |sets: &[Object]| sets[0]["status"]["updatedNumberScheduled"] == 1 && sets[0]["status"]["numberAvailable"] == 1;
    world.until(&gvr::DAEMON_SETS, "the rollout is over", updated).await;
    assert_eq!(world.list(&gvr::CONTROLLER_REVISIONS).await.len(), 2);
    world
        .patch(&gvr::DAEMON_SETS, "agent", json!({"spec": {"template": {"spec": {"nodeSelector": {"no": "node"}}}}}))
        .await;
    world.until(&gvr::PODS, "no node fits", <[_]>::is_empty).await;
    let foreground = DeleteOptions { propagation_policy: Some("Foreground".into()), ..DeleteOptions::default() };
    world.client.delete(&gvr::DAEMON_SETS, "default", "agent", &foreground).await.unwrap();
    world.until(&gvr::DAEMON_SETS, "it goes after its history", <[_]>::is_empty).await;
    assert!(world.list(&gvr::CONTROLLER_REVISIONS).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_indexed_job_does_each_index_once_and_counts_pods_that_were_deleted() {
    let world = World::start().await;
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "app", "image": "once"}]});
    let job = json!({"metadata": {"name": "work"}, "spec": {"completions": 4, "parallelism": 2,
        "completionMode": "Indexed", "template": {"spec": spec}}});
    world.create(&gvr::JOBS, job).await;
    let jobs = world.until(&gvr::JOBS, "the Job completes", |jobs| has_condition(jobs, "Complete")).await;
    assert_eq!(jobs[0]["status"]["completedIndexes"], "0-3");
    assert_eq!(jobs[0]["status"]["succeeded"], 4);
    let pods = world.list(&gvr::PODS).await;
    assert_eq!(pods.len(), 4);
    assert!(pods.iter().all(|p| p["metadata"]["finalizers"].is_null() || p["metadata"]["finalizers"] == json!([])));
    delete(&world, &gvr::JOBS, "work").await;
    world.until(&gvr::PODS, "its pods go with it", <[_]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_job_gives_up_its_pods_until_it_goes_on() {
    let world = World::start().await;
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "app", "image": "v1"}]});
    let job = json!({"metadata": {"name": "work"}, "spec": {"parallelism": 2, "template": {"spec": spec}}});
    world.create(&gvr::JOBS, job).await;
    world.until(&gvr::JOBS, "two run", |jobs| jobs[0]["status"]["active"] == 2).await;
    world.patch(&gvr::JOBS, "work", json!({"spec": {"suspend": true}})).await;
    world.until(&gvr::PODS, "none run", <[_]>::is_empty).await;
    world.until(&gvr::JOBS, "it says so", |jobs| has_condition(jobs, "Suspended")).await;
    world.patch(&gvr::JOBS, "work", json!({"spec": {"suspend": false}})).await;
    let jobs = world.until(&gvr::JOBS, "two run again", |jobs| jobs[0]["status"]["active"] == 2).await;
    assert!(jobs[0]["status"]["failed"].is_null(), "{}", jobs[0]["status"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cron_job_makes_jobs_that_go_with_it() {
    let world = World::start().await;
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "app", "image": "once"}]});
    let cron_job = json!({"metadata": {"name": "tick"}, "spec": {"schedule": "@every 1s",
        "successfulJobsHistoryLimit": 1, "jobTemplate": {"spec": {"template": {"spec": spec}}}}});
    world.create(&gvr::CRON_JOBS, cron_job).await;
    let worked = |all: &[Object]| all[0]["status"]["lastSuccessfulTime"].is_string();
    world.until(&gvr::CRON_JOBS, "a Job of its own succeeded", worked).await;
    let jobs = world.list(&gvr::JOBS).await;
    assert_eq!(jobs[0]["metadata"]["ownerReferences"][0]["kind"], "CronJob");
    world.patch(&gvr::CRON_JOBS, "tick", json!({"spec": {"suspend": true}})).await;
    delete(&world, &gvr::CRON_JOBS, "tick").await;
    world.until(&gvr::JOBS, "its Jobs go with it", <[_]>::is_empty).await;
    world.until(&gvr::PODS, "and their pods", <[_]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_waits_for_what_is_held_and_says_so() {
    let world = World::start().await;
    let client = &world.client;
    client.create(&gvr::NAMESPACES, "", json!({"metadata": {"name": "shop"}})).await.unwrap();
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    client.create(&gvr::CONFIG_MAPS, "shop", held).await.unwrap();
    client.delete(&gvr::NAMESPACES, "", "shop", &DeleteOptions::default()).await.unwrap();
    let shop = |all: &[Object]| all.iter().find(|n| n["metadata"]["name"] == "shop").cloned();
    let says = |all: &[Object]| {
        let text = shop(all).map(|n| n["status"]["conditions"].to_string()).unwrap_or_default();
        text.contains("example.com/hold in 1 resource instances")
    };
    world.until(&gvr::NAMESPACES, "it says what holds it", says).await;
    let free = json!({"metadata": {"finalizers": null}});
    let merge = lateen_apiserver::PatchType::Merge;
    client.patch(&gvr::CONFIG_MAPS, "shop", "held", merge, &free, None).await.unwrap();
    world.until(&gvr::NAMESPACES, "then it goes", |all| shop(all).is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_owner_keeps_stays() {
    let world = World::start().await;
    let map = |name: &str| json!({"metadata": {"name": name}});
    let mut owners = Vec::new();
    for name in ["one", "two"] {
        let owner = world.create(&gvr::CONFIG_MAPS, map(name)).await;
        owners.push(json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": true}));
    }
    let mut shared = map("shared");
    shared["metadata"]["ownerReferences"] = owners.clone().into();
    world.create(&gvr::CONFIG_MAPS, shared).await;
    let foreground = DeleteOptions { propagation_policy: Some("Foreground".into()), ..DeleteOptions::default() };
    world.client.delete(&gvr::CONFIG_MAPS, "default", "one", &foreground).await.unwrap();
    let gone = |maps: &[Object]| !names(maps).contains(&"one");
    let maps = world.until(&gvr::CONFIG_MAPS, "the first owner goes", gone).await;
    let left = maps.iter().find(|m| m["metadata"]["name"] == "shared").unwrap();
    assert_eq!(left["metadata"]["ownerReferences"], json!([owners[1]]));
}
