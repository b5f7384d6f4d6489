use lateen_api::envoy::envoy::config::cluster::v3::{Cluster, cluster::LbPolicy};
use lateen_api::envoy::envoy::config::core::v3::{TransportSocket, transport_socket};
use lateen_api::envoy::envoy::config::endpoint::v3::ClusterLoadAssignment;
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3::{
    UpstreamTlsContext, common_tls_context::ValidationContextType,
};
use lateen_api::envoy::envoy::extensions::upstreams::http::v3::{HttpProtocolOptions, http_protocol_options};
use lateen_api::type_url;
use lateen_mesh::Locality;
use serde_json::{Value, json};

use super::{get, istio, list, mesh, service, shop, sidecar, stock, unpack};
use crate::reads::{Changes, Fact};
use crate::translate::resource;
use crate::view::{ProxyKind, ProxyView};

const BACKEND: &str = "outbound|80||backend.default.svc.cluster.local";

fn tls(socket: Option<&TransportSocket>) -> UpstreamTlsContext {
    match &socket.expect("has TLS").config_type {
        Some(transport_socket::ConfigType::TypedConfig(any)) => unpack(any),
        None => panic!("no settings"),
    }
}

fn names_allowed(tls: &UpstreamTlsContext) -> Vec<String> {
    let common = tls.common_tls_context.as_ref().expect("common");
    let Some(ValidationContextType::CombinedValidationContext(c)) = &common.validation_context_type else {
        panic!("not combined")
    };
    let matchers = &c.default_validation_context.as_ref().expect("names").match_typed_subject_alt_names;
    matchers.iter().map(|m| format!("{:?}", m.matcher.as_ref().and_then(|m| m.match_pattern.clone()))).collect()
}

#[test]
fn a_proxy_has_the_clusters_of_the_mesh_and_its_own() {
    let all = list(type_url::CLUSTER, &sidecar(), &mesh(&shop()));
    assert_eq!(
        all,
        [
            "BlackHoleCluster",
            "InboundPassthroughCluster",
            "PassthroughCluster",
            "inbound|8080||",
            BACKEND,
            "outbound|80||web.default.svc.cluster.local"
        ]
    );
}

#[test]
fn endpoints_that_can_are_called_over_mutual_tls() {
    let cluster: Cluster = get(BACKEND, &stock(), &mesh(&shop())).expect("there");
    let matches: Vec<&str> = cluster.transport_socket_matches.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(matches, ["tlsMode-istio", "tlsMode-disabled"]);
    let tls = tls(cluster.transport_socket_matches[0].transport_socket.as_ref());
    assert_eq!(tls.sni, "outbound_.80_._.backend.default.svc.cluster.local");
    assert_eq!(
        tls.common_tls_context.as_ref().expect("common").alpn_protocols,
        ["istio-http/1.1", "istio", "http/1.1"]
    );
    let names = names_allowed(&tls);
    assert_eq!(names.len(), 1);
    assert!(names[0].contains("spiffe://cluster.local/ns/default/sa/backend"), "{names:?}");
    assert_eq!(cluster.lb_policy, i32::from(LbPolicy::LeastRequest));
    let limit = cluster.circuit_breakers.expect("limits").thresholds[0].max_connections.map(|n| n.value);
    assert_eq!(limit, Some(u32::MAX));
}

#[test]
fn a_destination_rule_sets_tls_and_limits() {
    for (spec, automatic, encrypted) in [
        (json!({"host": "backend", "trafficPolicy": {"tls": {"mode": "DISABLE"}}}), false, false),
        (
            json!({"host": "*.default.svc.cluster.local", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}),
            false,
            true,
        ),
        (json!({"host": "backend", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 7}}}}), true, false),
        (json!({"host": "other"}), true, false),
    ] {
        let mut objects = shop();
        objects.push(istio("DestinationRule", "rule", spec.clone()));
        let cluster: Cluster = get(BACKEND, &sidecar(), &mesh(&objects)).expect("there");
        assert_eq!(!cluster.transport_socket_matches.is_empty(), automatic, "{spec}");
        assert_eq!(cluster.transport_socket.is_some(), encrypted, "{spec}");
    }
}

/// Which version of HTTP a cluster speaks, `None` for that of the client.
fn version(cluster: &Cluster) -> Option<u32> {
    use http_protocol_options::{UpstreamProtocolOptions as Of, explicit_http_config::ProtocolConfig};
    let options = &cluster.typed_extension_protocol_options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
    match unpack::<HttpProtocolOptions>(options).upstream_protocol_options.expect("a version") {
        Of::ExplicitHttpConfig(explicit) => match explicit.protocol_config.expect("a version") {
            ProtocolConfig::Http2ProtocolOptions(_) => Some(2),
            _ => Some(1),
        },
        _ => None,
    }
}

#[test]
fn gateways_speak_what_the_client_speaks_only_where_a_rule_says_so() {
    let gateway = ProxyView { kind: ProxyKind::Router, ..sidecar() };
    let mut objects = shop();
    objects.push(service("any", "10.96.0.9", json!({"name": "x", "port": 90, "targetPort": 9000})));
    let (plain, name) = (mesh(&objects), "outbound|90||any.default.svc.cluster.local");
    let pool = json!({"http": {"useClientProtocol": true}});
    let rule = json!({"host": "any", "trafficPolicy": {"connectionPool": pool}});
    objects.push(istio("DestinationRule", "rule", rule));
    let ruled = mesh(&objects);
    for (view, snapshot, expected) in [
        (sidecar(), &plain, None),
        (gateway.clone(), &plain, Some(1)),
        (sidecar(), &ruled, None),
        (gateway, &ruled, None),
    ] {
        let cluster: Cluster = get(name, &view, snapshot).expect("there");
        assert_eq!(version(&cluster), expected, "{:?}", view.kind);
    }
}

#[test]
fn a_rule_for_connections_holds_at_the_servers_end_too() {
    let mut objects = shop();
    let pool = json!({"tcp": {"maxConnections": 7}, "http": {"useClientProtocol": true}});
    objects.push(istio("DestinationRule", "rule", json!({"host": "web", "trafficPolicy": {"connectionPool": pool}})));
    let at_server = |objects: &[serde_json::Value]| -> Cluster {
        get("inbound|8080||", &sidecar(), &mesh(objects)).expect("there")
    };
    let limit = |cluster: &Cluster| {
        let limits = cluster.circuit_breakers.as_ref().expect("limits");
        limits.thresholds[0].max_connections.map(|n| n.value)
    };
    let ruled = at_server(&objects);
    assert_eq!((limit(&ruled), version(&ruled)), (Some(7), None));
    objects.push(istio("Sidecar", "own", json!({"inboundConnectionPool": {"tcp": {"maxConnections": 3}}})));
    assert_eq!(limit(&at_server(&objects)), Some(3), "a Sidecar knows better");
    assert_eq!(limit(&at_server(&shop())), Some(u32::MAX));
}

#[test]
fn the_workloads_own_address_is_called_as_the_capture_lets_through() {
    for (endpoint, to, bound) in [
        ("127.0.0.1:9000", "127.0.0.1", false),
        ("0.0.0.0:9000", "10.0.0.1", true),
        (":9000", "10.0.0.1", true),
        ("unix:///socket", "", false),
    ] {
        let mut objects = shop();
        let ingress =
            json!({"port": {"number": 9000, "protocol": "HTTP", "name": "http"}, "defaultEndpoint": endpoint});
        objects.push(istio("Sidecar", "own", json!({"ingress": [ingress]})));
        let cluster: Cluster = get("inbound|9000||", &sidecar(), &mesh(&objects)).expect("there");
        let source = cluster.upstream_bind_config.and_then(|bind| bind.source_address).map(|source| source.address);
        assert_eq!(source.as_deref(), bound.then_some("127.0.0.6"), "{endpoint}");
        let sent = format!("{:?}", cluster.load_assignment);
        assert!(sent.contains(&format!("address: {to:?}")) || to.is_empty(), "{endpoint}: {sent}");
    }
}

#[test]
fn subsets_have_the_endpoints_of_their_labels() {
    let mut objects = shop();
    let subsets = json!([{"name": "v1", "labels": {"version": "v1"}}, {"name": "v2", "labels": {"version": "v2"}}]);
    objects.push(istio("DestinationRule", "rule", json!({"host": "backend", "subsets": subsets})));
    let snapshot = mesh(&objects);
    let count = |subset: &str| {
        let name = format!("outbound|80|{subset}|backend.default.svc.cluster.local");
        let assignment: ClusterLoadAssignment = get(&name, &sidecar(), &snapshot).expect("there");
        assignment.endpoints.iter().map(|l| l.lb_endpoints.len()).sum::<usize>()
    };
    assert_eq!([count(""), count("v1"), count("v2"), count("v3")], [2, 1, 1, 0]);
    assert!(list(type_url::CLUSTER, &sidecar(), &snapshot).iter().any(|n| n.starts_with("outbound|80|v2|")));
    assert!(get::<Cluster>("outbound|80|v3|backend.default.svc.cluster.local", &sidecar(), &snapshot).is_none());
}

#[test]
fn an_endpoint_says_who_it_is() {
    let mut objects = shop();
    let name = "outbound|80||web.default.svc.cluster.local";
    objects[2]["spec"]["containers"] = json!([
        {"name": "app", "ports": [{"containerPort": 5678}]},
        {"name": "istio-proxy", "ports": [{"containerPort": 15090}]},
    ]);
    for (view, knows_ports) in [(sidecar(), true), (stock(), false)] {
        let assignment: ClusterLoadAssignment = get(name, &view, &mesh(&objects)).expect("there");
        let metadata = assignment.endpoints[0].lb_endpoints[0].metadata.as_ref().expect("metadata");
        let text = format!("{:?}", metadata.filter_metadata);
        assert!(text.contains("web-v1;default;web;v1;Kubernetes"), "{text}");
        assert!(metadata.filter_metadata.contains_key("envoy.transport_socket_match"));
        assert_eq!((text.contains("5678"), text.contains("15090")), (knows_ports, false));
    }
}

#[test]
fn a_new_endpoint_of_a_known_account_leaves_the_cluster_alone() {
    let snapshot = mesh(&shop());
    let mut changes = Changes::default();
    changes.add(Fact::Endpoints("backend.default.svc.cluster.local".into()));
    let touched = |url: &str| changes.touch(&resource(url, BACKEND, &sidecar(), &snapshot).expect("there").reads);
    assert!(!touched(type_url::CLUSTER));
    assert!(touched(type_url::ENDPOINT));
}

#[test]
fn endpoints_whose_policy_turns_mutual_tls_off_are_spoken_to_without_it() {
    let marked = |policy: Option<serde_json::Value>| {
        let mut objects = shop();
        objects.extend(policy.map(|spec| istio("PeerAuthentication", "policy", spec)));
        let made: ClusterLoadAssignment = get(BACKEND, &sidecar(), &mesh(&objects)).expect("there");
        let endpoints: Vec<_> = made.endpoints.into_iter().flat_map(|locality| locality.lb_endpoints).collect();
        let has_mark = |metadata: &lateen_api::envoy::envoy::config::core::v3::Metadata| {
            metadata.filter_metadata.contains_key("envoy.transport_socket_match")
        };
        endpoints.iter().filter(|endpoint| endpoint.metadata.as_ref().is_some_and(has_mark)).count()
    };
    let disabled = json!({"mode": "DISABLE"});
    let backend = json!({"matchLabels": {"app": "backend"}});
    assert_eq!(marked(None), 2);
    assert_eq!(marked(Some(json!({"mtls": disabled}))), 0);
    assert_eq!(marked(Some(json!({"mtls": {"mode": "STRICT"}}))), 2);
    assert_eq!(marked(Some(json!({"selector": backend, "portLevelMtls": {"8080": disabled}}))), 0);
    assert_eq!(marked(Some(json!({"selector": backend, "portLevelMtls": {"9090": disabled}}))), 2);
}

/// `backend` in two regions, and the sidecar of a workload in the first.
fn two_regions(policy: serde_json::Value, service: serde_json::Value) -> Vec<(String, u32, u32)> {
    let mut objects = shop();
    for object in &mut objects {
        let (name, kind) = (object["metadata"]["name"].clone(), object["kind"].clone());
        if kind == "Pod" && name != "web-v1" {
            let place = if name == "backend-v1" { "eu.a.1" } else { "us.b" };
            object["metadata"]["labels"]["istio-locality"] = json!(place);
        }
        if kind == "Service" && name == "backend" {
            object["metadata"]["annotations"] = service.clone();
        }
    }
    objects.push(istio("DestinationRule", "dr", json!({"host": "backend", "trafficPolicy": policy})));
    let view = ProxyView { locality: Locality::parse("us/b"), ..sidecar() };
    let assignment: ClusterLoadAssignment = get(BACKEND, &view, &mesh(&objects)).expect("there");
    let group = |group: &lateen_api::envoy::envoy::config::endpoint::v3::LocalityLbEndpoints| {
        let region = group.locality.as_ref().map(|l| l.region.clone()).unwrap_or_default();
        (region, group.priority, group.load_balancing_weight.map_or(0, |w| w.value))
    };
    assignment.endpoints.iter().map(group).collect()
}

#[test]
fn other_regions_are_second_where_failures_are_noticed() {
    let order = |eu, us| vec![("eu".to_owned(), eu, 1), ("us".to_owned(), us, 1)];
    assert_eq!(two_regions(json!({}), json!({})), order(0, 0));
    assert_eq!(two_regions(json!({"outlierDetection": {}}), json!({})), order(1, 0));
    let off = json!({"outlierDetection": {}, "loadBalancer": {"localityLbSetting": {"enabled": false}}});
    assert_eq!(two_regions(off, json!({})), order(0, 0));
    let close = json!({"networking.istio.io/traffic-distribution": "PreferClose"});
    assert_eq!(two_regions(json!({}), close), order(1, 0));
}

#[test]
fn shares_are_fixed_by_the_caller_s_locality() {
    let to = |region: &str| {
        let setting = json!({"distribute": [{"from": "us/*", "to": {region: 100}}]});
        two_regions(json!({"loadBalancer": {"localityLbSetting": setting}}), json!({}))
    };
    assert_eq!(to("eu/a/*"), [("eu".to_owned(), 0, 100)]);
    assert_eq!(to("us"), [("us".to_owned(), 0, 100)]);
    let both = json!({"distribute": [{"from": "us/b", "to": {"eu": 30, "us": 70}}]});
    let both = two_regions(json!({"loadBalancer": {"localityLbSetting": both}}), json!({}));
    assert_eq!(both, [("eu".to_owned(), 0, 30), ("us".to_owned(), 0, 70)]);
}

#[test]
fn a_sidecar_leaves_the_ports_that_it_asks_for_and_those_that_routes_lead_to() {
    let two = json!([{"name": "http", "port": 80}, {"name": "http-admin", "port": 81}]);
    let mut backend = service("backend", "10.96.0.2", json!({}));
    backend["spec"]["ports"] = two.clone();
    let mut other = service("other", "10.96.0.3", json!({}));
    other["spec"]["ports"] = two;
    let port = json!({"number": 80, "name": "http", "protocol": "HTTP"});
    let sidecar_object =
        istio("Sidecar", "own", json!({"egress": [{"port": port, "hosts": ["./backend.default.svc.cluster.local"]}]}));
    let outbound = |objects: &[Value]| -> Vec<String> {
        let all = list(type_url::CLUSTER, &sidecar(), &mesh(objects));
        all.into_iter().filter(|name| name.starts_with("outbound")).collect()
    };
    let mut objects = vec![backend, other, sidecar_object];
    assert_eq!(outbound(&objects), ["outbound|80||backend.default.svc.cluster.local"]);
    let to = json!({"host": "other", "port": {"number": 81}});
    let route = json!({"hosts": ["backend"], "http": [{"route": [{"destination": to}]}]});
    objects.push(istio("VirtualService", "backend", route));
    let led_to = "outbound|81||other.default.svc.cluster.local";
    assert_eq!(outbound(&objects), ["outbound|80||backend.default.svc.cluster.local", led_to]);
    let listeners = list(type_url::LISTENER, &sidecar(), &mesh(&objects));
    assert!(!listeners.iter().any(|name| name.ends_with("_81")), "nobody calls it by its name: {listeners:?}");
    // What is excluded by name or namespace is out of reach.
    for excluded in ["~/backend.default.svc.cluster.local", "~default/*"] {
        objects[2] = istio("Sidecar", "own", json!({"egress": [{"hosts": ["*/*", excluded]}]}));
        let found = outbound(&objects[..3]);
        assert!(!found.iter().any(|name| name.contains("backend")), "{excluded}: {found:?}");
    }
}
