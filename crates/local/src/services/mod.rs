//! Services: connections to a Service's address reach one of its endpoints, from pods by rules in
//! the kernel, from the host through listeners on its loopback address.

mod balancer;
mod front;
mod host;
mod host_ports;
pub(crate) mod relay;
mod rules;
mod targets;

use std::sync::Arc;
use std::time::Duration;

use lateen_apiserver::{Client, gvr};
use lateen_nft::{L4, conntrack};

use crate::controllers::Mirror;

pub(crate) use host::expose;
pub use rules::{Datagrams, Node, Plan, TABLE, plan};

/// Changes that follow each other this closely are applied together.
const SETTLE: Duration = Duration::from_millis(20);
/// When to try again rules that the kernel refused.
const RETRY: Duration = Duration::from_secs(1);

/// Keep the rules for all Services in place, for ever.
///
/// `apply` makes the kernel follow a plan, given the one before (see [`apply`]); it is called on a
/// thread of the runtime's blocking pool, in whose network namespace the rules have to be.
pub async fn run<F>(client: Client, node: Node, apply: F)
where
    F: Fn(Option<&Plan>, &Plan) -> Result<(), lateen_nft::Error> + Send + Sync + 'static,
{
    let apply = Arc::new(apply);
    let mut mirror = Mirror::start(&client, [&gvr::SERVICES, &gvr::ENDPOINT_SLICES, &gvr::PODS]);
    let mut applied: Option<Arc<Plan>> = None;
    loop {
        let [services, slices, pods] = mirror.changed(SETTLE).await;
        let wanted = Arc::new(plan(&services, &slices, &pods, &node));
        while applied.as_ref() != Some(&wanted) {
            if put(&apply, applied.take(), Arc::clone(&wanted)).await {
                applied = Some(Arc::clone(&wanted));
            } else {
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn put<F>(apply: &Arc<F>, before: Option<Arc<Plan>>, wanted: Arc<Plan>) -> bool
where
    F: Fn(Option<&Plan>, &Plan) -> Result<(), lateen_nft::Error> + Send + Sync + 'static,
{
    let apply = Arc::clone(apply);
    match tokio::task::spawn_blocking(move || apply(before.as_deref(), &wanted)).await {
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

/// Makes the kernel's rules those of `wanted`. Clients that `before` bound to an endpoint stay there.
pub fn apply(before: Option<&Plan>, wanted: &Plan) -> Result<(), lateen_nft::Error> {
    match before {
        Some(before) if before.ruleset == wanted.ruleset => {}
        Some(before) => lateen_nft::update(&before.ruleset, &wanted.ruleset)?,
        None => lateen_nft::apply(&wanted.ruleset)?,
    }
    let nothing = Datagrams::new();
    let old = before.map_or(&nothing, |before| &before.datagrams);
    if *old != wanted.datagrams
        && let Err(error) = forget_stale(old, &wanted.datagrams)
    {
        tracing::warn!(%error, "datagrams of clients that don't change their port may still go where they went");
    }
    Ok(())
}

/// Forgets flows of datagrams that go where no rule would send them now.
fn forget_stale(old: &Datagrams, new: &Datagrams) -> Result<(), lateen_nft::Error> {
    for v6 in [false, true] {
        if !old.keys().chain(new.keys()).any(|key| key.is_ipv6() == v6) {
            continue;
        }
        conntrack::forget(L4::Udp, v6, |flow| match new.get(&flow.destination) {
            Some(targets) => !targets.contains(&flow.answers),
            None => old.contains_key(&flow.destination),
        })?;
    }
    Ok(())
}
