//! gRPC: `proto.EchoTestService`, and the health service that probes ask.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response};
use hyper::body::Incoming;

use super::{Connection, Server};
use crate::{
    echo::{
        api::{EchoRequest, EchoResponse},
        forward,
        lines::Lines,
        options::Port,
    },
    rpc::{self, Status},
    serve::Body,
};

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`; status 1 is SERVING.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

pub(super) async fn answer(
    server: Arc<Server>,
    port: Port,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    // A port for gRPC that is asked in plain HTTP says what an HTTP port would.
    if !rpc::is_call(&request) || request.method() != Method::POST {
        return super::http::answer(server, port, connection, request).await;
    }
    server.count(&port);
    let (parts, body) = request.into_parts();
    match parts.uri.path() {
        "/proto.EchoTestService/Echo" => {
            let authority = parts.uri.authority().map(|authority| authority.as_str());
            rpc::reply(rpc::receive(body).await.map(|asked: EchoRequest| {
                let message = tell(&server, &port, &connection, authority, &parts.headers, &asked.message);
                EchoResponse { message }
            }))
        }
        "/proto.EchoTestService/ForwardEcho" => rpc::reply(match rpc::receive(body).await {
            Ok(asked) => forward::forward(asked).await,
            Err(status) => Err(status),
        }),
        "/grpc.health.v1.Health/Check" => {
            rpc::reply(rpc::receive(body).await.map(|_: HealthRequest| HealthResponse { status: 1 }))
        }
        other => {
            let reason = format!("unknown method {other}");
            rpc::reply(Err::<EchoResponse, _>(Status::new(Status::UNIMPLEMENTED, reason)))
        }
    }
}

fn tell(
    server: &Server,
    port: &Port,
    connection: &Connection,
    authority: Option<&str>,
    metadata: &HeaderMap,
    message: &str,
) -> String {
    let mut lines = Lines::plain();
    server.describe(&mut lines, port, connection);
    lines.optional("Host", authority);
    lines.headers("RequestHeader", metadata);
    lines.field("Proto", "GRPC");
    lines.field("StatusCode", 200);
    lines.field("Echo", message);
    lines.field("Hostname", &server.hostname);
    lines.finish()
}
