//! What istiod is told: Services with endpoints and routes, spread over namespaces.

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use lateen_testkit::cluster::Cluster;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// Services of the mesh, each with a VirtualService.
pub const SERVICES: usize = 1_000;
/// Endpoints of all Services.
pub const ENDPOINTS: usize = 10_000;
/// Namespaces that they are spread over, and the proxies too.
pub const NAMESPACES: usize = 10;

/// Requests under way at once while objects are written.
const WRITERS: usize = 32;

/// The name of one of the namespaces.
pub fn namespace(number: usize) -> String {
    format!("team-{}", number % NAMESPACES)
}

/// The mesh's configuration, by way of its API server.
pub struct Mesh {
    runtime: Runtime,
    client: Client,
}

impl Mesh {
    /// A client of the cluster's API server.
    ///
    /// # Errors
    /// When the kubeconfig can't be used.
    pub fn new(cluster: &Cluster) -> anyhow::Result<Self> {
        let runtime = Runtime::new()?;
        let client = runtime.block_on(async {
            let kubeconfig = Kubeconfig::read_from(cluster.home().join("kubeconfig"))?;
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
            anyhow::Ok(Client::try_from(config)?)
        })?;
        Ok(Self { runtime, client })
    }

    /// Writes all objects.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub fn lay(&self) -> anyhow::Result<()> {
        let namespaces = (0..NAMESPACES)
            .map(|number| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace(number)}}));
        self.create(namespaces)?;
        self.create((0..SERVICES).map(service))?;
        self.create((0..SERVICES).map(|number| slice(number, 0)))?;
        self.create((0..SERVICES).map(|number| route(number, 0)))
    }

    /// Has each namespace see its own Services only.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn narrow(&self) -> anyhow::Result<()> {
        self.create((0..NAMESPACES).map(|number| {
            json!({
                "apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
                "metadata": {"name": "default", "namespace": namespace(number)},
                "spec": {"egress": [{"hosts": ["./*"]}]},
            })
        }))
    }

    /// Gives the first Service's first endpoint another address.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn change_endpoint(&self, round: usize) -> anyhow::Result<()> {
        self.merge(&slice(0, round + 1))
    }

    /// Gives the first Service's route another timeout.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn change_route(&self, round: usize) -> anyhow::Result<()> {
        self.merge(&route(0, round + 1))
    }

    fn create(&self, objects: impl Iterator<Item = Value>) -> anyhow::Result<()> {
        let writes = stream::iter(objects).map(|object| async move {
            let parameters = PostParams::default();
            self.api(&object)?.create(&parameters, &serde_json::from_value(object)?).await?;
            anyhow::Ok(())
        });
        self.runtime.block_on(writes.buffer_unordered(WRITERS).try_collect())
    }

    fn merge(&self, object: &Value) -> anyhow::Result<()> {
        let name = object["metadata"]["name"].as_str().context("metadata.name")?;
        let write = async {
            self.api(object)?.patch(name, &PatchParams::default(), &Patch::Merge(object)).await.map_err(Into::into)
        };
        self.runtime.block_on(write).map(|_: DynamicObject| ())
    }

    fn api(&self, object: &Value) -> anyhow::Result<Api<DynamicObject>> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let version = text("/apiVersion").context("apiVersion")?;
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        let kind = GroupVersionKind::gvk(group, version, text("/kind").context("kind")?);
        let resource = ApiResource::from_gvk(&kind);
        Ok(match text("/metadata/namespace") {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        })
    }
}

fn service(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name(number), "namespace": namespace(number)},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    })
}

fn slice(number: usize, round: usize) -> Value {
    let each = ENDPOINTS / SERVICES;
    let endpoints = (0..each).map(|index| {
        let last = if index == 0 { round } else { index + 100 };
        let address = format!("10.{}.{}.{last}", 200 + number / 256, number % 256);
        json!({"addresses": [address], "conditions": {"ready": true}})
    });
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": name(number), "namespace": namespace(number),
            "labels": {"kubernetes.io/service-name": name(number)},
        },
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

fn route(number: usize, round: usize) -> Value {
    let destination = json!({"destination": {"host": name(number)}});
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": name(number), "namespace": namespace(number)},
        "spec": {"hosts": [name(number)], "http": [{"timeout": format!("{}s", round + 1), "route": [destination]}]},
    })
}

fn name(number: usize) -> String {
    format!("service-{number}")
}
