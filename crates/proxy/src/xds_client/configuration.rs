//! From updates to published tables.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3::Secret;
use lateen_api::nds::NameTable;
use lateen_api::type_url;
use lateen_proxy_core::load::Loader;
use lateen_xds::client::{Rejected, Subscriptions, Update};
use parking_lot::{Mutex, MutexGuard};
use prost::Message;
use tokio::sync::Notify;

use super::held::Held;
use crate::certs::{CertStore, Credential};
use crate::readiness::Readiness;
use crate::state::State;

/// Takes name tables.
pub trait NameTables: Send + Sync {
    /// Answers from this table from now on.
    fn replace(&self, table: NameTable);
}

/// All configuration of this proxy: what was received, what became of it, what is wanted next.
pub struct Configuration {
    loading: Mutex<Loading>,
    subscriptions: Subscriptions,
    state: Arc<State>,
    readiness: Arc<Readiness>,
    names: Option<Arc<dyn NameTables>>,
    certs: Arc<CertStore>,
    waiting: Notify,
    resolving: Notify,
}

#[derive(Default)]
struct Loading {
    loader: Loader,
    held: Held,
}

impl Configuration {
    /// Publishes to `state`; name tables go to `names`, and are only wanted where there is one; credentials go to
    /// `certs`.
    pub fn new(
        state: Arc<State>,
        readiness: Arc<Readiness>,
        names: Option<Arc<dyn NameTables>>,
        certs: Arc<CertStore>,
    ) -> Configuration {
        Configuration {
            loading: Mutex::default(),
            subscriptions: Subscriptions::default(),
            state,
            readiness,
            names,
            certs,
            waiting: Notify::new(),
            resolving: Notify::new(),
        }
    }

    /// What discovery is asked for.
    pub fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// Whether name tables are wanted.
    pub(super) fn wants_name_table(&self) -> bool {
        self.names.is_some()
    }

    /// Reads what was received.
    pub fn with_held<R>(&self, read: impl FnOnce(&Held) -> R) -> R {
        read(&self.loading.lock().held)
    }

    /// Takes an update and publishes what it changes; bad resources are named and change nothing.
    pub(super) fn apply(&self, update: Update) -> Vec<Rejected> {
        if update.type_url == type_url::NAME_TABLE {
            return self.apply_name_table(update);
        }
        if update.type_url == type_url::SECRET {
            return self.apply_secrets(update);
        }
        let mut loading = self.loading.lock();
        let upserts: Vec<_> = update.upserts.iter().map(|(name, _, bytes)| (name.clone(), bytes.clone())).collect();
        let rejected = loading.loader.apply(&update.type_url, &upserts, &update.removed);
        for (name, reason) in &rejected {
            tracing::warn!(name, reason, "refused a resource of the control plane");
        }
        loading.keep(&update, &rejected);
        match update.type_url.as_str() {
            type_url::CLUSTER => self.readiness.clusters_received(),
            type_url::LISTENER => self.readiness.listeners_received(),
            _ => {}
        }
        self.publish(loading, false);
        rejected.into_iter().map(|(name, reason)| Rejected { name, reason }).collect()
    }

    fn apply_name_table(&self, update: Update) -> Vec<Rejected> {
        let mut rejected = Vec::new();
        for (name, version, bytes) in update.upserts {
            match NameTable::decode(bytes.clone()) {
                Ok(table) => {
                    if let Some(names) = &self.names {
                        names.replace(table);
                    }
                    let mut loading = self.loading.lock();
                    loading.held.insert(&update.type_url, name, version, bytes, SystemTime::now());
                }
                Err(error) => rejected.push(Rejected { name, reason: error.to_string() }),
            }
        }
        rejected
    }

    /// A credential that can't be used changes nothing, and one that is gone neither: the last good one is served for
    /// as long as something names it. They are not held for the admin interface.
    fn apply_secrets(&self, update: Update) -> Vec<Rejected> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let (mut good, mut rejected) = (Vec::new(), Vec::new());
        for (name, _, bytes) in update.upserts {
            let secret = Secret::decode(bytes).map_err(|error| error.to_string());
            match secret.and_then(|secret| Credential::parse(&secret, &provider)) {
                Ok(credential) => good.push((name, credential)),
                Err(reason) => {
                    tracing::warn!(name, reason, "refused a credential: serving the last good one, if there was one");
                    rejected.push(Rejected { name, reason });
                }
            }
        }
        for name in &update.removed {
            tracing::warn!(name, "a credential is gone: serving the last one, if there was one");
        }
        self.certs.take_credentials(good);
        rejected
    }

    /// Publishes, and asks for what is wanted now.
    fn publish(&self, mut loading: MutexGuard<'_, Loading>, impatient: bool) {
        let tables = loading.loader.tables(impatient);
        let wanted = loading.loader.wanted();
        let waiting = loading.loader.waiting();
        drop(loading);
        self.state.publish(tables);
        self.subscriptions.set(type_url::ENDPOINT, wanted.endpoints);
        self.subscriptions.set(type_url::ROUTE, wanted.routes);
        self.want_secrets(wanted.secrets);
        self.resolving.notify_one();
        if waiting && !impatient {
            self.waiting.notify_one();
        } else {
            self.readiness.published();
        }
    }

    /// A proxy that never named a secret doesn't ask for the type at all.
    fn want_secrets(&self, names: BTreeSet<String>) {
        let asked = self.subscriptions.wanted().names(type_url::SECRET).is_some();
        if asked || !names.is_empty() {
            self.certs.keep_credentials(&names);
            self.subscriptions.set(type_url::SECRET, names);
        }
    }

    /// Publishes what has waited for too long as it is. Runs for ever.
    pub(super) async fn warm_up(&self, limit: Duration) -> Infallible {
        loop {
            self.waiting.notified().await;
            tokio::time::sleep(limit).await;
            let loading = self.loading.lock();
            if loading.loader.waiting() {
                tracing::warn!("some configuration waits for resources that do not come: using it as it is");
                self.publish(loading, true);
            }
        }
    }

    /// Names of endpoints that have to be resolved here.
    pub(super) fn names(&self) -> Vec<String> {
        self.loading.lock().loader.names().into_iter().collect()
    }

    /// Waits until the names may have changed.
    pub(super) async fn names_changed(&self) {
        self.resolving.notified().await;
    }

    /// Takes the addresses of such names.
    pub(super) fn resolved(&self, answers: Vec<(String, Vec<IpAddr>)>) {
        let mut loading = self.loading.lock();
        for (name, addresses) in answers {
            loading.loader.resolved(&name, addresses);
        }
        let tables = loading.loader.tables(false);
        drop(loading);
        self.state.publish(tables);
    }
}

impl Loading {
    fn keep(&mut self, update: &Update, rejected: &[(String, String)]) {
        let now = SystemTime::now();
        for (name, version, bytes) in &update.upserts {
            match rejected.iter().find(|(bad, _)| bad == name) {
                Some((_, reason)) => self.held.refuse(&update.type_url, name, reason),
                None => self.held.insert(&update.type_url, name.clone(), version.clone(), bytes.clone(), now),
            }
        }
        for name in &update.removed {
            self.held.remove(&update.type_url, name);
        }
    }
}
