//! An HTTP/1.1 and HTTP/2 server with limits.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Reply;

/// Connections served at once by one server.
const MAX_CONNECTIONS: usize = 128;
/// Longest wait for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest body of a request.
const MAX_BODY: usize = 64 << 10;

/// Who asks, and where.
#[derive(Clone, Copy, Debug)]
pub struct Reached {
    /// Address of the client.
    pub peer: SocketAddr,
}

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one.
    fn handle(&self, request: Request<Bytes>, reached: Reached) -> impl Future<Output = Reply> + Send;
}

/// Opens a port on all addresses, both families where the machine has both.
pub fn bind_any(port: u16) -> io::Result<TcpListener> {
    listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
        .or_else(|_| listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))))
}

/// Opens a port on loopback only.
pub fn bind_loopback(port: u16) -> io::Result<TcpListener> {
    listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(MAX_CONNECTIONS as i32)?;
    TcpListener::from_std(socket.into())
}

/// Serves until dropped.
pub async fn serve(listener: TcpListener, handler: Arc<impl Handler>) -> Infallible {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { continue };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let connection = connection(stream, Reached { peer }, handler.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            // Out of files, most likely: others need time to close theirs.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, reached: Reached, handler: Arc<impl Handler>) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let handler = handler.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = match Limited::new(body, MAX_BODY).collect().await {
                Ok(body) => body.to_bytes(),
                Err(_) => {
                    return Ok::<_, Infallible>(super::text(http::StatusCode::PAYLOAD_TOO_LARGE, "body too large\n"));
                }
            };
            Ok(handler.handle(Request::from_parts(head, body), reached).await)
        }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, peer = %reached.peer, "connection ended");
    }
}
