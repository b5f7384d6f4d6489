//! What `lateen install` applies to a cluster, and `lateen up` to the local one: a list of Kubernetes objects.

mod config;
mod gateway;
mod rbac;
mod webhooks;
mod workload;

use serde_json::{Value, json};

pub use config::{INJECTOR_CONFIG_MAP, MESH_CONFIG_MAP};
pub use gateway::WAIT;
pub use webhooks::{INJECTOR_WEBHOOK, VALIDATOR_WEBHOOK};

/// What an installation of the control plane depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallOptions {
    /// The namespace of the control plane, also the root namespace of the mesh.
    pub namespace: String,
    /// The image of istiod, sidecars and gateways, with its tag.
    pub image: String,
    /// The version that objects are labelled with.
    pub version: String,
    /// The trust domain of workload identities.
    pub trust_domain: String,
    /// The name of this cluster in a mesh of several.
    pub cluster_id: String,
    /// The local cluster: no resource requests, probes every second, few CPUs assumed.
    pub local: bool,
    /// Whether sidecars write an access log to their standard output.
    pub access_log: bool,
    /// Whether sidecars are init containers that keep running, as on Kubernetes 1.33 and later.
    pub native_sidecars: bool,
    /// Whether capture knows the proxy's own traffic by a socket mark instead of its user.
    pub capture_by_mark: bool,
    /// With a gateway for requests from outside.
    pub ingress_gateway: bool,
    /// With a gateway for requests to the outside.
    pub egress_gateway: bool,
}

impl InstallOptions {
    /// The defaults for a cluster, at the given version of Lateen.
    pub fn new(version: &str) -> Self {
        InstallOptions {
            namespace: "istio-system".into(),
            image: format!("lateen/lateen:{version}"),
            version: version.into(),
            trust_domain: "cluster.local".into(),
            cluster_id: "Kubernetes".into(),
            local: false,
            access_log: false,
            native_sidecars: true,
            capture_by_mark: false,
            ingress_gateway: true,
            egress_gateway: false,
        }
    }

    /// The defaults for the local cluster of `lateen up`: as on any cluster, with an access log.
    pub fn local(version: &str) -> Self {
        InstallOptions { local: true, access_log: true, ..InstallOptions::new(version) }
    }
}

/// The objects of an installation, in the order to apply them. CRDs are not among them: they come from
/// `lateen_api::crd::istio_crds()` and go first.
pub fn manifests(options: &InstallOptions) -> Vec<Value> {
    let mut objects = vec![
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": options.namespace },
        }),
        workload::service_account(options),
    ];
    objects.extend(rbac::objects(options));
    objects.push(config::mesh_config_map(options));
    objects.push(config::injector_config_map(options));
    objects.push(workload::service(options));
    objects.push(workload::deployment(options));
    objects.push(webhooks::injector(options));
    objects.push(webhooks::validator(options));
    for (wanted, gateway) in [(options.ingress_gateway, gateway::INGRESS), (options.egress_gateway, gateway::EGRESS)] {
        if wanted {
            objects.extend(gateway.objects(options));
        }
    }
    objects
}

/// The labels that every object of the installation carries.
fn labels(options: &InstallOptions) -> Value {
    json!({
        "app": "istiod",
        "istio": "pilot",
        "istio.io/rev": "default",
        "app.kubernetes.io/name": "istiod",
        "app.kubernetes.io/part-of": "istio",
        "app.kubernetes.io/managed-by": "lateen",
        "app.kubernetes.io/version": options.version,
    })
}

#[cfg(test)]
mod tests;
