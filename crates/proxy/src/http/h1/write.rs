//! Writing heads of HTTP/1.

use lateen_proxy_core::RequestHead;

use crate::http::edits::Edits;
use crate::http::head::{Headers, Length, Request};

/// Writes a request's head.
pub fn request(out: &mut Vec<u8>, head: &dyn Request, edits: &Edits<'_>, length: Length, upgrade: Option<&str>) {
    let method = edits.method.as_deref().unwrap_or(head.method());
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(edits.path.as_deref().unwrap_or(head.path()).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    header(out, "host", edits.authority.as_deref().unwrap_or(RequestHead::authority(head)).as_bytes());
    edits.each(head, &mut |name, value| header(out, name, value));
    framing(out, length);
    if let Some(protocol) = upgrade {
        header(out, "connection", b"upgrade");
        header(out, "upgrade", protocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes a response's head.
pub fn response(
    out: &mut Vec<u8>,
    status: u16,
    head: &dyn Headers,
    edits: &Edits<'_>,
    length: Option<Length>,
    connection: Option<&str>,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(status).as_bytes());
    out.push(b' ');
    let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    out.extend_from_slice(reason.unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    edits.each(head, &mut |name, value| header(out, name, value));
    match length {
        // Without a body, a response still tells its length, lest the client wait for one.
        Some(Length::None) => header(out, "content-length", b"0"),
        Some(length) => framing(out, length),
        None => {}
    }
    if let Some(connection) = connection {
        header(out, "connection", connection.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn framing(out: &mut Vec<u8>, length: Length) {
    match length {
        Length::None => {}
        Length::Known(length) => header(out, "content-length", itoa::Buffer::new().format(length).as_bytes()),
        Length::Unknown => header(out, "transfer-encoding", b"chunked"),
    }
}

/// Writes one header.
pub fn header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a chunk.
pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    use std::io::Write as _;
    let _ = write!(out, "{:x}\r\n", data.len());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}
