//! What authorizers say.

use bytes::Bytes;
use lateen_api::envoy::envoy::config::core::v3::HeaderValueOption;
use lateen_api::envoy::envoy::service::auth::v3::{
    CheckResponse, DeniedHttpResponse, OkHttpResponse, check_response::HttpResponse,
};
use prost::Message;

use super::HttpService;
use crate::pattern::StringMatch;

/// A header's name (lower case) and value.
type Header = (String, Vec<u8>);

/// What an authorizer says.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It passes, changed so.
    Allowed(Box<Changes>),
    /// It doesn't pass.
    Denied(Denied),
    /// Nothing that could be understood, and why.
    Failed(String),
}

/// What changes in a request that passes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Headers that go.
    pub removed: Vec<String>,
    /// Headers that replace those of the same name.
    pub set: Vec<Header>,
    /// Headers that are added.
    pub added: Vec<Header>,
    /// Headers for the response.
    pub response: Vec<Header>,
}

/// The response to a request that doesn't pass.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Denied {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<Header>,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// Of a gRPC call: its status and message.
    pub fn of_grpc(status: Option<u32>, body: &[u8]) -> Self {
        if status != Some(0) {
            let code = status.map_or_else(|| "no status".to_owned(), |code| format!("gRPC status {code}"));
            return Self::Failed(format!("it answered with {code}"));
        }
        let message = match body {
            [0, a, b, c, d, message @ ..] if u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len() => message,
            _ => return Self::Failed("its answer is no gRPC message".to_owned()),
        };
        match CheckResponse::decode(message) {
            Ok(response) => Self::of_message(response),
            Err(error) => Self::Failed(format!("its answer can't be read: {error}")),
        }
    }

    fn of_message(response: CheckResponse) -> Self {
        let allowed = response.status.is_none_or(|status| status.code == 0);
        match response.http_response {
            Some(HttpResponse::ErrorResponse(_)) => Self::Failed("it says that it failed".to_owned()),
            Some(HttpResponse::OkResponse(ok)) if allowed => Self::Allowed(Box::new(changes(&ok))),
            _ if allowed => Self::Allowed(Box::default()),
            Some(HttpResponse::DeniedResponse(denied)) => Self::Denied(self::denied(denied)),
            _ => Self::Denied(Denied { status: 403, ..Denied::default() }),
        }
    }

    /// Of a request: its response.
    pub fn of_http(service: &HttpService, status: u16, headers: &[Header], body: Bytes) -> Self {
        let among = |list: &[StringMatch], name: &str| list.iter().any(|matcher| matcher.matches(name.as_bytes()));
        let those = |list: &[StringMatch]| headers.iter().filter(|(name, _)| among(list, name)).cloned().collect();
        match status {
            200 => Self::Allowed(Box::new(Changes {
                removed: Vec::new(),
                set: those(&service.upstream),
                added: those(&service.upstream_added),
                response: those(&service.allowed),
            })),
            500..=599 => Self::Failed(format!("it answered with status {status}")),
            _ => {
                let always = |name: &str| matches!(name, "www-authenticate" | "location");
                let told = |name: &str| service.denied.as_deref().is_none_or(|list| among(list, name)) || always(name);
                let headers = headers.iter().filter(|(name, _)| told(name) && !is_framing(name)).cloned().collect();
                Self::Denied(Denied { status, headers, body })
            }
        }
    }
}

/// Headers that are about one message on one connection.
fn is_framing(name: &str) -> bool {
    matches!(name, "content-length" | "transfer-encoding" | "connection" | "keep-alive" | "date" | "server")
}

fn changes(ok: &OkHttpResponse) -> Changes {
    #[allow(deprecated)] // Authorizers use it, and Envoy heeds it.
    let appends = |option: &&HeaderValueOption| option.append.as_ref().is_some_and(|append| append.value);
    let (added, set): (Vec<_>, Vec<_>) = ok.headers.iter().partition(appends);
    Changes {
        removed: ok.headers_to_remove.iter().map(|name| name.to_ascii_lowercase()).collect(),
        set: set.into_iter().filter_map(header).collect(),
        added: added.into_iter().filter_map(header).collect(),
        response: ok.response_headers_to_add.iter().filter_map(header).collect(),
    }
}

fn denied(denied: DeniedHttpResponse) -> Denied {
    let status = denied.status.and_then(|status| u16::try_from(status.code).ok());
    Denied {
        status: status.filter(|status| (200..600).contains(status)).unwrap_or(403),
        headers: denied.headers.iter().filter_map(header).filter(|(name, _)| !is_framing(name)).collect(),
        body: Bytes::from(denied.body),
    }
}

/// A header that can be written; others would end the line they are in.
fn header(option: &HeaderValueOption) -> Option<Header> {
    let header = option.header.as_ref()?;
    let value = if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value };
    let name = header.key.to_ascii_lowercase();
    let written = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&byte))
        && !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    written.then(|| (name, value.to_vec()))
}
