//! What becomes of Istio's objects, told to the board after each publication.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lateen_control_core::resource;
use lateen_control_core::status::{Report, reports, unsupported};
use tokio::sync::watch;

use super::board::{Make, Statuses};
use crate::source::Key;
use crate::state::Published;

/// Changes that follow each other this closely are judged together: pods come and go in numbers.
const SETTLE: Duration = Duration::from_millis(500);
/// For each moment of work this many of rest.
const REST: u32 = 10;

/// Judges the state of the mesh while this istiod `leads`; ends with what is published.
pub async fn judge(
    mut published: watch::Receiver<Arc<Published>>,
    statuses: Arc<Statuses>,
    mut leads: watch::Receiver<bool>,
) {
    let mut told: BTreeMap<resource::Key, Report> = BTreeMap::new();
    loop {
        if leads.wait_for(|leads| *leads).await.is_err() {
            return;
        }
        let now = published.borrow_and_update().clone();
        let started = Instant::now();
        // Nothing was read yet when nothing was published.
        if now.version > 0 {
            let snapshot = now.snapshot.clone();
            let Ok(found) = tokio::task::spawn_blocking(move || reports(&snapshot)).await else { return };
            tell(&statuses, &told, &found);
            told = found;
        }
        let took = started.elapsed();
        tracing::debug!(objects = told.len(), ?took, "judged");
        tokio::select! {
            changed = published.changed() => match changed {
                Ok(()) => tokio::time::sleep(SETTLE.max(took * REST)).await,
                Err(_) => return,
            },
            _ = leads.changed() => {}
        }
        if !*leads.borrow() {
            // By the time that it leads again all of this is old.
            statuses.forget();
            told.clear();
        }
    }
}

/// Tells what differs from before.
fn tell(statuses: &Statuses, before: &BTreeMap<resource::Key, Report>, now: &BTreeMap<resource::Key, Report>) {
    for (key, report) in now {
        let is_news = before.get(key) != Some(report);
        // An object that was deleted and created again has to be told about again.
        if let Some(key) = Key::of(key).filter(|key| is_news || !statuses.cares_for(key)) {
            let report = report.clone();
            let make: Make = Arc::new(move |current| report.status(current.status, current.now));
            statuses.want(&key, Some(make));
        }
    }
}

/// Says of an object of a kind that istiod does not read that it has no effect.
pub(crate) fn disclaim(statuses: &Statuses, key: &Key) {
    let kind = key.kind.kind;
    let make: Make = Arc::new(move |current| unsupported(kind, current.generation, current.status, current.now));
    statuses.want(key, Some(make));
}
