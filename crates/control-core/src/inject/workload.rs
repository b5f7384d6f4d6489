//! What a pod belongs to, as its proxy reports it.

use serde_json::Value;

const WORKLOAD_NAME: &str = "service.istio.io/workload-name";

/// The object that a pod was made for: its Deployment, Job, and so on, or the pod itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The name of that object.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Its API version.
    pub api_version: String,
}

impl Workload {
    /// Reads the owner off a pod: a ReplicaSet stands for its Deployment, a scheduled Job for its CronJob.
    pub fn of_pod(pod: &Value) -> Workload {
        let metadata = &pod["metadata"];
        let controller = metadata["ownerReferences"]
            .as_array()
            .and_then(|owners| owners.iter().find(|owner| owner["controller"] == true));
        let Some(owner) = controller else {
            let name = metadata["name"].as_str().or_else(|| metadata["generateName"].as_str());
            return Workload::new(name.unwrap_or_default().trim_end_matches('-'), "Pod", "v1");
        };
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        let (name, kind, api_version) = (text("name"), text("kind"), text("apiVersion"));
        let hash = metadata["labels"]["pod-template-hash"].as_str().unwrap_or_default();
        match kind {
            "ReplicaSet" if !hash.is_empty() && name.ends_with(hash) => {
                let deployment = name[..name.len() - hash.len()].trim_end_matches('-');
                Workload::new(deployment, "Deployment", api_version)
            }
            "ReplicationController" => match metadata["labels"]["deploymentconfig"].as_str() {
                Some(config) => Workload::new(config, "DeploymentConfig", "apps.openshift.io/v1"),
                None => Workload::new(name, kind, api_version),
            },
            "Job" => match name.rsplit_once('-') {
                Some((cron, run)) if (8..=10).contains(&run.len()) && run.bytes().all(|b| b.is_ascii_digit()) => {
                    Workload::new(cron, "CronJob", api_version)
                }
                _ => Workload::new(name, kind, api_version),
            },
            _ => Workload::new(name, kind, api_version),
        }
    }

    /// A workload of this name and kind.
    pub fn new(name: &str, kind: &str, api_version: &str) -> Workload {
        Workload { name: name.into(), kind: kind.into(), api_version: api_version.into() }
    }

    /// The name that metrics show: the pod's own choice where its label makes one.
    pub(super) fn shown_name<'a>(&'a self, pod: &'a Value) -> &'a str {
        pod["metadata"]["labels"][WORKLOAD_NAME].as_str().unwrap_or(&self.name)
    }

    /// The owner as a path of the Kubernetes API.
    pub(super) fn owner(&self, namespace: &str) -> String {
        format!(
            "kubernetes://apis/{}/namespaces/{namespace}/{}s/{}",
            self.api_version,
            self.kind.to_ascii_lowercase(),
            self.name
        )
    }
}
