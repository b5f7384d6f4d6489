//! Discovery: keeps the stream to the control plane, loads what comes, and publishes it to the workers.

mod configuration;
mod connect;
mod held;
mod names;

use std::sync::Arc;
use std::time::Duration;

use lateen_api::discovery::Node;
use lateen_api::type_url;
use lateen_xds::client::{Observer, Subscriptions};

pub use configuration::{Configuration, NameTables};
pub use connect::Connector;
pub use held::{Held, HeldResource};
pub use names::resolve_names;

use crate::backoff::Backoff;
use crate::control_plane::ControlPlane;

/// How long a route or listener may wait for what it refers to.
const WARMING_LIMIT: Duration = Duration::from_secs(15);

/// The state of the stream, for readiness and metrics.
#[derive(Debug, Default)]
pub struct Stream {
    /// Streams opened.
    pub connects: std::sync::atomic::AtomicU64,
    /// Streams lost or refused.
    pub failures: std::sync::atomic::AtomicU64,
    /// Whether one is open.
    pub connected: std::sync::atomic::AtomicBool,
}

struct Watch(Arc<Stream>);

impl Observer for Watch {
    fn connected(&mut self) {
        use std::sync::atomic::Ordering::Relaxed;
        self.0.connects.fetch_add(1, Relaxed);
        self.0.connected.store(true, Relaxed);
        tracing::info!("connected to the control plane");
    }

    fn disconnected(&mut self, reason: &str) {
        use std::sync::atomic::Ordering::Relaxed;
        self.0.failures.fetch_add(1, Relaxed);
        self.0.connected.store(false, Relaxed);
        tracing::warn!(reason, "no discovery stream: serving the last configuration, trying again");
    }
}

/// Runs for ever. The types are asked for in the order in which they depend on each other.
pub async fn run(
    control: ControlPlane,
    node: Node,
    configuration: Arc<Configuration>,
    stream: Arc<Stream>,
) -> std::convert::Infallible {
    let subscriptions = configuration.subscriptions().clone();
    subscribe(&subscriptions, configuration.wants_name_table());
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    let handler = {
        let configuration = configuration.clone();
        move |update| configuration.apply(update)
    };
    let client = lateen_xds::client::run(
        Connector(control),
        node,
        subscriptions,
        handler,
        move |failures: u32| backoff.pause(failures, fastrand::f64()),
        Watch(stream),
    );
    tokio::select! {
        never = client => never,
        never = configuration.warm_up(WARMING_LIMIT) => never,
    }
}

fn subscribe(subscriptions: &Subscriptions, name_table: bool) {
    subscriptions.add_all(type_url::CLUSTER);
    subscriptions.set(type_url::ENDPOINT, Default::default());
    subscriptions.add_all(type_url::LISTENER);
    subscriptions.set(type_url::ROUTE, Default::default());
    if name_table {
        subscriptions.add_all(type_url::NAME_TABLE);
    }
}
