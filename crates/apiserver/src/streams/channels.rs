//! `v4.channel.k8s.io` and `v5.channel.k8s.io`: the streams of one process over one WebSocket.
//! Each message starts with the number of its stream.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::exec::{Process, Resizes};
use super::query::Wanted;
use crate::runtime::ProcessIo;

/// What we offer, the best first.
pub(super) const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// In version 5: the other end closes the stream named by the next byte.
const CLOSE: u8 = 255;

/// kubectl (seen with 1.32) drops what arrives before it has registered its streams, right after the upgrade.
const CLIENT_SETTLES: Duration = Duration::from_millis(20);
const BUFFER: usize = 32 * 1024;
const NORMAL_CLOSURE: u16 = 1000;

/// The client's ends of the streams.
pub(super) fn open(socket: WebSocket, wanted: Wanted) -> Process {
    let (sink, messages) = socket.split();
    let (out, outgoing) = mpsc::channel(16);
    let output = |channel: u8| {
        let (ours, theirs) = duplex(BUFFER);
        tokio::spawn(pump(theirs, channel, out.clone()));
        ours
    };
    let stdout = wanted.stdout.then(|| output(STDOUT));
    let stderr = wanted.stderr.then(|| output(STDERR));
    let error = output(ERROR);
    let (stdin, into) = wanted.stdin.then(|| duplex(BUFFER)).unzip();
    let (resizes, resize) = Resizes::channel();
    let (gone, client_gone) = oneshot::channel();
    tokio::spawn(async move {
        receive(messages, into, resizes).await;
        let _ = gone.send(());
    });
    let first = match (wanted.stdout, wanted.stderr) {
        (true, _) => STDOUT,
        (_, true) => STDERR,
        _ => ERROR,
    };
    tokio::spawn(send(sink, outgoing, first));
    drop(out);
    Process {
        io: ProcessIo {
            stdin: stdin.map(|s| Box::pin(s) as _),
            stdout: stdout.map(|s| Box::pin(s) as _),
            stderr: stderr.map(|s| Box::pin(s) as _),
            resize,
        },
        error: Box::pin(error),
        gone: Box::pin(async {
            let _ = client_gone.await;
        }),
    }
}

async fn receive(mut messages: SplitStream<WebSocket>, mut stdin: Option<DuplexStream>, mut resizes: Resizes) {
    while let Some(Ok(message)) = messages.next().await {
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Close(_) => return,
            _ => continue,
        };
        match bytes.split_first() {
            Some((&STDIN, data)) => {
                if let Some(into) = &mut stdin
                    && into.write_all(data).await.is_err()
                {
                    stdin = None;
                }
            }
            Some((&RESIZE, data)) => resizes.feed(data),
            Some((&CLOSE, [STDIN])) => stdin = None,
            _ => {}
        }
    }
}

/// Send what the process writes to one stream.
pub(super) async fn pump(mut from: impl AsyncRead + Unpin, channel: u8, out: mpsc::Sender<Bytes>) {
    loop {
        let mut message = BytesMut::with_capacity(BUFFER + 1);
        message.put_u8(channel);
        match from.read_buf(&mut message).await {
            Ok(n) if n > 0 => {}
            _ => return,
        }
        if out.send(message.freeze()).await.is_err() {
            return;
        }
    }
}

/// Send messages until all streams have ended, then close the connection.
async fn send(mut sink: SplitSink<WebSocket, Message>, mut outgoing: mpsc::Receiver<Bytes>, first: u8) {
    sleep(CLIENT_SETTLES).await;
    // An empty message tells the client that the streams are open.
    let opened = Message::Binary(Bytes::copy_from_slice(&[first]));
    if sink.send(opened).await.is_err() {
        return;
    }
    while let Some(bytes) = outgoing.recv().await {
        if sink.send(Message::Binary(bytes)).await.is_err() {
            return;
        }
    }
    let close = CloseFrame { code: NORMAL_CLOSURE, reason: "".into() };
    let _ = sink.send(Message::Close(Some(close))).await;
}
