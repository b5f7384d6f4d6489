//! What a proxy gets over discovery.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lateen_api::discovery::Node;
use lateen_api::type_url;
use lateen_xds::client::{self, BoxError, Connect, Connected, Observer, Subscriptions, Update};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::istiod::{TestIstiod, http};

type Resources = Arc<Mutex<BTreeMap<(String, String), String>>>;

struct WithToken {
    channel: Channel,
    token: &'static str,
}

impl Connect for WithToken {
    type Service = Channel;
    async fn connect(&mut self) -> Result<Connected<Channel>, BoxError> {
        let mut metadata = tonic::metadata::MetadataMap::new();
        metadata.insert("authorization", format!("Bearer {}", self.token).parse()?);
        let origin = "https://istiod.istio-system.svc:15012".parse()?;
        Ok(Connected { service: self.channel.clone(), metadata, origin })
    }
}

#[derive(Clone, Default)]
struct Reasons(Arc<Mutex<Vec<String>>>);

impl Observer for Reasons {
    fn connected(&mut self) {}
    fn disconnected(&mut self, reason: &str) {
        self.0.lock().unwrap().push(reason.to_owned());
    }
}

/// A sidecar in namespace `shop` that follows clusters to endpoints.
fn sidecar(istiod: &TestIstiod, token: &'static str, tasks: &mut JoinSet<()>) -> (Resources, Reasons) {
    let (resources, reasons) = (Resources::default(), Reasons::default());
    let subscriptions = Subscriptions::default();
    for url in [type_url::CLUSTER, type_url::LISTENER] {
        subscriptions.add_all(url);
    }
    subscriptions.add(type_url::ENDPOINT, BACKEND);
    let seen = resources.clone();
    let handler = move |update: Update| {
        let mut seen = seen.lock().unwrap();
        for name in update.removed {
            seen.remove(&(update.type_url.clone(), name));
        }
        for (name, version, _) in update.upserts {
            seen.insert((update.type_url.clone(), name), version);
        }
        Vec::new()
    };
    let node = Node { id: "sidecar~10.0.0.9~web-1.shop~shop.svc.cluster.local".into(), ..Default::default() };
    let connector = WithToken { channel: istiod.channel(), token };
    let pause = |_| Duration::from_millis(10);
    let observer = reasons.clone();
    tasks.spawn(async move {
        client::run(connector, node, subscriptions, handler, pause, observer).await;
    });
    (resources, reasons)
}

const BACKEND: &str = "outbound|80||backend.shop.svc.cluster.local";

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "backend", "namespace": "shop" },
        "spec": {
            "clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20"], "selector": { "app": "backend" },
            "ports": [{ "name": "http", "port": 80, "targetPort": 5678, "protocol": "TCP" }],
        },
    })
}

fn slice(address: &str) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "backend-1", "namespace": "shop",
            "labels": { "kubernetes.io/service-name": "backend" },
        },
        "ports": [{ "name": "http", "port": 5678, "protocol": "TCP" }],
        "endpoints": [{ "addresses": [address], "conditions": { "ready": true } }],
    })
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    tokio::time::timeout(Duration::from_secs(10), async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{what}"));
}

fn version(resources: &Resources, url: &str, name: &str) -> Option<String> {
    resources.lock().unwrap().get(&(url.to_owned(), name.to_owned())).cloned()
}

#[tokio::test]
async fn a_sidecar_follows_services_as_they_come_change_and_go() {
    let istiod = TestIstiod::with(&[service(), slice("10.0.0.5")]).await;
    let mut tasks = JoinSet::new();
    let (resources, _) = sidecar(&istiod, "shop/web", &mut tasks);
    until("cluster, endpoints and listener arrive", || {
        version(&resources, type_url::CLUSTER, BACKEND).is_some()
            && version(&resources, type_url::ENDPOINT, BACKEND).is_some()
            && version(&resources, type_url::LISTENER, "virtualOutbound").is_some()
    })
    .await;

    let before = resources.lock().unwrap().clone();
    istiod.put(slice("10.0.0.6")).await;
    until("the endpoints change", || {
        version(&resources, type_url::ENDPOINT, BACKEND)
            != before.get(&(type_url::ENDPOINT.to_owned(), BACKEND.to_owned())).cloned()
    })
    .await;
    let after = resources.lock().unwrap().clone();
    let changed: Vec<_> = before.iter().filter(|(key, value)| after.get(*key) != Some(value)).collect();
    assert_eq!(changed.len(), 1, "only the endpoints were sent again: {changed:?}");

    istiod.delete(&service()).await;
    until("the cluster goes", || version(&resources, type_url::CLUSTER, BACKEND).is_none()).await;
}

fn pod(labels: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web-1", "namespace": "shop", "labels": labels },
        "spec": { "containers": [] }, "status": { "phase": "Running", "podIP": "10.0.0.9" },
    })
}

#[tokio::test]
async fn policies_select_a_pod_by_the_labels_that_it_has_by_now() {
    let policy = json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": { "name": "closed", "namespace": "shop" },
        "spec": { "selector": { "matchLabels": { "open": "no" } } },
    });
    let istiod = TestIstiod::with(&[pod(json!({ "app": "web" })), policy]).await;
    let mut tasks = JoinSet::new();
    let (resources, _) = sidecar(&istiod, "shop/web", &mut tasks);
    let inbound = || version(&resources, type_url::LISTENER, "virtualInbound");
    until("the listener arrives", || inbound().is_some()).await;
    let open = inbound();
    istiod.put(pod(json!({ "app": "web", "open": "no" }))).await;
    until("the policy takes hold", || inbound() != open).await;
    istiod.put(pod(json!({ "app": "web" }))).await;
    until("it lets go", || inbound() == open).await;
}

#[tokio::test]
async fn status_shows_who_is_connected_and_in_sync() {
    let istiod = TestIstiod::with(&[service(), slice("10.0.0.5")]).await;
    let mut tasks = JoinSet::new();
    let (resources, _) = sidecar(&istiod, "shop/web", &mut tasks);
    until("clusters arrive", || version(&resources, type_url::CLUSTER, BACKEND).is_some()).await;
    let mut shown = Value::Null;
    for _ in 0..200 {
        let io = TcpStream::connect(istiod.servers.addresses.monitoring).await.unwrap();
        let (_, body) = http(io, "/debug/syncz", None).await;
        shown = serde_json::from_str(&body).unwrap();
        if shown[0]["cluster_sent"] == shown[0]["cluster_acked"] && shown[0]["cluster_sent"] != "" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(shown[0]["proxy"], "web-1.shop", "{shown}");
    assert_eq!(shown[0]["cluster_sent"], shown[0]["cluster_acked"], "{shown}");
    assert_ne!(shown[0]["cluster_sent"], "", "{shown}");
}

#[tokio::test]
async fn a_proxy_cannot_take_the_configuration_of_another() {
    let istiod = TestIstiod::with(&[service()]).await;
    let mut tasks = JoinSet::new();
    for (token, expected) in [("bank/web", "namespace"), ("forged", "forged")] {
        let (resources, reasons) = sidecar(&istiod, token, &mut tasks);
        until("the stream is refused", || !reasons.0.lock().unwrap().is_empty()).await;
        let reason = reasons.0.lock().unwrap()[0].clone();
        assert!(reason.contains(expected), "{reason}");
        assert!(resources.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn versions_are_those_of_the_content() {
    let mut seen = Vec::new();
    for _ in 0..3 {
        let istiod = TestIstiod::with(&[service(), slice("10.0.0.5")]).await;
        let mut tasks = JoinSet::new();
        let (resources, _) = sidecar(&istiod, "shop/web", &mut tasks);
        until("everything arrives", || {
            version(&resources, type_url::CLUSTER, BACKEND).is_some()
                && version(&resources, type_url::ENDPOINT, BACKEND).is_some()
                && version(&resources, type_url::LISTENER, "virtualInbound").is_some()
        })
        .await;
        seen.push(resources.lock().unwrap().clone());
    }
    // After a restart of istiod nothing has to be sent again.
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}

/// A proxy in namespace `shop` that asks for a credential.
fn edge(istiod: &TestIstiod, token: &'static str, tasks: &mut JoinSet<()>) -> Resources {
    let resources = Resources::default();
    let subscriptions = Subscriptions::default();
    subscriptions.add_all(type_url::LISTENER);
    subscriptions.add(type_url::SECRET, CREDENTIAL);
    subscriptions.add(type_url::SECRET, OF_OTHERS);
    let seen = resources.clone();
    let handler = move |update: Update| {
        for name in update.removed {
            seen.lock().unwrap().insert((update.type_url.clone(), name), MISSING.to_owned());
        }
        for (name, version, _) in update.upserts {
            seen.lock().unwrap().insert((update.type_url.clone(), name), version);
        }
        Vec::new()
    };
    let node = Node { id: "router~10.0.0.9~edge-1.shop~shop.svc.cluster.local".into(), ..Default::default() };
    let connector = WithToken { channel: istiod.channel(), token };
    tasks.spawn(async move {
        let pause = |_| Duration::from_millis(10);
        client::run(connector, node, subscriptions, handler, pause, Reasons::default()).await;
    });
    resources
}

/// In place of the version of what isn't there.
const MISSING: &str = "missing";
const CREDENTIAL: &str = "kubernetes://credential";
/// A credential of another namespace.
const OF_OTHERS: &str = "kubernetes://bank/credential";

fn secret(certificate: &str) -> Value {
    secret_in("shop", certificate)
}

fn secret_in(namespace: &str, certificate: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "credential", "namespace": namespace },
        "data": { "tls.crt": certificate, "tls.key": "a2V5" },
    })
}

#[tokio::test]
async fn credentials_go_to_those_who_may_read_secrets_and_follow_changes() {
    let istiod = TestIstiod::with(&[service()]).await;
    let mut tasks = JoinSet::new();
    let may = edge(&istiod, "shop/gateway", &mut tasks);
    let may_not = edge(&istiod, "shop/web", &mut tasks);
    let missing = |proxy: &Resources| version(proxy, type_url::SECRET, CREDENTIAL).is_some_and(|v| v == MISSING);
    until("both hear that there is none", || missing(&may) && missing(&may_not)).await;
    istiod.put(secret_in("bank", "c2VjcmV0")).await;
    istiod.put(secret("b25l")).await;
    until("the credential arrives", || !missing(&may)).await;
    let first = version(&may, type_url::SECRET, CREDENTIAL);
    istiod.put(secret("dHdv")).await;
    until("its successor arrives", || version(&may, type_url::SECRET, CREDENTIAL) != first).await;
    assert!(missing(&may_not));
    assert_eq!(version(&may, type_url::SECRET, OF_OTHERS).as_deref(), Some(MISSING), "it is another namespace's");
}
