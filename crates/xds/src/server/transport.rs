//! The aggregated discovery service on gRPC.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use lateen_api::discovery::{
    DELTA_PATH, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, STREAM_PATH,
};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::message::{Request, Response};
use crate::MAX_MESSAGE_BYTES;

/// Requests of one client.
pub type RequestStream = Pin<Box<dyn Stream<Item = Result<Request, Status>> + Send>>;
/// Responses to one client.
pub type ResponseStream = Pin<Box<dyn Stream<Item = Result<Response, Status>> + Send>>;

/// Whoever serves discovery streams; called once for each.
pub trait Ads: Send + Sync + 'static {
    /// Starts to serve a stream. `head` carries the metadata and the connection's extensions;
    /// `delta` says which variant the client speaks.
    fn connect(
        &self,
        head: tonic::Request<()>,
        delta: bool,
        requests: RequestStream,
    ) -> impl Future<Output = Result<ResponseStream, Status>> + Send;
}

/// The gRPC service `envoy.service.discovery.v3.AggregatedDiscoveryService`.
pub struct AdsServer<T> {
    ads: Arc<T>,
}

impl<T> AdsServer<T> {
    /// Serves the streams of `ads`.
    pub fn new(ads: Arc<T>) -> Self {
        AdsServer { ads }
    }
}

impl<T> Clone for AdsServer<T> {
    fn clone(&self) -> Self {
        AdsServer { ads: self.ads.clone() }
    }
}

impl<T: Ads> NamedService for AdsServer<T> {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl<T, B> tower::Service<http::Request<B>> for AdsServer<T>
where
    T: Ads,
    B: http_body::Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let ads = self.ads.clone();
        match request.uri().path() {
            DELTA_PATH => Box::pin(async move { Ok(grpc().streaming(Delta(ads), request).await) }),
            STREAM_PATH => Box::pin(async move { Ok(grpc().streaming(Sotw(ads), request).await) }),
            _ => Box::pin(async { Ok(Status::unimplemented("no such discovery method").into_http()) }),
        }
    }
}

fn grpc<Req, Resp>() -> Grpc<ProstCodec<Resp, Req>>
where
    Req: prost::Message + Default + Send + 'static,
    Resp: prost::Message + Default + Send + 'static,
{
    Grpc::new(ProstCodec::default()).apply_max_message_size_config(Some(MAX_MESSAGE_BYTES), None)
}

struct Delta<T>(Arc<T>);
struct Sotw<T>(Arc<T>);

type Reply<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;
type ReplyFuture<M> = Pin<Box<dyn Future<Output = Result<tonic::Response<Reply<M>>, Status>> + Send>>;

impl<T: Ads> StreamingService<DeltaDiscoveryRequest> for Delta<T> {
    type Response = DeltaDiscoveryResponse;
    type ResponseStream = Reply<DeltaDiscoveryResponse>;
    type Future = ReplyFuture<DeltaDiscoveryResponse>;

    fn call(&mut self, request: tonic::Request<Streaming<DeltaDiscoveryRequest>>) -> Self::Future {
        Box::pin(serve(self.0.clone(), true, request))
    }
}

impl<T: Ads> StreamingService<DiscoveryRequest> for Sotw<T> {
    type Response = DiscoveryResponse;
    type ResponseStream = Reply<DiscoveryResponse>;
    type Future = ReplyFuture<DiscoveryResponse>;

    fn call(&mut self, request: tonic::Request<Streaming<DiscoveryRequest>>) -> Self::Future {
        Box::pin(serve(self.0.clone(), false, request))
    }
}

async fn serve<T, Req, Resp>(
    ads: Arc<T>,
    delta: bool,
    request: tonic::Request<Streaming<Req>>,
) -> Result<tonic::Response<Reply<Resp>>, Status>
where
    T: Ads,
    Req: Into<Request> + Send + 'static,
    Resp: From<Response> + 'static,
{
    let (metadata, extensions, stream) = request.into_parts();
    let head = tonic::Request::from_parts(metadata, extensions, ());
    let requests: RequestStream = Box::pin(stream.map(|item| item.map(Into::into)));
    let responses = ads.connect(head, delta, requests).await?;
    Ok(tonic::Response::new(Box::pin(responses.map(|item| item.map(Resp::from)))))
}
