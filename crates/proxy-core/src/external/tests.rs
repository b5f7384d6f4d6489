use bytes::Bytes;
use lateen_api::envoy::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use lateen_api::envoy::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse, check_response::HttpResponse,
};
use lateen_api::envoy::envoy::r#type::v3::HttpStatus;
use lateen_api::envoy::google::protobuf::BoolValue;
use lateen_api::envoy::google::rpc;
use prost::Message;

use super::*;
use crate::head::SimpleHead;
use crate::route::Target;
use crate::tables::ClusterId;

fn prefix(text: &str) -> StringMatch {
    StringMatch::Prefix(text.into())
}

fn external(service: Service) -> External {
    External {
        mark: None,
        service,
        forward: Arc::new(Forward::plain(Target::Single(ClusterId(0)), None)),
        manager: Arc::new(Hcm::of_own_requests()),
        fail_open: false,
        tell_fail_open: false,
        status: 403,
        clear_route: false,
        body: None,
        shown: Shown::default(),
    }
}

fn framed(message: &CheckResponse) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    [&[0], &(bytes.len() as u32).to_be_bytes()[..], &bytes].concat()
}

fn response(code: i32, http_response: Option<HttpResponse>) -> Answer {
    let status = Some(rpc::Status { code, ..Default::default() });
    Answer::of_grpc(Some(0), &framed(&CheckResponse { status, http_response, ..Default::default() }))
}

fn option(name: &str, value: &str, append: bool) -> HeaderValueOption {
    #[allow(deprecated)] // Authorizers use it.
    HeaderValueOption {
        header: Some(HeaderValue { key: name.into(), value: value.into(), ..Default::default() }),
        append: append.then_some(BoolValue { value: true }),
        ..Default::default()
    }
}

fn header(name: &str, value: &str) -> (String, Vec<u8>) {
    (name.into(), value.into())
}

#[test]
fn what_grpc_says() {
    let ok = OkHttpResponse {
        headers: vec![option("X-Set", "a", false), option("x-add", "b", true), option("x-evil", "c\r\nd: e", false)],
        headers_to_remove: vec!["X-Gone".into()],
        response_headers_to_add: vec![option("x-back", "f", false)],
        ..Default::default()
    };
    let changes = Changes {
        removed: vec!["x-gone".into()],
        set: vec![header("x-set", "a")],
        added: vec![header("x-add", "b")],
        response: vec![header("x-back", "f")],
    };
    assert_eq!(response(0, Some(HttpResponse::OkResponse(ok))), Answer::Allowed(Box::new(changes)));
    assert_eq!(response(0, None), Answer::Allowed(Box::default()));
    assert_eq!(response(7, None), Answer::Denied(Denied { status: 403, ..Denied::default() }));
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: 429 }),
        headers: vec![option("x-why", "a", false), option("content-length", "9", false)],
        body: "slower".into(),
    };
    let expected = Denied { status: 429, headers: vec![header("x-why", "a")], body: Bytes::from_static(b"slower") };
    assert_eq!(response(16, Some(HttpResponse::DeniedResponse(denied))), Answer::Denied(expected));
    // A contradiction is no permission.
    let ok = HttpResponse::OkResponse(OkHttpResponse::default());
    assert!(matches!(response(7, Some(ok)), Answer::Denied(_)));
    let broken = [(None, vec![]), (Some(14), vec![]), (Some(0), vec![]), (Some(0), vec![0, 0, 0, 0, 9, 1])];
    for (status, body) in broken {
        assert!(matches!(Answer::of_grpc(status, &body), Answer::Failed(_)), "{status:?} {body:?}");
    }
}

#[test]
fn what_http_says() {
    let service = HttpService {
        upstream: vec![prefix("x-set")],
        upstream_added: vec![prefix("x-add")],
        denied: Some(vec![prefix("x-why")]),
        allowed: vec![prefix("x-back")],
        ..HttpService::default()
    };
    let headers =
        ["x-set", "x-add", "x-why", "x-back", "www-authenticate", "content-length"].map(|name| header(name, "1"));
    let ask = |service: &HttpService, status| Answer::of_http(service, status, &headers, Bytes::from_static(b"no"));
    let changes = Changes {
        removed: vec![],
        set: vec![header("x-set", "1")],
        added: vec![header("x-add", "1")],
        response: vec![header("x-back", "1")],
    };
    assert_eq!(ask(&service, 200), Answer::Allowed(Box::new(changes)));
    let denied = |headers| Denied { status: 401, headers, body: Bytes::from_static(b"no") };
    let told = vec![header("x-why", "1"), header("www-authenticate", "1")];
    assert_eq!(ask(&service, 401), Answer::Denied(denied(told)));
    assert_eq!(
        ask(&HttpService::default(), 401),
        Answer::Denied(denied(headers[..5].to_vec())),
        "all of them, unless some are named"
    );
    assert!(matches!(ask(&service, 503), Answer::Failed(_)));
    assert!(matches!(ask(&service, 204), Answer::Denied(_)), "only 200 allows");
}

#[test]
fn what_they_are_asked() {
    let mut external = external(Service::Grpc { authority: "authorizer".into() });
    external.shown.never = vec![prefix("x-secret")];
    external.body = Some(BodyLimit { max: 10, partial: true, bytes: false });
    let head = SimpleHead::get("web", "/a?b=c");
    let pair = |name: &str, value: &str| (Box::from(name), Box::from(value.as_bytes()));
    let headers =
        [pair("x-a", "1"), pair("x-a", "2"), pair("x-secret", "3"), pair("authorization", "4"), pair("te", "5")];
    let content = Content {
        head: &head,
        headers: &headers,
        id: "id",
        protocol: "HTTP/1.1",
        size: None,
        body: Some(b"begin"),
        partial: true,
    };
    assert_eq!(
        http_headers(&external.shown, &content),
        [pair("authorization", "4"), pair("x-envoy-auth-partial-body", "true")],
        "none is shown over HTTP unless it is named"
    );
    let side = |port: u16, principal| Side { address: ([10, 0, 0, 1], port).into(), principal };
    let question = Question {
        source: side(1, "spiffe://td/ns/a/sa/b"),
        destination: side(2, ""),
        time: std::time::SystemTime::UNIX_EPOCH,
        content: Some(content),
    };
    let frame = grpc_message(&external, &question);
    assert_eq!(frame[0], 0);
    assert_eq!(u32::from_be_bytes([frame[1], frame[2], frame[3], frame[4]]) as usize, frame.len() - 5);
    let attributes = CheckRequest::decode(&frame[5..]).expect("a message").attributes.expect("attributes");
    assert_eq!(attributes.source.expect("a source").principal, "spiffe://td/ns/a/sa/b");
    let http = attributes.request.and_then(|request| request.http).expect("a request");
    assert_eq!((http.path.as_str(), http.host.as_str(), http.size, http.body.as_str()), ("/a?b=c", "web", -1, "begin"));
    assert_eq!(http.headers["x-a"], "1,2");
    assert_eq!(http.headers[":path"], "/a?b=c");
    assert!(!http.headers.contains_key("x-secret"));
}
