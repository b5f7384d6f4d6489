//! The gRPC check: attributes of a request or connection in, a verdict with headers out.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use super::api::{self, Allowed, Answer, Attributes, CheckRequest, CheckResponse, Denied, Header, HeaderOption};
use super::{ALLOWED, CHECK, OVERRIDE, RECEIVED, RESULT, bounded, reason, verdict};
use crate::{
    rpc::{self, Status},
    serve::Body,
};

/// What the answer sets [`OVERRIDE`] to.
const OVERRIDDEN: &str = "grpc-additional-header-override-value";
/// gRPC's number for `PermissionDenied`.
const PERMISSION_DENIED: i32 = 7;

pub(super) async fn answer(account: Arc<str>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let answer = match path.as_str() {
        api::CHECK => rpc::receive(request.into_body()).await.map(|asked: CheckRequest| check(&account, &asked)),
        _ => Err(Status::new(Status::UNIMPLEMENTED, format!("unknown method {path}"))),
    };
    rpc::reply(answer)
}

fn check(account: &str, asked: &CheckRequest) -> CheckResponse {
    let attributes = asked.attributes.clone().unwrap_or_default();
    let allowed = is_allowed(account, &attributes);
    let http = attributes.request.as_ref().and_then(|request| request.http.as_ref());
    let (host, path) = http.map_or(("", ""), |http| (&http.host, &http.path));
    println!("[gRPCv3][{}]: {host}{path}, attributes: {attributes:?}", verdict(allowed));
    let headers = [(RESULT, verdict(allowed).to_owned()), (RECEIVED, bounded(format!("{attributes:?}")))]
        .into_iter()
        .chain([(OVERRIDE, OVERRIDDEN.to_owned())])
        .map(|(key, value)| HeaderOption { header: Some(Header { key: key.to_owned(), value }) })
        .collect();
    let (code, answer) = if allowed {
        (0, Answer::Allowed(Allowed { headers }))
    } else {
        let status = api::HttpStatus { code: i32::from(StatusCode::FORBIDDEN.as_u16()) };
        (PERMISSION_DENIED, Answer::Denied(Denied { status: Some(status), headers, body: reason() }))
    };
    CheckResponse { status: Some(api::Status { code }), answer: Some(answer) }
}

/// The header decides where there is one; a connection without a request is judged by who makes it.
fn is_allowed(account: &str, attributes: &Attributes) -> bool {
    let http = attributes.request.as_ref().and_then(|request| request.http.as_ref());
    match http.and_then(|http| http.headers.get(CHECK)) {
        Some(value) => value == ALLOWED,
        None => attributes.source.as_ref().is_some_and(|source| source.principal.ends_with(&format!("/sa/{account}"))),
    }
}
