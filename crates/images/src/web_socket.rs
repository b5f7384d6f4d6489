//! WebSocket, the server's end: each message is answered with one.

use futures::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

use crate::serve::{self, Body};

/// The largest message.
const LARGEST: usize = 1 << 20;

/// Whether a request wants to become a WebSocket.
pub(crate) fn is_asked<B>(request: &Request<B>) -> bool {
    has_token(request.headers(), header::UPGRADE, "websocket")
        && has_token(request.headers(), header::CONNECTION, "upgrade")
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name);
    values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case(token)))
}

/// Accepts the upgrade; `reply` makes the answer to a message.
pub(crate) fn answer(
    request: &mut Request<Incoming>,
    reply: impl Fn(String) -> String + Send + 'static,
) -> Response<Body> {
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        let mut refused = Response::new(serve::full("websocket: no Sec-WebSocket-Key\n"));
        *refused.status_mut() = StatusCode::BAD_REQUEST;
        return refused;
    };
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            talk(upgraded, reply).await;
        }
    });
    let mut response = Response::new(serve::full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = accept {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

async fn talk(upgraded: Upgraded, reply: impl Fn(String) -> String) {
    let config = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    // A client that goes away or breaks the protocol ends its own conversation.
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(_) | Message::Binary(_) = &message {
            let said = message.into_text().map(|text| text.to_string()).unwrap_or_default();
            if socket.send(Message::text(reply(said))).await.is_err() {
                return;
            }
        }
    }
}
