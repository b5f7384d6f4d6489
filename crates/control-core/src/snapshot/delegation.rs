//! A VirtualService whose routes delegate to other VirtualServices, as one.
//!
//! Delegation has one level, so that there are no cycles: a route of a delegate that delegates further is left out.

use std::collections::BTreeMap;

use lateen_api::istio as api;
use lateen_mesh::Hostname;

use crate::resource::Config;

/// Conditions that one delegated route may have once both sides' are combined.
const MAX_CONDITIONS: usize = 10_000;

/// A VirtualService with the routes of its delegates in place, and what is not in effect of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Delegated {
    /// The routes as they apply.
    pub config: Config<api::VirtualService>,
    /// What was left out, and why: one line each.
    pub findings: Vec<String>,
}

/// Is it one that only others refer to.
pub fn is_delegate(spec: &api::VirtualService) -> bool {
    spec.hosts.is_empty()
}

/// Does it leave routes to others.
pub fn delegates(spec: &api::VirtualService) -> bool {
    !is_delegate(spec) && spec.http.iter().any(|route| route.delegate.is_some())
}

/// The name and namespace that a delegate of a VirtualService in `namespace` has.
pub fn target<'a>(delegate: &'a api::Delegate, namespace: &'a str) -> (&'a str, &'a str) {
    let of = if delegate.namespace.is_empty() { namespace } else { &delegate.namespace };
    (of, &delegate.name)
}

/// What a reference to a delegate leads to.
pub enum Found<'a> {
    /// Nothing of that name.
    Missing,
    /// One that has hosts of its own.
    NotADelegate,
    /// One whose `exportTo` does not include the namespace of the reference.
    Hidden,
    /// A delegate.
    Delegate(&'a Config<api::VirtualService>),
}

/// Puts the routes of delegates, looked up by namespace and name, in place of the routes that refer to them.
pub fn merge<'a>(root: &Config<api::VirtualService>, find: impl Fn(&str, &str) -> Found<'a>) -> Delegated {
    let mut findings = Vec::new();
    let mut http = Vec::new();
    for (index, route) in root.spec.http.iter().enumerate() {
        let Some(delegate) = &route.delegate else {
            http.push(route.clone());
            continue;
        };
        let (namespace, name) = target(delegate, &root.meta.namespace);
        let mut leave_out = |why: String| findings.push(format!("http[{index}]: delegate {namespace}/{name} {why}"));
        match find(namespace, name) {
            Found::Missing => leave_out("does not exist; the route is left out".into()),
            Found::NotADelegate => leave_out("has hosts of its own, so it is no delegate; remove its hosts".into()),
            Found::Hidden => leave_out(format!(
                "is not exported to namespace {}; add it to the delegate's exportTo",
                root.meta.namespace
            )),
            Found::Delegate(config) => {
                let completed = complete_names(config, &root.meta.namespace);
                let merged = merge_http_routes(route, &completed);
                merged.left_out.into_iter().for_each(&mut leave_out);
                http.extend(merged.routes);
            }
        }
    }
    let spec = api::VirtualService { http, ..(*root.spec).clone() };
    let config = Config { spec: std::sync::Arc::new(spec), ..root.clone() };
    Delegated { config, findings }
}

/// The routes of a delegate; short names are completed with its own namespace where that is not the root's.
fn complete_names(delegate: &Config<api::VirtualService>, root_namespace: &str) -> Vec<api::HttpRoute> {
    let mut routes = delegate.spec.http.clone();
    let own = &delegate.meta.namespace;
    if own == root_namespace {
        return routes;
    }
    let host = |name: &mut String| *name = Hostname::resolve(name, own, "cluster.local").to_string();
    for route in &mut routes {
        route.route.iter_mut().for_each(|to| host(&mut to.destination.host));
        route.mirror.iter_mut().for_each(|to| host(&mut to.host));
        route.mirrors.iter_mut().for_each(|to| host(&mut to.destination.host));
        for gateway in route.matches.iter_mut().flat_map(|m| &mut m.gateways) {
            if gateway != "mesh" && !gateway.contains(['/', '.']) {
                *gateway = format!("{own}/{gateway}");
            }
        }
    }
    routes
}

/// The routes of a delegate under the route that refers to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// The routes that apply.
    pub routes: Vec<api::HttpRoute>,
    /// Why others don't.
    pub left_out: Vec<String>,
}

/// Merges each route of a delegate with the route that refers to it: conditions must hold both, of settings the
/// delegate's own count first.
pub fn merge_http_routes(root: &api::HttpRoute, delegate: &[api::HttpRoute]) -> Merged {
    let mut merged = Merged::default();
    if delegate.is_empty() {
        merged.left_out.push("has no http routes".into());
    }
    for (index, route) in delegate.iter().enumerate() {
        if route.delegate.is_some() {
            merged.left_out.push(format!("delegates further at http[{index}], which is not possible"));
            continue;
        }
        match merge_matches(&root.matches, &route.matches) {
            Some(matches) if matches.len() > MAX_CONDITIONS => merged.left_out.push(format!(
                "http[{index}] has {} conditions together with the root's; at most {MAX_CONDITIONS} are possible",
                matches.len()
            )),
            Some(matches) => merged.routes.push(with_settings(route, root, matches)),
            None => merged.left_out.push(format!(
                "http[{index}] asks for what the root's match excludes; let its match be part of the root's"
            )),
        }
    }
    merged
}

fn with_settings(own: &api::HttpRoute, root: &api::HttpRoute, matches: Vec<api::HttpMatchRequest>) -> api::HttpRoute {
    api::HttpRoute {
        name: join_names(&root.name, &own.name),
        matches,
        route: own.route.clone(),
        redirect: own.redirect.clone(),
        delegate: None,
        direct_response: first(&own.direct_response, &root.direct_response),
        rewrite: first(&own.rewrite, &root.rewrite),
        timeout: first(&own.timeout, &root.timeout),
        retries: first(&own.retries, &root.retries),
        fault: first(&own.fault, &root.fault),
        mirror: first(&own.mirror, &root.mirror),
        mirrors: if own.mirrors.is_empty() { root.mirrors.clone() } else { own.mirrors.clone() },
        mirror_percent: own.mirror_percent.or(root.mirror_percent),
        mirror_percentage: first(&own.mirror_percentage, &root.mirror_percentage),
        cors_policy: first(&own.cors_policy, &root.cors_policy),
        headers: first(&own.headers, &root.headers),
    }
}

fn first<T: Clone>(own: &Option<T>, root: &Option<T>) -> Option<T> {
    own.as_ref().or(root.as_ref()).cloned()
}

fn join_names(root: &str, own: &str) -> String {
    match (root, own) {
        (root, "") => root.to_owned(),
        ("", own) => own.to_owned(),
        (root, own) => format!("{root}-{own}"),
    }
}

/// The conditions that hold both for the root and the delegate; `None` if one of the delegate's fits none of the
/// root's. An empty list holds for everything.
pub fn merge_matches(
    root: &[api::HttpMatchRequest],
    delegate: &[api::HttpMatchRequest],
) -> Option<Vec<api::HttpMatchRequest>> {
    if root.is_empty() {
        return Some(delegate.to_vec());
    }
    if delegate.is_empty() {
        return Some(root.to_vec());
    }
    let mut all = Vec::new();
    for own in delegate {
        let before = all.len();
        all.extend(root.iter().filter(|r| !conflict(r, own)).map(|r| merge_match(r, own)));
        if all.len() == before {
            return None;
        }
        if all.len() > MAX_CONDITIONS {
            break;
        }
    }
    Some(all)
}

fn merge_match(root: &api::HttpMatchRequest, own: &api::HttpMatchRequest) -> api::HttpMatchRequest {
    let text = |own: &String, root: &String| if own.is_empty() { root.clone() } else { own.clone() };
    api::HttpMatchRequest {
        name: join_names(&root.name, &own.name),
        uri: first(&own.uri, &root.uri),
        scheme: first(&own.scheme, &root.scheme),
        method: first(&own.method, &root.method),
        authority: first(&own.authority, &root.authority),
        headers: both(&root.headers, &own.headers),
        without_headers: both(&root.without_headers, &own.without_headers),
        query_params: both(&root.query_params, &own.query_params),
        ignore_uri_case: own.ignore_uri_case,
        port: given(own.port).or(root.port),
        source_labels: both(&root.source_labels, &own.source_labels),
        source_namespace: text(&own.source_namespace, &root.source_namespace),
        gateways: if own.gateways.is_empty() { root.gateways.clone() } else { own.gateways.clone() },
        stat_prefix: text(&own.stat_prefix, &root.stat_prefix),
    }
}

fn both<V: Clone>(root: &BTreeMap<String, V>, own: &BTreeMap<String, V>) -> BTreeMap<String, V> {
    let mut all = root.clone();
    all.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
    all
}

/// A port that is set; 0 counts as none.
fn given(port: Option<u32>) -> Option<u32> {
    port.filter(|port| *port != 0)
}

/// Does a delegate's condition ask for anything that the root's excludes.
pub fn conflict(root: &api::HttpMatchRequest, own: &api::HttpMatchRequest) -> bool {
    let texts = [
        (&root.uri, &own.uri),
        (&root.scheme, &own.scheme),
        (&root.method, &own.method),
        (&root.authority, &own.authority),
    ];
    let maps = [
        (&root.headers, &own.headers),
        (&root.without_headers, &own.without_headers),
        (&root.query_params, &own.query_params),
    ];
    let gateways_differ = !root.gateways.is_empty() && own.gateways.iter().any(|g| !root.gateways.contains(g));
    texts.iter().any(|(root, own)| text_conflict(root.as_ref(), own.as_ref()))
        || maps.iter().any(|(root, own)| own.iter().any(|(key, value)| text_conflict(root.get(key), Some(value))))
        || root.ignore_uri_case != own.ignore_uri_case
        || given(root.port).zip(given(own.port)).is_some_and(|(root, own)| root != own)
        || own.source_labels.iter().any(|(key, value)| root.source_labels.get(key).is_some_and(|root| root != value))
        || (!root.source_namespace.is_empty()
            && !own.source_namespace.is_empty()
            && root.source_namespace != own.source_namespace)
        || gateways_differ
}

/// Only what can be seen to be narrower fits: beside an expression nothing is.
fn text_conflict(root: Option<&api::StringMatch>, own: Option<&api::StringMatch>) -> bool {
    let (Some(root), Some(own)) = (root, own) else { return false };
    match root {
        api::StringMatch { exact: Some(exact), .. } => own.exact.as_ref() != Some(exact),
        api::StringMatch { prefix: Some(prefix), .. } => {
            let text = own.exact.as_ref().or(own.prefix.as_ref());
            !text.is_some_and(|text| text.starts_with(prefix.as_str()))
        }
        api::StringMatch { regex: Some(_), .. } => true,
        // A root that only asks for presence is fulfilled by whatever the delegate asks for.
        _ => false,
    }
}
