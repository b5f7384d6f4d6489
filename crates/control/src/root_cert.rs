//! Keeps the mesh's root certificate in every namespace, where sidecars mount it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio::sync::mpsc;

/// Name of the ConfigMap.
pub const NAME: &str = "istio-ca-root-cert";
const KEY: &str = "root-cert.pem";

/// Namespaces that Istio leaves alone.
const SKIPPED: [&str; 3] = ["kube-node-lease", "kube-public", "local-path-storage"];
const RETRY: Duration = Duration::from_millis(500);

/// Writes the root into the namespaces whose names arrive, and again wherever another changes or
/// deletes it. Ends with the sender of names.
pub async fn distribute(client: Client, root_pem: String, mut namespaces: mpsc::Receiver<String>) {
    let maps: Api<ConfigMap> = Api::all(client.clone());
    let selected = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let mut events = std::pin::pin!(watcher::watcher(maps, selected).default_backoff());
    let mut failed = BTreeSet::new();
    loop {
        let next = tokio::select! {
            next = namespaces.recv() => match next {
                Some(namespace) => Some(namespace),
                None => return,
            },
            event = events.next() => event.and_then(|event| damaged(event, &root_pem)),
            () = tokio::time::sleep(RETRY), if !failed.is_empty() => failed.pop_first(),
        };
        let Some(namespace) = next else { continue };
        if SKIPPED.contains(&namespace.as_str()) {
            continue;
        }
        match write(&client, &namespace, &root_pem).await {
            Err(error) if !is_refused(&error) => {
                tracing::warn!(namespace, %error, "could not write the root certificate; trying again");
                failed.insert(namespace);
            }
            _ => {}
        }
    }
}

/// A namespace on its way out refuses new objects.
fn is_refused(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 || status.code == 403)
}

/// The namespace whose ConfigMap isn't as it should be.
fn damaged(event: watcher::Result<watcher::Event<ConfigMap>>, root_pem: &str) -> Option<String> {
    let intact = |map: &ConfigMap| {
        let data = map.data.as_ref();
        map.metadata.name.as_deref() != Some(NAME)
            || data.and_then(|data| data.get(KEY)).is_some_and(|found| found == root_pem)
    };
    match event {
        Ok(watcher::Event::Apply(map) | watcher::Event::InitApply(map)) if !intact(&map) => map.metadata.namespace,
        Ok(watcher::Event::Delete(map)) => map.metadata.namespace,
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(%error, "watch of the root certificates");
            None
        }
    }
}

async fn write(client: &Client, namespace: &str, root_pem: &str) -> Result<(), kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let wanted = config_map(namespace, root_pem);
    match api.get_opt(NAME).await? {
        Some(current) if current.data == wanted.data => Ok(()),
        Some(_) => {
            let data = Patch::Merge(serde_json::json!({ "data": wanted.data }));
            api.patch(NAME, &PatchParams::default(), &data).await.map(drop)
        }
        None => match api.create(&PostParams::default(), &wanted).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            other => other.map(drop),
        },
    }
}

fn config_map(namespace: &str, root_pem: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(BTreeMap::from([("istio.io/config".to_owned(), "true".to_owned())])),
            ..Default::default()
        },
        data: Some(BTreeMap::from([(KEY.to_owned(), root_pem.to_owned())])),
        ..Default::default()
    }
}
