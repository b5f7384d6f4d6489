//! Accepts connections and serves HTTP and gRPC on them, with or without TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Connections of one listener at a time.
const MAX_CONNECTIONS: usize = 20_000;
/// Time for a TLS handshake, and for the head of an HTTP/1 request.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A silent HTTP/2 peer is asked for a sign of life this often.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Pause after an accept failed, for lack of descriptors for instance.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Streams of one connection.
const MAX_STREAMS: u32 = 1024;

/// How a request came in; an extension of each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Address of the other end.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

/// One of istiod's ports.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    router: axum::Router,
}

impl Listener {
    /// Opens the port.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        router: axum::Router,
    ) -> anyhow::Result<Self> {
        let tcp = TcpListener::bind(address).await;
        let tcp = tcp.with_context(|| format!("listening on {address}; is it in use?"))?;
        Ok(Listener { tcp, tls: tls.map(TlsAcceptor::from), router })
    }

    /// The address it listens on.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until `shutdown`; then open connections are told to end.
    pub async fn serve(self, shutdown: CancellationToken) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = self.tcp.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let (tls, router, shutdown) = (self.tls.clone(), self.router.clone(), shutdown.clone());
            tokio::spawn(async move {
                if let Err(error) = connection(stream, address, tls, router, shutdown).await {
                    tracing::debug!(%address, %error, "connection ended");
                }
                drop(slot);
            });
        }
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: axum::Router,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let peer = Peer { address, tls: tls.is_some() };
    match tls {
        Some(acceptor) => {
            let accept = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
            let stream = accept.await.context("TLS handshake took too long")??;
            http(stream, peer, router, shutdown).await
        }
        None => http(stream, peer, router, shutdown).await,
    }
}

async fn http<S>(stream: S, peer: Peer, router: axum::Router, shutdown: CancellationToken) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = router.map_request(move |mut request: http::Request<_>| {
        request.extensions_mut().insert(peer);
        request
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_connection_window_size(lateen_xds::HTTP2_WINDOW_BYTES)
        .initial_stream_window_size(lateen_xds::HTTP2_WINDOW_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(HANDSHAKE);
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(serving);
    tokio::select! {
        done = serving.as_mut() => return done.map_err(|error| anyhow::anyhow!(error)),
        () = shutdown.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    serving.await.map_err(|error| anyhow::anyhow!(error))
}
