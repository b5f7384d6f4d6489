//! What this proxy itself adds to requests and responses, and takes away.

use std::borrow::Cow;
use std::fmt::Write as _;

use lateen_proxy_core::format::Operators;
use lateen_proxy_core::http::{ClientCertDetails, ForwardClientCert, Hcm, ServerHeader};
use lateen_proxy_core::rbac::client_address;
use lateen_proxy_core::route::{Chosen, Forward, HostRewrite};

use super::edits::Edits;
use super::exchange::Exchange;
use super::head::{Headers, Response};
use crate::listener::Conn;
use crate::peer::{ID_HEADER, METADATA_HEADER};
use crate::tls::TlsInfo;

/// Instructions among proxies of the mesh and what they know of clients; from outside they don't count.
const INTERNAL: [&str; 20] = [
    METADATA_HEADER,
    ID_HEADER,
    ATTEMPTS,
    "x-envoy-external-address",
    "x-envoy-internal",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-ip-tags",
    "x-envoy-max-retries",
    "x-envoy-original-url",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-ms",
];
const FORWARDED_PROTO: &str = "x-forwarded-proto";
const REQUEST_ID: &str = "x-request-id";
const XFCC: &str = "x-forwarded-client-cert";
const ATTEMPTS: &str = "x-envoy-attempt-count";

/// Finds the request id, or makes one.
pub fn request_id(x: &mut Exchange<'_>, edits: &mut Edits<'_>) {
    let outside = x.hcm.use_remote_address && !x.hcm.preserve_external_request_id;
    let sent = x.head.header(REQUEST_ID).filter(|_| !outside);
    if let Some(id) = sent.as_deref().and_then(|id| std::str::from_utf8(id).ok()) {
        x.request_id = id.to_owned();
    } else if x.hcm.generate_request_id {
        x.request_id = uuid(x.conn.worker.random(), x.conn.worker.random());
        edits.set(REQUEST_ID, x.request_id.clone().into_bytes());
    }
}

/// A random UUID.
fn uuid(high: u64, low: u64) -> String {
    let high = (high & !0xf000) | 0x4000;
    let low = (low & !(0b11 << 62)) | (0b10 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// Headers about the connection: who the client is and how it came.
pub fn connection(x: &mut Exchange<'_>, edits: &mut Edits<'_>) {
    let conn = x.conn;
    if x.hcm.use_remote_address {
        from_outside(x, edits);
    } else {
        x.forwarded_for = x.head.header("x-forwarded-for").map(|value| String::from_utf8_lossy(&value).into_owned());
    }
    // Of a client only proxies in front that are trusted may say how it came.
    let believed = !x.hcm.use_remote_address || x.hcm.trusted_hops > 0;
    x.keeps_forwarded_proto = believed && Headers::has(x.head, FORWARDED_PROTO);
    if !x.keeps_forwarded_proto {
        edits.set(FORWARDED_PROTO, conn.scheme().as_bytes());
    }
    if !x.hcm.via.is_empty() {
        edits.add("via", x.hcm.via.as_bytes().to_vec());
    }
    client_cert(x, edits);
}

/// Whether the client came by https, as far as that is known here.
pub fn came_by_https(x: &Exchange<'_>) -> bool {
    if x.keeps_forwarded_proto {
        return x.head.header(FORWARDED_PROTO).is_some_and(|proto| proto.eq_ignore_ascii_case(b"https"));
    }
    x.conn.tls.is_some()
}

/// What a client outside may not tell proxies to do, or say about itself.
fn from_outside(x: &mut Exchange<'_>, edits: &mut Edits<'_>) {
    let client = client_address(x.hcm, x.head, x.conn.remote.ip());
    forwarded_for(x, edits);
    for name in INTERNAL {
        if Headers::has(x.head, name) {
            edits.remove(name);
        }
    }
    edits.set("x-envoy-external-address", client.to_string().into_bytes());
}

fn forwarded_for(x: &mut Exchange<'_>, edits: &mut Edits<'_>) {
    let before = x.head.header("x-forwarded-for");
    let mut chain = before.map(|value| String::from_utf8_lossy(&value).into_owned()).unwrap_or_default();
    if !x.hcm.skip_xff_append {
        if !chain.is_empty() {
            chain.push(',');
        }
        let _ = write!(chain, "{}", x.conn.remote.ip());
        edits.set("x-forwarded-for", chain.clone().into_bytes());
    }
    x.forwarded_for = Some(chain);
}

fn client_cert(x: &Exchange<'_>, edits: &mut Edits<'_>) {
    let mtls = x.conn.is_mtls();
    match x.hcm.forward_client_cert {
        ForwardClientCert::AlwaysForward => {}
        ForwardClientCert::ForwardOnly if mtls => {}
        ForwardClientCert::Sanitize | ForwardClientCert::ForwardOnly => edits.remove(XFCC),
        ForwardClientCert::AppendForward | ForwardClientCert::SanitizeSet if !mtls => edits.remove(XFCC),
        kind => {
            let Some(tls) = &x.conn.tls else { return };
            let mut element = xfcc(tls, x.hcm.client_cert);
            let before = x.head.header(XFCC).filter(|_| kind == ForwardClientCert::AppendForward);
            if let Some(before) = before {
                element = format!("{},{element}", String::from_utf8_lossy(&before));
            }
            edits.set(XFCC, element.into_bytes());
        }
    }
}

fn xfcc(tls: &TlsInfo, details: ClientCertDetails) -> String {
    let mut text = String::new();
    if let Some(local) = &tls.local {
        let _ = write!(text, "By={local};");
    }
    let _ = write!(text, "Hash={}", tls.hash().unwrap_or_default());
    let Some(peer) = &tls.peer else { return text };
    if let Some(certificate) = tls.encoded_certificate().filter(|_| details.cert) {
        let _ = write!(text, ";Cert=\"{certificate}\"");
    }
    if details.subject {
        let _ = write!(text, ";Subject=\"{}\"", peer.subject.replace('"', "\\\""));
    }
    if details.uri {
        let _ = write!(text, ";URI={}", peer.uris.first().map_or("", String::as_str));
    }
    if details.dns {
        for name in &peer.dns {
            let _ = write!(text, ";DNS={name}");
        }
    }
    text
}

/// Learns who the client is, and hides that from the application.
pub fn downstream_peer(x: &mut Exchange<'_>, edits: &mut Edits<'_>) -> bool {
    let Some(exchange) = x.hcm.filters.peer_metadata.filter(|exchange| exchange.discover_downstream) else {
        return false;
    };
    let Some(metadata) = x.head.header(METADATA_HEADER) else {
        edits.remove(ID_HEADER);
        return false;
    };
    x.peer = x.conn.worker.peers.borrow_mut().get(&metadata);
    edits.remove(METADATA_HEADER);
    edits.remove(ID_HEADER);
    exchange.tell_downstream
}

/// Tells the server who we are.
pub fn upstream_peer(x: &Exchange<'_>, edits: &mut Edits<'_>) {
    let Some(exchange) = x.hcm.filters.peer_metadata.filter(|exchange| exchange.tell_upstream) else { return };
    let external = x.cluster.is_some_and(|cluster| {
        cluster.external || matches!(&*cluster.name, "PassthroughCluster" | "InboundPassthroughCluster")
    });
    if exchange.skip_external && external {
        return;
    }
    own_metadata(x.conn, edits);
}

fn own_metadata(conn: &Conn, edits: &mut Edits<'_>) {
    let own = &conn.worker.options.metadata;
    if !own.metadata.is_empty() {
        edits.set(METADATA_HEADER, own.metadata.as_bytes().to_vec());
        edits.set(ID_HEADER, own.id.as_bytes().to_vec());
    }
}

/// What the chosen route changes in the request.
pub fn routed<'t>(x: &mut Exchange<'t>, forward: &'t Forward, chosen: Chosen<'t>, edits: &mut Edits<'t>) {
    let Some(route) = x.route else { return };
    if let Some(rewrite) = &forward.path_rewrite {
        let path = rewrite.apply(&route.matcher, x.head.path());
        edits.set("x-envoy-original-path", x.head.path().as_bytes().to_vec());
        x.new_path = Some(path.clone());
        edits.path = Some(Cow::Owned(path));
    }
    let rewrite = chosen.weighted.and_then(|weighted| weighted.host_rewrite.as_ref()).or(forward.host_rewrite.as_ref());
    if let Some(host) = rewrite.and_then(|rewrite| new_host(x, rewrite)) {
        if forward.append_forwarded_host {
            edits.add("x-forwarded-host", x.head.authority().as_bytes().to_vec());
        }
        edits.authority = Some(Cow::Owned(host));
    }
    for ops in x.ops(chosen, |ops| &ops.request) {
        edits.apply(ops, x.head, &*x);
    }
    x.new_authority = edits.authority.as_deref().map(str::to_owned);
    if x.host.is_some_and(|host| host.attempt_count_in_request) {
        edits.set(ATTEMPTS, &b"1"[..]);
    }
    if let Some(timeout) = forward.timeout.filter(|_| !x.hcm.filters.suppress_envoy_headers) {
        edits.set("x-envoy-expected-rq-timeout-ms", timeout.as_millis().to_string().into_bytes());
    }
}

fn new_host(x: &Exchange<'_>, rewrite: &HostRewrite) -> Option<String> {
    match rewrite {
        HostRewrite::Literal(host) => Some(host.to_string()),
        HostRewrite::Header(name) => x.head.header(name).map(|value| String::from_utf8_lossy(&value).into_owned()),
        // Known only once the endpoint is picked.
        HostRewrite::Auto => None,
    }
}

/// What changes in the response.
pub fn response<'t: 'e, 'e>(
    x: &mut Exchange<'t>,
    head: &dyn Response,
    chosen: Chosen<'t>,
    tell: bool,
    edits: &mut Edits<'e>,
) {
    let hcm = x.hcm;
    if hcm.filters.peer_metadata.is_some_and(|exchange| exchange.discover_upstream) {
        if let Some(metadata) = head.header(METADATA_HEADER) {
            x.peer = x.conn.worker.peers.borrow_mut().get(metadata);
            edits.remove(METADATA_HEADER);
        }
        edits.remove(ID_HEADER);
    }
    if tell {
        own_metadata(x.conn, edits);
    }
    server(hcm, head, edits);
    if !Headers::has(head, "date") {
        edits.add("date", x.conn.worker.date().to_vec());
    }
    if !hcm.filters.suppress_envoy_headers {
        let millis = x.upstream_time.unwrap_or_default().as_millis();
        edits.set("x-envoy-upstream-service-time", millis.to_string().into_bytes());
    }
    if x.host.is_some_and(|host| host.attempt_count_in_response) {
        edits.set(ATTEMPTS, x.attempts.to_string().into_bytes());
    }
    if hcm.request_id_in_response {
        edits.set(REQUEST_ID, x.request_id.clone().into_bytes());
    }
    for (name, value) in std::mem::take(&mut x.cors) {
        edits.set(name, value);
    }
    for (name, value) in std::mem::take(&mut x.response_headers) {
        edits.add(name, value);
    }
    for ops in x.ops(chosen, |ops| &ops.response) {
        edits.apply(ops, head, &*x);
    }
}

fn server(hcm: &Hcm, head: &dyn Response, edits: &mut Edits<'_>) {
    match hcm.server_header {
        ServerHeader::Overwrite => edits.set("server", hcm.server_name.as_bytes().to_vec()),
        ServerHeader::IfAbsent if !Headers::has(head, "server") => {
            edits.add("server", hcm.server_name.as_bytes().to_vec());
        }
        _ => {}
    }
}

impl Operators for Exchange<'_> {
    fn operator(&self, name: &str, argument: Option<&str>) -> Option<Cow<'_, str>> {
        let conn = self.conn;
        let owned = |text: String| Some(Cow::Owned(text));
        match name {
            "DOWNSTREAM_REMOTE_ADDRESS" => owned(conn.remote.to_string()),
            "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => {
                owned(conn.remote.ip().to_string())
            }
            "DOWNSTREAM_LOCAL_ADDRESS" => owned(conn.destination.to_string()),
            "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => owned(conn.destination.ip().to_string()),
            "DOWNSTREAM_LOCAL_PORT" => owned(conn.destination.port().to_string()),
            "DOWNSTREAM_PEER_URI_SAN" => conn.principal().map(Cow::Borrowed),
            "REQUESTED_SERVER_NAME" => conn.sni.as_deref().map(Cow::Borrowed),
            "PROTOCOL" => Some(Cow::Borrowed(self.protocol.as_str())),
            "UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS" => owned(self.endpoint.as_ref()?.address.to_string()),
            "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Some(Cow::Borrowed(self.cluster_name)),
            "ROUTE_NAME" => self.route.map(|route| Cow::Borrowed(&*route.name)),
            "RESPONSE_FLAGS" => owned(self.flags.to_string()),
            "REQ" => {
                let mut names = argument?.split('?');
                names
                    .find_map(|name| self.head.lookup(&name.to_ascii_lowercase()))
                    .map(|value| Cow::Owned(String::from_utf8_lossy(&value).into_owned()))
            }
            _ => None,
        }
    }
}
