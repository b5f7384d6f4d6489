//! Streams of pods: log, exec, attach and port-forward requests, handed over by the router.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response};

use crate::{object::Object, runtime::PodRuntime, status::Status};

/// The pod subresource that a stream request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodStream {
    /// `pods/log`
    Log,
    /// `pods/exec`
    Exec,
    /// `pods/attach`
    Attach,
    /// `pods/portforward`
    PortForward,
}

/// Answers a stream request for a pod that exists. The caller is authenticated and authorized;
/// the request is the client's own, its connection upgradable (`hyper::upgrade::on`).
pub async fn serve(
    stream: PodStream,
    pod: Object,
    request: Request<Body>,
    runtime: Arc<dyn PodRuntime>,
) -> Result<Response<Body>, Status> {
    let _ = (pod, request, runtime);
    Err(Status::unavailable(format!(
        "pods do not serve {stream:?} streams yet"
    )))
}
