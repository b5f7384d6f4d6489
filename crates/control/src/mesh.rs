//! The few settings of the mesh that are needed before anything is watched.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use lateen_control_core::install::MESH_CONFIG_MAP;
use lateen_control_core::resource::MeshConfig;

/// The trust domain of the mesh. It is part of the CA and of all identities, so a change needs a
/// restart.
pub async fn trust_domain(client: &Client, namespace: &str) -> Result<String, kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let map = api.get_opt(MESH_CONFIG_MAP).await?;
    let yaml = map.and_then(|map| map.data?.remove("mesh")).unwrap_or_default();
    let mesh = MeshConfig::parse(&yaml).unwrap_or_else(|error| {
        tracing::error!(%error, "using the defaults");
        MeshConfig::default()
    });
    Ok(mesh.trust_domain().to_owned())
}
