//! Runs a client session over gRPC, for ever.

use std::future::Future;
use std::time::Duration;

use futures::StreamExt;
use lateen_api::discovery::{DELTA_PATH, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::metadata::MetadataMap;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::handle::Subscriptions;
use super::session::{Apply, Session};
use crate::MAX_MESSAGE_BYTES;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Requests that may wait for the network; more than that, and reading stops.
const SEND_QUEUE: usize = 16;

/// A way to the server, with what to say on it.
pub struct Connected<S> {
    /// Carries the stream.
    pub service: S,
    /// Metadata of the stream, such as `authorization`.
    pub metadata: MetadataMap,
    /// Scheme and authority of the server, as in `https://istiod.istio-system.svc:15012`.
    pub origin: http::Uri,
}

/// Makes a way to the server, anew for each attempt (so that a rotated token or root is read).
pub trait Connect {
    /// What carries the stream.
    type Service: GrpcService<Body>;
    /// Connects.
    fn connect(&mut self) -> impl Future<Output = Result<Connected<Self::Service>, BoxError>> + Send;
}

type ResponseBody<C> = <<C as Connect>::Service as GrpcService<Body>>::ResponseBody;

/// How long to wait before the next attempt.
pub trait Backoff {
    /// The pause after this many failures in a row (at least one).
    fn pause(&mut self, failures: u32) -> Duration;
}

impl<F: FnMut(u32) -> Duration> Backoff for F {
    fn pause(&mut self, failures: u32) -> Duration {
        self(failures)
    }
}

/// Is told about the state of the stream, for readiness and metrics.
pub trait Observer {
    /// A stream to the server is open.
    fn connected(&mut self);
    /// The stream ended or could not be opened.
    fn disconnected(&mut self, reason: &str);
}

impl Observer for () {
    fn connected(&mut self) {}
    fn disconnected(&mut self, _reason: &str) {}
}

/// Keeps a discovery stream open and hands what it brings to `handler`; ends only when dropped.
///
/// What is held survives a lost stream: the server sends what changed meanwhile.
///
/// The connection's HTTP/2 windows have to be at least [`crate::HTTP2_WINDOW_BYTES`].
pub async fn run<C, A, B, O>(
    mut connector: C,
    node: Node,
    subscriptions: Subscriptions,
    mut handler: A,
    mut backoff: B,
    mut observer: O,
) -> std::convert::Infallible
where
    C: Connect,
    ResponseBody<C>: Send + 'static,
    <ResponseBody<C> as http_body::Body>::Error: Into<BoxError>,
    A: Apply,
    B: Backoff,
    O: Observer,
{
    let mut session = Session::new(node);
    let mut failures: u32 = 0;
    loop {
        let mut received = false;
        let reason = match open(&mut connector).await {
            Ok((sender, stream)) => {
                observer.connected();
                let ended = Stream { session: &mut session, handler: &mut handler, received: &mut received };
                ended.drive(&subscriptions, sender, stream).await
            }
            Err(error) => chain(&*error),
        };
        failures = if received { 1 } else { failures.saturating_add(1) };
        observer.disconnected(&reason);
        tokio::time::sleep(backoff.pause(failures)).await;
    }
}

type Sender = mpsc::Sender<DeltaDiscoveryRequest>;

async fn open<C>(
    connector: &mut C,
) -> Result<(Sender, impl Future<Output = Result<Streaming<DeltaDiscoveryResponse>, Status>>), BoxError>
where
    C: Connect,
    ResponseBody<C>: Send + 'static,
    <ResponseBody<C> as http_body::Body>::Error: Into<BoxError>,
{
    let Connected { service, metadata, origin } = connector.connect().await?;
    let (sender, receiver) = mpsc::channel(SEND_QUEUE);
    let mut grpc = Grpc::with_origin(service, origin).max_decoding_message_size(MAX_MESSAGE_BYTES);
    grpc.ready().await.map_err(Into::into)?;
    let request = tonic::Request::from_parts(metadata, Default::default(), ReceiverStream::new(receiver));
    let path = http::uri::PathAndQuery::from_static(DELTA_PATH);
    let codec = ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
    Ok((sender, async move {
        let response = grpc.streaming(request, path, codec).await?;
        Ok(response.into_inner())
    }))
}

struct Stream<'a, A> {
    session: &'a mut Session,
    handler: &'a mut A,
    received: &'a mut bool,
}

impl<A: Apply> Stream<'_, A> {
    /// Sends and receives until the stream ends; returns why it did.
    ///
    /// Nothing is read while a request waits to be sent, so neither direction piles up.
    async fn drive(
        self,
        subscriptions: &Subscriptions,
        sender: Sender,
        opening: impl Future<Output = Result<Streaming<DeltaDiscoveryResponse>, Status>>,
    ) -> String {
        self.session.reconnected();
        let mut opening = std::pin::pin!(opening);
        let mut stream = None;
        let mut pending = None;
        loop {
            if pending.is_none() {
                pending = subscriptions.with(|wanted| self.session.next_request(wanted));
            }
            let idle = pending.is_none();
            tokio::select! {
                // A server may answer only after the first request: send while opening.
                opened = &mut opening, if stream.is_none() => match opened {
                    Ok(opened) => stream = Some(opened),
                    Err(status) => return chain(&status),
                },
                permit = sender.reserve(), if !idle => match permit {
                    Ok(permit) => {
                        if let Some(request) = pending.take() {
                            permit.send(request);
                        }
                    }
                    Err(_) if stream.is_none() => return chain_or(opening.await.err()),
                    Err(_) => return "the discovery stream broke while sending".to_owned(),
                },
                item = next(&mut stream), if idle && stream.is_some() => match item {
                    Some(Ok(response)) => {
                        *self.received = true;
                        self.session.on_response(response, self.handler);
                    }
                    Some(Err(status)) => return chain(&status),
                    None => return "the server closed the discovery stream".to_owned(),
                },
                () = subscriptions.changed(), if idle => {}
            }
        }
    }
}

async fn next(
    stream: &mut Option<Streaming<DeltaDiscoveryResponse>>,
) -> Option<Result<DeltaDiscoveryResponse, Status>> {
    stream.as_mut()?.next().await
}

fn chain_or(status: Option<Status>) -> String {
    status.map_or_else(|| "the discovery stream broke while opening".to_owned(), |status| chain(&status))
}

/// An error with its causes on one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
