//! The in-process client: what controllers and the node agent rely on.

use std::pin::pin;

use futures::StreamExt;
use lateen_apiserver::{
    Client, Config, DeleteOptions, Event, EventType, Gvr, ListOptions, PatchType, Server, Status, gvr, object,
};
use serde_json::{Value, json};
use tempfile::TempDir;

async fn server() -> (TempDir, Client) {
    let home = TempDir::new().unwrap();
    let server = Server::open(Config::new(home.path())).await.unwrap();
    (home, server.client())
}

fn named(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

fn now() -> DeleteOptions {
    DeleteOptions::default()
}

fn refused<T>(result: Result<T, Status>) -> (u16, String) {
    let status = result.err().expect("a refusal");
    (status.code, status.message.clone())
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_one_goes() {
    let (_home, client) = server().await;
    let map = json!({"metadata": {"name": "c", "finalizers": ["example.com/hold"]}});
    client.create(&gvr::CONFIG_MAPS, "default", map).await.unwrap();
    client.delete(&gvr::CONFIG_MAPS, "default", "c", &now()).await.unwrap();
    let held = client.get(&gvr::CONFIG_MAPS, "default", "c").await.unwrap();
    assert!(object::is_deleting(&held));
    let free = json!({"metadata": {"finalizers": null}});
    client.patch(&gvr::CONFIG_MAPS, "default", "c", PatchType::Merge, &free, None).await.unwrap();
    assert!(client.get(&gvr::CONFIG_MAPS, "default", "c").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn foreground_deletion_waits_for_the_collector() {
    let (_home, client) = server().await;
    client.create(&gvr::CONFIG_MAPS, "default", named("c")).await.unwrap();
    let foreground = DeleteOptions { propagation_policy: Some("Foreground".into()), ..now() };
    let waiting = client.delete(&gvr::CONFIG_MAPS, "default", "c", &foreground).await.unwrap();
    assert_eq!(waiting["metadata"]["finalizers"], json!(["foregroundDeletion"]));
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized_and_takes_nothing_new_meanwhile() {
    let (_home, client) = server().await;
    client.create(&gvr::NAMESPACES, "", named("n")).await.unwrap();
    client.delete(&gvr::NAMESPACES, "", "n", &now()).await.unwrap();
    let going = client.get(&gvr::NAMESPACES, "", "n").await.unwrap();
    assert_eq!(going["status"]["phase"], "Terminating");
    let (code, text) = refused(client.create(&gvr::CONFIG_MAPS, "n", named("c")).await);
    assert_eq!(code, 403);
    assert!(text.contains("unable to create new content in namespace n because it is being terminated"), "{text}");
    let mut done = Value::clone(&going);
    done["spec"]["finalizers"] = json!([]);
    client.finalize_namespace(&done).await.unwrap();
    assert!(client.get(&gvr::NAMESPACES, "", "n").await.unwrap_err().is_not_found());
    let (_, text) = refused(client.delete(&gvr::NAMESPACES, "", "default", &now()).await);
    assert!(text.contains("this namespace may not be deleted"), "{text}");
}

#[tokio::test]
async fn updates_at_a_stale_version_conflict() {
    let (_home, client) = server().await;
    let first = client.create(&gvr::CONFIG_MAPS, "default", named("c")).await.unwrap();
    let mut second = Value::clone(&first);
    second["data"] = json!({"a": "1"});
    client.update(&gvr::CONFIG_MAPS, "default", second.clone()).await.unwrap();
    second["data"] = json!({"a": "2"});
    let stale = client.update(&gvr::CONFIG_MAPS, "default", second.clone()).await.unwrap_err();
    assert!(stale.is_conflict(), "{stale}");
    second["metadata"] = json!({"name": "c"});
    client.update(&gvr::CONFIG_MAPS, "default", second).await.unwrap();
    let options = DeleteOptions { uid: Some("other".into()), ..now() };
    assert!(client.delete(&gvr::CONFIG_MAPS, "default", "c", &options).await.unwrap_err().is_conflict());
}

#[tokio::test]
async fn an_update_without_a_change_makes_no_new_version() {
    let (_home, client) = server().await;
    let first = client.create(&gvr::CONFIG_MAPS, "default", named("c")).await.unwrap();
    let again = client.update(&gvr::CONFIG_MAPS, "default", named("c")).await.unwrap();
    assert_eq!(first, again);
}

#[tokio::test]
async fn pages_show_one_state_while_objects_come_and_go() {
    let (_home, client) = server().await;
    for name in ["a", "b", "c", "d"] {
        client.create(&gvr::CONFIG_MAPS, "default", named(name)).await.unwrap();
    }
    let mut options = ListOptions { limit: 3, ..ListOptions::default() };
    let first = client.list_with(&gvr::CONFIG_MAPS, Some("default"), &options).await.unwrap();
    assert_eq!(first.items.len(), 3);
    client.delete(&gvr::CONFIG_MAPS, "default", "d", &now()).await.unwrap();
    client.create(&gvr::CONFIG_MAPS, "default", named("e")).await.unwrap();
    options.continue_token = first.continue_token;
    let rest = client.list_with(&gvr::CONFIG_MAPS, Some("default"), &options).await.unwrap();
    let names: Vec<&str> = rest.items.iter().map(|o| object::name(o)).collect();
    assert_eq!(names, ["d"]);
    assert_eq!(rest.version, first.version);
}

#[tokio::test]
async fn a_follower_sees_what_is_there_then_every_change() {
    let (_home, client) = server().await;
    client.create(&gvr::CONFIG_MAPS, "default", named("a")).await.unwrap();
    let mut events = pin!(client.watch_all(&gvr::CONFIG_MAPS));
    let mut next = async || {
        let Event { kind, object } = events.next().await.unwrap();
        (kind, object::name(&object).to_owned())
    };
    assert_eq!(next().await, (EventType::Added, "a".to_owned()));
    assert_eq!(next().await.0, EventType::Bookmark);
    client.create(&gvr::CONFIG_MAPS, "default", named("b")).await.unwrap();
    client.delete(&gvr::CONFIG_MAPS, "default", "a", &now()).await.unwrap();
    assert_eq!(next().await, (EventType::Added, "b".to_owned()));
    assert_eq!(next().await, (EventType::Deleted, "a".to_owned()));
}

#[tokio::test]
async fn a_watch_from_a_forgotten_version_is_told_to_list_again() {
    let home = TempDir::new().unwrap();
    let config = Config { watch_history: 2, ..Config::new(home.path()) };
    let client = Server::open(config).await.unwrap().client();
    let start = client.list(&gvr::CONFIG_MAPS, None).await.unwrap().version;
    for name in ["a", "b", "c"] {
        client.create(&gvr::CONFIG_MAPS, "default", named(name)).await.unwrap();
    }
    let (code, text) = refused(client.watch(&gvr::CONFIG_MAPS, None, start).await);
    assert_eq!((code, text.starts_with("too old resource version")), (410, true));
}

fn service(spec: Value) -> Value {
    json!({"metadata": {"generateName": "s"}, "spec": spec})
}

#[tokio::test]
async fn services_get_addresses_that_nobody_else_has() {
    let (_home, client) = server().await;
    let create = async |spec| client.create(&gvr::SERVICES, "default", service(spec)).await;
    let first = create(json!({"ports": [{"port": 80}]})).await.unwrap();
    let ip = first["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(ip.starts_with("10.96."), "{ip}");
    assert_eq!(first["spec"]["clusterIPs"], json!([ip]));
    let (code, text) = refused(create(json!({"clusterIP": ip, "ports": [{"port": 80}]})).await);
    assert_eq!(code, 422);
    assert!(text.contains("provided IP is already allocated"), "{text}");
    let (_, text) = refused(create(json!({"clusterIP": "10.97.0.1", "ports": [{"port": 80}]})).await);
    assert!(text.contains("The range of valid IPs is 10.96.0.0/16"), "{text}");
    client.delete(&gvr::SERVICES, "default", object::name(&first), &now()).await.unwrap();
    create(json!({"clusterIP": ip, "ports": [{"port": 80}]})).await.unwrap();
    let node = create(json!({"type": "NodePort", "ports": [{"port": 80}]})).await.unwrap();
    assert!((30000..=32767).contains(&node["spec"]["ports"][0]["nodePort"].as_u64().unwrap()));
    let headless = create(json!({"clusterIP": "None", "ports": [{"port": 80}]})).await.unwrap();
    assert_eq!(headless["spec"]["clusterIP"], "None");
    let name = object::name(&headless).to_owned();
    let change = json!({"spec": {"clusterIP": "10.96.7.7"}});
    let changed = client.patch(&gvr::SERVICES, "default", &name, PatchType::Merge, &change, None).await;
    assert!(refused(changed).1.contains("may not change once set"));
}

#[tokio::test]
async fn addresses_stay_taken_after_a_restart() {
    let home = TempDir::new().unwrap();
    let open = async || Server::open(Config::new(home.path())).await;
    let ip = {
        let client = open().await.unwrap().client();
        let made = client.create(&gvr::SERVICES, "default", service(json!({"ports": [{"port": 80}]}))).await;
        made.unwrap()["spec"]["clusterIP"].clone()
    };
    // The file is free once the last handle has gone.
    let client = loop {
        match open().await {
            Ok(server) => break server.client(),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    };
    let again = client.create(&gvr::SERVICES, "default", service(json!({"clusterIP": ip, "ports": [{"port": 80}]})));
    assert!(refused(again.await).1.contains("provided IP is already allocated"));
}

#[tokio::test]
async fn selectors_of_workloads_do_not_change() {
    let (_home, client) = server().await;
    let deployment = |app: &str| {
        json!({"metadata": {"name": "d"}, "spec": {
            "selector": {"matchLabels": {"app": app}},
            "template": {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        }})
    };
    let made = client.create(&gvr::DEPLOYMENTS, "default", deployment("a")).await.unwrap();
    assert_eq!(made["metadata"]["generation"], 1);
    let (code, text) = refused(client.update(&gvr::DEPLOYMENTS, "default", deployment("b")).await);
    assert_eq!(code, 422);
    assert!(text.contains("spec.selector: Invalid value"), "{text}");
    assert!(text.contains("field is immutable"), "{text}");
    let mut status = Value::clone(&made);
    status["status"] = json!({"observedGeneration": 1, "replicas": 1});
    status["spec"]["replicas"] = 9.into();
    let stored = client.update_status(&gvr::DEPLOYMENTS, "default", status).await.unwrap();
    assert_eq!(stored["spec"]["replicas"], 1);
    assert_eq!(stored["status"]["replicas"], 1);
    assert_eq!(stored["metadata"]["generation"], 1);
}

#[tokio::test]
async fn events_are_the_same_in_both_groups() {
    let (_home, client) = server().await;
    let event = json!({
        "metadata": {"name": "e"}, "reason": "Started", "message": "hello", "type": "Normal",
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
    });
    client.create(&gvr::EVENTS, "default", event).await.unwrap();
    let newer = Gvr::of("events.k8s.io", "v1", "events");
    let seen = client.get(&newer, "default", "e").await.unwrap();
    assert_eq!(seen["apiVersion"], "events.k8s.io/v1");
    assert_eq!((&seen["note"], &seen["regarding"]["name"]), (&json!("hello"), &json!("p")));
    assert!(seen.get("message").is_none());
}

#[tokio::test]
async fn tokens_are_bound_to_their_pod() {
    let (_home, client) = server().await;
    client.create(&gvr::SERVICE_ACCOUNTS, "default", named("default")).await.unwrap();
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pod = client.create(&gvr::PODS, "default", pod).await.unwrap();
    let request = json!({"spec": {"audiences": ["istio-ca"], "expirationSeconds": 3600,
        "boundObjectRef": {"kind": "Pod", "name": "p", "uid": object::uid(&pod)}}});
    let answer = client.create_token("default", "default", &request).await.unwrap();
    let token = answer["status"]["token"].as_str().unwrap().to_owned();
    let review = async |audience: &str| {
        let kind = Gvr::of("authentication.k8s.io", "v1", "tokenreviews");
        let question = json!({"spec": {"token": token, "audiences": [audience]}});
        client.create(&kind, "", question).await.unwrap()["status"].clone()
    };
    let good = review("istio-ca").await;
    assert_eq!(good["authenticated"], true);
    assert_eq!(good["user"]["username"], "system:serviceaccount:default:default");
    assert_eq!(good["user"]["extra"]["authentication.kubernetes.io/pod-name"], json!(["p"]));
    assert!(review("elsewhere").await["error"].as_str().unwrap().contains("audiences"));
    client.delete(&gvr::PODS, "default", "p", &now()).await.unwrap();
    assert!(review("istio-ca").await["error"].as_str().unwrap().contains("pod p"));
}

#[tokio::test]
async fn pods_need_their_service_account() {
    let (_home, client) = server().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let (code, text) = refused(client.create(&gvr::PODS, "default", pod).await);
    assert_eq!(code, 403);
    assert_eq!(
        text,
        "pods \"p\" is forbidden: error looking up service account default/default: serviceaccount \"default\" not found"
    );
}

#[tokio::test]
async fn secrets_take_plain_text() {
    let (_home, client) = server().await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"a": "hello"}});
    let stored = client.create(&gvr::SECRETS, "default", secret).await.unwrap();
    assert_eq!(stored["data"], json!({"a": "aGVsbG8="}));
    assert_eq!(stored["type"], "Opaque");
    assert!(stored.get("stringData").is_none());
}

#[tokio::test]
async fn stateful_sets_mount_what_they_claim() {
    let (_home, client) = server().await;
    let set = |claim: &str| {
        json!({"metadata": {"name": "s"}, "spec": {
            "selector": {"matchLabels": {"app": "s"}}, "serviceName": "s",
            "volumeClaimTemplates": [{"metadata": {"name": claim}, "spec": {}}],
            "template": {"metadata": {"labels": {"app": "s"}}, "spec": {"containers": [
                {"name": "c", "image": "i", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}},
        }})
    };
    let (_, text) = refused(client.create(&gvr::STATEFUL_SETS, "default", set("other")).await);
    assert!(text.contains("spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\""), "{text}");
    client.create(&gvr::STATEFUL_SETS, "default", set("data")).await.unwrap();
}
