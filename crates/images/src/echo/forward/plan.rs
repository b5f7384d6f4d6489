//! A request for calls, checked and in the types that making them needs.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use rustls::ClientConfig;

use super::tls;
use crate::echo::api::{ForwardEchoRequest, Header, ProxyProtocol};

/// The most calls of one request, and the longest that one may take.
const MOST: usize = 100_000;
const LONGEST: Duration = Duration::from_secs(600);
/// How long a call may take where the request does not say.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
    Grpc,
    WebSocket,
    WebSocketTls,
    Tcp,
    Tls,
    Dns,
}

impl Scheme {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "grpc" => Scheme::Grpc,
            "ws" => Scheme::WebSocket,
            "wss" => Scheme::WebSocketTls,
            "tcp" => Scheme::Tcp,
            "tls" => Scheme::Tls,
            "dns" => Scheme::Dns,
            _ => return None,
        })
    }

    fn default_port(self) -> u16 {
        match self {
            Scheme::Https | Scheme::WebSocketTls | Scheme::Tls => 443,
            Scheme::Dns => 53,
            _ => 80,
        }
    }

    fn secure(self) -> bool {
        matches!(self, Scheme::Https | Scheme::WebSocketTls | Scheme::Tls)
    }
}

/// The calls to make.
pub(super) struct Plan {
    pub scheme: Scheme,
    pub url: Uri,
    pub host: String,
    pub port: u16,
    pub count: usize,
    pub qps: u32,
    pub timeout: Duration,
    pub method: Method,
    /// Without `Host`, which is the authority.
    pub headers: HeaderMap,
    pub authority: String,
    pub message: String,
    pub expected: String,
    pub server_first: bool,
    pub http2: bool,
    pub follow_redirects: bool,
    pub reuse: bool,
    pub proxy_protocol: u8,
    pub tls: Option<Arc<ClientConfig>>,
    pub server_name: String,
}

impl Plan {
    pub fn new(request: ForwardEchoRequest) -> Result<Self, String> {
        let shown = &request.url;
        let bad = |reason: &str| format!("url {shown:?}: {reason}");
        let url: Uri = shown.parse().map_err(|error: http::uri::InvalidUri| bad(&error.to_string()))?;
        let scheme = url.scheme_str().and_then(Scheme::parse);
        let scheme = scheme.ok_or_else(|| bad("write http, https, grpc, ws, wss, tcp, tls or dns, then ://HOST"))?;
        let authority = url.authority().ok_or_else(|| bad("it names no host"))?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(scheme.default_port());
        let (host_header, headers) = headers(&request.headers)?;
        // As Go's client shows it: without the port that the scheme means anyway.
        let authority = host_header.clone().unwrap_or_else(|| authority.as_str().to_owned());
        let server_name = first_of([&request.server_name, host_header.as_deref().unwrap_or_default(), &host]);
        let tls = scheme.secure().then(|| tls::config(&request, scheme)).transpose()?;
        if request.http3 {
            return Err("http3 is not supported by the built-in image".into());
        }
        Ok(Plan {
            count: count(request.count)?,
            qps: u32::try_from(request.qps).map_err(|_| format!("qps {} is negative", request.qps))?,
            timeout: timeout(request.timeout_micros)?,
            method: method(&request.method)?,
            expected: request.expected_response.unwrap_or_else(|| "StatusCode=200".into()),
            proxy_protocol: match ProxyProtocol::try_from(request.proxy_protocol_version) {
                Ok(ProxyProtocol::None) => 0,
                Ok(ProxyProtocol::V1) => 1,
                Ok(ProxyProtocol::V2) => 2,
                Err(_) => return Err(format!("proxyProtocolVersion {} is unknown", request.proxy_protocol_version)),
            },
            server_name: without_port(&server_name).to_owned(),
            // Looking a host up again means a connection of its own.
            reuse: !request.new_connection_per_request && !request.force_dns_lookup,
            message: request.message,
            server_first: request.server_first,
            http2: request.http2,
            follow_redirects: request.follow_redirects,
            scheme,
            url,
            host,
            port,
            headers,
            authority,
            tls,
        })
    }

    /// What is sent where the request gives no message.
    pub fn message(&self) -> &str {
        if self.message.is_empty() { "HelloWorld" } else { &self.message }
    }
}

fn first_of(candidates: [&str; 3]) -> String {
    candidates.into_iter().find(|candidate| !candidate.is_empty()).unwrap_or_default().to_owned()
}

/// A host without its port; addresses of IPv6 keep their colons.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && (!name.contains(':') || name.ends_with(']')) => {
            name.trim_matches(['[', ']'])
        }
        _ => host.trim_matches(['[', ']']),
    }
}

fn count(count: i32) -> Result<usize, String> {
    match usize::try_from(count) {
        Ok(0) => Ok(1),
        Ok(count) if count <= MOST => Ok(count),
        _ => Err(format!("count {count} is not between 1 and {MOST}")),
    }
}

fn timeout(micros: i64) -> Result<Duration, String> {
    match u64::try_from(micros).map(Duration::from_micros) {
        Ok(Duration::ZERO) => Ok(PATIENCE),
        Ok(timeout) if timeout <= LONGEST => Ok(timeout),
        _ => Err(format!("timeoutMicros {micros} is not between 0 and {}", LONGEST.as_micros())),
    }
}

fn method(method: &str) -> Result<Method, String> {
    match method {
        "" => Ok(Method::GET),
        method => method.parse().map_err(|_| format!("method {method:?} is none of HTTP's")),
    }
}

fn headers(given: &[Header]) -> Result<(Option<String>, HeaderMap), String> {
    let mut host = None;
    let mut headers = HeaderMap::new();
    for Header { key, value } in given {
        if key.eq_ignore_ascii_case("host") {
            host = Some(value.clone());
            continue;
        }
        let name: HeaderName = key.parse().map_err(|_| format!("header {key:?} can't be a name"))?;
        let value = HeaderValue::from_str(value).map_err(|_| format!("header {key:?} can't have this value"))?;
        headers.append(name, value);
    }
    Ok((host, headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(url: &str, change: impl FnOnce(&mut ForwardEchoRequest)) -> Result<Plan, String> {
        let mut request = ForwardEchoRequest { url: url.into(), ..Default::default() };
        change(&mut request);
        Plan::new(request)
    }

    #[test]
    fn urls_say_what_is_spoken_with_whom() {
        for (url, scheme, host, port) in [
            ("http://b:85/path", Scheme::Http, "b", 85),
            ("https://b.ns.svc.cluster.local", Scheme::Https, "b.ns.svc.cluster.local", 443),
            ("grpc://b:7070", Scheme::Grpc, "b", 7070),
            ("tcp://[fd00::1]:9090", Scheme::Tcp, "fd00::1", 9090),
            ("dns://fake.service.local?&protocol=tcp", Scheme::Dns, "fake.service.local", 53),
        ] {
            let plan = plan(url, |_| {}).unwrap();
            assert_eq!((plan.scheme, plan.host.as_str(), plan.port), (scheme, host, port));
            assert_eq!((plan.count, plan.timeout, plan.reuse), (1, PATIENCE, true));
        }
    }

    #[test]
    fn the_host_header_is_authority_and_server_name() {
        let header = Header { key: "Host".into(), value: "example.com:8443".into() };
        let plan = plan("https://10.0.0.1:443/", |request| request.headers.push(header)).unwrap();
        assert_eq!((plan.authority.as_str(), plan.server_name.as_str()), ("example.com:8443", "example.com"));
        assert!(plan.headers.is_empty() && plan.tls.is_some());
    }

    #[test]
    fn what_can_not_be_done_is_refused() {
        let error = |url: &str, change: fn(&mut ForwardEchoRequest)| plan(url, change).err().unwrap_or_default();
        assert!(error("b:80", |_| {}).contains("://HOST"));
        assert!(error("ftp://b", |_| {}).contains("://HOST"));
        assert!(error("http://b", |request| request.count = -1).contains("count"));
        assert!(error("http://b", |request| request.timeout_micros = i64::MAX).contains("timeoutMicros"));
        assert!(error("http://b", |request| request.proxy_protocol_version = 7).contains("proxyProtocolVersion"));
        assert!(error("http://b", |request| request.http3 = true).contains("http3"));
        assert!(error("https://b", |request| request.ca_cert = "none".into()).contains("caCert"));
    }
}
