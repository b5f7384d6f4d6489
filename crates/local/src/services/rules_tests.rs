use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::controllers::SERVICE_NAME;

fn node() -> Node {
    Node {
        name: "lateen".into(),
        zone: "local".into(),
        ips: vec![[10, 244, 0, 1].into()],
        pods: vec!["10.244.0.0/16".parse().unwrap()],
        answers: vec![[10, 96, 0, 1].into()],
    }
}

fn service(name: &str, spec: Value) -> Object {
    Arc::new(json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec}))
}

fn slice(service: &str, ports: Value, endpoints: &[(&str, Value)]) -> Object {
    let endpoints: Vec<Value> =
        endpoints.iter().map(|(ip, conditions)| json!({"addresses": [ip], "conditions": conditions})).collect();
    Arc::new(json!({
        "metadata": {"name": "s", "namespace": "default", "labels": {SERVICE_NAME: service}},
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": endpoints,
    }))
}

fn ready() -> Value {
    json!({"ready": true, "serving": true, "terminating": false})
}

fn lines(services: &[Object], slices: &[Object]) -> Vec<String> {
    plan(services, slices, &[], &node()).ruleset.render().lines().map(str::to_owned).collect()
}

#[track_caller]
fn has(lines: &[String], part: &str) {
    assert!(lines.iter().any(|l| l.contains(part)), "no {part:?} in\n{}", lines.join("\n"));
}

#[test]
fn a_cluster_ip_spreads_over_its_ready_endpoints() {
    let web = service(
        "web",
        json!({"clusterIP": "10.96.1.1", "ports": [
        {"name": "http", "port": 80, "targetPort": 8080}]}),
    );
    let ports = json!([{"name": "http", "port": 8080, "protocol": "TCP"}]);
    let slice = slice(
        "web",
        ports,
        &[("10.244.0.5", ready()), ("10.244.0.6", ready()), ("10.244.0.7", json!({"ready": false, "serving": false}))],
    );
    let lines = lines(&[web], &[slice]);
    has(&lines, "10.96.1.1 . tcp . 80 : goto svc/default/web/tcp/80");
    has(&lines, "numgen random mod 2 map { 0 : 10.244.0.5 . 8080, 1 : 10.244.0.6 . 8080 }");
    has(&lines, "hairpin ip saddr 10.244.0.5");
}

#[test]
fn a_port_without_endpoints_refuses_connections() {
    let web = service("web", json!({"clusterIP": "10.96.1.1", "ports": [{"port": 80}]}));
    let lines = lines(&[web], &[]);
    has(&lines, "svc/default/web/tcp/80 meta l4proto tcp dnat ip to 10.244.0.1:1");
}

#[test]
fn endpoints_that_end_serve_until_others_are_ready() {
    let web = service("web", json!({"clusterIP": "10.96.1.1", "ports": [{"port": 80}]}));
    let ending = json!({"ready": false, "serving": true, "terminating": true});
    let ports = json!([{"name": "", "port": 80, "protocol": "TCP"}]);
    let alone = slice("web", ports.clone(), &[("10.244.0.5", ending.clone())]);
    has(&lines(std::slice::from_ref(&web), &[alone]), "0 : 10.244.0.5 . 80");
    let replaced = slice("web", ports, &[("10.244.0.5", ending), ("10.244.0.6", ready())]);
    has(&lines(&[web], &[replaced]), "mod 1 map { 0 : 10.244.0.6 . 80 }");
}

#[test]
fn udp_and_tcp_on_one_port_are_told_apart() {
    let dns = service(
        "dns",
        json!({"clusterIP": "10.96.0.10", "ports": [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]}),
    );
    let ports = json!([
        {"name": "dns", "port": 5353, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 5354, "protocol": "TCP"}]);
    let lines = lines(&[dns], &[slice("dns", ports, &[("10.244.0.9", ready())])]);
    has(&lines, "10.96.0.10 . udp . 53 : goto svc/default/dns/udp/53");
    has(&lines, "0 : 10.244.0.9 . 5353");
    has(&lines, "0 : 10.244.0.9 . 5354");
}

#[test]
fn addresses_of_the_node_itself_are_left_alone() {
    let kubernetes = service("kubernetes", json!({"clusterIP": "10.96.0.1", "ports": [{"port": 443}]}));
    let lines = lines(&[kubernetes], &[]);
    assert!(!lines.iter().any(|l| l.contains("svc/")), "{lines:?}");
}

#[test]
fn headless_and_external_name_services_have_no_rules() {
    let headless = service("a", json!({"clusterIP": "None", "ports": [{"port": 80}]}));
    let external = service("b", json!({"type": "ExternalName", "externalName": "x.org", "ports": [{"port": 80}]}));
    let lines = lines(&[headless, external], &[]);
    assert!(!lines.iter().any(|l| l.contains("svc/")), "{lines:?}");
}

#[test]
fn node_ports_and_published_addresses_lead_to_the_same_chain() {
    let gateway = Arc::new(json!({
        "metadata": {"name": "gw", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "clusterIP": "10.96.3.3", "externalIPs": ["192.0.2.1"],
            "ports": [{"port": 80, "nodePort": 30080}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}, {"ip": "127.0.0.1", "ipMode": "Proxy"}]}},
    }));
    let lines = lines(&[gateway], &[]);
    for address in ["10.96.3.3", "192.0.2.1", "192.0.2.2"] {
        has(&lines, &format!("{address} . tcp . 80 : goto svc/default/gw/tcp/80"));
    }
    has(&lines, "10.244.0.1 . tcp . 30080 : goto svc/default/gw/tcp/80");
    assert!(!lines.iter().any(|l| l.contains("127.0.0.1")), "a proxy in front is not ours to catch: {lines:?}");
}

/// What the kernel takes.
const NAME_LIMIT: usize = 255;

#[test]
fn very_long_names_still_make_valid_chains_and_sets() {
    let long = "a".repeat(63);
    let service = Arc::new(json!({
        "metadata": {"name": long, "namespace": long},
        "spec": {"clusterIP": "fd00:10:96:ffff:ffff:ffff:ffff:ffff", "sessionAffinity": "ClientIP",
            "ports": [{"port": 65535, "protocol": "UDP"}]},
    }));
    let mut slice = Value::clone(&slice(&long, json!([{"name": "", "port": 65535, "protocol": "UDP"}]), &[]));
    slice["metadata"]["namespace"] = long.clone().into();
    slice["addressType"] = "IPv6".into();
    slice["endpoints"] = json!([{"addresses": ["fd00:10:244:ffff:ffff:ffff:ffff:ffff"]}]);
    let node = Node { ips: vec!["fd00:10:244::1".parse().unwrap()], ..node() };
    let table = &plan(&[service], &[Arc::new(slice)], &[], &node).ruleset.tables[0];
    assert_eq!((table.family, table.sets.len()), (Family::Ip6, 1));
    let names = table.chains.iter().map(|c| &c.name).chain(table.sets.iter().map(|s| &s.name));
    for name in names {
        assert!(name.len() <= NAME_LIMIT && !name.contains(':'), "{name}");
    }
}

#[test]
fn a_client_stays_with_its_endpoint_where_the_service_says_so() {
    let spec = json!({"clusterIP": "10.96.1.1", "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}, "ports": [{"port": 80}]});
    let ports = json!([{"name": "", "port": 8080, "protocol": "TCP"}]);
    let slice = slice("web", ports, &[("10.244.0.5", ready()), ("10.244.0.6", ready())]);
    let lines = lines(&[service("web", spec)], &[slice]);
    let (set, end) = ("clients/default/web/tcp/80/10.244.0.5/8080", "end/default/web/tcp/80/10.244.0.5/8080");
    has(&lines, &format!("{set} {{ type ipv4_addr ; flags dynamic,timeout ; timeout 60s ; }}"));
    has(&lines, &format!("svc/default/web/tcp/80 ip saddr @{set} goto {end}"));
    has(
        &lines,
        &format!("numgen random mod 2 vmap {{ 0 : goto {end}, 1 : goto end/default/web/tcp/80/10.244.0.6/8080 }}"),
    );
    has(&lines, &format!("{end} update @{set} {{ ip saddr }} meta l4proto tcp dnat ip to 10.244.0.5:8080"));
}

#[test]
fn what_comes_from_outside_has_a_policy_of_its_own() {
    let spec = json!({"type": "NodePort", "clusterIP": "10.96.1.1", "externalTrafficPolicy": "Local",
        "ports": [{"port": 80, "nodePort": 30080}]});
    let ports = json!([{"name": "", "port": 8080, "protocol": "TCP"}]);
    // Endpoints made by hand are on no node.
    let lines = lines(&[service("web", spec)], &[slice("web", ports, &[("10.244.0.5", ready())])]);
    has(&lines, "10.96.1.1 . tcp . 80 : goto svc/default/web/tcp/80");
    has(&lines, "10.244.0.1 . tcp . 30080 : goto ext/default/web/tcp/80");
    has(&lines, "svc/default/web/tcp/80 meta l4proto tcp dnat ip to numgen");
    has(&lines, "ext/default/web/tcp/80 ip saddr 10.244.0.0/16 ip saddr != 10.244.0.1/32 meta l4proto tcp dnat");
    has(&lines, "ext/default/web/tcp/80 drop");
}

#[test]
fn a_host_port_leads_to_its_pod() {
    let pod = Arc::new(json!({"metadata": {"name": "p", "namespace": "n"}, "status": {"podIP": "10.244.0.9"},
        "spec": {"containers": [{"ports": [{"containerPort": 80, "hostPort": 8080}]}]}}));
    let lines: Vec<String> = plan(&[], &[], &[pod], &node()).ruleset.render().lines().map(str::to_owned).collect();
    has(&lines, "10.244.0.1 . tcp . 8080 : goto host/n/p/tcp/8080");
    has(&lines, "host/n/p/tcp/8080 meta l4proto tcp dnat ip to 10.244.0.9:80");
}

#[test]
fn the_plan_says_where_datagrams_go() {
    let spec = json!({"clusterIP": "10.96.1.1", "ports": [{"port": 53, "protocol": "UDP"}]});
    let at = |ip: [u8; 4], port: u16| SocketAddr::from((ip, port));
    let services = [service("dns", spec)];
    let ports = json!([{"name": "", "port": 5353, "protocol": "UDP"}]);
    let some = plan(&services, &[slice("dns", ports, &[("10.244.0.5", ready())])], &[], &node()).datagrams;
    assert_eq!(some[&at([10, 96, 1, 1], 53)], BTreeSet::from([at([10, 244, 0, 5], 5353)]));
    let none = plan(&services, &[], &[], &node()).datagrams;
    assert_eq!(none[&at([10, 96, 1, 1], 53)], BTreeSet::from([at([10, 244, 0, 1], NOBODY)]));
}
