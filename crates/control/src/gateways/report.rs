use std::collections::BTreeMap;
use std::sync::Arc;

use lateen_control_core::gateway_api::{Status, merged};
use lateen_control_core::resource;
use tokio::sync::watch;

use crate::source::Key;
use crate::state::Published;
use crate::status::{Make, Statuses};

/// Tells the board after each publication what the statuses should be, while this istiod `leads`; ends with what is
/// published.
pub async fn report(
    mut published: watch::Receiver<Arc<Published>>,
    statuses: Arc<Statuses>,
    mut leads: watch::Receiver<bool>,
) {
    let mut told: BTreeMap<resource::Key, Status> = BTreeMap::new();
    loop {
        if leads.wait_for(|leads| *leads).await.is_err() {
            return;
        }
        let now = published.borrow_and_update().snapshot.gateway_api.clone();
        for (key, status) in &now.statuses {
            let is_news = told.get(key) != Some(status);
            // An object that was deleted and created again has to be told about again.
            if let Some(key) = Key::of(key).filter(|key| is_news || !statuses.cares_for(key)) {
                statuses.want(&key, Some(make(status.clone())));
            }
        }
        for key in told.keys().filter(|key| !now.statuses.contains_key(*key)).filter_map(Key::of) {
            statuses.want(&key, None);
        }
        told.clone_from(&now.statuses);
        tokio::select! {
            changed = published.changed() => if changed.is_err() { return },
            _ = leads.changed() => {}
        }
        if !*leads.borrow() {
            // By the time that it leads again all of this is old.
            told.keys().filter_map(Key::of).for_each(|key| statuses.want(&key, None));
            told.clear();
        }
    }
}

fn make(status: Status) -> Make {
    Arc::new(move |current| merged(current.status, &status, current.now).unwrap_or_else(|| current.status.clone()))
}
