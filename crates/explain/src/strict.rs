//! The way to mutual TLS everywhere: who still sends plaintext to whom, and which namespaces can refuse it now.

use std::collections::{BTreeMap, BTreeSet};

use lateen_control_core::snapshot::{MtlsMode, Snapshot};
use lateen_control_core::store::{Event, Store};
use serde_json::{Value, json};

use crate::observed::Observed;

/// What can be done with a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It refuses plaintext already.
    Strict,
    /// Nobody would be cut off.
    Ready,
    /// Somebody would be, or nobody knows.
    Blocked,
}

impl Readiness {
    /// One word for a table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Readiness::Strict => "STRICT",
            Readiness::Ready => "READY",
            Readiness::Blocked => "BLOCKED",
        }
    }
}

/// Plaintext that STRICT would cut off.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Plaintext {
    /// Who sends it.
    pub from: String,
    /// Who takes it.
    pub to: String,
    /// On this port of the workload.
    pub port: u16,
    /// How often.
    pub calls: u64,
    /// How many of them were refused.
    pub refused: u64,
    /// How long ago the last was.
    pub seconds_ago: u64,
}

/// A namespace with sidecars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub namespace: String,
    /// What can be done.
    pub readiness: Readiness,
    /// Who sends plaintext.
    pub plaintext: Vec<Plaintext>,
    /// Pods whose sidecar could not be asked, and why.
    pub unasked: Vec<String>,
    /// Pods without a sidecar, which no policy protects.
    pub unprotected: Vec<String>,
}

/// The PeerAuthentication for a namespace's workloads in general that is there, by its name, and otherwise a new name.
fn name_in(snapshot: &Snapshot, namespace: &str) -> String {
    snapshot.namespace_peer_authentication(namespace).unwrap_or("default").to_owned()
}

/// The PeerAuthentication that makes a namespace refuse plaintext.
#[must_use]
pub fn policy(snapshot: &Snapshot, namespace: &str) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": { "name": name_in(snapshot, namespace), "namespace": namespace },
        "spec": { "mtls": { "mode": "STRICT" } },
    })
}

/// Looks at every namespace with sidecars. What was seen longer ago than `since` seconds doesn't count. Plaintext on
/// ports that a policy of their own opens goes on being taken, and blocks nothing.
#[must_use]
pub fn plan(objects: &[Value], observed: &Observed, since: u64) -> Vec<Plan> {
    let now = store(objects);
    let namespaces: BTreeSet<&str> =
        observed.pods.iter().filter(|pod| pod.sidecar).map(|pod| pod.namespace.as_str()).collect();
    namespaces.into_iter().map(|namespace| plan_one(objects, &now.snapshot(), observed, namespace, since)).collect()
}

fn plan_one(objects: &[Value], now: &Snapshot, observed: &Observed, namespace: &str, since: u64) -> Plan {
    let mut then = store(objects);
    then.apply(Event::Apply(policy(now, namespace)));
    let then = then.snapshot();
    let mut plaintext: BTreeMap<(String, String, u16), Plaintext> = BTreeMap::new();
    for (pod, seen) in &observed.calls {
        let pod = &observed.pods[*pod];
        let (Some(address), true) = (seen.address, pod.namespace == namespace && seen.seconds_ago <= since) else {
            continue;
        };
        if then.workload_mtls(namespace, &pod.labels).of_port(seen.port) != MtlsMode::Strict {
            continue;
        }
        let (from, to) = (observed.whose(address), pod.shown());
        let sum = plaintext.entry((from.clone(), to.clone(), seen.port)).or_insert_with(|| Plaintext {
            from,
            to,
            port: seen.port,
            calls: 0,
            refused: 0,
            seconds_ago: u64::MAX,
        });
        sum.calls += seen.calls;
        sum.refused += seen.refused;
        sum.seconds_ago = sum.seconds_ago.min(seen.seconds_ago);
    }
    let of_namespace = |position: &usize| observed.pods[*position].namespace == namespace;
    let unasked = observed.unasked.iter().filter(|(pod, _)| of_namespace(pod));
    let unasked: Vec<String> = unasked.map(|(pod, why)| format!("{}: {why}", observed.pods[*pod].name)).collect();
    let unprotected = observed.pods.iter().filter(|pod| pod.namespace == namespace && !pod.sidecar);
    let readiness = match now.namespace_mtls(namespace) {
        MtlsMode::Strict => Readiness::Strict,
        _ if plaintext.is_empty() && unasked.is_empty() => Readiness::Ready,
        _ => Readiness::Blocked,
    };
    Plan {
        namespace: namespace.to_owned(),
        readiness,
        plaintext: plaintext.into_values().collect(),
        unasked,
        unprotected: unprotected.map(|pod| pod.name.clone()).collect(),
    }
}

/// What a control plane knows that reads these objects.
#[must_use]
pub fn store(objects: &[Value]) -> Store {
    let mut store = Store::new();
    for object in objects {
        store.apply(Event::Apply(object.clone()));
    }
    store
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::{Pod, Seen};

    fn pod(namespace: &str, app: &str, ip: &str, sidecar: bool) -> Pod {
        let containers =
            if sidecar { json!([{"name": "app"}, {"name": "istio-proxy"}]) } else { json!([{"name": "app"}]) };
        let object = json!({
            "metadata": {"namespace": namespace, "name": format!("{app}-1"), "labels": {"app": app}},
            "spec": {"containers": containers}, "status": {"phase": "Running", "podIPs": [{"ip": ip}]},
        });
        Pod::parse(&object).expect("a pod")
    }

    fn seen(from: &str, port: u16, seconds_ago: u64) -> Seen {
        let address = from.parse().ok();
        let principal = address.is_none().then(|| from.to_owned());
        let (method, path) = ("GET".to_owned(), "/".to_owned());
        Seen { principal, address, port, method, path, calls: 2, refused: 0, seconds_ago }
    }

    fn observed(calls: Vec<(usize, Seen)>) -> Observed {
        let pods = vec![
            pod("shop", "cart", "10.0.0.1", true),
            pod("shop", "pay", "10.0.0.2", true),
            pod("old", "cron", "10.0.0.3", false),
            pod("web", "front", "10.0.0.4", true),
        ];
        Observed { pods, calls, unasked: Vec::new() }
    }

    fn peer_authentication(namespace: &str, spec: Value) -> Value {
        json!({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
            "metadata": {"name": "p", "namespace": namespace}, "spec": spec})
    }

    fn states(objects: &[Value], observed: &Observed) -> Vec<(String, &'static str)> {
        let plans = plan(objects, observed, 3600);
        plans.into_iter().map(|plan| (plan.namespace, plan.readiness.as_str())).collect()
    }

    #[test]
    fn a_namespace_is_ready_when_nobody_would_be_cut_off() {
        let principal = "spiffe://cluster.local/ns/web/sa/front";
        let one = |state| vec![("shop".to_owned(), state), ("web".to_owned(), "READY")];
        assert_eq!(states(&[], &observed(vec![(0, seen(principal, 80, 1))])), one("READY"));
        assert_eq!(states(&[], &observed(vec![(0, seen("10.0.0.3", 80, 4000))])), one("READY"), "long ago");
        let blocked = observed(vec![(0, seen("10.0.0.3", 80, 9)), (0, seen("10.0.0.3", 80, 5))]);
        assert_eq!(states(&[], &blocked), one("BLOCKED"));
        let plans = plan(&[], &blocked, 3600);
        let line = &plans[0].plaintext[0];
        assert_eq!((line.from.as_str(), line.to.as_str()), ("old/cron (no sidecar)", "shop/cart"));
        assert_eq!((line.calls, line.seconds_ago, plans[0].plaintext.len()), (4, 5, 1));
        let silent = Observed { unasked: vec![(1, "it crashes".into())], ..observed(Vec::new()) };
        assert_eq!(states(&[], &silent), one("BLOCKED"), "who calls it is not known");
    }

    #[test]
    fn ports_that_stay_open_block_nothing_and_strict_is_strict() {
        let calls = || observed(vec![(0, seen("10.0.0.3", 9090, 1))]);
        let open = json!({"selector": {"matchLabels": {"app": "cart"}}, "mtls": {"mode": "STRICT"},
            "portLevelMtls": {"9090": {"mode": "PERMISSIVE"}}});
        assert_eq!(states(&[peer_authentication("shop", open)], &calls())[0].1, "READY");
        let strict = peer_authentication("shop", json!({"mtls": {"mode": "STRICT"}}));
        assert_eq!(states(&[strict], &calls())[0].1, "STRICT");
        let permissive = peer_authentication("shop", json!({"mtls": {"mode": "PERMISSIVE"}}));
        let named = policy(&store(&[permissive]).snapshot(), "shop");
        assert_eq!(named["metadata"]["name"], "p", "the one that is there is changed: of two the older would count");
    }
}
