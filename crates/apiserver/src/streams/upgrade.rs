//! Turning a request into a connection of another protocol.

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::WebSocketUpgrade;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;

use crate::status::Status;

const STREAM_VERSION: &str = "x-stream-protocol-version";
const SPDY: &str = "SPDY/3.1";
/// The longest message that we take, as in Kubernetes.
const MESSAGE_LIMIT: usize = 32 * 1024 * 1024;

/// The protocol that the client wants to upgrade to.
pub(super) enum Upgrade {
    /// A WebSocket, with these sub-protocols offered.
    WebSocket(Box<WebSocketUpgrade>),
    /// SPDY/3.1, with these stream protocols offered.
    Spdy(Box<SpdyUpgrade>),
}

/// A request that asks for SPDY/3.1.
pub(super) struct SpdyUpgrade {
    request: Request<Body>,
    offered: Vec<String>,
}

impl Upgrade {
    /// Find out what the client wants.
    pub(super) async fn of(request: Request<Body>) -> Result<Self, Status> {
        let wanted = request.headers().get(header::UPGRADE);
        match wanted.and_then(|v| v.to_str().ok()) {
            Some(value) if value.eq_ignore_ascii_case(SPDY) => {
                let offered = words(request.headers(), STREAM_VERSION);
                Ok(Self::Spdy(Box::new(SpdyUpgrade { request, offered })))
            }
            Some(value) if value.eq_ignore_ascii_case("websocket") => {
                let (mut parts, _) = request.into_parts();
                let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
                    .await
                    .map_err(|rejection| Status::bad_request(rejection.to_string()))?;
                Ok(Self::WebSocket(Box::new(upgrade.max_message_size(MESSAGE_LIMIT))))
            }
            _ => Err(Status::bad_request("Upgrade request required: ask for a WebSocket or for SPDY/3.1")),
        }
    }
}

/// Choose the first of `ours` that the WebSocket client offers.
pub(super) fn choose_protocol(
    upgrade: WebSocketUpgrade,
    ours: &[&'static str],
) -> Result<(WebSocketUpgrade, &'static str), Status> {
    let offered: Vec<String> =
        upgrade.requested_protocols().filter_map(|p| p.to_str().ok().map(str::to_owned)).collect();
    let chosen = choose(&offered, ours)?;
    Ok((upgrade.protocols([chosen]), chosen))
}

fn choose(offered: &[String], ours: &[&'static str]) -> Result<&'static str, Status> {
    ours.iter().copied().find(|our| offered.iter().any(|o| o == our)).ok_or_else(|| {
        Status::new(
            403,
            "Forbidden",
            format!(
                "unable to upgrade: no stream protocol in common; the client offers [{}], this server speaks [{}]",
                offered.join(", "),
                ours.join(", ")
            ),
        )
    })
}

impl SpdyUpgrade {
    /// Switch to the first of `ours` that the client offers; `run` gets the connection.
    pub(super) fn accept<F, Fut>(self, ours: &[&'static str], run: F) -> Result<Response<Body>, Status>
    where
        F: FnOnce(TokioIo<hyper::upgrade::Upgraded>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send,
    {
        let chosen = choose(&self.offered, ours)?;
        let upgraded = hyper::upgrade::on(self.request);
        tokio::spawn(async move {
            match upgraded.await {
                Ok(connection) => run(TokioIo::new(connection)).await,
                Err(error) => tracing::debug!(%error, "connection not upgraded to SPDY/3.1"),
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static(SPDY));
        headers.insert(STREAM_VERSION, HeaderValue::from_static(chosen));
        Ok(response)
    }
}

/// The values of a header that may come several times or as a list.
fn words(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(|v| v.trim().to_owned())
        .filter(|v| !v.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_protocol_that_both_speak_is_chosen() {
        let offered = ["v4.channel.k8s.io".to_owned(), "v5.channel.k8s.io".to_owned()];
        assert_eq!(choose(&offered, &["v5.channel.k8s.io", "v4.channel.k8s.io"]).unwrap(), "v5.channel.k8s.io");
        let none = choose(&offered, &["portforward.k8s.io"]).unwrap_err();
        assert!(none.message.contains("v5.channel.k8s.io"));
    }

    #[test]
    fn lists_and_repeated_headers_are_read_alike() {
        let mut headers = HeaderMap::new();
        headers.append(STREAM_VERSION, HeaderValue::from_static("a, b"));
        headers.append(STREAM_VERSION, HeaderValue::from_static("c"));
        assert_eq!(words(&headers, STREAM_VERSION), ["a", "b", "c"]);
    }
}
