//! The aggregated discovery service on gRPC.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use lateen_api::discovery::{DELTA_PATH, DeltaDiscoveryRequest, DiscoveryRequest, STREAM_PATH};
use tonic::body::Body;
use tonic::codec::Codec;
use tonic::metadata::{GRPC_CONTENT_TYPE, MetadataMap};
use tonic::server::NamedService;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::body;
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
            DELTA_PATH => Box::pin(async move { Ok(answer::<_, _, DeltaDiscoveryRequest>(ads, true, request).await) }),
            STREAM_PATH => Box::pin(async move { Ok(answer::<_, _, DiscoveryRequest>(ads, false, request).await) }),
            _ => Box::pin(async { Ok(Status::unimplemented("no such discovery method").into_http()) }),
        }
    }
}

async fn answer<T, B, M>(ads: Arc<T>, delta: bool, request: http::Request<B>) -> http::Response<Body>
where
    T: Ads,
    B: http_body::Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    M: prost::Message + Default + Into<Request> + 'static,
{
    let (head, body) = request.into_parts();
    let head = tonic::Request::from_parts(MetadataMap::from_headers(head.headers), head.extensions, ());
    // Only the decoder of the codec is used: responses are encoded piece by piece.
    let decoder = ProstCodec::<M, M>::default().decoder();
    let requests = Streaming::new_request(decoder, body, None, Some(MAX_MESSAGE_BYTES));
    let requests: RequestStream = Box::pin(requests.map(|item| item.map(Into::into)));
    let responses = match ads.connect(head, delta, requests).await {
        Ok(responses) => responses,
        Err(status) => return status.into_http(),
    };
    let mut response = http::Response::new(Body::new(body::Body::new(delta, responses)));
    response.headers_mut().insert(http::header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
    response
}
