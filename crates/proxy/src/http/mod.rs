//! HTTP: codecs at both ends, and between them the way of a request.

mod amended;
pub mod attempt;
mod authorize;
pub mod body;
mod cause;
pub mod clock;
mod cors;
mod decorate;
pub mod edits;
pub mod exchange;
pub mod external;
pub mod forward;
pub mod h1;
mod h2;
pub mod head;
mod local;
mod mirror;
pub mod phases;
pub mod reply;
pub mod sink;
mod target;
mod tee;
pub mod timer;

use std::rc::Rc;
use std::sync::Arc;

use lateen_proxy_core::http::{Codec, Hcm};

use crate::buffer::Inbuf;
use crate::io::Stream;
use crate::listener::Conn;

/// What HTTP/2 connections begin with, as far as it tells them from HTTP/1.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves an HTTP connection.
pub async fn serve(conn: Rc<Conn>, hcm: Arc<Hcm>, stream: Stream, mut inbuf: Inbuf) {
    let negotiated = conn.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
    let http2 = match hcm.codec {
        Codec::Http1 => false,
        Codec::Http2 => true,
        Codec::Auto if negotiated == Some("h2") => true,
        Codec::Auto => begins_http2(&stream, &mut inbuf).await,
    };
    if http2 {
        Box::pin(h2::serve(conn, hcm, stream.into_io(inbuf.bytes()))).await;
    } else {
        h1::server::serve(&conn, &hcm, &stream, &mut inbuf).await;
    }
}

async fn begins_http2(stream: &Stream, inbuf: &mut Inbuf) -> bool {
    loop {
        let bytes = inbuf.bytes();
        let n = bytes.len().min(PREFACE.len());
        if bytes[..n] != PREFACE[..n] {
            return false;
        }
        if n == PREFACE.len() {
            return true;
        }
        match inbuf.fill(stream, crate::buffer::SIZE).await {
            Ok(n) if n > 0 => {}
            _ => return false,
        }
    }
}
