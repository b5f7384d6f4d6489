//! What every namespace gets: the ServiceAccount `default` and the cluster's root certificate.

use lateen_apiserver::{Status, gvr};
use serde_json::{Value, json};

use super::api::{Api, Key};
use super::object::Meta;
use super::queue::{Next, Reconcile};

/// The ServiceAccount of pods that name none.
pub const DEFAULT_ACCOUNT: &str = "default";
/// The ConfigMap with the API server's root certificate.
pub const ROOT_CA: &str = "kube-root-ca.crt";

/// Keeps [`DEFAULT_ACCOUNT`] and [`ROOT_CA`] in every namespace.
pub struct NamespaceBasics {
    api: Api,
    root_ca: String,
}

impl NamespaceBasics {
    /// A controller that works through `api`; `root_ca` is PEM.
    #[must_use]
    pub fn new(api: Api, root_ca: String) -> Self {
        Self { api, root_ca }
    }

    async fn keep_account(&self, namespace: &str) -> Result<(), Status> {
        if self.api.find(&gvr::SERVICE_ACCOUNTS, namespace, DEFAULT_ACCOUNT).await?.is_none() {
            let account = json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": DEFAULT_ACCOUNT, "namespace": namespace},
            });
            allow_existing(self.api.create(&gvr::SERVICE_ACCOUNTS, account).await)?;
        }
        Ok(())
    }

    async fn keep_root(&self, namespace: &str) -> Result<(), Status> {
        let data = json!({"ca.crt": self.root_ca});
        match self.api.find(&gvr::CONFIG_MAPS, namespace, ROOT_CA).await? {
            Some(map) if map["data"] == data => Ok(()),
            Some(map) => {
                let mut map = Value::clone(&map);
                map["data"] = data;
                self.api.update(&gvr::CONFIG_MAPS, map).await.map(|_| ())
            }
            None => {
                let map = json!({
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": ROOT_CA, "namespace": namespace, "annotations": {
                        "kubernetes.io/description": "The certificate authority of the API server; \
                            clients inside the cluster verify it with this.",
                    }},
                    "data": data,
                });
                allow_existing(self.api.create(&gvr::CONFIG_MAPS, map).await)
            }
        }
    }
}

fn allow_existing<T>(result: Result<T, Status>) -> Result<(), Status> {
    match result {
        Err(status) if status.reason != "AlreadyExists" => Err(status),
        _ => Ok(()),
    }
}

impl Reconcile for NamespaceBasics {
    type Key = Key;
    type Error = Status;

    fn name(&self) -> &'static str {
        "serviceaccount"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Status> {
        match self.api.find(&gvr::NAMESPACES, "", &key.name).await? {
            Some(namespace) if !namespace.is_terminating() => {
                self.keep_account(&key.name).await?;
                self.keep_root(&key.name).await?;
            }
            _ => {}
        }
        Ok(Next::Done)
    }
}
