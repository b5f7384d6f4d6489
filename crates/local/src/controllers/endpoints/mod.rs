//! EndpointSlices and Endpoints: which pods answer for a Service.

mod legacy;
mod mirroring;
mod selection;
mod slices;

use lateen_apiserver::{Object, Status, gvr};
use serde_json::{Value, json};

use super::api::{Api, Key};
use super::object::Meta;
use super::queue::{Next, Reconcile};
use super::selector;
use crate::events::{Recorder, Type};

pub use mirroring::Mirroring;
pub use selection::Selection;
pub use slices::SERVICE_NAME;
use slices::{MANAGED_BY, Plan};

/// The zone of a node, as cloud providers label it.
const ZONE: &str = "topology.kubernetes.io/zone";

/// The endpoints controller.
pub struct Endpoints {
    api: Api,
    events: Recorder,
}

impl Endpoints {
    /// A controller that works through `api`.
    #[must_use]
    pub fn new(api: Api, events: Recorder) -> Self {
        Self { api, events }
    }

    async fn sync(&self, service: &Object) -> Result<(), Status> {
        let namespace = service.namespace();
        let mut pods = self.api.list_in(&gvr::PODS, namespace).await?;
        pods.retain(|pod| selects(service, pod));
        pods.sort_by(|a, b| (a.created(), a.name()).cmp(&(b.created(), b.name())));
        let zone = self.zone(&pods).await?;
        let wanted = slices::wanted(service, &pods, zone.as_deref());
        self.write_slices(service, wanted).await?;
        self.write_endpoints(service, legacy::subsets(service, &pods)).await
    }

    async fn zone(&self, pods: &[Object]) -> Result<Option<String>, Status> {
        let Some(node) = pods.iter().map(|p| p.text("/spec/nodeName")).find(|n| !n.is_empty()) else {
            return Ok(None);
        };
        let node = self.api.find(&gvr::NODES, "", node).await?;
        Ok(node.and_then(|n| n.label(ZONE).map(str::to_owned)))
    }

    async fn write_slices(&self, service: &Object, wanted: Vec<Value>) -> Result<(), Status> {
        let mut present = self.api.list_in(&gvr::ENDPOINT_SLICES, service.namespace()).await?;
        present.retain(|s| {
            s.label(SERVICE_NAME) == Some(service.name()) && s.label(slices::MANAGED_BY_LABEL) == Some(MANAGED_BY)
        });
        carry_out(&self.api, &self.events, service, slices::plan(wanted, &present)).await
    }

    async fn write_endpoints(&self, service: &Object, subsets: Value) -> Result<(), Status> {
        let (namespace, name) = (service.namespace(), service.name());
        let labels = legacy::labels(service);
        match self.api.find(&gvr::ENDPOINTS, namespace, name).await? {
            Some(old) if same(&old["subsets"], &subsets) && old["metadata"]["labels"] == labels => Ok(()),
            Some(old) => {
                let mut new = Value::clone(&old);
                new["subsets"] = subsets;
                new["metadata"]["labels"] = labels;
                self.api.update(&gvr::ENDPOINTS, new).await.map(|_| ())
            }
            None => {
                let new = json!({
                    "apiVersion": "v1",
                    "kind": "Endpoints",
                    "metadata": {"name": name, "namespace": namespace, "labels": labels},
                    "subsets": subsets,
                });
                self.api.create(&gvr::ENDPOINTS, new).await.map(|_| ())
            }
        }
    }

    /// The Service is gone: the garbage collector takes its slices, this the Endpoints object.
    async fn remove(&self, key: &Key) -> Result<(), Status> {
        let old = self.api.find(&gvr::ENDPOINTS, &key.namespace, &key.name).await?;
        match old.filter(|e| e.label(legacy::MANAGED_BY_LABEL) == Some(legacy::MANAGED_BY)) {
            Some(old) => self.api.delete(&gvr::ENDPOINTS, &old).await,
            None => Ok(()),
        }
    }
}

/// Makes the slices of `owner` as planned.
async fn carry_out(api: &Api, events: &Recorder, owner: &Object, plan: Plan) -> Result<(), Status> {
    for slice in plan.update {
        api.update(&gvr::ENDPOINT_SLICES, slice).await?;
    }
    for slice in plan.create {
        if let Err(status) = api.create(&gvr::ENDPOINT_SLICES, slice).await {
            let text = format!("Failed to create EndpointSlice: {status}");
            events.record(owner, Type::Warning, "FailedToCreateEndpointSlices", &text);
            return Err(status);
        }
    }
    for slice in plan.delete {
        api.delete(&gvr::ENDPOINT_SLICES, &slice).await?;
    }
    Ok(())
}

fn same(a: &Value, b: &Value) -> bool {
    let empty = |v: &Value| v.as_array().is_none_or(Vec::is_empty);
    a == b || (empty(a) && empty(b))
}

/// Whether the Service's selector takes this pod. A Service without selector takes none.
#[must_use]
pub fn selects(service: &Value, pod: &Value) -> bool {
    has_selector(service) && selector::matches_map(&service["spec"]["selector"], &pod["metadata"]["labels"])
}

fn has_selector(service: &Value) -> bool {
    service["spec"]["selector"].as_object().is_some_and(|s| !s.is_empty())
        && service.text("/spec/type") != "ExternalName"
}

impl Reconcile for Endpoints {
    type Key = Key;
    type Error = Status;

    fn name(&self) -> &'static str {
        "endpointslice"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Status> {
        match self.api.find(&gvr::SERVICES, &key.namespace, &key.name).await? {
            Some(service) if service.is_terminating() => {}
            Some(service) if has_selector(&service) => self.sync(&service).await?,
            Some(_) => {}
            None => self.remove(key).await?,
        }
        Ok(Next::Done)
    }
}
