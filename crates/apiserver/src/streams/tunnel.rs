//! A WebSocket whose messages carry the bytes of another protocol.

use std::io;

use axum::extract::ws::{Message, WebSocket};
use bytes::BytesMut;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};

const BUFFER: usize = 64 * 1024;

/// The bytes inside the WebSocket's messages. The connection is closed when the stream is dropped
/// or shut down.
pub(super) fn bytes_of(socket: WebSocket) -> DuplexStream {
    let (ours, theirs) = duplex(BUFFER);
    let (mut read, mut write) = split(ours);
    let (mut sink, mut messages) = socket.split();
    tokio::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            let done = match message {
                Message::Binary(bytes) => write.write_all(&bytes).await,
                Message::Close(_) => break,
                // Text is no part of the protocol; pings are answered by the library.
                _ => Ok(()),
            };
            if done.is_err() {
                break;
            }
        }
        let _ = write.shutdown().await;
    });
    tokio::spawn(async move {
        let done: io::Result<()> = async {
            let mut buffer = BytesMut::new();
            loop {
                buffer.reserve(BUFFER);
                if read.read_buf(&mut buffer).await? == 0 {
                    return sink.close().await.map_err(io::Error::other);
                }
                let message = Message::Binary(buffer.split().freeze());
                sink.send(message).await.map_err(io::Error::other)?;
            }
        }
        .await;
        if let Err(error) = done {
            tracing::debug!(%error, "tunnel not written");
        }
    });
    theirs
}
