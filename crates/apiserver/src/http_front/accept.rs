//! Accepting connections: TLS, client certificate, HTTP/1.1 or HTTP/2.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use futures::future::join_all;
use http::Request;
use hyper::{body::Incoming as HyperBody, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::metrics::Metrics;
use crate::{auth::User, engine::Engine};

const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(30);
const MAX_CONNECTIONS: usize = 4096;
const MAX_STREAMS: u32 = 1000;
const WINDOW: u32 = 1 << 20;

/// Serves all listeners until dropped; then all their connections end too.
pub async fn serve(engine: Arc<Engine>, tls: Arc<ServerConfig>, listeners: Vec<TcpListener>) {
    let shared = Shared { engine, metrics: Arc::default(), acceptor: TlsAcceptor::from(tls) };
    let all = listeners.into_iter().map(|l| listen(shared.clone(), l));
    join_all(all).await;
}

/// What all connections share.
#[derive(Clone)]
struct Shared {
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
    acceptor: TlsAcceptor,
}

async fn listen(shared: Shared, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(connection(shared.clone(), stream));
            }
            Err(error) => {
                // Out of descriptors, most likely: wait for some to be closed.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(shared: Shared, stream: TcpStream) {
    let Shared { engine, metrics, acceptor } = shared;
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else {
        return;
    };
    let user =
        stream.get_ref().1.peer_certificates().and_then(|chain| User::from_certificate(chain.first()?)).map(Arc::new);
    let service = service_fn(move |request: Request<HyperBody>| {
        let (engine, metrics, user) = (Arc::clone(&engine), Arc::clone(&metrics), user.clone());
        async move {
            let request = request.map(Body::new);
            Ok::<_, std::convert::Infallible>(Box::pin(super::handle(engine, metrics, user, request)).await)
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW)
        .keep_alive_interval(Some(HEADERS));
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(error, "connection ended");
    }
}
