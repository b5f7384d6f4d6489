//! `pods/portforward`: connections to ports of a pod, over SPDY/3.1, plain or inside a WebSocket.
//!
//! For each connection the client opens two streams with the same request id: one for errors, one
//! for the bytes.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response};
use serde_json::Value;
use tokio::io::{AsyncWriteExt, DuplexStream, copy_bidirectional};
use tokio::task::JoinSet;

use super::query::Query;
use super::spdy::{Incoming, Session};
use super::upgrade::{Upgrade, choose_protocol};
use super::{port_channels, tunnel};
use crate::runtime::{ContainerRef, PodRuntime};
use crate::status::Status;

const PROTOCOL: &str = "portforward.k8s.io";
const TUNNEL_PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";
/// Ports over one WebSocket: each has two of the 256 channels.
const PORTS: usize = 100;
/// Connections whose second stream has not come yet.
const HALF_OPEN: usize = 64;

/// Answer a request to forward ports of `pod`.
pub(super) async fn serve(
    pod: &Value,
    query: &Query,
    request: Request<Body>,
    runtime: Arc<dyn PodRuntime>,
) -> Result<Response<Body>, Status> {
    if pod["status"]["phase"] != "Running" {
        let phase = pod["status"]["phase"].as_str().unwrap_or("unknown");
        let text = format!("unable to forward port because pod is not running. Current status={phase}");
        return Err(Status::bad_request(text));
    }
    let metadata = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    let pod = ContainerRef {
        namespace: metadata("namespace"),
        pod: metadata("name"),
        uid: metadata("uid"),
        container: String::new(),
    };
    match Upgrade::of(request).await? {
        Upgrade::WebSocket(upgrade) => {
            let (upgrade, protocol) = choose_protocol(*upgrade, &[TUNNEL_PROTOCOL, port_channels::PROTOCOL])?;
            let ports = if protocol == TUNNEL_PROTOCOL { Vec::new() } else { ports(query)? };
            Ok(upgrade.on_upgrade(move |socket| async move {
                if protocol == TUNNEL_PROTOCOL {
                    forward(Session::start(tunnel::bytes_of(socket)), pod, runtime).await;
                } else {
                    port_channels::forward(socket, ports, pod, runtime).await;
                }
            }))
        }
        Upgrade::Spdy(upgrade) => upgrade.accept(&[PROTOCOL], move |connection| async move {
            forward(Session::start(connection), pod, runtime).await;
        }),
    }
}

/// The ports that the query names, where the protocol doesn't.
fn ports(query: &Query) -> Result<Vec<u16>, Status> {
    let number = |text: &str| match text.parse() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(Status::bad_request(format!("invalid port {text:?}"))),
    };
    let ports: Vec<u16> = query.all("ports").flat_map(|list| list.split(',')).map(number).collect::<Result<_, _>>()?;
    match ports.len() {
        0 => Err(Status::bad_request("query parameter \"ports\" is required")),
        1..=PORTS => Ok(ports),
        _ => Err(Status::bad_request(format!("at most {PORTS} ports can be forwarded at once"))),
    }
}

#[derive(Default)]
struct Pair {
    error: Option<DuplexStream>,
    data: Option<(u16, DuplexStream)>,
}

async fn forward(mut session: Session, pod: ContainerRef, runtime: Arc<dyn PodRuntime>) {
    let mut pairs: HashMap<String, Pair> = HashMap::new();
    // Ends all connections when the client is gone.
    let mut connections = JoinSet::new();
    while let Some(stream) = session.next().await {
        while connections.try_join_next().is_some() {}
        let id = stream.header("requestid").to_owned();
        if pairs.len() >= HALF_OPEN && !pairs.contains_key(&id) {
            continue;
        }
        let pair = pairs.entry(id.clone()).or_default();
        if !pair.add(stream) {
            pairs.remove(&id);
            continue;
        }
        if let Pair { error: Some(_), data: Some(_) } = pair
            && let Some(Pair { error: Some(error), data: Some((port, data)) }) = pairs.remove(&id)
        {
            let (pod, runtime) = (pod.clone(), Arc::clone(&runtime));
            connections.spawn(connect(runtime, pod, port, data, error));
        }
    }
}

impl Pair {
    /// Whether the stream is one of the two that belong together.
    fn add(&mut self, stream: Incoming) -> bool {
        let port = stream.header("port").parse().ok().filter(|p| *p != 0);
        match (stream.header("streamtype"), port) {
            ("error", _) => self.error = Some(stream.io),
            ("data", Some(port)) => self.data = Some((port, stream.io)),
            _ => return false,
        }
        true
    }
}

async fn connect(
    runtime: Arc<dyn PodRuntime>,
    pod: ContainerRef,
    port: u16,
    mut data: DuplexStream,
    mut error: DuplexStream,
) {
    let name = pod.pod.clone();
    match runtime.port_forward(pod, port).await {
        Ok(mut connection) => {
            if let Err(broken) = copy_bidirectional(&mut data, &mut connection).await {
                tracing::debug!(pod = name, port, error = %broken, "forwarded connection broke");
            }
        }
        Err(status) => {
            let text = format!("error forwarding port {port} to pod {name}: {status}");
            let _ = error.write_all(text.as_bytes()).await;
        }
    }
    let _ = error.shutdown().await;
}
