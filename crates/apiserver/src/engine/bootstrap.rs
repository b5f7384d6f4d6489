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
    status::Status,
};

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
        try_join!(
            ensure(client, &gvr::SERVICES, "default", self.kubernetes_service()),
            try_join_all(roles),
            try_join_all(bindings),
        )?;
        Ok(())
    }

    /// The address of `kubernetes.default`: the first one for Services.
    pub fn kubernetes_address(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.config.service_cidr.network()) + 1)
    }

    fn kubernetes_service(&self) -> Value {
        json!({
            "metadata": {
                "name": "kubernetes",
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

async fn ensure(client: &Client, kind: &Gvr, namespace: &str, object: Value) -> Result<(), Status> {
    if client.get(kind, namespace, object::name(&object)).await.is_ok() {
        return Ok(());
    }
    match client.create(kind, namespace, object).await {
        Err(status) if !status.is_already_exists() => Err(status),
        _ => Ok(()),
    }
}
