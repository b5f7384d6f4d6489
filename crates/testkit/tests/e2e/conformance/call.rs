//! From a call as written to the request for it.

use lateen_images::echo::api::{Alpn, ForwardEchoRequest, Header};
use lateen_testkit::world::{Ingress, Port, Workload, World};

use super::case::Call;

/// How long one call may take where it does not say.
const PATIENCE_SECONDS: f64 = 5.0;

/// Who calls from outside the cluster, and has the ingress gateway for destination whatever else a call says.
pub const INGRESS_CLIENT: &str = "ingress-client";

/// A call's destination and what is spoken with it.
pub struct Aim<'a> {
    pub scheme: String,
    address: String,
    port: Option<u16>,
    to: Option<&'a Workload>,
    server_first: bool,
}

/// `name.namespace`, or `name` in the namespace of the run.
pub fn split<'a>(name: &'a str, namespace: &'a str) -> (&'a str, &'a str) {
    name.split_once('.').unwrap_or((name, namespace))
}

/// Finds out where a call goes.
///
/// # Errors
/// A destination or port that this world lacks.
pub fn aim<'a>(call: &Call, world: &'a World, namespace: &str) -> Result<Aim<'a>, String> {
    let to = match &call.to {
        Some(to) => {
            let (name, namespace) = split(to, namespace);
            Some(world.find(name, namespace).ok_or_else(|| format!("no workload {name} in {namespace}"))?)
        }
        None => None,
    };
    let port = call.port.name.as_deref().map(|name| Port::find(name).ok_or_else(|| format!("no port {name}")));
    let port = port.transpose()?;
    let pod = call.to_workload.as_deref().map(|name| {
        let (name, namespace) = split(name, namespace);
        world.pod_address(name, namespace).map(str::to_owned).ok_or_else(|| format!("no pod of {name}"))
    });
    let address = call.address.clone().or(pod.transpose()?).or_else(|| to.map(Workload::host));
    let of_service = port.and_then(|port| to.map_or(port.service, |to| to.service_port(port)));
    let of_protocol = scheme(call);
    Ok(Aim {
        scheme: call.scheme.clone().unwrap_or_else(|| port.map_or(of_protocol, |port| port.scheme).to_owned()),
        address: address.ok_or("the call has no destination")?,
        port: of_service.or(call.port.number),
        to,
        server_first: port.is_some_and(Port::server_first),
    })
}

fn scheme(call: &Call) -> &'static str {
    match call.port.protocol.as_deref() {
        Some("HTTPS") => "https",
        Some("TCP") => "tcp",
        _ => "http",
    }
}

/// Where a call of the client outside the cluster goes.
///
/// # Errors
/// A port that the gateway lacks.
pub fn aim_at<'a>(ingress: &Ingress, call: &Call) -> Result<Aim<'a>, String> {
    let scheme = call.scheme.clone().unwrap_or_else(|| scheme(call).to_owned());
    let port = call.port.number.unwrap_or(if scheme == "https" { 443 } else { 80 });
    let address = ingress.address(port).ok_or_else(|| format!("the ingress gateway has no port {port}"))?;
    Ok(Aim { scheme, address: address.ip().to_string(), port: Some(address.port()), to: None, server_first: false })
}

/// The request that has the source make the call.
pub fn request(call: &Call, aim: &Aim<'_>) -> ForwardEchoRequest {
    let has_path = matches!(aim.scheme.as_str(), "http" | "https" | "ws" | "wss");
    let port = aim.port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = if has_path { call.path.as_str() } else { "" };
    let mut headers: Vec<Header> =
        call.headers.iter().map(|(key, value)| Header { key: key.clone(), value: value.clone() }).collect();
    let named = headers.iter().any(|header| header.key.eq_ignore_ascii_case("host"));
    if let Some(to) = aim.to.filter(|_| !named) {
        headers.push(Header { key: "Host".into(), value: to.host() });
    }
    ForwardEchoRequest {
        url: format!("{}://{}{port}{path}", aim.scheme, aim.address),
        count: call.count.unwrap_or(1),
        timeout_micros: (call.timeout_seconds.unwrap_or(PATIENCE_SECONDS) * 1e6) as i64,
        headers,
        message: call.message.clone(),
        method: call.method.clone(),
        http2: call.http2,
        follow_redirects: call.follow_redirects,
        server_first: aim.server_first,
        server_name: call.tls.server_name.clone(),
        alpn: call.tls.alpn.clone().map(|value| Alpn { value }),
        expected_response: call.expect.response_starts_with.clone(),
        ..ForwardEchoRequest::default()
    }
}
