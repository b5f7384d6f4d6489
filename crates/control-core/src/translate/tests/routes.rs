use lateen_api::envoy::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, VirtualHost, route::Action, route_action::ClusterSpecifier,
};
use serde_json::{Value, json};

use super::{get, istio, mesh, service, shop, sidecar};

fn routes(objects: &[Value]) -> RouteConfiguration {
    get("80", &sidecar(), &mesh(objects)).expect("there")
}

fn host<'a>(config: &'a RouteConfiguration, name: &str) -> &'a VirtualHost {
    config.virtual_hosts.iter().find(|h| h.name == name).expect("the virtual host")
}

fn backend(config: &RouteConfiguration) -> &[Route] {
    &host(config, "backend.default.svc.cluster.local:80").routes
}

fn forward(route: &Route) -> &RouteAction {
    match &route.action {
        Some(Action::Route(action)) => action,
        other => panic!("{other:?}"),
    }
}

fn clusters(route: &Route) -> Vec<(String, u32)> {
    match &forward(route).cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => vec![(name.clone(), 0)],
        Some(ClusterSpecifier::WeightedClusters(all)) => {
            all.clusters.iter().map(|c| (c.name.clone(), c.weight.map_or(0, |w| w.value))).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn with(spec: Value) -> RouteConfiguration {
    let mut objects = shop();
    objects.push(istio("VirtualService", "vs", spec));
    routes(&objects)
}

fn to(host: &str, subset: &str, weight: u32) -> Value {
    json!({"destination": {"host": host, "subset": subset}, "weight": weight})
}

#[test]
fn a_service_is_known_by_all_its_names() {
    let config = routes(&shop());
    let domains = &host(&config, "web.default.svc.cluster.local:80").domains;
    for name in ["web", "web:80", "web.default", "web.default.svc", "web.default.svc.cluster.local", "10.96.0.1"] {
        assert!(domains.iter().any(|d| d == name), "{name} in {domains:?}");
    }
    assert_eq!(config.virtual_hosts.last().map(|h| h.name.as_str()), Some("allow_any"));
}

#[test]
fn a_request_without_rules_goes_to_its_service() {
    let config = routes(&shop());
    let [route] = backend(&config) else { panic!("one route") };
    assert_eq!(route.name, "default");
    assert_eq!(clusters(route), [("outbound|80||backend.default.svc.cluster.local".to_owned(), 0)]);
    let retry = forward(route).retry_policy.as_ref().expect("retries");
    assert_eq!(retry.num_retries.map(|n| n.value), Some(2));
    assert_eq!(forward(route).timeout.map(|t| t.seconds), Some(0));
}

#[test]
fn weights_split_requests() {
    let config =
        with(json!({"hosts": ["backend"], "http": [{"route": [to("backend", "v1", 90), to("backend", "v2", 10)]}]}));
    assert_eq!(
        clusters(&backend(&config)[0]),
        [
            ("outbound|80|v1|backend.default.svc.cluster.local".to_owned(), 90),
            ("outbound|80|v2|backend.default.svc.cluster.local".to_owned(), 10)
        ]
    );
}

#[test]
fn destinations_without_a_share_are_left_out() {
    let config =
        with(json!({"hosts": ["backend"], "http": [{"route": [to("backend", "v1", 100), to("backend", "v2", 0)]}]}));
    assert_eq!(clusters(&backend(&config)[0]), [("outbound|80|v1|backend.default.svc.cluster.local".to_owned(), 0)]);
}

#[test]
fn conditions_come_in_order_and_end_at_the_first_without() {
    let rule = |m: Value, subset: &str| json!({"match": m, "route": [to("backend", subset, 0)]});
    let config = with(json!({"hosts": ["backend"], "http": [
        rule(json!([{"uri": {"prefix": "/a"}}, {"headers": {"x": {"exact": "1"}}}]), "v1"),
        rule(json!([{"sourceNamespace": "other"}]), "never"),
        rule(json!([{"port": 9999}]), "never"),
        rule(json!([]), "v2"),
        rule(json!([{"uri": {"prefix": "/late"}}]), "never"),
    ]}));
    let subsets: Vec<String> =
        backend(&config).iter().map(|r| clusters(r)[0].0.split('|').nth(2).unwrap_or_default().to_owned()).collect();
    assert_eq!(subsets, ["v1", "v1", "v2"]);
}

#[test]
fn a_rule_names_the_object_it_comes_from() {
    let config = with(json!({"hosts": ["backend"], "http": [{"route": [to("backend", "", 0)]}]}));
    let metadata = format!("{:?}", backend(&config)[0].metadata);
    assert!(metadata.contains("/apis/networking.istio.io/v1/namespaces/default/virtual-service/vs"), "{metadata}");
}

#[test]
fn the_oldest_rule_for_a_host_wins() {
    let mut objects = shop();
    for (name, time, subset) in [("young", "2026-02-01T00:00:00Z", "v2"), ("old", "2026-01-01T00:00:00Z", "v1")] {
        let mut vs = istio(
            "VirtualService",
            name,
            json!({"hosts": ["backend"], "http": [{"route": [to("backend", subset, 0)]}]}),
        );
        vs["metadata"]["creationTimestamp"] = json!(time);
        objects.push(vs);
    }
    assert!(clusters(&backend(&routes(&objects))[0])[0].0.contains("|v1|"));
}

#[test]
fn rules_for_gateways_leave_sidecars_alone() {
    let config = with(json!({"hosts": ["backend"], "gateways": ["gw"], "http": [{"route": [to("backend", "v1", 0)]}]}));
    assert_eq!(backend(&config)[0].name, "default");
}

#[test]
fn answers_can_be_given_without_a_destination() {
    let config = with(json!({"hosts": ["backend"], "http": [
        {"match": [{"uri": {"exact": "/old"}}], "redirect": {"uri": "/new", "redirectCode": 302}},
        {"directResponse": {"status": 418, "body": {"string": "short"}}},
    ]}));
    let [redirect, direct] = backend(&config) else { panic!("two routes") };
    assert!(matches!(&redirect.action, Some(Action::Redirect(r)) if r.response_code == 1));
    assert!(matches!(&direct.action, Some(Action::DirectResponse(d)) if d.status == 418));
}

#[test]
fn unknown_hosts_are_refused_when_the_mesh_says_so() {
    let mut objects = shop();
    objects.push(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"}}),
    );
    let config = routes(&objects);
    let last = config.virtual_hosts.last().expect("a catch-all");
    assert_eq!(last.name, "block_all");
    assert!(matches!(&last.routes[0].action, Some(Action::DirectResponse(d)) if d.status == 502));
}

#[test]
fn pods_of_a_headless_service_have_names_below_it() {
    let mut objects = shop();
    objects.push(service("peers", "None", json!({"name": "http", "port": 80, "targetPort": 8080})));
    let config = routes(&objects);
    let domains = |name: &str| host(&config, name).domains.clone();
    let peers = domains("peers.default.svc.cluster.local:80");
    for name in ["peers", "*.peers", "*.peers.default.svc", "*.peers.default.svc.cluster.local"] {
        assert!(peers.iter().any(|domain| domain == name), "{name} in {peers:?}");
    }
    assert!(!domains("web.default.svc.cluster.local:80").iter().any(|domain| domain.starts_with('*')));
}

#[test]
fn the_host_that_a_route_sets_goes_before_that_of_its_destinations() {
    use lateen_api::envoy::envoy::config::route::v3::route_action::HostRewriteSpecifier;
    let headers = |host: &str| json!({"request": {"set": {"host": host}}});
    let mut destination = to("backend", "", 0);
    destination["headers"] = headers("of-destination");
    let config = with(json!({"hosts": ["backend"], "http": [
        {"route": [destination], "headers": headers("of-route")}
    ]}));
    let action = forward(&backend(&config)[0]);
    assert_eq!(action.host_rewrite_specifier, Some(HostRewriteSpecifier::HostRewriteLiteral("of-route".into())));
    let Some(ClusterSpecifier::WeightedClusters(all)) = &action.cluster_specifier else { panic!("{action:?}") };
    assert!(all.clusters.iter().all(|cluster| cluster.host_rewrite_specifier.is_none()));
}

#[test]
fn a_redirect_names_the_requests_port_unless_it_is_the_schemes_own() {
    let spec = json!({"hosts": ["backend"], "http": [{"redirect": {"derivePort": "FROM_REQUEST_PORT"}}]});
    let config = with(spec);
    let Some(Action::Redirect(redirect)) = &backend(&config)[0].action else { panic!("a redirect") };
    assert_eq!(redirect.port_redirect, 0);
}

#[test]
fn no_value_at_all_may_match_a_header_that_is_unwanted_with_any_value() {
    let config = with(json!({"hosts": ["backend"], "http": [
        {"match": [{"withoutHeaders": {"end-user": {"regex": ".*"}}}], "route": [to("backend", "", 0)]}
    ]}));
    let matched = backend(&config)[0].r#match.as_ref().expect("a match");
    let [header] = matched.headers.as_slice() else { panic!("{matched:?}") };
    // A missing header counts as empty, which the expression matches too.
    assert!(header.invert_match && header.treat_missing_header_as_empty, "{header:?}");
}
