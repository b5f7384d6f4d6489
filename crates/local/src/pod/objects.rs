//! ConfigMaps, Secrets and tokens that a pod uses.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lateen_apiserver::{Client, Gvr, Object, gvr};
use serde_json::{Value, json};

/// Files or variables by name.
pub(crate) type Data = BTreeMap<String, Vec<u8>>;

/// The objects of one namespace that pods refer to.
#[derive(Clone)]
pub(crate) struct Objects {
    client: Client,
    namespace: String,
}

/// A ServiceAccount token to ask for.
#[derive(Debug, Clone)]
pub(crate) struct TokenWish<'a> {
    pub(crate) service_account: &'a str,
    pub(crate) audience: Option<&'a str>,
    pub(crate) seconds: i64,
    pub(crate) pod: &'a str,
    pub(crate) uid: &'a str,
}

impl Objects {
    pub(crate) fn new(client: Client, namespace: impl Into<String>) -> Self {
        Objects { client, namespace: namespace.into() }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The API server's Service, and with `all` those of the namespace. What can't be read is left out.
    pub(crate) async fn services(&self, all: bool) -> Vec<Object> {
        let mut services = Vec::new();
        if all {
            services =
                self.client.list(&gvr::SERVICES, Some(&self.namespace)).await.map_or(services, |list| list.items);
        }
        services.extend(self.client.get(&gvr::SERVICES, "default", "kubernetes").await);
        services
    }

    /// What a ConfigMap holds; nothing where it is absent and need not be there.
    pub(crate) async fn config_map(&self, name: &str, optional: bool) -> Result<Data, String> {
        let Some(object) = self.get(&gvr::CONFIG_MAPS, "configmap", name, optional).await? else {
            return Ok(Data::new());
        };
        let mut data = encoded(&object["binaryData"]);
        for (key, value) in object["data"].as_object().into_iter().flatten() {
            data.insert(key.clone(), value.as_str().unwrap_or_default().into());
        }
        Ok(data)
    }

    /// What a Secret holds; nothing where it is absent and need not be there.
    pub(crate) async fn secret(&self, name: &str, optional: bool) -> Result<Data, String> {
        let object = self.get(&gvr::SECRETS, "secret", name, optional).await?;
        Ok(object.map(|object| encoded(&object["data"])).unwrap_or_default())
    }

    /// The PersistentVolume that a claim is bound to.
    pub(crate) async fn volume_of(&self, claim: &str) -> Result<std::sync::Arc<Value>, String> {
        let kind = &gvr::PERSISTENT_VOLUME_CLAIMS;
        let found = self.get(kind, "persistentvolumeclaim", claim, false).await?;
        let found = found.filter(|claim| claim["status"]["phase"] == "Bound");
        let name = found.as_ref().and_then(|claim| claim["spec"]["volumeName"].as_str());
        let name = name.ok_or_else(|| format!("persistentvolumeclaim {claim:?} is not bound yet"))?;
        let volume = self.client.get(&gvr::PERSISTENT_VOLUMES, "", name).await;
        volume.map_err(|status| status.to_string())
    }

    async fn get(
        &self,
        kind: &Gvr,
        singular: &str,
        name: &str,
        optional: bool,
    ) -> Result<Option<std::sync::Arc<Value>>, String> {
        match self.client.get(kind, &self.namespace, name).await {
            Ok(object) => Ok(Some(object)),
            Err(status) if status.code == 404 && optional => Ok(None),
            Err(status) if status.code == 404 => Err(format!("{singular} {name:?} not found")),
            Err(status) => Err(status.to_string()),
        }
    }

    /// A token for a pod, and when it expires in seconds since 1970.
    pub(crate) async fn token(&self, wish: &TokenWish<'_>) -> Result<(String, i64), String> {
        let audiences: Vec<&str> = wish.audience.into_iter().collect();
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": audiences,
                "expirationSeconds": wish.seconds,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": wish.pod, "uid": wish.uid},
            },
        });
        let account = wish.service_account;
        let made = self
            .client
            .create_token(&self.namespace, account, &request)
            .await
            .map_err(|e| format!("token for service account {account:?}: {e}"))?;
        let status = &made["status"];
        let expires = status["expirationTimestamp"].as_str().and_then(|t| t.parse().ok());
        let expires: jiff::Timestamp = expires.ok_or("the token has no expiry")?;
        let token = status["token"].as_str().ok_or("the API server gave no token")?;
        Ok((token.to_owned(), expires.as_second()))
    }
}

fn encoded(map: &Value) -> Data {
    let entries = map.as_object().into_iter().flatten();
    let decode = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default()).ok();
    entries.filter_map(|(key, value)| Some((key.clone(), decode(value)?))).collect()
}
