//! gRPC calls: `proto.EchoTestService/Echo`.

use http::{Method, Request};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{
    connect::{chain, connect},
    plan::Plan,
};
use crate::{
    echo::{
        api::{EchoRequest, EchoResponse},
        lines::Lines,
    },
    rpc::{self, Status},
};

pub(super) async fn call(plan: &Plan, id: usize, lines: &mut Lines) -> Result<(), String> {
    let unavailable = |reason: String| Status::new(Status::UNAVAILABLE, reason).to_string();
    let connected = connect(plan).await.map_err(unavailable)?;
    let opened = http2::handshake(TokioExecutor::new(), TokioIo::new(connected.stream)).await;
    let (mut sender, connection) = opened.map_err(|error| unavailable(chain(&error)))?;
    tokio::spawn(connection);
    let uri = format!("http://{}/proto.EchoTestService/Echo", plan.authority);
    let mut request = Request::builder().method(Method::POST).uri(uri).body(()).map_err(|error| error.to_string())?;
    *request.headers_mut() = plan.headers.clone();
    lines.headers("Header", &plan.headers);
    let asked = EchoRequest { message: plan.message().to_owned() };
    let answered = rpc::call::<_, EchoResponse>(&mut sender, request, &asked).await;
    let (headers, answer) = answered.map_err(|status| status.to_string())?;
    lines.headers("ResponseHeader", &headers);
    // As Istio's client shows it: the status is a line of the answer.
    lines.body(id, &answer.message);
    Ok(())
}
