//! What a fresh cluster holds.

use std::net::Ipv4Addr;

use futures::{future::try_join_all, try_join};
use serde_json::{Value, json};

use super::Engine;
use crate::{
    auth,
    client::Client,
    gvr::{self, Gvr},
    object,
    patch::PatchType,
    status::Status,
};

/// The Service of the API server itself.
const KUBERNETES: &str = "kubernetes";
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

impl Engine {
    /// Creates what is missing of the objects that every cluster has.
    pub async fn bootstrap(&self, client: &Client) -> Result<(), Status> {
        // At once, so that they share a commit.
        let namespaces =
            NAMESPACES.map(|name| ensure(client, &gvr::NAMESPACES, "", json!({"metadata": {"name": name}})));
        try_join_all(namespaces).await?;
        let roles = auth::cluster_roles().into_iter().map(|role| repair(client, &gvr::CLUSTER_ROLES, role));
        let bindings =
            auth::cluster_role_bindings().into_iter().map(|b| repair(client, &gvr::CLUSTER_ROLE_BINDINGS, b));
        try_join!(self.ensure_kubernetes(client), try_join_all(roles), try_join_all(bindings),)?;
        self.finish_definitions().await
    }

    /// The address of `kubernetes.default`: the first one for Services.
    pub fn kubernetes_address(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.config.service_cidr.network()) + 1)
    }

    /// `kubernetes.default`, with its endpoints as they are now.
    async fn ensure_kubernetes(&self, client: &Client) -> Result<(), Status> {
        ensure(client, &gvr::SERVICES, "default", self.kubernetes_service()).await?;
        let (ip, port) = (self.config.advertise_address.to_string(), self.config.secure_port);
        let ports = json!([{"name": "https", "port": port, "protocol": "TCP"}]);
        let endpoints = json!({
            "metadata": {"name": KUBERNETES, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            "subsets": [{"addresses": [{"ip": ip}], "ports": ports}],
        });
        let slice = json!({
            "metadata": {"name": KUBERNETES, "labels": {"kubernetes.io/service-name": KUBERNETES}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}],
            "ports": ports,
        });
        try_join!(
            bring_up_to_date(client, &gvr::ENDPOINTS, endpoints),
            bring_up_to_date(client, &gvr::ENDPOINT_SLICES, slice),
        )?;
        Ok(())
    }

    fn kubernetes_service(&self) -> Value {
        json!({
            "metadata": {
                "name": KUBERNETES,
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "clusterIP": self.kubernetes_address().to_string(),
                "ports": [{"name": "https", "port": 443, "targetPort": self.config.secure_port}],
            },
        })
    }
}

/// Makes a default role or binding, or fills in what it lacks.
async fn repair(client: &Client, kind: &Gvr, wanted: Value) -> Result<(), Status> {
    match client.get(kind, "", object::name(&wanted)).await {
        Err(status) if status.is_not_found() => ensure(client, kind, "", wanted).await,
        Err(status) => Err(status),
        Ok(found) => match auth::repaired(&found, &wanted) {
            Some(repaired) => client.update(kind, "", repaired).await.map(drop),
            None => Ok(()),
        },
    }
}

/// Makes an object of the namespace `default`, or gives the one that is there this content.
async fn bring_up_to_date(client: &Client, kind: &Gvr, object: Value) -> Result<(), Status> {
    let name = object::name(&object).to_owned();
    match client.create(kind, "default", object.clone()).await {
        Err(status) if status.is_already_exists() => {
            client.patch(kind, "default", &name, PatchType::Merge, &object, None).await.map(drop)
        }
        other => other.map(drop),
    }
}

async fn ensure(client: &Client, kind: &Gvr, namespace: &str, object: Value) -> Result<(), Status> {
    if client.get(kind, namespace, object::name(&object)).await.is_ok() {
        return Ok(());
    }
    match client.create(kind, namespace, object).await {
        Err(status) if !status.is_already_exists() => Err(status),
        _ => Ok(()),
    }
}
