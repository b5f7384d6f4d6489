//! gRPC: `GrpcEcho` of the Gateway API's tests, its messages numbered as their definition numbers them.

use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;

use super::Identity;
use crate::{
    http_text,
    rpc::{self, Status},
    serve::Body,
    tls::Session,
};

const SERVICE: &str = "gateway_api_conformance.echo_basic.grpcecho.GrpcEcho";

#[derive(Clone, PartialEq, prost::Message)]
struct EchoRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct EchoResponse {
    #[prost(message, optional, tag = "1")]
    assertions: Option<Assertions>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Assertions {
    #[prost(string, tag = "1")]
    fully_qualified_method: String,
    #[prost(message, repeated, tag = "2")]
    headers: Vec<Header>,
    #[prost(string, tag = "3")]
    authority: String,
    #[prost(message, optional, tag = "4")]
    context: Option<Context>,
    #[prost(message, optional, tag = "5")]
    tls_assertions: Option<TlsAssertions>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Context {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    ingress: String,
    #[prost(string, tag = "3")]
    service_name: String,
    #[prost(string, tag = "4")]
    pod: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TlsAssertions {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(string, repeated, tag = "2")]
    peer_certificates: Vec<String>,
    #[prost(string, tag = "3")]
    server_name: String,
    #[prost(string, tag = "4")]
    negotiated_protocol: String,
    #[prost(string, tag = "5")]
    cipher_suite: String,
}

pub(super) async fn answer(
    identity: &Identity,
    session: Option<&Session>,
    request: Request<Incoming>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let method = parts.uri.path().strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE)).unwrap_or_default();
    let answer = match method {
        "/Echo" | "/EchoTwo" => rpc::receive(body).await.map(|EchoRequest {}| {
            let authority = http_text::host(&parts.uri, &parts.headers);
            EchoResponse {
                assertions: Some(assertions(identity, session, parts.uri.path(), authority, &parts.headers)),
            }
        }),
        // The definition has a third method that no server implements.
        _ => Err(Status::new(Status::UNIMPLEMENTED, format!("unknown method {}", parts.uri.path()))),
    };
    rpc::reply(answer)
}

fn assertions(
    identity: &Identity,
    session: Option<&Session>,
    method: &str,
    authority: &str,
    headers: &HeaderMap,
) -> Assertions {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Assertions {
        fully_qualified_method: method.to_owned(),
        headers: headers.iter().map(|(key, value)| Header { key: key.to_string(), value: text(value) }).collect(),
        authority: authority.to_owned(),
        context: Some(Context {
            namespace: identity.namespace.clone(),
            ingress: identity.ingress.clone(),
            service_name: identity.service.clone(),
            pod: identity.pod.clone(),
        }),
        tls_assertions: session.map(|session| TlsAssertions {
            version: session.version.to_owned(),
            peer_certificates: session.client_certificates(),
            server_name: session.server_name.clone(),
            negotiated_protocol: session.alpn.clone(),
            cipher_suite: session.cipher_suite.clone(),
        }),
    }
}
