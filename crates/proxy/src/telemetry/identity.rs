//! Who this proxy is, for the labels of metrics.

use crate::config::Config;

/// The workload that this proxy speaks for.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Workload name.
    pub workload: String,
    /// Namespace.
    pub namespace: String,
    /// SPIFFE identity.
    pub principal: String,
    /// Label `app`.
    pub app: String,
    /// Label `version`.
    pub version: String,
    /// Cluster.
    pub cluster: String,
    /// Canonical service.
    pub canonical_name: String,
    /// Canonical revision.
    pub canonical_revision: String,
}

impl Identity {
    /// As the configuration says.
    pub fn of(config: &Config) -> Identity {
        let labels = &config.pod.labels;
        let label = |names: &[&str]| names.iter().find_map(|name| labels.get(*name)).cloned();
        let workload = metadata(config, "WORKLOAD_NAME").unwrap_or_else(|| config.pod.name.clone());
        let names = ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"];
        let revisions = ["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"];
        Identity {
            namespace: config.pod.namespace.clone(),
            principal: config.spiffe_id(),
            app: label(&["app"]).unwrap_or_default(),
            version: label(&["version"]).unwrap_or_default(),
            cluster: config.cluster_id.clone(),
            canonical_name: label(&names).unwrap_or_else(|| workload.clone()),
            canonical_revision: label(&revisions).unwrap_or_else(|| "latest".to_owned()),
            workload,
        }
    }
}

fn metadata(config: &Config, name: &str) -> Option<String> {
    use lateen_api::google::protobuf::value::Kind;
    match config.node.metadata.as_ref()?.fields.get(name)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}
