//! Keeps the mesh's root certificate in every namespace, where sidecars mount it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};

use crate::ca::Active;

/// Name of the ConfigMap.
pub const NAME: &str = "istio-ca-root-cert";
const KEY: &str = "root-cert.pem";
const REVOKED: &str = "ca-crl.pem";

type Data = BTreeMap<String, String>;

/// Namespaces that Istio leaves alone.
const SKIPPED: [&str; 3] = ["kube-node-lease", "kube-public", "local-path-storage"];
const RETRY: Duration = Duration::from_millis(500);

/// Writes what is trusted into the namespaces whose names arrive, and again when it changes and wherever another changes
/// or deletes it. What is there is replaced only by the istiod that leads: two that don't trust the same for a moment
/// would replace each other's without end. Ends with the sender of names.
pub async fn distribute(
    client: Client,
    mut ca: watch::Receiver<Active>,
    mut leads: watch::Receiver<bool>,
    mut namespaces: mpsc::Receiver<String>,
) {
    let maps: Api<ConfigMap> = Api::all(client.clone());
    let selected = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let mut events = std::pin::pin!(watcher::watcher(maps, selected).default_backoff());
    let mut data = content(&ca.borrow_and_update());
    let (mut known, mut due) = (BTreeSet::new(), BTreeSet::new());
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            next = namespaces.recv() => match next {
                Some(namespace) => {
                    known.insert(namespace.clone());
                    due.insert(namespace);
                }
                None => return,
            },
            event = events.next() => due.extend(event.and_then(|event| damaged(event, &data))),
            Ok(()) = ca.changed() => {
                data = content(&ca.borrow_and_update());
                due.extend(known.iter().cloned());
            }
            Ok(()) = leads.changed() => {
                if *leads.borrow_and_update() {
                    due.extend(known.iter().cloned());
                }
            }
            () = tokio::time::sleep(pause), if !due.is_empty() => {
                let Some(namespace) = due.pop_first().filter(|name| !SKIPPED.contains(&name.as_str())) else {
                    continue;
                };
                pause = Duration::ZERO;
                let replaces = *leads.borrow();
                match write(&client, &namespace, &data, replaces).await {
                    Err(error) if error_is(&error, 404) => drop(known.remove(&namespace)),
                    Err(error) if !error_is(&error, 403) => {
                        tracing::warn!(namespace, %error, "could not write the root certificate; trying again");
                        due.insert(namespace);
                        pause = RETRY;
                    }
                    _ => {}
                }
            }
        }
    }
}

fn content(active: &Active) -> Data {
    let mut data = Data::from([(KEY.to_owned(), active.roots.to_string())]);
    if !active.revoked.is_empty() {
        data.insert(REVOKED.to_owned(), active.revoked.to_string());
    }
    data
}

/// A namespace on its way out refuses new objects (403), one that is gone has none (404).
fn error_is(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// The namespace whose ConfigMap isn't as it should be.
fn damaged(event: watcher::Result<watcher::Event<ConfigMap>>, data: &Data) -> Option<String> {
    let intact = |map: &ConfigMap| map.metadata.name.as_deref() != Some(NAME) || map.data.as_ref() == Some(data);
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

async fn write(client: &Client, namespace: &str, data: &Data, replaces: bool) -> Result<(), kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let wanted = config_map(namespace, data);
    match api.get_opt(NAME).await? {
        Some(current) if current.data == wanted.data || !replaces => Ok(()),
        Some(current) => {
            // Keys of before go.
            let gone = current.data.iter().flatten().map(|(key, _)| (key, None));
            let values: BTreeMap<&String, Option<&String>> =
                gone.chain(data.iter().map(|(k, v)| (k, Some(v)))).collect();
            let patch = Patch::Merge(serde_json::json!({ "data": values }));
            api.patch(NAME, &PatchParams::default(), &patch).await.map(drop)
        }
        None => match api.create(&PostParams::default(), &wanted).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            other => other.map(drop),
        },
    }
}

fn config_map(namespace: &str, data: &Data) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(BTreeMap::from([("istio.io/config".to_owned(), "true".to_owned())])),
            ..Default::default()
        },
        data: Some(data.clone()),
        ..Default::default()
    }
}
