//! `v4.channel.k8s.io` for port-forward: all ports over one WebSocket, as clients other than `kubectl` have it.
//!
//! Each port has two channels, one for bytes (even) and one for errors (odd); each begins with the port's number.

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::SplitStream;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncWriteExt, DuplexStream, copy, duplex, split};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::channels;
use crate::runtime::{ContainerRef, Duplex, PodRuntime};

pub(super) const PROTOCOL: &str = "v4.channel.k8s.io";
const BUFFER: usize = 64 * 1024;

/// Forward each of `ports` once; ends when all connections have, or when the client is gone.
pub(super) async fn forward(socket: WebSocket, ports: Vec<u16>, pod: ContainerRef, runtime: Arc<dyn PodRuntime>) {
    let (mut sink, messages) = socket.split();
    let (out, mut outgoing) = mpsc::channel::<Bytes>(16);
    let mut connections = JoinSet::new();
    let mut inputs = Vec::new();
    for (port, channel) in ports.into_iter().zip((0u8..).step_by(2)) {
        let (ours, theirs) = duplex(BUFFER);
        inputs.push(ours);
        let (runtime, pod, out) = (Arc::clone(&runtime), pod.clone(), out.clone());
        connections.spawn(connect(runtime, pod, port, channel, theirs, out));
    }
    let (readers, writers): (Vec<_>, Vec<_>) = inputs.into_iter().map(split).unzip();
    for (reader, channel) in readers.into_iter().zip((0u8..).step_by(2)) {
        connections.spawn(channels::pump(reader, channel, out.clone()));
    }
    drop(out);
    let sending = async {
        while let Some(bytes) = outgoing.recv().await {
            if sink.send(Message::Binary(bytes)).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    };
    tokio::select! {
        () = sending => {}
        () = receive(messages, writers) => {}
    }
}

async fn receive(mut messages: SplitStream<WebSocket>, mut writers: Vec<tokio::io::WriteHalf<DuplexStream>>) {
    while let Some(Ok(message)) = messages.next().await {
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Close(_) => return,
            _ => continue,
        };
        if let Some((channel, data)) = bytes.split_first()
            && channel % 2 == 0
            && let Some(writer) = writers.get_mut(usize::from(channel / 2))
        {
            // A connection that the pod has closed takes nothing more.
            let _ = writer.write_all(data).await;
        }
    }
}

async fn connect(
    runtime: Arc<dyn PodRuntime>,
    pod: ContainerRef,
    port: u16,
    channel: u8,
    data: DuplexStream,
    out: mpsc::Sender<Bytes>,
) {
    for channel in [channel, channel + 1] {
        let mut first = BytesMut::with_capacity(3);
        first.put_u8(channel);
        first.put_u16_le(port);
        if out.send(first.freeze()).await.is_err() {
            return;
        }
    }
    let name = pod.pod.clone();
    match runtime.port_forward(pod, port).await {
        Ok(connection) => relay(data, connection).await,
        Err(status) => {
            let mut text = BytesMut::new();
            text.put_u8(channel + 1);
            text.put_slice(format!("error forwarding port {port} to pod {name}: {status}").as_bytes());
            let _ = out.send(text.freeze()).await;
        }
    }
}

/// Lets both talk until the pod has said everything: the client has no way to say that it has.
async fn relay(client: DuplexStream, pod: Pin<Box<dyn Duplex>>) {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_pod, mut to_pod) = split(pod);
    let upwards = async {
        let _ = copy(&mut from_client, &mut to_pod).await;
        let _ = to_pod.shutdown().await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = copy(&mut from_pod, &mut to_client) => {}
        () = upwards => {}
    }
}
