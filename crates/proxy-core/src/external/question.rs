//! What authorizers are asked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::SystemTime;

use lateen_api::envoy::envoy::config::core::v3 as core;
use lateen_api::envoy::envoy::service::auth::v3::attribute_context::{self, HttpRequest, Peer};
use lateen_api::envoy::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use lateen_api::envoy::google::protobuf::Timestamp;
use prost::Message;

use super::{External, Shown};
use crate::head::RequestHead;

/// Path of the call.
pub const GRPC_PATH: &str = "/envoy.service.auth.v3.Authorization/Check";
/// Says that the authorizer sees only the beginning of the body.
const PARTIAL: &str = "x-envoy-auth-partial-body";
/// Headers that an authorizer that is asked over HTTP sees, whichever it is meant to see.
const ALWAYS: &str = "authorization";

/// One end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Side<'q> {
    /// Its address.
    pub address: SocketAddr,
    /// Its identity.
    pub principal: &'q str,
}

/// A request, as the authorizer is told of it.
pub struct Content<'q> {
    /// Its head.
    pub head: &'q dyn RequestHead,
    /// All headers, names in lower case.
    pub headers: &'q [(Box<str>, Box<[u8]>)],
    /// Its id.
    pub id: &'q str,
    /// Its protocol.
    pub protocol: &'q str,
    /// Length of its body, when known.
    pub size: Option<u64>,
    /// What is shown of its body, when any of it is.
    pub body: Option<&'q [u8]>,
    /// There is more of the body.
    pub partial: bool,
}

/// What is asked about.
pub struct Question<'q> {
    /// The client.
    pub source: Side<'q>,
    /// The workload.
    pub destination: Side<'q>,
    /// When it came.
    pub time: SystemTime,
    /// The request; `None` for a byte stream.
    pub content: Option<Content<'q>>,
}

/// The question as a gRPC message with its frame.
pub fn grpc_message(external: &External, question: &Question<'_>) -> Vec<u8> {
    let since = question.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let time = Timestamp { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() as i32 };
    let request = CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(peer(question.source)),
            destination: Some(peer(question.destination)),
            request: Some(attribute_context::Request {
                time: Some(time),
                http: question.content.as_ref().map(|content| http(external, content)),
            }),
            ..Default::default()
        }),
    };
    let mut frame = vec![0];
    frame.extend((request.encoded_len() as u32).to_be_bytes());
    frame.extend(request.encode_to_vec());
    frame
}

fn peer(side: Side<'_>) -> Peer {
    let socket = core::SocketAddress {
        address: side.address.ip().to_string(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(side.address.port().into())),
        ..Default::default()
    };
    Peer {
        address: Some(core::Address { address: Some(core::address::Address::SocketAddress(socket)) }),
        principal: side.principal.to_owned(),
        ..Default::default()
    }
}

fn http(external: &External, content: &Content<'_>) -> HttpRequest {
    let head = content.head;
    let mut headers: HashMap<String, String> = HashMap::new();
    let pseudo = [
        (":method", head.method()),
        (":path", head.path()),
        (":authority", head.authority()),
        (":scheme", head.scheme()),
    ];
    let mut show = |name: &str, value: &[u8]| {
        if external.shown.shows(name) {
            let text = String::from_utf8_lossy(value);
            headers.entry(name.to_owned()).and_modify(|all| *all = format!("{all},{text}")).or_insert(text.into());
        }
    };
    pseudo.iter().for_each(|(name, value)| show(name, value.as_bytes()));
    content.headers.iter().for_each(|(name, value)| show(name, value));
    if content.body.is_some() {
        headers.insert(PARTIAL.to_owned(), content.partial.to_string());
    }
    let bytes = external.body.is_some_and(|limit| limit.bytes);
    let body = content.body.unwrap_or_default();
    HttpRequest {
        id: content.id.to_owned(),
        method: head.method().to_owned(),
        headers,
        path: head.path().to_owned(),
        host: head.authority().to_owned(),
        scheme: head.scheme().to_owned(),
        size: content.size.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX)),
        protocol: content.protocol.to_owned(),
        body: if bytes { String::new() } else { String::from_utf8_lossy(body).into_owned() },
        raw_body: if bytes { body.to_vec() } else { Vec::new() },
        ..Default::default()
    }
}

/// The headers of the question as a request like the one that it is about. Those that only one connection needs are
/// left out, and so is the length: the body may be another.
pub fn http_headers(shown: &Shown, content: &Content<'_>) -> Vec<(Box<str>, Box<[u8]>)> {
    let only = Shown { only: Some(shown.only.clone().unwrap_or_default()), never: shown.never.clone() };
    let mut headers: Vec<_> = content
        .headers
        .iter()
        .filter(|(name, _)| {
            **name == *ALWAYS && !shown.never.iter().any(|one| one.matches(name.as_bytes())) || only.shows(name)
        })
        .filter(|(name, _)| !matches!(&**name, "content-length" | "transfer-encoding" | "te" | "expect"))
        .cloned()
        .collect();
    if content.body.is_some() {
        headers.push((PARTIAL.into(), content.partial.to_string().into_bytes().into()));
    }
    headers
}
