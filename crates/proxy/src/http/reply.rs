//! The way back to the client.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::edits::Edits;
use super::h1::write;
use super::head::{Headers, Length};
use super::sink::{Kept, Sink, SinkError};
use crate::io::Stream;

/// The way back to the client.
pub enum Reply<'a> {
    /// HTTP/1.
    H1 {
        /// The connection.
        stream: &'a Stream,
        /// Bytes to be written.
        out: &'a mut Vec<u8>,
        /// The client speaks HTTP/1.0.
        http10: bool,
        /// The connection stays open afterwards.
        persistent: &'a mut bool,
        /// The response has begun.
        begun: bool,
    },
    /// HTTP/2.
    H2 {
        /// The stream.
        respond: SendResponse<Bytes>,
        /// The response has begun.
        begun: bool,
    },
    /// Nobody waits for it: a mirrored request.
    Nobody,
    /// The proxy itself asked.
    Kept {
        /// Where the answer goes.
        kept: &'a mut Kept,
        /// The response has begun.
        begun: bool,
    },
}

/// What the body of a response is.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Length to tell; `None` tells none.
    pub declared: Option<Length>,
    /// There is no body, whatever the length told.
    pub bodyless: bool,
}

impl Shape {
    /// A body of this length.
    pub fn body(length: Length) -> Self {
        Self { declared: Some(length), bodyless: length == Length::None }
    }
}

impl Reply<'_> {
    /// Whether the response has begun, so that no other can be sent.
    pub fn has_begun(&self) -> bool {
        match self {
            Self::H1 { begun, .. } | Self::H2 { begun, .. } | Self::Kept { begun, .. } => *begun,
            Self::Nobody => true,
        }
    }

    /// The connection is to be closed after this response.
    pub fn close_after(&mut self) {
        if let Self::H1 { persistent, .. } = self {
            **persistent = false;
        }
    }

    /// Ready when the client gave up.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::H2 { respond, begun: false } => respond.poll_reset(cx).map(drop),
            _ => Poll::Pending,
        }
    }

    /// Sends `100 Continue`.
    pub async fn proceed(&mut self) -> std::io::Result<()> {
        match self {
            Self::H1 { stream, .. } => stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await,
            Self::H2 { .. } | Self::Nobody | Self::Kept { .. } => Ok(()),
        }
    }

    /// Begins the response; its body goes to what is returned.
    pub fn begin(
        &mut self,
        status: u16,
        head: &dyn Headers,
        edits: &Edits<'_>,
        shape: Shape,
    ) -> Result<Sink<'_>, SinkError> {
        match self {
            Self::Nobody => Ok(Sink::Nowhere),
            Self::Kept { kept, begun } => {
                (*begun, kept.status) = (true, status);
                head.each(&mut |name, value| kept.headers.push((name.to_owned(), value.to_vec())));
                Ok(Sink::Kept(kept))
            }
            Self::H1 { stream, out, http10, persistent, begun } => {
                *begun = true;
                let unknown = shape.declared == Some(Length::Unknown);
                let by_close = unknown && *http10 && !shape.bodyless;
                if by_close {
                    **persistent = false;
                }
                let connection =
                    if **persistent { if *http10 { Some("keep-alive") } else { None } } else { Some("close") };
                let declared = if by_close { None } else { shape.declared };
                write::response(out, status, head, edits, declared, connection);
                Ok(Sink::h1(stream, out, unknown && !by_close && !shape.bodyless, false))
            }
            Self::H2 { respond, begun } => {
                *begun = true;
                let response = h2_response(status, head, edits, shape);
                let send = respond.send_response(response, shape.bodyless)?;
                Ok(if shape.bodyless { Sink::Nowhere } else { Sink::h2(send) })
            }
        }
    }

    /// Tells the client that the protocol changes; everything after belongs to the new one.
    pub fn switch(&mut self, head: &dyn Headers, edits: &Edits<'_>, protocol: &str) -> Sink<'_> {
        match self {
            Self::H1 { stream, out, persistent, begun, .. } => {
                *begun = true;
                **persistent = false;
                write::response(out, 101, head, edits, None, Some("upgrade"));
                // The empty line comes after the last header.
                out.truncate(out.len() - 2);
                write::header(out, "upgrade", protocol.as_bytes());
                out.extend_from_slice(b"\r\n");
                Sink::h1(stream, out, false, true)
            }
            Self::H2 { .. } | Self::Nobody | Self::Kept { .. } => Sink::Nowhere,
        }
    }
}

fn h2_response(status: u16, head: &dyn Headers, edits: &Edits<'_>, shape: Shape) -> http::Response<()> {
    let mut response = http::Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let map = response.headers_mut();
    map.reserve(16);
    fill(map, head, edits);
    match shape.declared {
        Some(Length::Known(length)) => {
            map.insert(http::header::CONTENT_LENGTH, length.into());
        }
        Some(Length::None) if !matches!(status, 204 | 304) && !shape.bodyless => {
            map.insert(http::header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        _ => {}
    }
    response
}

/// Fills a header map as the edits say. What HTTP/2 can't carry is left out.
pub fn fill(map: &mut HeaderMap, head: &dyn Headers, edits: &Edits<'_>) {
    let Some(source) = head.as_map() else {
        return edits.each(head, &mut |name, value| append(map, name, value));
    };
    for (name, value) in source.iter().filter(|(name, _)| edits.keeps(name.as_str())) {
        map.append(name, value.clone());
    }
    for (name, value) in edits.each_added() {
        append(map, name, value);
    }
}

fn append(map: &mut HeaderMap, name: &str, value: &[u8]) {
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
        map.append(name, value);
    }
}
