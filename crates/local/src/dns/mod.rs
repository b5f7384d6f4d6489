//! The cluster's DNS server, for pods with or without sidecar.

mod answer;
mod forward;
mod manifests;
mod server;
mod zone;

use std::time::Duration;

use lateen_apiserver::{Client, gvr};

use crate::controllers::Mirror;

pub use forward::Upstreams;
pub use manifests::manifests;
pub use server::{Sockets, Zones, serve};
pub use zone::Zone;

/// Changes that follow each other this closely are published together.
const SETTLE: Duration = Duration::from_millis(20);

/// Answer on `sockets` for the cluster's names in `domain`, for ever. Other names are asked of
/// `upstreams`.
pub async fn run(client: Client, domain: &str, sockets: Sockets, upstreams: Upstreams) {
    let mut mirror = Mirror::start(&client, [&gvr::SERVICES, &gvr::ENDPOINT_SLICES]);
    let zones = Zones::default();
    // Nobody is told that a name doesn't exist before all names are known.
    let [services, slices] = mirror.changed(SETTLE).await;
    zones.publish(Zone::build(domain, &services, &slices));
    let _servers = serve(sockets, zones.clone(), upstreams);
    loop {
        let [services, slices] = mirror.changed(SETTLE).await;
        zones.publish(Zone::build(domain, &services, &slices));
    }
}
