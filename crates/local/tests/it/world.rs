//! An API server with controllers and a node whose pods come up as soon as they are bound.

use std::time::Duration;

use futures::StreamExt;
use lateen_apiserver::{Client, Config, EventType, Gvr, Object, PatchType, Server, Status, gvr};
use lateen_local::clock::{Clock, stamp};
use lateen_local::controllers;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster without containers.
pub struct World {
    pub client: Client,
    _tasks: JoinSet<()>,
    _node: JoinSet<()>,
    _server: Server,
    _home: tempfile::TempDir,
}

impl World {
    /// Start one.
    pub async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let server = Server::open(Config::new(home.path())).await.unwrap();
        let client = server.client();
        let node = json!({"metadata": {"name": "lateen", "labels": {"kubernetes.io/hostname": "lateen"}}});
        client.create(&gvr::NODES, "", node).await.unwrap();
        let tasks = controllers::run(&client, &Clock::system(), server.ca_pem(), &home.path().join("volumes"));
        let mut agent = JoinSet::new();
        agent.spawn(run_pods(client.clone()));
        Self { client, _tasks: tasks, _node: agent, _server: server, _home: home }
    }

    /// Make an object.
    pub async fn create(&self, kind: &Gvr, object: Value) -> Object {
        self.client.create(kind, "default", object).await.unwrap()
    }

    /// Change an object by a merge patch.
    pub async fn patch(&self, kind: &Gvr, name: &str, patch: Value) -> Object {
        self.client.patch(kind, "default", name, PatchType::Merge, &patch, None).await.unwrap()
    }

    /// All objects of a kind in the default namespace.
    pub async fn list(&self, kind: &Gvr) -> Vec<Object> {
        self.client.list(kind, Some("default")).await.unwrap().items
    }

    /// Wait until `test` holds for the objects of a kind in the default namespace.
    pub async fn until(&self, kind: &Gvr, what: &str, test: impl Fn(&[Object]) -> bool) -> Vec<Object> {
        let start = std::time::Instant::now();
        loop {
            let items = self.list(kind).await;
            if test(&items) {
                return items;
            }
            let shown = serde_json::to_string_pretty(&items).unwrap();
            assert!(start.elapsed() < PATIENCE, "{what}, but there is: {shown}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Wait until the Deployment has rolled out its present template.
    pub async fn rolled_out(&self, name: &str) -> Object {
        let done = |d: &Object| {
            d["metadata"]["name"] == name
                && d["status"]["observedGeneration"] == d["metadata"]["generation"]
                && d["status"]["conditions"].as_array().is_some_and(|all| {
                    all.iter().any(|c| c["type"] == "Progressing" && c["reason"] == "NewReplicaSetAvailable")
                })
        };
        let all = self.until(&gvr::DEPLOYMENTS, "the Deployment is rolled out", |all| all.iter().any(done)).await;
        all.into_iter().find(|d| done(d)).unwrap()
    }
}

/// A Deployment of `image`.
pub fn deployment(name: &str, image: &str, replicas: i64) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": image,
                    "ports": [{"name": "http", "containerPort": 8080}]}]},
            },
        },
    })
}

/// As a node agent: bound pods run and are ready, deleted ones end. Image `broken` never starts,
/// image `once` ends well.
async fn run_pods(client: Client) {
    let mut events = std::pin::pin!(client.watch_all(&gvr::PODS));
    let mut address = 0u16;
    while let Some(event) = events.next().await {
        if matches!(event.kind, EventType::Deleted | EventType::Bookmark) {
            continue;
        }
        let pod = event.object;
        let (namespace, name) = (text(&pod, "namespace"), text(&pod, "name"));
        let done = if pod["metadata"]["deletionTimestamp"].is_string() {
            let options = lateen_apiserver::DeleteOptions { grace_period_seconds: Some(0), ..Default::default() };
            client.delete(&gvr::PODS, namespace, name, &options).await.map(|_| ())
        } else if pod["spec"]["nodeName"].is_string()
            && pod["status"]["podIP"].is_null()
            && pod["spec"]["containers"][0]["image"] != "broken"
        {
            address += 1;
            report_ready(&client, &pod, address).await
        } else {
            Ok(())
        };
        if let Err(status) = done {
            assert!(matches!(status.code, 404 | 409), "{status}");
        }
    }
}

fn text<'a>(pod: &'a Value, field: &str) -> &'a str {
    pod["metadata"][field].as_str().unwrap()
}

async fn report_ready(client: &Client, pod: &Value, address: u16) -> Result<(), Status> {
    let now = stamp(Clock::system().now());
    let [high, low] = address.to_be_bytes();
    let once = pod["spec"]["containers"][0]["image"] == "once";
    let status = json!({"status": {
        "phase": if once { "Succeeded" } else { "Running" },
        "podIP": format!("10.244.{high}.{low}"),
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": now},
            {"type": "Ready", "status": if once { "False" } else { "True" }, "lastTransitionTime": now},
        ],
    }});
    let (namespace, name) = (text(pod, "namespace"), text(pod, "name"));
    let patched = client.patch(&gvr::PODS, namespace, name, PatchType::Merge, &status, Some("status")).await;
    patched.map(|_| ())
}
