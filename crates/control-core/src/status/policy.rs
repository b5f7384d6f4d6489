//! Policies of security: whom they select.

use std::collections::BTreeMap;

use lateen_api::istio as api;
use lateen_mesh::labels::{self, Labels};

use super::fault::{self, Fault};
use super::{Judge, Report};
use crate::keys::KeySource;
use crate::reads::ReadSet;
use crate::resource::{Config, Key, Kind};
use crate::snapshot::Attached;
use crate::translate::has_provider;

/// Kinds that only waypoints enforce policies for.
const OF_WAYPOINTS: [&str; 2] = ["Service", "ServiceEntry"];

pub(super) fn judge(judge: &Judge<'_>, all: &mut BTreeMap<Key, Report>) {
    let snapshot = judge.snapshot;
    let mut proxies: BTreeMap<Key, usize> = BTreeMap::new();
    for group in &judge.proxies.groups {
        let (namespace, labels) = (&group.view.namespace, &group.view.labels);
        let mut note = |kind, meta: &crate::resource::Meta| {
            *proxies.entry(Key::new(kind, &meta.namespace, &meta.name)).or_default() += group.count;
        };
        let policies = snapshot.authorization_policies_for(namespace, labels);
        policies.for_each(|policy| note(Kind::AuthorizationPolicy, &policy.meta));
        let policies = snapshot.request_authentications_for(namespace, labels);
        policies.for_each(|policy| note(Kind::RequestAuthentication, &policy.meta));
        let policies = snapshot.peer_authentications_for(namespace, labels);
        policies.into_iter().for_each(|policy| note(Kind::PeerAuthentication, &policy.meta));
    }
    let count = |kind, meta: &crate::resource::Meta| {
        let key = Key::new(kind, &meta.namespace, &meta.name);
        let count = proxies.get(&key).copied().unwrap_or(0);
        (key, count)
    };
    for policy in snapshot.authorization_policies.iter() {
        let (key, count) = count(Kind::AuthorizationPolicy, &policy.meta);
        let mut faults: Vec<Fault> = why_nobody(policy).filter(|_| count == 0).into_iter().collect();
        faults.extend(unknown_provider(judge, &policy.spec));
        all.insert(key, Report::new(count, faults));
    }
    for policy in snapshot.request_authentications.iter() {
        let (key, count) = count(Kind::RequestAuthentication, &policy.meta);
        let mut faults: Vec<Fault> = why_nobody(policy).filter(|_| count == 0).into_iter().collect();
        faults.extend(unknown_keys(judge, &policy.spec));
        all.insert(key, Report::new(count, faults));
    }
    for policy in snapshot.peer_authentications.iter() {
        let (key, count) = count(Kind::PeerAuthentication, &policy.meta);
        let fault = (count == 0).then(|| why_no_peer(judge, policy)).flatten();
        all.insert(key, Report::new(count, fault.into_iter().collect()));
    }
}

/// `no pod with a proxy has the labels a=b in namespace n`.
pub(super) fn nobody(namespace: &str, selector: &Labels) -> String {
    let wanted: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("no pod with a proxy has the labels {} in namespace {namespace}", wanted.join(","))
}

fn why_nobody<T: Attached>(policy: &Config<T>) -> Option<Fault> {
    let own = &policy.meta.namespace;
    if let Some(target) = policy.spec.targets().next() {
        let (kind, name) = (&target.kind, &target.name);
        return Some(if OF_WAYPOINTS.contains(&kind.as_str()) {
            let text = format!("targetRefs: policies for a {kind} are enforced by waypoints; use a selector instead");
            Fault::new(fault::NOT_ENFORCED, text)
        } else {
            Fault::new(fault::NO_MATCHING_WORKLOADS, format!("targetRefs: no gateway serves {kind} {name}"))
        });
    }
    let selector = policy.spec.selector().map(|s| &s.match_labels).filter(|labels| !labels.is_empty())?;
    Some(Fault::new(fault::NO_MATCHING_WORKLOADS, format!("selector: {}", nobody(own, selector))))
}

fn unknown_provider(judge: &Judge<'_>, policy: &api::AuthorizationPolicy) -> Option<Fault> {
    let name = &policy.provider.as_ref()?.name;
    let known = has_provider(name, judge.snapshot, &mut ReadSet::new());
    (policy.action == Some(api::AuthorizationAction::Custom) && !known).then(|| {
        let text = format!(
            "provider: extensionProviders of the mesh has no authorizer {name} whose service is known; requests that \
             the rules match are denied"
        );
        Fault::new(fault::PROVIDER_ABSENT, text)
    })
}

fn unknown_keys(judge: &Judge<'_>, policy: &api::RequestAuthentication) -> Vec<Fault> {
    let rules = policy.jwt_rules.iter().enumerate();
    let missing = rules.filter_map(|(index, rule)| Some((index, KeySource::of(rule)?)));
    missing
        .filter(|(_, source)| !judge.snapshot.key_sets.contains_key(source))
        .map(|(index, source)| {
            let text = format!("jwtRules[{index}]: no keys were got from {source}; requests with its tokens get 401");
            Fault::new(fault::KEYS_ABSENT, text)
        })
        .collect()
}

fn why_no_peer(judge: &Judge<'_>, policy: &Config<api::PeerAuthentication>) -> Option<Fault> {
    let own = &policy.meta.namespace;
    let selector = policy.spec.selector.as_ref().map(|s| &s.match_labels).filter(|labels| !labels.is_empty());
    let root = own == judge.snapshot.mesh.root_namespace();
    let for_it = |view: &crate::view::ProxyView| {
        (view.namespace == *own || (root && selector.is_none()))
            && selector.is_none_or(|selector| labels::contains_all(&view.labels, selector))
    };
    if judge.proxies.count(for_it) > 0 {
        let text = "policies that come first (older, or nearer to the workloads) say everything that it says";
        return Some(Fault::new(fault::SHADOWED, text.to_owned()));
    }
    selector.map(|selector| Fault::new(fault::NO_MATCHING_WORKLOADS, format!("selector: {}", nobody(own, selector))))
}
