//! From a call as written to the request for it.

use lateen_images::echo::api::{ForwardEchoRequest, Header};
use lateen_testkit::world::{Port, Workload, World};

use super::case::Call;

/// How long one call may take where it does not say.
const PATIENCE_SECONDS: f64 = 5.0;

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
    let of_protocol = match call.port.protocol.as_deref() {
        Some("HTTPS") => "https",
        Some("TCP") => "tcp",
        _ => "http",
    };
    Ok(Aim {
        scheme: call.scheme.clone().unwrap_or_else(|| port.map_or(of_protocol, |port| port.scheme).to_owned()),
        address: address.ok_or("the call has no destination")?,
        port: of_service.or(call.port.number),
        to,
        server_first: port.is_some_and(Port::server_first),
    })
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
        expected_response: call.expect.response_starts_with.clone(),
        ..ForwardEchoRequest::default()
    }
}
