//! Writes what the board says.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use tokio::sync::watch;

use super::board::{Next, Statuses, Write};
use crate::metrics::{self, Metrics};

/// Writes under way at the same time: the API server has others to serve.
const AT_ONCE: usize = 4;

/// Writes statuses for as long as this istiod `leads`; ends with the election.
pub async fn write(statuses: Arc<Statuses>, client: Client, mut leads: watch::Receiver<bool>, metrics: Arc<Metrics>) {
    let mut under_way = FuturesUnordered::new();
    while leads.wait_for(|leads| *leads).await.is_ok() {
        let next = statuses.next(Instant::now(), &jiff::Timestamp::now().strftime("%FT%TZ").to_string());
        let wait = match next {
            Next::Write(write) => {
                under_way.push(patch(&client, write, &metrics));
                None
            }
            Next::At(at) => Some(Some(at)),
            Next::Nothing => Some(None),
        };
        match wait {
            None if under_way.len() < AT_ONCE => {}
            None => drop(under_way.next().await),
            Some(until) => tokio::select! {
                () = statuses.changed() => {}
                () = sleep_until(until) => {}
                Some(()) = under_way.next() => {}
                _ = leads.changed() => {}
            },
        }
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// What fails is tried again later, or once a watch has brought the version that is in the way.
async fn patch(client: &Client, write: Write, metrics: &Metrics) {
    let Write { key, patch } = write;
    let resource = key.kind.resource();
    let api: Api<DynamicObject> = match key.namespace.as_str() {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let kind = [("type", key.kind.kind)];
    match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => metrics.add(&metrics::STATUS_WRITES, &kind),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
            tracing::debug!(kind = key.kind.kind, name = key.name, code = status.code, "status not written");
        }
        Err(error) => {
            metrics.add(&metrics::STATUS_WRITE_FAILURES, &kind);
            tracing::warn!(kind = key.kind.kind, namespace = key.namespace, name = key.name, %error, "status not written");
        }
    }
}
