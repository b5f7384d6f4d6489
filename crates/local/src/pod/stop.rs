//! Ending containers in order.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::hooks;
use super::live::Live;

/// Ends groups of containers one after the other; those of a group together. At the deadline,
/// which may be moved, whatever still runs is killed.
pub(crate) async fn in_order(groups: Vec<Vec<Arc<Live>>>, deadline: watch::Receiver<Instant>) {
    for group in groups {
        futures::future::join_all(group.into_iter().map(|live| one(live, deadline.clone()))).await;
    }
}

/// Ends one container: its hook, then the request to end, at the deadline the end.
pub(crate) async fn one(live: Arc<Live>, deadline: watch::Receiver<Instant>) {
    let mut exited = live.exited.clone();
    tokio::select! {
        () = politely(&live) => {}
        () = passed(deadline) => live.container.kill(),
        _ = exited.wait_for(Option::is_some) => return,
    }
    let _ = live.exited.clone().wait_for(Option::is_some).await;
}

async fn politely(live: &Live) {
    if let Some(hook) = live.spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref())
        && let Err(reason) = hooks::run(hook, live).await
    {
        tracing::warn!(container = live.spec.name, reason, "preStop hook failed");
    }
    live.container.terminate();
    let _ = live.exited.clone().wait_for(Option::is_some).await;
}

async fn passed(mut deadline: watch::Receiver<Instant>) {
    loop {
        let at = *deadline.borrow_and_update();
        tokio::select! {
            () = sleep_until(at) => return,
            changed = deadline.changed() => if changed.is_err() {
                let _ = timeout_at(at, std::future::pending::<()>()).await;
                return;
            },
        }
    }
}
