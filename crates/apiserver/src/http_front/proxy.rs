//! `pods/proxy` and `services/proxy`: a request passed on to a port of a pod, its answer passed back.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::copy_bidirectional;

use super::respond;
use crate::{engine::Call, engine::Engine, status::Status, store::Key};

const PATIENCE: Duration = Duration::from_secs(30);
/// Headers of one connection, and what is only for the API server's own eyes.
const DROPPED: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
];

/// A pod or a service as the URL names it: `name`, `name:port` or `scheme:name:port`.
#[derive(Debug, PartialEq, Eq)]
struct Wanted<'a> {
    name: &'a str,
    port: &'a str,
}

impl<'a> Wanted<'a> {
    fn parse(text: &'a str, kind: &str) -> Result<Self, Status> {
        let parts: Vec<&str> = text.split(':').collect();
        match parts.as_slice() {
            [name] => Ok(Self { name, port: "" }),
            [name, port] | ["" | "http", name, port] => Ok(Self { name, port }),
            ["https", ..] => Err(Status::bad_request(
                "this API server proxies plain HTTP only; use `kubectl port-forward` for https",
            )),
            _ => Err(Status::bad_request(format!("invalid {kind} request {text:?}"))),
        }
    }
}

/// Passes on a request for `rest` (what follows `/proxy` in its path).
pub async fn serve(engine: &Engine, call: &Call, rest: &str, request: Request<Body>) -> Result<Response<Body>, Status> {
    if rest.is_empty() && request.method() == http::Method::GET {
        return Ok(slash(request.uri()));
    }
    let (ip, port) = match &*call.resource.collection {
        "/pods" => pod_address(engine, call)?,
        _ => service_address(engine, call)?,
    };
    let failed = |e: &dyn std::fmt::Display| Status::unavailable(format!("error trying to reach service: {e}"));
    let dialed = tokio::time::timeout(PATIENCE, engine.config.dialer.dial(&ip, port)).await;
    let stream = match dialed {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            return Err(failed(&format!("dial tcp {ip}:{port}: connect: connection refused")));
        }
        Ok(Err(error)) => return Err(failed(&format!("dial tcp {ip}:{port}: {error}"))),
        Err(_) => return Err(failed(&format!("dial tcp {ip}:{port}: i/o timeout"))),
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
    tokio::spawn(connection.with_upgrades());
    let base = base(request.uri().path(), rest).to_owned();
    let (request, client) = forwarded(request, rest, &format!("{ip}:{port}"))?;
    let mut response = sender.send_request(request).await.map_err(|e| failed(&e))?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        join(client, hyper::upgrade::on(&mut response));
    }
    rewrite_location(response.headers_mut(), &base);
    Ok(response.map(Body::new))
}

/// The part of a path before what is passed on.
fn base<'a>(path: &'a str, rest: &str) -> &'a str {
    path.strip_suffix(rest).unwrap_or(path)
}

/// Relative links of a page need the slash.
fn slash(uri: &Uri) -> Response<Body> {
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let mut response = respond::bytes(StatusCode::MOVED_PERMANENTLY, "text/plain", bytes::Bytes::new());
    if let Ok(place) = HeaderValue::from_str(&format!("{}/{query}", uri.path())) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// The request as the pod gets it, and the client's connection for when the protocol is changed.
fn forwarded(
    mut request: Request<Body>,
    rest: &str,
    host: &str,
) -> Result<(Request<Body>, hyper::upgrade::OnUpgrade), Status> {
    let upgrade = request.headers().get(header::UPGRADE).cloned();
    let client = hyper::upgrade::on(&mut request);
    let (mut parts, body) = request.into_parts();
    let query = parts.uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let path = if rest.is_empty() { "/" } else { rest };
    parts.uri = format!("{path}{query}").parse().map_err(|_| Status::bad_request("the path is not valid"))?;
    parts.version = Version::HTTP_11;
    for name in &DROPPED {
        parts.headers.remove(name);
    }
    let impersonating = |name: &HeaderName| name.as_str().starts_with("impersonate-");
    let personal: Vec<HeaderName> = parts.headers.keys().filter(|name| impersonating(name)).cloned().collect();
    for name in personal {
        parts.headers.remove(name);
    }
    let host = HeaderValue::from_str(host).map_err(|_| Status::bad_request("the host is not valid"))?;
    parts.headers.insert(header::HOST, host);
    if let Some(protocol) = upgrade {
        parts.headers.insert(header::UPGRADE, protocol);
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    Ok((Request::from_parts(parts, body), client))
}

/// Lets both ends talk until one of them leaves.
fn join(client: hyper::upgrade::OnUpgrade, server: hyper::upgrade::OnUpgrade) {
    tokio::spawn(async move {
        if let (Ok(client), Ok(server)) = tokio::join!(client, server) {
            let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(server)).await;
        }
    });
}

/// A redirect within the pod leads back through the proxy.
fn rewrite_location(headers: &mut HeaderMap, base: &str) {
    let place = headers.get(header::LOCATION).and_then(|v| v.to_str().ok());
    if let Some(path) = place.filter(|p| p.starts_with('/') && !p.starts_with("//"))
        && let Ok(value) = HeaderValue::from_str(&format!("{base}{path}"))
    {
        headers.insert(header::LOCATION, value);
    }
}

fn pod_address(engine: &Engine, call: &Call) -> Result<(String, u16), Status> {
    let wanted = Wanted::parse(&call.name, "pod")?;
    let pod = engine.store.get(&Key::new(&"/pods".into(), &call.namespace, wanted.name));
    let pod = pod.ok_or_else(|| Status::not_found("", "pods", wanted.name))?;
    let ip = pod["status"]["podIP"].as_str().filter(|ip| !ip.is_empty());
    let ip = ip.ok_or_else(|| Status::bad_request("address not allowed"))?;
    let port = match wanted.port {
        "" => pod["spec"]["containers"][0]["ports"][0]["containerPort"].as_u64().unwrap_or(80).to_string(),
        port => port.to_owned(),
    };
    let number = port.parse().map_err(|_| Status::bad_request(format!("invalid pod port {port:?}")))?;
    Ok((ip.to_owned(), number))
}

fn service_address(engine: &Engine, call: &Call) -> Result<(String, u16), Status> {
    let wanted = Wanted::parse(&call.name, "service")?;
    let service = engine.store.get(&Key::new(&"/services".into(), &call.namespace, wanted.name));
    let service = service.ok_or_else(|| Status::not_found("", "services", wanted.name))?;
    let ports = service["spec"]["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let port = ports.iter().find(|port| is_port(port, wanted.port)).ok_or_else(|| {
        Status::unavailable(format!("no service port {:?} found for service {:?}", wanted.port, wanted.name))
    })?;
    let slices = engine.store.list("discovery.k8s.io/endpointslices", Some(&call.namespace));
    let mut found: Vec<(String, u16)> = Vec::new();
    let mine = |slice: &Value| slice["metadata"]["labels"]["kubernetes.io/service-name"] == wanted.name;
    for slice in slices.objects().filter(|slice| mine(slice)) {
        found.extend(ready_addresses(&slice, port["name"].as_str().unwrap_or_default()));
    }
    fastrand::choice(found)
        .ok_or_else(|| Status::unavailable(format!("no endpoints available for service {:?}", wanted.name)))
}

/// Whether a port of a service is meant by `wanted`: a name, a number, or nothing for the one without a name.
fn is_port(port: &Value, wanted: &str) -> bool {
    let name = port["name"].as_str().unwrap_or_default();
    name == wanted || (!wanted.is_empty() && port["port"].as_u64().is_some_and(|n| n.to_string() == wanted))
}

fn ready_addresses(slice: &Value, port: &str) -> Vec<(String, u16)> {
    let mut ports = slice["ports"].as_array().into_iter().flatten();
    let number = ports.find(|p| p["name"].as_str().unwrap_or_default() == port).and_then(|p| p["port"].as_u64());
    let Some(number) = number.and_then(|n| u16::try_from(n).ok()) else { return Vec::new() };
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let ready = endpoints.filter(|e| e["conditions"]["ready"] != false);
    ready.filter_map(|e| Some((e["addresses"][0].as_str()?.to_owned(), number))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_carry_scheme_and_port() {
        let parse = |text| Wanted::parse(text, "pod");
        assert_eq!(parse("a").unwrap(), Wanted { name: "a", port: "" });
        assert_eq!(parse("a:80").unwrap(), Wanted { name: "a", port: "80" });
        assert_eq!(parse("http:a:web").unwrap(), Wanted { name: "a", port: "web" });
        assert_eq!(parse(":a:").unwrap(), Wanted { name: "a", port: "" });
        assert!(parse("https:a:443").unwrap_err().message.contains("port-forward"));
        assert_eq!(parse("ftp:a:1").unwrap_err().code, 400);
    }

    #[test]
    fn a_service_port_is_meant_by_name_number_or_nothing() {
        let (plain, named) = (json!({"port": 80}), json!({"name": "web", "port": 81}));
        for (port, wanted, expect) in [
            (&plain, "", true),
            (&plain, "80", true),
            (&named, "", false),
            (&named, "web", true),
            (&named, "80", false),
        ] {
            assert_eq!(is_port(port, wanted), expect, "{port} {wanted}");
        }
    }

    #[test]
    fn only_ready_endpoints_are_asked() {
        let slice = json!({"ports": [{"name": "web", "port": 8080}], "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
        ]});
        assert_eq!(ready_addresses(&slice, "web"), [("10.0.0.1".to_owned(), 8080)]);
        assert!(ready_addresses(&slice, "other").is_empty());
    }

    #[test]
    fn redirects_stay_behind_the_proxy() {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_static("/login"));
        rewrite_location(&mut headers, "/api/v1/namespaces/n/pods/p/proxy");
        assert_eq!(headers[header::LOCATION], "/api/v1/namespaces/n/pods/p/proxy/login");
        assert_eq!(base("/x/proxy/a/b", "/a/b"), "/x/proxy");
    }
}
