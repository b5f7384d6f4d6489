//! Clients: one that asks an echo server to make calls, and the program that makes them itself.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::{
    api::{Alpn, ForwardEchoRequest, ForwardEchoResponse, Header},
    forward,
};
use crate::rpc::{self, Status};

/// A connection to the gRPC port of an echo server.
pub struct Client(http2::SendRequest<Full<Bytes>>);

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nothing listens there, or what listens does not speak HTTP/2.
    pub async fn connect(address: SocketAddr) -> Result<Self, Status> {
        let unavailable = |error: String| Status::new(Status::UNAVAILABLE, error);
        let stream = TcpStream::connect(address).await.map_err(|error| unavailable(error.to_string()))?;
        let opened = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = opened.map_err(|error| unavailable(error.to_string()))?;
        tokio::spawn(connection);
        Ok(Client(sender))
    }

    /// Has the server make calls.
    ///
    /// # Errors
    /// When one of the calls fails; the message says which and why.
    pub async fn forward(&mut self, request: &ForwardEchoRequest) -> Result<ForwardEchoResponse, Status> {
        let head =
            Request::builder().method(Method::POST).uri("http://echo/proto.EchoTestService/ForwardEcho").body(());
        let head = head.map_err(|error| Status::new(Status::INTERNAL, error.to_string()))?;
        rpc::call(&mut self.0, head, request).await.map(|(_, answer)| answer)
    }
}

/// `client URL [--flag=value]...`: makes calls and prints their answers.
pub(super) async fn run(args: &[String]) -> Result<(), String> {
    let request = parse(args)?;
    let answer = forward::forward(request).await.map_err(|status| status.message)?;
    print!("{}", answer.output.concat());
    Ok(())
}

fn parse(args: &[String]) -> Result<ForwardEchoRequest, String> {
    let mut request = ForwardEchoRequest::default();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--") else {
            if !request.url.is_empty() {
                return Err(format!("unknown argument {word:?}"));
            }
            request.url.clone_from(word);
            continue;
        };
        let (name, inline) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        if let Some(switch) = switch(&mut request, name) {
            *switch = inline.is_none_or(|value| value == "true");
            continue;
        }
        let value =
            inline.or_else(|| words.next().cloned()).ok_or_else(|| format!("flag needs an argument: --{name}"))?;
        set(&mut request, name, value)?;
    }
    if request.url.is_empty() { Err("write the URL to call".into()) } else { Ok(request) }
}

fn switch<'a>(request: &'a mut ForwardEchoRequest, name: &str) -> Option<&'a mut bool> {
    match name {
        "http2" => Some(&mut request.http2),
        "http3" => Some(&mut request.http3),
        "server-first" => Some(&mut request.server_first),
        "follow-redirects" => Some(&mut request.follow_redirects),
        "insecure-skip-verify" => Some(&mut request.insecure_skip_verify),
        "new-connection-per-request" => Some(&mut request.new_connection_per_request),
        "forceDNSLookup" => Some(&mut request.force_dns_lookup),
        _ => None,
    }
}

fn set(request: &mut ForwardEchoRequest, name: &str, value: String) -> Result<(), String> {
    let number = |text: &str| text.parse().map_err(|_| format!("invalid argument {text:?} for --{name}"));
    match name {
        "count" => request.count = number(&value)?,
        "qps" => request.qps = number(&value)?,
        "timeout" => {
            let seconds: f64 = value
                .trim_end_matches('s')
                .parse()
                .map_err(|_| format!("invalid argument {value:?} for --timeout: write seconds, such as 5s"))?;
            request.timeout_micros = (seconds * 1e6) as i64;
        }
        "header" | "H" => {
            let (key, value) = value.split_once(':').ok_or_else(|| format!("--header={value}: write NAME:VALUE"))?;
            request.headers.push(Header { key: key.trim().into(), value: value.trim().into() });
        }
        "msg" => request.message = value,
        "method" => request.method = value,
        "alpn" => request.alpn = Some(Alpn { value: value.split(',').map(str::to_owned).collect() }),
        "server-name" => request.server_name = value,
        "expected-response" => request.expected_response = Some(value),
        "ca" => request.ca_cert_file = value,
        "client-cert" => request.cert_file = value,
        "client-key" => request.key_file = value,
        "proxy-protocol-version" => request.proxy_protocol_version = number(&value)?,
        _ => return Err(format!("unknown flag: --{name}")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_the_request() {
        let args = ["http://b", "--count=3", "--http2", "--header=Host: x", "--timeout", "1.5s"].map(str::to_owned);
        let request = parse(&args).unwrap();
        assert_eq!((request.url.as_str(), request.count, request.http2), ("http://b", 3, true));
        assert_eq!(request.timeout_micros, 1_500_000);
        assert_eq!(request.headers, [Header { key: "Host".into(), value: "x".into() }]);
        assert!(parse(&["--count=x".to_owned()]).unwrap_err().contains("--count"));
        assert!(parse(&[]).unwrap_err().contains("URL"));
    }
}
