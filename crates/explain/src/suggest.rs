//! Least-privilege policies out of what was seen, and what they would have done to it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use lateen_control_core::store::{Event, Store};
use lateen_proxy_core::Tables;
use serde_json::{Value, json};

use crate::call::{Call, Protection, Speaks, Way};
use crate::observed::{Observed, Pod, Seen};
use crate::strict::store;
use crate::walk::{Judge, explain};
use crate::{Failure, tables};

/// More paths of one caller and method than this become all paths.
const MOST_PATHS: usize = 32;
/// An identity that nobody has.
const STRANGER: &str = "spiffe://cluster.local/ns/nobody/sa/stranger";
/// Labels that change from pod to pod, or that others put there.
const NOT_CHOSEN: [&str; 4] =
    ["pod-template-hash", "controller-revision-hash", "apps.kubernetes.io/pod-index", "version"];

/// A policy for one workload.
#[derive(Clone, Debug)]
pub struct Suggestion {
    /// The workload, for people.
    pub workload: String,
    /// The AuthorizationPolicy.
    pub policy: Value,
    /// Calls that it doesn't allow, and why.
    pub left_out: Vec<String>,
    /// Its pods, by position.
    pods: Vec<usize>,
}

/// What a suggestion would have done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// Kinds of calls that were tried.
    pub tried: usize,
    /// Those that would have been denied although they are meant to be allowed, and why.
    pub denied: Vec<String>,
    /// Ports on which anybody may call in spite of it: another policy allows that.
    pub open: Vec<u16>,
}

/// What one caller does: paths (all, if none are said) by port and method.
type Operations = BTreeMap<(u16, String), Option<BTreeSet<String>>>;

/// Suggests a policy for each workload of a namespace that was called.
#[must_use]
pub fn suggest(observed: &Observed, namespace: &str) -> Vec<Suggestion> {
    let mut workloads: BTreeMap<BTreeMap<String, String>, Vec<usize>> = BTreeMap::new();
    for (position, pod) in observed.pods.iter().enumerate() {
        if pod.namespace == namespace && pod.sidecar {
            workloads.entry(selector(pod)).or_default().push(position);
        }
    }
    workloads.into_iter().filter_map(|(labels, pods)| suggest_one(observed, labels, pods)).collect()
}

/// The labels to select a workload by.
fn selector(pod: &Pod) -> BTreeMap<String, String> {
    let named = ["app", "app.kubernetes.io/name"].into_iter().find_map(|key| pod.labels.get_key_value(key));
    if let Some((key, value)) = named {
        return BTreeMap::from([(key.clone(), value.clone())]);
    }
    let kept = |key: &str| !NOT_CHOSEN.contains(&key) && !key.contains("istio.io/");
    pod.labels.iter().filter(|(key, _)| kept(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn suggest_one(observed: &Observed, labels: BTreeMap<String, String>, pods: Vec<usize>) -> Option<Suggestion> {
    let first = &observed.pods[pods[0]];
    // Conditions about HTTP allow no byte stream: the two are in rules of their own.
    let mut callers: BTreeMap<(&str, bool), Operations> = BTreeMap::new();
    let mut left_out = BTreeSet::new();
    for (_, seen) in observed.calls.iter().filter(|(pod, _)| pods.contains(pod)) {
        match judge(seen, observed) {
            Ok(principal) => add(callers.entry((principal, seen.method.is_empty())).or_default(), seen),
            Err(why) => drop(left_out.insert(why)),
        }
    }
    if callers.is_empty() {
        return None;
    }
    // Callers who do the same share a rule.
    let mut rules: BTreeMap<Operations, Vec<&str>> = BTreeMap::new();
    for ((principal, _), operations) in callers {
        rules.entry(operations).or_default().push(principal.trim_start_matches("spiffe://"));
    }
    let rules = rules.into_iter().map(|(operations, principals)| {
        let operations: Vec<Value> = operations.into_iter().map(operation).collect();
        json!({ "from": [{ "source": { "principals": principals } }], "to": operations })
    });
    let workload = first.shown();
    let name = format!("allow-{}", workload.rsplit('/').next().unwrap_or_default());
    let mut spec = json!({ "action": "ALLOW", "rules": rules.collect::<Vec<_>>() });
    if !labels.is_empty() {
        spec["selector"] = json!({ "matchLabels": labels });
    }
    let policy = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": { "name": name, "namespace": first.namespace },
        "spec": spec,
    });
    Some(Suggestion { workload, policy, left_out: left_out.into_iter().collect(), pods })
}

/// Who a policy can name, or why the call can't be allowed.
fn judge<'s>(seen: &'s Seen, observed: &Observed) -> Result<&'s str, String> {
    let Seen { method, path, port, .. } = seen;
    if let (None, Some(address)) = (&seen.principal, seen.address) {
        return Err(format!(
            "plaintext from {} to port {port}: a policy knows callers by identity",
            observed.whose(address)
        ));
    }
    let principal = seen.principal.as_deref().ok_or_else(|| format!("a caller without identity on port {port}"))?;
    if !is_plain(path) {
        return Err(format!("{method} {path:?} by {principal}: its path is no plain one"));
    }
    Ok(principal)
}

/// A path that means the same before and after normalization, and to a policy nothing but itself.
fn is_plain(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~:@!$&'()+,;=".contains(c);
    path == "*" || path.is_empty() || path.chars().all(plain) && !path.contains("//") && !path.contains("/.")
}

fn add(operations: &mut Operations, seen: &Seen) {
    let paths = operations.entry((seen.port, seen.method.clone())).or_insert_with(|| Some(BTreeSet::new()));
    if let Some(known) = paths {
        known.insert(seen.path.clone());
        if seen.path == "*" || known.len() > MOST_PATHS {
            *paths = None;
        }
    }
}

fn operation(((port, method), paths): ((u16, String), Option<BTreeSet<String>>)) -> Value {
    let mut operation = json!({ "ports": [port.to_string()] });
    if !method.is_empty() {
        operation["methods"] = json!([method]);
        if let Some(paths) = paths {
            operation["paths"] = json!(paths);
        }
    }
    json!({ "operation": operation })
}

/// Tries a suggestion on what was seen, among all objects of the mesh.
///
/// # Errors
/// When the proxy refuses the configuration.
pub fn try_out(
    objects: &[Value],
    observed: &Observed,
    suggestion: &Suggestion,
    by: &Judge<'_>,
) -> Result<Trial, crate::Refused> {
    let mut mesh: Store = store(objects);
    mesh.apply(Event::Apply(suggestion.policy.clone()));
    let snapshot = mesh.snapshot();
    let mut trial = Trial::default();
    let mut open = BTreeSet::new();
    for position in &suggestion.pods {
        let pod = &observed.pods[*position];
        let Ok(view) = pod.view() else { continue };
        let tables = tables(&view, &snapshot)?;
        for (_, seen) in observed.calls.iter().filter(|(of, _)| of == position) {
            let Ok(principal) = judge(seen, observed) else { continue };
            trial.tried += 1;
            if let Some(why) = denial(&tables, pod, seen, principal, by) {
                let Seen { method, path, port, .. } = seen;
                trial.denied.push(format!("{method} {path} on port {port} by {principal}: {why}"));
            }
            if denial(&tables, pod, seen, STRANGER, by).is_none() {
                open.insert(seen.port);
            }
        }
    }
    trial.open = open.into_iter().collect();
    Ok(trial)
}

fn denial(tables: &Tables, pod: &Pod, seen: &Seen, principal: &str, by: &Judge<'_>) -> Option<String> {
    let call = Call {
        address: *pod.addresses.first()?,
        port: seen.port,
        speaks: if seen.method.is_empty() { Speaks::Tcp } else { Speaks::Http },
        protection: Protection::MutualTls,
        principal: Some(principal.trim_start_matches("spiffe://").to_owned()),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        method: seen.method.clone(),
        host: pod.name.clone(),
        path: if seen.path == "*" { "/".to_owned() } else { seen.path.clone() },
        headers: Vec::new(),
        sni: None,
        alpn: None,
        way: Way::Inbound,
    };
    let outcome = explain(tables, &call, by);
    match outcome.failure? {
        Failure::Denied | Failure::Unauthenticated => {
            Some(outcome.denied_by.map_or_else(|| "denied".to_owned(), |(_, plain)| plain))
        }
        // It is not for a policy to say.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::BY;

    fn pod(app: &str, ip: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "shop", "name": format!("{app}-1"),
                "labels": {"app": app, "security.istio.io/tlsMode": "istio"}},
            "spec": {"serviceAccountName": app, "containers": [{"name": "istio-proxy"}]},
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]},
        })
    }

    fn seen(from: &str, port: u16, method: &str, path: &str) -> Seen {
        let address = from.parse().ok();
        let principal = address.is_none().then(|| format!("spiffe://cluster.local/ns/shop/sa/{from}"));
        let (method, path) = (method.to_owned(), path.to_owned());
        Seen { principal, address, port, method, path, calls: 1, refused: 0, seconds_ago: 0 }
    }

    fn world() -> (Vec<Value>, Observed) {
        let objects = vec![pod("cart", "10.0.0.1"), pod("web", "10.0.0.2")];
        let pods = objects.iter().filter_map(Pod::parse).collect();
        let calls = vec![
            (0, seen("web", 8080, "GET", "/items")),
            (0, seen("jobs", 8080, "GET", "/items")),
            (0, seen("web", 8080, "POST", "/items")),
            (0, seen("web", 5432, "", "")),
            (0, seen("10.9.9.9", 8080, "GET", "/items")),
            (0, seen("web", 8080, "GET", "/a%2fb")),
        ];
        (objects, Observed { pods, calls, unasked: Vec::new() })
    }

    #[test]
    fn a_policy_allows_what_was_seen_and_nothing_else() {
        let (objects, observed) = world();
        let all = suggest(&observed, "shop");
        assert_eq!(all.len(), 1, "nobody called web");
        let cart = &all[0];
        assert_eq!(cart.policy["metadata"]["name"], "allow-cart");
        let rules = cart.policy["spec"]["rules"].as_array().expect("rules");
        let principals: Vec<&Value> = rules.iter().map(|rule| &rule["from"][0]["source"]["principals"]).collect();
        assert!(principals.contains(&&json!(["cluster.local/ns/shop/sa/jobs"])), "{principals:?}");
        assert!(principals.contains(&&json!(["cluster.local/ns/shop/sa/web"])), "{principals:?}");
        assert_eq!(cart.left_out.len(), 2, "{:?}", cart.left_out);

        let trial = try_out(&objects, &observed, cart, &BY).expect("loads");
        assert_eq!(trial, Trial { tried: 4, ..Trial::default() });

        let other = Observed { calls: vec![(0, seen("jobs", 8080, "POST", "/items"))], ..observed };
        let trial = try_out(&objects, &other, cart, &BY).expect("loads");
        assert_eq!(trial.denied.len(), 1, "jobs only ever read: {trial:?}");
    }

    #[test]
    fn what_another_policy_opens_is_told() {
        let (mut objects, observed) = world();
        objects.push(json!({
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": "all", "namespace": "shop"}, "spec": {"rules": [{}]},
        }));
        let trial = try_out(&objects, &observed, &suggest(&observed, "shop")[0], &BY).expect("loads");
        assert_eq!(trial.open, [5432, 8080]);
    }

    #[test]
    fn many_paths_become_all() {
        let (_, mut observed) = world();
        observed.calls = (0..40).map(|n| (0, seen("web", 8080, "GET", &format!("/{n}")))).collect();
        let rules = &suggest(&observed, "shop")[0].policy["spec"]["rules"];
        assert_eq!(rules[0]["to"][0]["operation"], json!({"ports": ["8080"], "methods": ["GET"]}));
    }
}
