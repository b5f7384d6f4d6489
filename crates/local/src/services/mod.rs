//! ClusterIPs: connections to a Service's address reach one of its endpoints.

mod rules;

use std::sync::Arc;
use std::time::Duration;

use lateen_apiserver::{Client, gvr};
use lateen_nft::Ruleset;

use crate::controllers::Mirror;

pub use rules::{Node, TABLE, ruleset};

/// Changes that follow each other this closely are applied together.
const SETTLE: Duration = Duration::from_millis(20);
/// When to try again rules that the kernel refused.
const RETRY: Duration = Duration::from_secs(1);

/// Keep the rules for all Services in place, for ever.
///
/// `apply` puts a ruleset into the kernel (see [`lateen_nft::apply`]); it is called on a thread
/// of the runtime's blocking pool, in whose network namespace the rules have to be.
pub async fn run<F>(client: Client, node: Node, apply: F)
where
    F: Fn(&Ruleset) -> Result<(), lateen_nft::Error> + Send + Sync + 'static,
{
    let apply = Arc::new(apply);
    let mut mirror = Mirror::start(&client, [&gvr::SERVICES, &gvr::ENDPOINT_SLICES]);
    let mut applied = None;
    loop {
        let [services, slices] = mirror.changed(SETTLE).await;
        let wanted = Arc::new(ruleset(&services, &slices, &node));
        while applied.as_ref() != Some(&wanted) {
            if put(&apply, &wanted).await {
                applied = Some(Arc::clone(&wanted));
            } else {
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn put<F>(apply: &Arc<F>, ruleset: &Arc<Ruleset>) -> bool
where
    F: Fn(&Ruleset) -> Result<(), lateen_nft::Error> + Send + Sync + 'static,
{
    let (apply, ruleset) = (Arc::clone(apply), Arc::clone(ruleset));
    match tokio::task::spawn_blocking(move || apply(&ruleset)).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::error!(%error, "Services are not reachable: their rules were refused; trying again");
            false
        }
        Err(error) => {
            tracing::error!(%error, "rules of Services not applied; trying again");
            false
        }
    }
}
