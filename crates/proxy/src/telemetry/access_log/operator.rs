//! `%NAME(argument):limit%`: what a format may ask about a record.

use std::io::Write;
use std::net::SocketAddr;

use lateen_proxy_core::format;

use crate::record::Record;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    StartTime(Option<String>),
    RequestHeader(String, Option<String>),
    ResponseHeader(String, Option<String>),
    Protocol,
    ResponseCode,
    ResponseFlags,
    ResponseCodeDetails,
    ConnectionTerminationDetails,
    TransportFailure,
    BytesReceived,
    BytesSent,
    Duration,
    UpstreamHost,
    UpstreamCluster,
    UpstreamLocal(AddressPart),
    DownstreamLocal(AddressPart),
    DownstreamRemote(AddressPart),
    RequestedServerName,
    RouteName,
    GrpcStatus,
    Attempts,
    FilterChain,
    DownstreamPrincipal,
    UpstreamPrincipal,
    Unknown,
}

/// Which part of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressPart {
    Whole,
    Ip,
    Port,
}

/// A field with the longest text it may give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) field: Field,
    pub(super) limit: Option<usize>,
}

impl Operator {
    /// Finds out which field is asked for.
    pub(super) fn new(written: &format::Operator) -> Operator {
        Operator { field: field(&written.name, written.argument.as_deref()), limit: written.limit }
    }

    /// Whether the value is a number.
    pub(super) fn is_number(&self) -> bool {
        use Field::*;
        matches!(self.field, ResponseCode | BytesReceived | BytesSent | Duration | Attempts)
    }

    /// Appends the value; false when there is none.
    pub(super) fn write(&self, record: &Record<'_>, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let found = value(&self.field, record, out);
        if let Some(limit) = self.limit {
            out.truncate(start + limit.min(out.len() - start));
        }
        found
    }
}

fn headers(argument: Option<&str>) -> (String, Option<String>) {
    let argument = argument.unwrap_or_default().to_ascii_lowercase();
    match argument.split_once('?') {
        Some((first, second)) => (first.to_owned(), Some(second.to_owned())),
        None => (argument, None),
    }
}

fn field(name: &str, argument: Option<&str>) -> Field {
    use AddressPart::*;
    match name {
        "START_TIME" => Field::StartTime(argument.map(str::to_owned)),
        "REQ" => {
            let (first, second) = headers(argument);
            Field::RequestHeader(first, second)
        }
        "RESP" => {
            let (first, second) = headers(argument);
            Field::ResponseHeader(first, second)
        }
        "PROTOCOL" => Field::Protocol,
        "RESPONSE_CODE" => Field::ResponseCode,
        "RESPONSE_FLAGS" => Field::ResponseFlags,
        "RESPONSE_CODE_DETAILS" => Field::ResponseCodeDetails,
        "CONNECTION_TERMINATION_DETAILS" => Field::ConnectionTerminationDetails,
        "UPSTREAM_TRANSPORT_FAILURE_REASON" => Field::TransportFailure,
        "BYTES_RECEIVED" => Field::BytesReceived,
        "BYTES_SENT" => Field::BytesSent,
        "DURATION" => Field::Duration,
        "UPSTREAM_HOST" => Field::UpstreamHost,
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Field::UpstreamCluster,
        "UPSTREAM_LOCAL_ADDRESS" => Field::UpstreamLocal(Whole),
        "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => Field::UpstreamLocal(Ip),
        "DOWNSTREAM_LOCAL_ADDRESS" => Field::DownstreamLocal(Whole),
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => Field::DownstreamLocal(Ip),
        "DOWNSTREAM_LOCAL_PORT" => Field::DownstreamLocal(Port),
        "DOWNSTREAM_REMOTE_ADDRESS" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Field::DownstreamRemote(Whole),
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Field::DownstreamRemote(Ip),
        "DOWNSTREAM_REMOTE_PORT" => Field::DownstreamRemote(Port),
        "REQUESTED_SERVER_NAME" => Field::RequestedServerName,
        "ROUTE_NAME" => Field::RouteName,
        "GRPC_STATUS" | "GRPC_STATUS_NUMBER" => Field::GrpcStatus,
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Field::Attempts,
        "FILTER_CHAIN_NAME" => Field::FilterChain,
        "DOWNSTREAM_PEER_URI_SAN" => Field::DownstreamPrincipal,
        "UPSTREAM_PEER_URI_SAN" => Field::UpstreamPrincipal,
        _ => Field::Unknown,
    }
}

fn value(field: &Field, record: &Record<'_>, out: &mut Vec<u8>) -> bool {
    match field {
        Field::StartTime(form) => start_time(record, form.as_deref(), out),
        Field::RequestHeader(first, second) => {
            request_header(record, first, out) || second.as_ref().is_some_and(|name| request_header(record, name, out))
        }
        Field::ResponseHeader(first, second) => {
            response_header(record, first, out)
                || second.as_ref().is_some_and(|name| response_header(record, name, out))
        }
        Field::Protocol => record.request.is_some() && text(record.protocol.as_str(), out),
        Field::ResponseCode => number(u64::from(record.response.status), out),
        Field::ResponseFlags => write!(out, "{}", record.flags).is_ok(),
        Field::ResponseCodeDetails => words(record.details, out),
        Field::ConnectionTerminationDetails => words(record.termination_details, out),
        Field::TransportFailure => words(record.transport_failure, out),
        Field::BytesReceived => number(record.bytes_received, out),
        Field::BytesSent => number(record.bytes_sent, out),
        Field::Duration => number(u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX), out),
        Field::UpstreamHost => record.endpoint.is_some_and(|endpoint| write!(out, "{}", endpoint.address).is_ok()),
        Field::UpstreamCluster => text(record.cluster_name, out),
        Field::UpstreamLocal(part) => record.upstream_local.is_some_and(|address| part.write(address, out)),
        Field::DownstreamLocal(part) => part.write(record.downstream_local, out),
        Field::DownstreamRemote(part) => part.write(record.downstream_remote, out),
        Field::RequestedServerName => text(record.sni.unwrap_or_default(), out),
        Field::RouteName => text(record.route.map_or("", |route| &route.name), out),
        Field::GrpcStatus => record.response.grpc_status.is_some_and(|status| number(u64::from(status), out)),
        Field::Attempts => number(u64::from(record.attempts), out),
        Field::FilterChain => text(record.filter_chain, out),
        Field::DownstreamPrincipal => text(record.downstream_principal.unwrap_or_default(), out),
        Field::UpstreamPrincipal => text(record.upstream_principal.unwrap_or_default(), out),
        Field::Unknown => false,
    }
}

impl AddressPart {
    fn write(self, address: SocketAddr, out: &mut Vec<u8>) -> bool {
        match self {
            AddressPart::Whole => write!(out, "{address}").is_ok(),
            AddressPart::Ip => write!(out, "{}", address.ip()).is_ok(),
            AddressPart::Port => number(u64::from(address.port()), out),
        }
    }
}

fn text(value: &str, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value.as_bytes());
    !value.is_empty()
}

/// Free text becomes one word, as the fields of a line are separated by spaces.
fn words(value: &str, out: &mut Vec<u8>) -> bool {
    out.extend(value.bytes().map(|byte| if byte.is_ascii_whitespace() { b'_' } else { byte }));
    !value.is_empty()
}

fn number(value: u64, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    true
}

fn start_time(record: &Record<'_>, form: Option<&str>, out: &mut Vec<u8>) -> bool {
    let Ok(moment) = jiff::Timestamp::try_from(record.start) else { return false };
    match form {
        None => write!(out, "{moment:.3}").is_ok(),
        Some(form) => match jiff::fmt::strtime::format(form, &moment.to_zoned(jiff::tz::TimeZone::UTC)) {
            Ok(formatted) => text(&formatted, out),
            Err(_) => write!(out, "{moment:.3}").is_ok(),
        },
    }
}

fn request_header(record: &Record<'_>, name: &str, out: &mut Vec<u8>) -> bool {
    let Some(request) = &record.request else { return false };
    match name {
        ":method" => text(request.head.method(), out),
        ":path" => text(request.head.path(), out),
        ":authority" | "host" => text(request.authority, out),
        "x-request-id" => text(request.request_id, out),
        "x-forwarded-for" => text(request.forwarded_for.unwrap_or_default(), out),
        "x-envoy-original-path" => request.head.path() != request.path && text(request.head.path(), out),
        name => request.head.lookup(name).is_some_and(|value| header(&value, out)),
    }
}

fn response_header(record: &Record<'_>, name: &str, out: &mut Vec<u8>) -> bool {
    if name == "x-envoy-upstream-service-time" {
        let time = record.upstream_time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        return time.is_some_and(|time| number(time, out));
    }
    record.response.head.and_then(|head| head.header(name)).is_some_and(|value| header(value, out))
}

fn header(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value);
    true
}
