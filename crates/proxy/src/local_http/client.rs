//! One request to the application, without redirects, with limits.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, #[source] io::Error),
    /// Nothing, or no HTTP, came back.
    #[error("{0} gave no proper answer: {1}")]
    Answer(SocketAddr, String),
    /// Too slow.
    #[error("{0} did not answer within {1:?}")]
    Timeout(SocketAddr, Duration),
    /// The request cannot be made.
    #[error("this is no proper request: {0}")]
    Request(#[from] http::Error),
}

/// Largest answer to an action.
const MAX_POST_ANSWER: usize = 64 << 10;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

/// The source address that capture rules know as the proxy talking to its own application.
fn source_for(target: IpAddr) -> IpAddr {
    match target {
        IpAddr::V4(_) => IpAddr::from([127, 0, 0, 6]),
        IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 6u16]),
    }
}

/// Connects to the application.
pub(crate) async fn connect(to: SocketAddr, mark: Option<u32>) -> Result<TcpStream, ClientError> {
    let open = async {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(mark) = mark {
            setsockopt(&socket, sockopt::Mark, &mark)?;
        }
        // Where the address is missing (IPv6 without it on lo), any other does.
        let _ = socket.bind(SocketAddr::new(source_for(to.ip()), 0));
        socket.connect(to).await
    };
    open.await.map_err(|error: io::Error| ClientError::Connect(to, error))
}

/// Asks for `path` with the given headers.
pub async fn get(
    to: SocketAddr,
    mark: Option<u32>,
    path: &str,
    headers: HeaderMap,
    limit: usize,
    timeout: Duration,
) -> Result<Answer, ClientError> {
    let work = async {
        let stream = connect(to, mark).await?;
        get_over(stream, to, path, headers, limit).await
    };
    tokio::time::timeout(timeout, work).await.unwrap_or(Err(ClientError::Timeout(to, timeout)))
}

/// Asks for an action; nothing of the answer but its status matters.
pub async fn post(to: SocketAddr, path: &str, timeout: Duration) -> Result<StatusCode, ClientError> {
    let work = async {
        let stream = connect(to, None).await?;
        let request = Request::post(path).body(Empty::<Bytes>::new())?;
        exchange(stream, to, request, MAX_POST_ANSWER).await.map(|answer| answer.status)
    };
    tokio::time::timeout(timeout, work).await.unwrap_or(Err(ClientError::Timeout(to, timeout)))
}

/// The same over a stream that is open already.
pub(crate) async fn get_over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    to: SocketAddr,
    path: &str,
    headers: HeaderMap,
    limit: usize,
) -> Result<Answer, ClientError> {
    let mut request = Request::get(path).body(Empty::<Bytes>::new())?;
    *request.headers_mut() = headers;
    exchange(stream, to, request, limit).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    to: SocketAddr,
    mut request: Request<Empty<Bytes>>,
    limit: usize,
) -> Result<Answer, ClientError> {
    let bad = |error: String| ClientError::Answer(to, error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| bad(e.to_string()))?;
    if !request.headers().contains_key(header::HOST) {
        let host = header::HeaderValue::try_from(to.to_string()).map_err(http::Error::from)?;
        request.headers_mut().insert(header::HOST, host);
    }
    let answering = async {
        let response = sender.send_request(request).await.map_err(|e| bad(e.to_string()))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, limit).collect().await.map_err(|e| bad(e.to_string()))?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
    };
    tokio::pin!(connection);
    tokio::pin!(answering);
    tokio::select! {
        biased;
        answer = &mut answering => answer,
        ended = &mut connection => {
            // What it has delivered is still read.
            let answer = answering.await;
            match ended {
                Err(error) if answer.is_err() => Err(bad(error.to_string())),
                _ => answer,
            }
        }
    }
}
