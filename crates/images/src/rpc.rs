//! Unary gRPC on top of HTTP/2, both ends: one framed message, the status in the trailers.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, client::conn::http2};
use prost::Message;

use crate::{http_text::percent_decoded, serve::Body};

/// The largest message that is read, as gRPC has it by default.
const MESSAGE_LIMIT: usize = 4 << 20;

/// The codes, in order.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// How a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// gRPC's number for it.
    pub code: u16,
    /// Words for people.
    pub message: String,
}

impl Status {
    pub(crate) const UNKNOWN: u16 = 2;
    pub(crate) const INVALID_ARGUMENT: u16 = 3;
    pub(crate) const UNIMPLEMENTED: u16 = 12;
    pub(crate) const INTERNAL: u16 = 13;
    pub(crate) const UNAVAILABLE: u16 = 14;

    pub(crate) fn new(code: u16, message: impl Into<String>) -> Self {
        Status { code, message: message.into() }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = CODES.get(usize::from(self.code)).copied().unwrap_or("Unknown");
        write!(f, "rpc error: code = {code} desc = {}", self.message)
    }
}

impl std::error::Error for Status {}

/// Whether a request is a gRPC call.
pub(crate) fn is_call<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The message of a call that came in.
pub(crate) async fn receive<M: Message + Default>(body: Incoming) -> Result<M, Status> {
    let collected = Limited::new(body, MESSAGE_LIMIT).collect().await;
    let content = collected.map_err(|error| Status::new(Status::INTERNAL, error.to_string()))?.to_bytes();
    decode(content)
}

/// The answer to a call.
pub(crate) fn reply<M: Message>(result: Result<M, Status>) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    let content = match result {
        Ok(message) => {
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            encode(&message)
        }
        Err(status) => {
            trailers.insert("grpc-status", HeaderValue::from(status.code));
            if let Ok(text) = HeaderValue::from_str(&escape(&status.message)) {
                trailers.insert("grpc-message", text);
            }
            Bytes::new()
        }
    };
    let body = Full::new(content).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// Makes a call: `request` carries address and metadata.
pub(crate) async fn call<Q: Message, A: Message + Default>(
    sender: &mut http2::SendRequest<Full<Bytes>>,
    mut request: Request<()>,
    message: &Q,
) -> Result<(HeaderMap, A), Status> {
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    let unavailable = |error: hyper::Error| Status::new(Status::UNAVAILABLE, error.to_string());
    let request = request.map(|()| Full::new(encode(message)));
    let response = sender.send_request(request).await.map_err(unavailable)?;
    let (head, body) = response.into_parts();
    if let Some(status) = status_of(&head.headers) {
        return Err(status);
    }
    let grpc =
        head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if !grpc {
        return Err(unexpected(head.status));
    }
    let collected = Limited::new(body, MESSAGE_LIMIT).collect().await;
    let collected = collected.map_err(|error| Status::new(Status::INTERNAL, error.to_string()))?;
    let Some(trailers) = collected.trailers() else {
        return Err(Status::new(Status::INTERNAL, "server closed the stream without sending trailers"));
    };
    match status_of(trailers) {
        Some(status) => Err(status),
        None => Ok((head.headers, decode(collected.to_bytes())?)),
    }
}

fn encode<M: Message>(message: &M) -> Bytes {
    let content = message.encode_to_vec();
    let mut framed = BytesMut::with_capacity(content.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(content.len()).unwrap_or(u32::MAX));
    framed.put_slice(&content);
    framed.freeze()
}

fn decode<M: Message + Default>(content: Bytes) -> Result<M, Status> {
    let malformed = |what: &str| Status::new(Status::INTERNAL, format!("malformed message: {what}"));
    let Some((prefix, message)) = content.split_first_chunk::<5>() else {
        return Err(malformed("no length"));
    };
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        return Err(Status::new(Status::UNIMPLEMENTED, "compressed messages are not supported"));
    }
    if usize::try_from(u32::from_be_bytes(length)) != Ok(message.len()) {
        return Err(malformed("its length is not the one announced"));
    }
    M::decode(message).map_err(|error| malformed(&error.to_string()))
}

/// The failure that headers or trailers tell of.
fn status_of(headers: &HeaderMap) -> Option<Status> {
    let code: u16 = headers.get("grpc-status")?.to_str().ok()?.parse().unwrap_or(Status::UNKNOWN);
    let message =
        headers.get("grpc-message").and_then(|text| text.to_str().ok()).map(percent_decoded).unwrap_or_default();
    (code != 0).then_some(Status { code, message })
}

/// What an HTTP answer that is none of gRPC means, as gRPC's mapping of statuses has it.
fn unexpected(status: StatusCode) -> Status {
    let code = match status.as_u16() {
        400 => Status::INTERNAL,
        401 => 16,
        403 => 7,
        404 => Status::UNIMPLEMENTED,
        429 | 502 | 503 | 504 => Status::UNAVAILABLE,
        _ => Status::UNKNOWN,
    };
    let reason = status.canonical_reason().unwrap_or_default();
    Status::new(code, format!("unexpected HTTP status code received from server: {} ({reason})", status.as_u16()))
}

/// Percent-encodes what a `grpc-message` can't carry.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::echo::api::EchoRequest;

    #[test]
    fn messages_survive_their_frame_and_bad_frames_are_refused() {
        let message = EchoRequest { message: "hello".into() };
        assert_eq!(decode::<EchoRequest>(encode(&message)), Ok(message.clone()));
        let framed = encode(&message);
        for bad in [Bytes::new(), framed.slice(..7), Bytes::from_static(b"\x01\0\0\0\0")] {
            assert!(decode::<EchoRequest>(bad).is_err());
        }
    }

    #[test]
    fn status_messages_are_escaped_and_shown_as_go_shows_them() {
        let text = "no route: 100% of\nends é";
        assert_eq!(percent_decoded(&escape(text)), text);
        assert!(HeaderValue::from_str(&escape(text)).is_ok());
        let status = unexpected(StatusCode::FORBIDDEN);
        assert_eq!(
            status.to_string(),
            "rpc error: code = PermissionDenied desc = unexpected HTTP status code received from server: 403 (Forbidden)"
        );
    }
}
