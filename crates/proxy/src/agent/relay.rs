//! Passes Envoy's discovery streams on to the control plane, with the pod's credentials.

use http::{Request, Response};
use hyper::body::Incoming;
use lateen_api::discovery::{DELTA_PATH, STREAM_PATH};
use tonic::Status;
use tonic::body::Body;
use tower::{Service as _, ServiceExt as _};

use super::unix::Service;
use crate::control_plane::{ControlPlane, DialError};

/// Relays discovery.
#[derive(Clone)]
pub(super) struct Relay(pub(super) ControlPlane);

impl Service for Relay {
    async fn call(&self, request: Request<Incoming>) -> Response<Body> {
        if !matches!(request.uri().path(), DELTA_PATH | STREAM_PATH) {
            return Status::unimplemented("only aggregated discovery is relayed").into_http();
        }
        match self.relay(request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(%error, "no discovery stream for Envoy");
                Status::unavailable(error.to_string()).into_http()
            }
        }
    }
}

impl Relay {
    async fn relay(&self, request: Request<Incoming>) -> Result<Response<Body>, DialError> {
        let mut channel = self.0.channel().await?;
        let (mut head, body) = request.into_parts();
        head.headers.extend(self.0.credentials()?.into_headers());
        let request = Request::from_parts(head, Body::new(body));
        let ready = channel.ready().await.map_err(|error| self.0.broken(&error))?;
        ready.call(request).await.map_err(|error| self.0.broken(&error))
    }
}
