use std::sync::Arc;

use super::*;

fn service(ports: Value) -> Value {
    json!({
        "metadata": {"name": "db", "namespace": "default", "uid": "s", "labels": {"team": "x"}},
        "spec": {"clusterIP": "10.96.1.1", "selector": {"app": "db"}, "ports": ports},
    })
}

fn pod(name: &str, ip: &str, ready: bool) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "db"}},
        "spec": {"nodeName": "lateen", "containers": [
            {"name": "c", "ports": [{"name": "http", "containerPort": 5678}]}]},
        "status": {"phase": "Running", "podIP": ip, "conditions": [
            {"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    })
}

fn arcs(pods: impl IntoIterator<Item = Value>) -> Vec<Object> {
    pods.into_iter().map(Arc::new).collect()
}

#[test]
fn ready_and_unready_pods_are_listed_with_their_state() {
    let service = service(json!([{"name": "http", "port": 80, "targetPort": "http"}]));
    let slices = wanted(&service, &arcs([pod("a", "10.0.0.1", true), pod("b", "10.0.0.2", false)]), None);
    assert_eq!(slices.len(), 1);
    assert_eq!(slices[0]["ports"], json!([{"name": "http", "protocol": "TCP", "port": 5678}]));
    assert_eq!(slices[0].label(SERVICE_NAME), Some("db"));
    assert_eq!(slices[0].label("team"), Some("x"));
    let endpoints = slices[0].items("/endpoints");
    assert_eq!(endpoints[0]["addresses"], json!(["10.0.0.1"]));
    assert_eq!(endpoints[0]["conditions"], json!({"ready": true, "serving": true, "terminating": false}));
    assert_eq!(endpoints[1]["conditions"]["ready"], false);
    assert_eq!(endpoints[1]["targetRef"]["name"], "b");
}

#[test]
fn a_pod_that_ends_serves_on_but_is_not_ready() {
    let mut ending = pod("a", "10.0.0.1", true);
    ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let slices = wanted(&service(json!([{"port": 80}])), &arcs([ending]), None);
    let conditions = &slices[0].items("/endpoints")[0]["conditions"];
    assert_eq!(*conditions, json!({"ready": false, "serving": true, "terminating": true}));
}

#[test]
fn unready_pods_count_as_ready_where_the_service_says_so() {
    let mut service = service(json!([{"port": 80}]));
    service["spec"]["publishNotReadyAddresses"] = json!(true);
    let slices = wanted(&service, &arcs([pod("a", "10.0.0.1", false)]), None);
    assert_eq!(slices[0].items("/endpoints")[0]["conditions"]["ready"], true);
}

#[test]
fn pods_without_address_or_done_are_left_out() {
    let mut done = pod("a", "10.0.0.1", false);
    done["status"]["phase"] = json!("Succeeded");
    let slices = wanted(&service(json!([{"port": 80}])), &arcs([done, pod("b", "", false)]), None);
    assert_eq!(slices.len(), 1);
    assert!(slices[0].items("/endpoints").is_empty());
}

#[test]
fn pods_that_give_a_name_different_ports_get_slices_of_their_own() {
    let service = service(json!([{"port": 80, "targetPort": "http"}]));
    let mut other = pod("b", "10.0.0.2", true);
    other["spec"]["containers"][0]["ports"][0]["containerPort"] = json!(8080);
    let slices = wanted(&service, &arcs([pod("a", "10.0.0.1", true), other]), None);
    let ports: Vec<_> = slices.iter().map(|s| s["ports"][0]["port"].clone()).collect();
    assert_eq!(ports, [json!(5678), json!(8080)]);
}

#[test]
fn target_ports_default_to_the_port() {
    let pod = pod("a", "10.0.0.1", true);
    let cases = [
        (json!({"port": 80}), Some(80)),
        (json!({"port": 80, "targetPort": 5678}), Some(5678)),
        (json!({"port": 80, "targetPort": "http"}), Some(5678)),
        (json!({"port": 80, "targetPort": "http", "protocol": "UDP"}), None),
        (json!({"port": 80, "targetPort": "other"}), None),
    ];
    for (port, expect) in cases {
        assert_eq!(target_port(&port, &pod), expect, "{port}");
    }
}

#[test]
fn hostnames_show_where_the_subdomain_is_the_service() {
    let mut pod = pod("a", "10.0.0.1", true);
    pod["spec"]["hostname"] = json!("a-0");
    pod["spec"]["subdomain"] = json!("db");
    let slices = wanted(&service(json!([{"port": 80}])), &arcs([pod]), Some("z1"));
    let endpoint = &slices[0].items("/endpoints")[0];
    assert_eq!(endpoint["hostname"], "a-0");
    assert_eq!(endpoint["zone"], "z1");
}

#[test]
fn slices_hold_a_hundred_endpoints_and_are_reused_by_name() {
    let pods = arcs((0..150).map(|i| pod(&format!("p{i:03}"), &format!("10.0.1.{i}"), true)));
    let service = service(json!([{"port": 80}]));
    let first = wanted(&service, &pods, None);
    assert_eq!(first.iter().map(|s| s.items("/endpoints").len()).collect::<Vec<_>>(), [100, 50]);
    let present: Vec<Object> = first
        .iter()
        .enumerate()
        .map(|(i, slice)| {
            let mut slice = slice.clone();
            slice["metadata"]["name"] = json!(format!("db-{i}"));
            Arc::new(slice)
        })
        .collect();
    let still = plan(wanted(&service, &pods, None), &present);
    assert!(still.update.is_empty() && still.create.is_empty() && still.delete.is_empty());
    let fewer = plan(wanted(&service, &pods[..99], None), &present);
    assert_eq!((fewer.update.len(), fewer.create.len(), fewer.delete.len()), (1, 0, 1));
    assert_eq!(fewer.update[0].name(), "db-0");
}

#[test]
fn a_service_of_two_families_has_slices_of_both() {
    let mut service = service(json!([{"port": 80}]));
    service["spec"]["ipFamilies"] = json!(["IPv6", "IPv4"]);
    let mut both = pod("a", "10.0.0.1", true);
    both["status"]["podIPs"] = json!([{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]);
    let shown = |slice: &Value| {
        let endpoints = slice.items("/endpoints").iter().map(|e| e.items("/addresses")[0].clone()).collect::<Vec<_>>();
        (slice.text("/addressType").to_owned(), endpoints)
    };
    let slices = wanted(&service, &arcs([both, pod("b", "10.0.0.2", true)]), None);
    let expected =
        [("IPv6".to_owned(), vec![json!("fd00::1")]), ("IPv4".to_owned(), vec![json!("10.0.0.1"), json!("10.0.0.2")])];
    assert_eq!(slices.iter().map(shown).collect::<Vec<_>>(), expected);
}
