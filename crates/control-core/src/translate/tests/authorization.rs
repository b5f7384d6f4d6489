use lateen_api::envoy::envoy::config::listener::v3::{Listener, filter::ConfigType};
use lateen_api::envoy::envoy::extensions::filters::http::ext_authz::v3::{ExtAuthz, ext_authz::Services};
use lateen_api::envoy::envoy::extensions::filters::http::rbac::v3::Rbac;
use lateen_api::envoy::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, http_filter,
};
use lateen_api::envoy::envoy::r#type::matcher::v3::metadata_matcher::path_segment::Segment;

use super::*;

/// A policy in a namespace.
fn policy(namespace: &str, name: &str, spec: Value) -> Value {
    let mut policy = istio("AuthorizationPolicy", name, spec);
    policy["metadata"]["namespace"] = json!(namespace);
    policy
}

fn paths(path: &str) -> Value {
    json!([{"to": [{"operation": {"paths": [path]}}]}])
}

fn inbound(view: &ProxyView, objects: &[Value]) -> Listener {
    get("virtualInbound", view, &mesh(objects)).expect("a listener")
}

/// The authorization filters for requests to port 8080.
fn filters(view: &ProxyView, objects: &[Value]) -> Vec<HttpFilter> {
    let mut all = http_filters(&inbound(view, objects));
    all.retain(|filter| filter.name.contains("authz") || filter.name.contains("rbac"));
    all
}

/// All filters for requests to port 8080.
pub fn http_filters(listener: &Listener) -> Vec<HttpFilter> {
    let chain = listener.filter_chains.iter().find(|chain| chain.name == "0.0.0.0_8080").expect("a chain");
    let last = chain.filters.last().and_then(|filter| filter.config_type.clone());
    let Some(ConfigType::TypedConfig(config)) = last else { panic!("{chain:?}") };
    let manager: HttpConnectionManager = unpack(&config);
    manager.http_filters
}

pub fn config<M: Message + Name + Default>(filter: &HttpFilter) -> M {
    match &filter.config_type {
        Some(http_filter::ConfigType::TypedConfig(any)) => unpack(any),
        other => panic!("{other:?}"),
    }
}

/// Names of enforced and of tried policies.
fn names(filter: &HttpFilter) -> (Vec<String>, Vec<String>) {
    let rbac: Rbac = config(filter);
    let sorted = |rules: Option<lateen_api::envoy::envoy::config::rbac::v3::Rbac>| {
        let mut names: Vec<String> = rules.into_iter().flat_map(|rules| rules.policies.into_keys()).collect();
        names.sort();
        names
    };
    (sorted(rbac.rules), sorted(rbac.shadow_rules))
}

fn with(policies: Vec<Value>) -> Vec<Value> {
    [shop(), policies].concat()
}

fn web() -> ProxyView {
    ProxyView { labels: [("app".to_owned(), "web".to_owned())].into(), ..sidecar() }
}

#[test]
fn policies_of_the_root_the_namespace_and_the_selector_count() {
    let select = |app: &str| json!({"selector": {"matchLabels": {"app": app}}, "rules": paths("/"), "action": "DENY"});
    let everywhere = json!({"rules": paths("/"), "action": "DENY"});
    let objects = with(vec![
        policy("istio-system", "mesh", everywhere.clone()),
        policy("default", "namespace", everywhere.clone()),
        policy("other", "elsewhere", everywhere),
        policy("default", "web", select("web")),
        policy("default", "backend", select("backend")),
        policy(
            "default",
            "gateway",
            json!({"targetRefs": [{"kind": "Gateway", "name": "web", "group": "gateway.networking.k8s.io"}]}),
        ),
    ]);
    let found = filters(&web(), &objects);
    assert_eq!(found.len(), 1);
    let expected = ["default]-policy[namespace", "default]-policy[web", "istio-system]-policy[mesh"];
    assert_eq!(names(&found[0]).0, expected.map(|part| format!("ns[{part}]-rule[0]")));
    assert!(filters(&web(), &shop()).is_empty());
}

#[test]
fn deny_comes_before_allow_and_a_dry_run_apart() {
    let mut tried = policy("default", "tried", json!({"rules": paths("/tried")}));
    tried["metadata"]["annotations"] = json!({"istio.io/dry-run": "true"});
    let deny = policy("default", "deny", json!({"rules": paths("/deny"), "action": "DENY"}));
    let allow = policy("default", "allow", json!({"rules": paths("/allow")}));
    let found = filters(&stock(), &with(vec![allow, tried, deny]));
    let name = |name: &str| vec![format!("ns[default]-policy[{name}]-rule[0]")];
    assert_eq!(found.iter().map(names).collect::<Vec<_>>(), [(name("deny"), vec![]), (name("allow"), name("tried"))]);
}

#[test]
fn equal_policies_are_equal_bytes() {
    let rules: Vec<Value> = (0..20).map(|i| paths(&format!("/{i}"))[0].clone()).collect();
    let objects = with(vec![policy("default", "many", json!({"rules": rules}))]);
    assert_eq!(filters(&web(), &objects), filters(&web(), &objects));
}

#[test]
fn byte_streams_are_authorized_on_every_chain() {
    let objects = with(vec![policy("default", "none", json!({}))]);
    let listener = inbound(&web(), &objects);
    let streams = listener.filter_chains.iter().filter(|chain| {
        chain.name != "virtualInbound-blackhole"
            && chain.filters.iter().any(|filter| filter.name.ends_with("tcp_proxy"))
    });
    let guarded: Vec<bool> =
        streams.map(|chain| chain.filters.iter().any(|filter| filter.name == "envoy.filters.network.rbac")).collect();
    assert!(!guarded.is_empty() && guarded.iter().all(|guarded| *guarded), "{guarded:?}");
}

#[test]
fn custom_asks_its_authorizer_or_denies() {
    let mesh = |provider: Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"},
            "data": {"mesh": json!({"extensionProviders": [provider]}).to_string()}})
    };
    let custom =
        policy("default", "ask", json!({"action": "CUSTOM", "provider": {"name": "p"}, "rules": paths("/ask")}));
    let settings =
        |host: &str| json!({"service": host, "port": 80, "failOpen": true, "timeout": "3s", "statusOnError": "503"});
    let good = mesh(json!({"name": "p", "envoyExtAuthzHttp": settings("backend.default.svc.cluster.local")}));
    let found = filters(&web(), &with(vec![good, custom.clone()]));
    assert_eq!(names(&found[0]), (vec![], vec!["istio-ext-authz-p-ns[default]-policy[ask]-rule[0]".to_owned()]));
    let asks: ExtAuthz = config(&found[1]);
    assert!(asks.failure_mode_allow && asks.status_on_error.is_some_and(|status| status.code == 503));
    let Some(Services::HttpService(service)) = asks.services else { panic!("{asks:?}") };
    let uri = service.server_uri.expect("an address");
    assert_eq!(
        (uri.uri.as_str(), uri.timeout.map(|t| t.seconds)),
        ("http://backend.default.svc.cluster.local", Some(3))
    );
    let nobody = mesh(json!({"name": "p", "envoyExtAuthzHttp": settings("nobody.default.svc.cluster.local")}));
    let denied = "istio-ext-authz-p-ns[default]-policy[ask]-rule[0]-deny-due-to-bad-CUSTOM-action".to_owned();
    for objects in [with(vec![nobody, custom.clone()]), with(vec![custom])] {
        let found = filters(&web(), &objects);
        assert_eq!(found.iter().map(names).collect::<Vec<_>>(), [(vec![denied.clone()], vec![])]);
    }
}

#[test]
fn several_authorizers_are_asked_each_about_its_own() {
    let settings = json!({"service": "backend.default.svc.cluster.local", "port": 80});
    let provider = |name: &str| json!({"name": name, "envoyExtAuthzHttp": settings});
    let mesh = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": json!({"extensionProviders": [provider("p"), provider("q")]}).to_string()}});
    let custom = |name: &str, by: &str, path: &str| {
        policy("default", name, json!({"action": "CUSTOM", "provider": {"name": by}, "rules": paths(path)}))
    };
    let found = filters(
        &web(),
        &with(vec![mesh, custom("one", "p", "/a"), custom("two", "q", "/b"), custom("bad", "r", "/c")]),
    );
    let kinds: Vec<&str> = found.iter().map(|filter| filter.name.rsplit('.').next().unwrap_or_default()).collect();
    assert_eq!(kinds, ["rbac", "ext_authz", "rbac", "ext_authz", "rbac"]);
    for (marks, asks) in [(&found[0], &found[1]), (&found[2], &found[3])] {
        let marks: Rbac = config(marks);
        let asks: ExtAuthz = config(asks);
        let key = asks.filter_enabled_metadata.expect("is selective").path.remove(0);
        let Some(Segment::Key(key)) = key.segment else { panic!("no key") };
        assert_eq!(key, format!("{}shadow_effective_policy_id", marks.shadow_rules_stat_prefix));
    }
    let prefixes: std::collections::BTreeSet<String> =
        [0, 2].into_iter().map(|at| config::<Rbac>(&found[at]).shadow_rules_stat_prefix).collect();
    assert_eq!(prefixes.len(), 2);
    assert_eq!(names(&found[4]).0.len(), 1, "the one that is nowhere denies");
}
