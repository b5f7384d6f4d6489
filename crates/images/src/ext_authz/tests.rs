use ::http::{HeaderMap, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{api, *};
use crate::rpc;

/// An authorizer on ports of its own, ended with the test.
struct Authorizer {
    http: std::net::SocketAddr,
    grpc: std::net::SocketAddr,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Drop for Authorizer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Authorizer {
    async fn start() -> Self {
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let grpc = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = (http.local_addr().unwrap(), grpc.local_addr().unwrap());
        let serving = tokio::spawn(served(http, grpc, "a".into()));
        Authorizer { http: addresses.0, grpc: addresses.1, serving }
    }

    async fn over_http(&self, headers: &[(&str, &str)], body: &'static str) -> (StatusCode, HeaderMap, String) {
        let stream = TokioIo::new(TcpStream::connect(self.http).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::post("/admin?x=1").header(header::HOST, "b.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap();
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn over_grpc(&self, attributes: api::Attributes) -> api::CheckResponse {
        let stream = TokioIo::new(TcpStream::connect(self.grpc).await.unwrap());
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let request = Request::post(format!("http://{}{}", self.grpc, api::CHECK)).body(()).unwrap();
        let asked = api::CheckRequest { attributes: Some(attributes) };
        rpc::call(&mut sender, request, &asked).await.unwrap().1
    }
}

fn attributes(headers: &[(&str, &str)], principal: &str) -> api::Attributes {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let http = api::HttpRequest { method: "GET".into(), path: "/custom".into(), headers, ..Default::default() };
    api::Attributes {
        source: Some(api::Peer { principal: principal.to_owned(), ..Default::default() }),
        request: Some(api::Request { http: Some(http) }),
        ..Default::default()
    }
}

#[tokio::test]
async fn over_http_the_header_decides_and_the_answer_tells_what_was_asked() {
    let authorizer = Authorizer::start().await;
    for (headers, status) in [
        (&[("x-ext-authz", "allow"), (OVERRIDE, "mine")][..], StatusCode::OK),
        (&[("x-ext-authz", "deny")], StatusCode::FORBIDDEN),
        (&[], StatusCode::FORBIDDEN),
    ] {
        let (found, answer, body) = authorizer.over_http(headers, "one\ntwo").await;
        assert_eq!(found, status, "{headers:?}");
        let allowed = status == StatusCode::OK;
        assert_eq!(answer[RESULT], verdict(allowed));
        assert_eq!(answer[OVERRIDE], if allowed { "mine" } else { "" });
        let received = answer[RECEIVED].to_str().unwrap();
        assert!(received.starts_with("POST b.test/admin?x=1, headers: map["), "{received}");
        assert!(received.ends_with("body: [one two]"), "{received}");
        assert_eq!(body.contains("`x-ext-authz: allow`"), !allowed, "{body}");
    }
}

#[tokio::test]
async fn over_grpc_the_header_decides_and_else_the_service_account() {
    let authorizer = Authorizer::start().await;
    let (a, b) = ("spiffe://cluster.local/ns/ns1/sa/a", "spiffe://cluster.local/ns/ns1/sa/b");
    for (headers, principal, allowed) in [
        (&[("x-ext-authz", "allow")][..], b, true),
        (&[("x-ext-authz", "deny")], a, false),
        (&[], a, true),
        (&[], b, false),
        (&[], "", false),
    ] {
        let answer = authorizer.over_grpc(attributes(headers, principal)).await;
        let (code, headers) = match answer.answer.unwrap() {
            api::Answer::Allowed(allowed) => (0, allowed.headers),
            api::Answer::Denied(denied) => {
                assert_eq!(denied.status.unwrap().code, 403);
                (7, denied.headers)
            }
        };
        assert_eq!((code == 0, answer.status.unwrap().code), (allowed, code), "{headers:?} {principal}");
        let header = headers.iter().filter_map(|option| option.header.as_ref()).find(|header| header.key == RESULT);
        assert_eq!(header.unwrap().value, verdict(allowed));
    }
}

#[test]
fn flags_set_ports_and_account_and_others_are_refused() {
    let parsed = |args: &[&str]| parse(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>());
    let options = |http: &str, grpc: &str, account: &str| Options {
        http: http.into(),
        grpc: grpc.into(),
        account: account.into(),
    };
    assert_eq!(parsed(&[]), Ok(options("8000", "9000", "a")));
    assert_eq!(parsed(&["-http=1", "--grpc", "2", "--allow_service_account=c"]), Ok(options("1", "2", "c")));
    assert!(parsed(&["-https=1"]).unwrap_err().contains("-https"));
    assert!(parsed(&["-http"]).unwrap_err().contains("needs an argument"));
}
