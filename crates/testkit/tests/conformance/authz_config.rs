//! Group `authz-config`: AuthorizationPolicies decide as Istio's own rules do. Requests that meet every condition of a
//! rule, and requests that miss a single one, are put to both, and the verdicts are compared.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, ensure};
use lateen_api::envoy::envoy::config::core::v3 as core;
use lateen_api::envoy::envoy::config::listener::v3 as listener;
use lateen_api::envoy::envoy::config::route::v3::RouteConfiguration;
use lateen_api::envoy::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use lateen_api::envoy::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use lateen_api::google::protobuf::Any;
use lateen_api::type_url;
use lateen_proxy_core::Tables;
use lateen_proxy_core::chain::Terminal;
use lateen_proxy_core::head::SimpleHead;
use lateen_proxy_core::load::Loader;
use lateen_proxy_core::rbac::{self, Check, Peer, Request, Unasked};
use lateen_testkit::conformance::Score;
use lateen_testkit::simulation::{World, view};
use prost::{Message, Name};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::rbac_json::typed_config;

#[derive(Deserialize)]
struct Case {
    id: String,
    protocol: String,
    policies: String,
    proxy: Proxy,
    #[serde(default)]
    mesh_config: Map<String, Value>,
    #[serde(default)]
    trust_domains: Vec<String>,
    expected: Vec<String>,
    #[serde(default)]
    expected_extended: Vec<String>,
}

#[derive(Deserialize)]
struct Proxy {
    namespace: String,
    labels: Value,
}

#[test]
fn authz_config() -> anyhow::Result<()> {
    let Some(folder) = crate::group("authz-config") else { return Ok(()) };
    let mut score = Score::new("authz-config");
    let mut folders = Vec::new();
    for protocol in ["http", "tcp"] {
        folders.extend(std::fs::read_dir(folder.join(protocol))?.flatten().map(|entry| entry.path()));
    }
    folders.sort();
    for folder in folders {
        let case: Case = serde_saphyr::from_str(&std::fs::read_to_string(folder.join("case.yaml"))?)?;
        for (kind, files) in [("", &case.expected), ("/extended", &case.expected_extended)] {
            if !files.is_empty() {
                let outcome = compare(&folder, &case, files).map_err(|error| format!("{error:#}"));
                score.count(format!("{}{kind}", case.id), outcome);
            }
        }
    }
    score.settle()
}

fn compare(folder: &Path, case: &Case, files: &[String]) -> anyhow::Result<()> {
    let filters: Vec<Value> = files
        .iter()
        .map(|file| Ok(serde_saphyr::from_str(&std::fs::read_to_string(folder.join(file))?)?))
        .collect::<anyhow::Result<_>>()?;
    let http = case.protocol == "http";
    let reference = checks(&*reference(&filters, http)?, http, "reference")?;
    let ours = checks(&*ours(folder, case)?, http, "virtualInbound")?;
    let drafts = drafts(&filters);
    let mut verdicts = BTreeSet::new();
    for draft in &drafts {
        let (expected, found) = (draft.verdict(&reference, http), draft.verdict(&ours, http));
        ensure!(expected == found, "{draft:?}: {found:?}, expected {expected:?}");
        verdicts.insert(expected);
    }
    // Rules that say the same to everything would show nothing, where they have conditions that can be met.
    let conditions = filters.iter().any(|filter| filter.to_string().contains("orRules"));
    // That case forbids the path `*`, which is every path.
    let can_be_met = conditions && case.id != "http/allow-path";
    ensure!(verdicts.len() > 1 || !can_be_met, "{} requests, all with verdict {verdicts:?}", drafts.len());
    Ok(())
}

/// The tables of our proxy under the case's policies.
fn ours(folder: &Path, case: &Case) -> anyhow::Result<std::sync::Arc<Tables>> {
    let mut mesh = case.mesh_config.clone();
    if let Some((first, others)) = case.trust_domains.split_first() {
        mesh.insert("trustDomain".into(), json!(first));
        mesh.insert("trustDomainAliases".into(), json!(others));
    }
    let mut world = World::new(&Value::Object(mesh));
    world.apply(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "my-custom-ext-authz", "namespace": "foo"},
        "spec": {"ports": [{"name": "grpc", "port": 9000}]},
    }));
    let text = std::fs::read_to_string(folder.join(&case.policies))?;
    for document in serde_saphyr::from_multiple::<Value>(&text)? {
        world.apply(document);
    }
    world.tables(&view("sidecar", &case.proxy.namespace, &["10.0.0.9".to_owned()], &case.proxy.labels)?)
}

fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// The tables of a proxy with one listener that has these filters.
fn reference(filters: &[Value], http: bool) -> anyhow::Result<std::sync::Arc<Tables>> {
    let configs = filters.iter().map(typed_config).collect::<anyhow::Result<Vec<_>>>()?;
    let network = |name: &str, config| listener::Filter {
        name: name.to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(config)),
    };
    let chain = if http {
        let filter = |config| hcm::HttpFilter {
            name: "authorization".into(),
            config_type: Some(hcm::http_filter::ConfigType::TypedConfig(config)),
            ..Default::default()
        };
        let routes = hcm::http_connection_manager::RouteSpecifier::RouteConfig(RouteConfiguration::default());
        vec![network(
            "http",
            any(&hcm::HttpConnectionManager {
                http_filters: configs.into_iter().map(filter).collect(),
                route_specifier: Some(routes),
                ..Default::default()
            }),
        )]
    } else {
        let cluster = tcp::tcp_proxy::ClusterSpecifier::Cluster("somewhere".into());
        let proxy = tcp::TcpProxy { cluster_specifier: Some(cluster), ..Default::default() };
        let rules = configs.into_iter().map(|config| network("authorization", config));
        rules.chain([network("tcp", any(&proxy))]).collect()
    };
    let address = core::SocketAddress {
        address: "127.0.0.1".into(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(1)),
        ..Default::default()
    };
    let listener = listener::Listener {
        name: "reference".into(),
        address: Some(core::Address { address: Some(core::address::Address::SocketAddress(address)) }),
        filter_chains: vec![listener::FilterChain { filters: chain, ..Default::default() }],
        ..Default::default()
    };
    let mut loader = Loader::default();
    let bytes = listener.encode_to_vec().into();
    let rejected = loader.apply(type_url::LISTENER, &[("reference".to_owned(), bytes)], &[]);
    ensure!(rejected.is_empty(), "the reference can't be loaded: {rejected:?}");
    Ok(loader.tables(true))
}

/// What a listener decides about requests or byte streams.
fn checks(tables: &Tables, http: bool, listener: &str) -> anyhow::Result<Vec<Check>> {
    let listener = tables.listener(listener).context("the listener")?;
    let found = listener.all_chains().filter(|chain| !chain.name.contains("blackhole")).find_map(|chain| {
        match (&chain.terminal, http) {
            (Terminal::Http(hcm), true) => Some(hcm.filters.checks.clone()),
            (Terminal::Tcp(proxy), false) => Some(proxy.checks.clone()),
            _ => None,
        }
    });
    found.context("a filter chain of that kind")
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Verdict {
    decided: Result<(), String>,
    matching: BTreeSet<String>,
}

/// A request in the making.
#[derive(Clone, Debug)]
struct Draft {
    head: SimpleHead,
    destination: SocketAddr,
    direct: IpAddr,
    remote: IpAddr,
    server_name: String,
    uris: Vec<String>,
    claims: Map<String, Value>,
}

impl Draft {
    fn new() -> Self {
        Self {
            head: SimpleHead::get("none", "/none"),
            destination: ([203, 0, 113, 9], 1).into(),
            direct: [203, 0, 113, 1].into(),
            remote: [203, 0, 113, 2].into(),
            server_name: String::new(),
            uris: Vec::new(),
            claims: Map::new(),
        }
    }

    /// The verdict, and every policy that matches.
    fn verdict(&self, checks: &[Check], http: bool) -> Verdict {
        let claims = [("payload".to_owned(), Value::Object(self.claims.clone()))].into_iter().collect();
        let head = SimpleHead { claims: Some(claims), ..self.head.clone() };
        let request = Request {
            head: http.then_some(&head as _),
            destination: self.destination,
            direct: self.direct,
            remote: self.remote,
            server_name: &self.server_name,
            peer: (!self.uris.is_empty()).then_some(Peer { uris: &self.uris, ..Peer::default() }),
        };
        let rules = checks.iter().filter_map(|check| match check {
            Check::Rules(rbac) => Some(rbac.enforced.iter().chain(&rbac.tried)),
            _ => None,
        });
        let matching =
            rules.flatten().flat_map(|rules| rules.matching(&request).map(|name| name.to_string())).collect();
        let decided =
            rbac::decide(checks, &request, Unasked::Denied, |_| {}).map_err(|denial| denial.details.to_owned());
        Verdict { decided, matching }
    }

    /// Makes one condition hold.
    fn meet(&mut self, name: &str, matcher: &Value) {
        let address = |range: &Value| range["addressPrefix"].as_str().and_then(|text| text.parse().ok());
        match name {
            "header" => self.meet_header(matcher),
            "urlPath" => self.head.path = example(&matcher["path"]),
            "uriTemplate" => {
                let template = matcher["typedConfig"]["pathTemplate"].as_str().unwrap_or_default();
                self.head.path = template.replace("**", "a/b").replace('*', "c");
            }
            "destinationIp" => self.destination.set_ip(address(matcher).unwrap_or(self.direct)),
            "destinationPort" => {
                self.destination.set_port(matcher.as_u64().and_then(|port| port.try_into().ok()).unwrap_or(1));
            }
            "requestedServerName" => self.server_name = example(matcher),
            "authenticated" => self.uris.push(example(&matcher["principalName"])),
            "directRemoteIp" => self.direct = address(matcher).unwrap_or(self.direct),
            "remoteIp" => self.remote = address(matcher).unwrap_or(self.remote),
            "metadata" => {
                let key = matcher["path"][1]["key"].as_str().unwrap_or_default();
                self.claims.insert(key.to_owned(), json!(example(&matcher["value"]["stringMatch"])));
            }
            _ => {}
        }
    }

    fn meet_header(&mut self, matcher: &Value) {
        let value = matcher.get("stringMatch").map_or_else(|| "present".to_owned(), example);
        match matcher["name"].as_str().unwrap_or_default() {
            ":authority" => self.head.authority = value.to_uppercase(),
            ":method" => self.head.method = value,
            name => self.head = std::mem::take(&mut self.head).with(name, &value),
        }
    }
}

/// A text that a string matcher accepts.
fn example(matcher: &Value) -> String {
    let part = |key: &str| matcher[key].as_str().map(str::to_owned);
    part("exact")
        .or_else(|| part("prefix").map(|text| text + "more"))
        .or_else(|| part("suffix").map(|text| format!("more{text}")))
        .unwrap_or_else(|| {
            let regex = matcher["safeRegex"]["regex"].as_str().unwrap_or_default();
            let start = if regex.starts_with(".*/ns/") { "spiffe://td/" } else { "" };
            let plain = regex.replace(".*", "x").replace("[^/]*", "x").replace(".+", "spiffe://x").replace('\\', "");
            format!("{start}{plain}")
        })
}

/// The conditions of a rule's part: those joined by "and", each with its alternatives. Negated ones are left unmet,
/// but for one draft each.
fn drafts(filters: &[Value]) -> Vec<Draft> {
    let mut all = vec![Draft::new()];
    for filter in filters {
        for rules in ["rules", "shadowRules"] {
            let policies = filter["typedConfig"][rules]["policies"].as_object();
            for policy in policies.into_iter().flatten().map(|(_, policy)| policy) {
                add(policy, &mut all);
            }
        }
    }
    all
}

fn add(policy: &Value, all: &mut Vec<Draft>) {
    let list = |key: &str| policy[key].as_array().into_iter().flatten().map(conditions).collect::<Vec<_>>();
    for operation in list("permissions") {
        for source in list("principals") {
            let both: Vec<&Condition<'_>> = operation.iter().chain(&source).collect();
            all.push(meeting(&both, None, 0));
            for (at, condition) in both.iter().enumerate() {
                // Without this condition, and with each of its alternatives.
                all.push(meeting(&both, Some(at), usize::MAX));
                all.extend((0..condition.leaves.len()).map(|which| meeting(&both, Some(at), which)));
            }
        }
    }
}

/// A draft that meets all conditions by their first alternative; the condition at `other` by another or by none.
fn meeting(conditions: &[&Condition<'_>], other: Option<usize>, which: usize) -> Draft {
    let mut draft = Draft::new();
    for (at, condition) in conditions.iter().enumerate() {
        let which = if other == Some(at) { Some(which) } else { (!condition.negated).then_some(0) };
        if let Some((name, matcher)) = which.and_then(|which| condition.leaves.get(which)) {
            draft.meet(name, matcher);
        }
    }
    draft
}

struct Condition<'v> {
    negated: bool,
    leaves: Vec<(&'v str, &'v Value)>,
}

/// The conditions of one permission or principal.
fn conditions(value: &Value) -> Vec<Condition<'_>> {
    let list = value["andRules"]["rules"].as_array().or(value["andIds"]["ids"].as_array());
    list.into_iter()
        .flatten()
        .flat_map(|one| {
            let negated = one.get("notRule").or(one.get("notId"));
            let inner = negated.unwrap_or(one);
            split(inner, negated.is_some())
        })
        .collect()
}

/// Alternatives that are joined by "and" themselves are separate conditions, of the first alternative.
fn split(value: &Value, negated: bool) -> Vec<Condition<'_>> {
    let alternatives = value["orRules"]["rules"].as_array().or(value["orIds"]["ids"].as_array());
    let alternatives: Vec<&Value> = alternatives.map_or_else(|| vec![value], |some| some.iter().collect());
    if let Some(inner) = alternatives.first().and_then(|first| first["andIds"]["ids"].as_array()) {
        return inner.iter().flat_map(|one| split(one, negated)).collect();
    }
    let fields = alternatives.iter().filter_map(|one| one.as_object()?.iter().next());
    vec![Condition { negated, leaves: fields.map(|(name, matcher)| (name.as_str(), matcher)).collect() }]
}
