//! The proxies that are connected, for status pages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use lateen_api::type_url;
use lateen_xds::server::TypeStatus;
use parking_lot::Mutex;
use serde_json::{Value, json};

/// Types shown, with Istio's word for each.
const TYPES: [(&str, &str); 5] = [
    (type_url::CLUSTER, "cluster"),
    (type_url::LISTENER, "listener"),
    (type_url::ROUTE, "route"),
    (type_url::ENDPOINT, "endpoint"),
    (type_url::NAME_TABLE, "name_table"),
];

/// One connected proxy.
#[derive(Clone, Debug)]
pub struct ClientStatus {
    /// Name of the connection, unique in this istiod.
    pub connection: String,
    /// `pod.namespace`.
    pub proxy: String,
    /// `sidecar`, `router`, ….
    pub proxy_type: String,
    /// Cluster that the proxy says it runs in.
    pub cluster_id: String,
    /// Version that the proxy says it has.
    pub version: String,
    /// Where it connects from.
    pub address: String,
    /// Since when.
    pub connected: SystemTime,
    /// State of each type it asked for.
    pub types: BTreeMap<Arc<str>, TypeStatus>,
}

/// All connected proxies.
#[derive(Default)]
pub struct Clients {
    next: AtomicU64,
    all: Mutex<BTreeMap<u64, ClientStatus>>,
}

impl Clients {
    /// Adds a client until the guard is dropped.
    pub fn add(self: &Arc<Self>, mut status: ClientStatus) -> ClientGuard {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        status.connection = format!("{}-{id}", status.proxy);
        self.all.lock().insert(id, status);
        ClientGuard { id, clients: self.clone() }
    }

    /// How many clients refuse their resources of a type.
    pub fn rejecting(&self, type_url: &str) -> usize {
        let rejects = |client: &&ClientStatus| client.types.get(type_url).is_some_and(|status| status.error.is_some());
        self.all.lock().values().filter(rejects).count()
    }

    /// The sync state of each proxy, as `/debug/syncz` shows it.
    pub fn syncz(&self, istiod: &str) -> Value {
        self.all.lock().values().map(|client| sync_state(client, istiod)).collect()
    }

    /// The connections, as `/debug/connections` shows them.
    pub fn connections(&self) -> Value {
        let all = self.all.lock();
        let clients: Vec<Value> = all.values().map(connection).collect();
        json!({ "totalClients": clients.len(), "clients": clients })
    }

    /// The connections with what they watch, as `/debug/adsz` shows them.
    pub fn adsz(&self, version: u64) -> Value {
        let all = self.all.lock();
        let clients: Vec<Value> = all
            .values()
            .map(|client| {
                let mut value = connection(client);
                let watches = client.types.iter().map(|(url, status)| {
                    let shown = json!({
                        "sent": status.sent, "acked": status.acked, "error": status.error,
                        "resources": status.resources,
                    });
                    (url.to_string(), shown)
                });
                value["watches"] = Value::Object(watches.collect());
                value
            })
            .collect();
        json!({ "version": version, "totalClients": clients.len(), "clients": clients })
    }
}

fn connection(client: &ClientStatus) -> Value {
    let connected = jiff::Timestamp::try_from(client.connected).unwrap_or_default();
    json!({
        "connectionId": client.connection,
        "proxy": client.proxy,
        "address": client.address,
        "connectedAt": connected.to_string(),
    })
}

fn sync_state(client: &ClientStatus, istiod: &str) -> Value {
    let mut value = json!({
        "cluster_id": client.cluster_id,
        "proxy": client.proxy,
        "proxy_type": client.proxy_type,
        "istio_version": client.version,
        "istiod": istiod,
    });
    for (url, word) in TYPES {
        if let Some(status) = client.types.get(url) {
            value[format!("{word}_sent")] = json!(status.sent);
            value[format!("{word}_acked")] = json!(status.acked);
            if let Some(error) = &status.error {
                value[format!("{word}_error")] = json!(error);
            }
        }
    }
    value
}

/// Keeps a client in the list.
pub struct ClientGuard {
    id: u64,
    clients: Arc<Clients>,
}

impl ClientGuard {
    /// Notes the state of the client's types.
    pub fn update(&self, types: BTreeMap<Arc<str>, TypeStatus>) {
        if let Some(client) = self.clients.all.lock().get_mut(&self.id) {
            client.types = types;
        }
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.clients.all.lock().remove(&self.id);
    }
}
