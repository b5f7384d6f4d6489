//! Streams of pods: log, exec, attach and port-forward requests, handed over by the router.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response};

use crate::{object::Object, runtime::PodRuntime, status::Status};

mod channels;
mod exec;
mod logs;
mod port_channels;
mod port_forward;
mod query;
mod spdy;
mod tunnel;
mod upgrade;

use query::Query;

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
    let query = Query::parse(request.uri().query());
    match stream {
        PodStream::Log => logs::serve(&pod, &query, runtime).await,
        PodStream::Exec => {
            let command = query.all("command").map(str::to_owned).collect();
            exec::serve(exec::Job::Exec(command), &pod, &query, request, runtime).await
        }
        PodStream::Attach => exec::serve(exec::Job::Attach, &pod, &query, request, runtime).await,
        PodStream::PortForward => port_forward::serve(&pod, &query, request, runtime).await,
    }
}

#[cfg(test)]
mod tests;
