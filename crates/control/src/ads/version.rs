//! The version of a resource: changes with its content, and only with it.
//!
//! Envoy's messages have maps, and those are encoded in an order that differs each time. So the
//! version is the digest of a form in which the entries of maps are sorted by key. What is a map
//! isn't written in the bytes; it is told by the numbers of the few map fields in Envoy's
//! configuration and by the shape of their entries.

use std::ops::Range;
use std::sync::Arc;

/// Numbers of map fields: metadata and structs (1), per-filter configuration of weighted clusters,
/// routes, virtual hosts and route configurations (10, 13, 15, 16), protocol options (36).
const MAP_FIELDS: [u64; 6] = [1, 10, 13, 15, 16, 36];

/// Deeper nesting stays as it is.
const MAX_DEPTH: usize = 64;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// The version of an encoded message.
pub(super) fn version(message: &[u8]) -> Arc<str> {
    let mut sorted = message.to_vec();
    sort_maps(&mut sorted, MAX_DEPTH);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &sorted);
    let hex: String = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    hex.into()
}

struct Field {
    number: u64,
    wire: u64,
    /// Tag, length and content.
    whole: Range<usize>,
    content: Range<usize>,
}

/// Sorts the entries of all maps in a message; what is no message stays as it is.
fn sort_maps(message: &mut [u8], depth: usize) {
    let Some(fields) = fields(message).filter(|_| depth > 0) else { return };
    for field in fields.iter().filter(|field| field.wire == LENGTH) {
        sort_maps(&mut message[field.content.clone()], depth - 1);
    }
    for run in fields.chunk_by(|a, b| a.number == b.number) {
        if run.len() > 1 && MAP_FIELDS.contains(&run[0].number) {
            sort_entries(message, run);
        }
    }
}

fn sort_entries(message: &mut [u8], run: &[Field]) {
    let entries: Option<Vec<(Vec<u8>, &[u8])>> = run
        .iter()
        .map(|field| Some((key(&message[field.content.clone()])?.to_vec(), &message[field.whole.clone()])))
        .collect();
    let Some(mut entries) = entries else { return };
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    if entries.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return;
    }
    let sorted: Vec<u8> = entries.into_iter().flat_map(|(_, whole)| whole.iter().copied()).collect();
    let start = run[0].whole.start;
    message[start..start + sorted.len()].copy_from_slice(&sorted);
}

/// The key of a map entry: a printable key, then a value as metadata and extensions have them.
fn key(entry: &[u8]) -> Option<&[u8]> {
    let fields = fields(entry)?;
    let [key, value] = fields.as_slice() else { return None };
    let shape = (key.number, key.wire, value.number, value.wire) == (1, LENGTH, 2, LENGTH);
    let key = &entry[key.content.clone()];
    let printable = !key.is_empty() && key.iter().all(|byte| (0x20..0x7f).contains(byte));
    (shape && printable && is_value(&entry[value.content.clone()])).then_some(key)
}

/// Whether this can be a packed message, a struct, or a value in a struct.
fn is_value(bytes: &[u8]) -> bool {
    let Some(fields) = fields(bytes) else { return false };
    match fields.as_slice() {
        [] => true,
        [first, ..] if bytes[first.content.clone()].starts_with(b"type.googleapis.com/") => true,
        [one] if one.number != 1 => one.number <= 6,
        all => all
            .iter()
            .all(|field| field.number == 1 && (field.wire == VARINT || key(&bytes[field.content.clone()]).is_some())),
    }
}

/// Takes a message apart; `None` if it isn't one.
fn fields(message: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    let mut at = 0;
    while at < message.len() {
        let start = at;
        let tag = varint(message, &mut at)?;
        let (number, wire) = (tag >> 3, tag & 7);
        let length = match wire {
            VARINT => {
                let before = at;
                varint(message, &mut at)?;
                let length = at - before;
                at = before;
                length
            }
            FIXED64 => 8,
            LENGTH => usize::try_from(varint(message, &mut at)?).ok()?,
            FIXED32 => 4,
            _ => return None,
        };
        let end = at.checked_add(length).filter(|end| *end <= message.len())?;
        if number == 0 {
            return None;
        }
        fields.push(Field { number, wire, whole: start..end, content: at..end });
        at = end;
    }
    Some(fields)
}

fn varint(message: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *message.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use lateen_api::envoy::envoy::config::cluster::v3::Cluster;
    use lateen_api::envoy::envoy::config::core::v3::Metadata;
    use lateen_api::envoy::envoy::config::route::v3::{
        Route, RouteAction, RouteMatch, VirtualHost, route::Action, route_action::ClusterSpecifier,
        route_match::PathSpecifier,
    };
    use lateen_api::google::protobuf::{Any, Struct, Value, value::Kind};
    use prost::Message as _;

    use super::*;

    fn text(text: &str) -> Value {
        Value { kind: Some(Kind::StringValue(text.into())) }
    }

    fn cluster(last: &str) -> Cluster {
        let fields = ["a", "b", "c", "d"].map(|name| (name.to_owned(), text(name)));
        let nested = Value { kind: Some(Kind::StructValue(Struct { fields: HashMap::from(fields) })) };
        let of = |value: &str| Struct {
            fields: HashMap::from([("config".into(), text(value)), ("nested".into(), nested.clone())]),
        };
        let metadata = ["istio", "envoy.lb", "x"].map(|name| (name.to_owned(), of(last)));
        let inner = Metadata { filter_metadata: HashMap::from(metadata), ..Default::default() };
        let any = Any { type_url: "type.googleapis.com/x".into(), value: inner.encode_to_vec() };
        let options = ["p", "q", "r"].map(|name| (name.to_owned(), any.clone()));
        Cluster {
            name: "web".into(),
            metadata: Some(inner),
            typed_extension_protocol_options: HashMap::from(options),
            ..Default::default()
        }
    }

    #[test]
    fn the_order_of_maps_does_not_matter() {
        let encodings: Vec<Vec<u8>> = (0..20).map(|_| cluster("v").encode_to_vec()).collect();
        assert!(encodings.iter().any(|bytes| *bytes != encodings[0]), "orders do differ");
        for bytes in &encodings {
            assert_eq!(version(bytes), version(&encodings[0]));
        }
    }

    #[test]
    fn content_matters() {
        assert_ne!(version(&cluster("v").encode_to_vec()), version(&cluster("w").encode_to_vec()));
        assert_ne!(version(b""), version(&cluster("v").encode_to_vec()));
    }

    #[test]
    fn the_order_of_routes_matters() {
        let route = |prefix: &str, cluster: &str| Route {
            r#match: Some(RouteMatch {
                path_specifier: Some(PathSpecifier::PathSeparatedPrefix(prefix.into())),
                ..Default::default()
            }),
            action: Some(Action::Route(RouteAction {
                cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.into())),
                ..Default::default()
            })),
            ..Default::default()
        };
        let routes = [route("/a-prefix-of-more-than-thirty-two-bytes", "a"), route("/b", "b")];
        let host = |routes: &[Route]| VirtualHost { routes: routes.to_vec(), ..Default::default() }.encode_to_vec();
        let [first, second] = routes.clone();
        assert_ne!(version(&host(&routes)), version(&host(&[second, first])));
    }
}
