//! Hashes of requests.

use std::net::IpAddr;

use xxhash_rust::xxh64::xxh64;

use crate::head::RequestHead;
use crate::header_match::query_value;

/// What a hash is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKind {
    /// A header.
    Header(Box<str>),
    /// A cookie.
    Cookie(Box<str>),
    /// The client's address.
    SourceIp,
    /// A query parameter.
    Query(Box<str>),
}

/// One part of a request's hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashPolicy {
    /// What it is made of.
    pub kind: HashKind,
    /// Stop here when this part is present.
    pub terminal: bool,
}

pub(super) fn combine(policies: &[HashPolicy], head: &(impl RequestHead + ?Sized), source: IpAddr) -> Option<u64> {
    let mut hash: Option<u64> = None;
    for policy in policies {
        let part = part(&policy.kind, head, source);
        if let Some(part) = part {
            hash = Some(hash.map_or(part, |old| old.rotate_left(1) ^ part));
        }
        if policy.terminal && hash.is_some() {
            break;
        }
    }
    hash
}

pub(super) fn source(address: IpAddr) -> u64 {
    xxh64(address.to_string().as_bytes(), 0)
}

fn part(kind: &HashKind, head: &(impl RequestHead + ?Sized), source: IpAddr) -> Option<u64> {
    match kind {
        HashKind::Header(name) => head.lookup(name).map(|value| xxh64(&value, 0)),
        HashKind::Cookie(name) => {
            let cookies = head.header("cookie")?;
            let cookies = std::str::from_utf8(&cookies).ok()?;
            let value = cookies.split(';').find_map(|pair| {
                let (key, value) = pair.trim().split_once('=')?;
                (key == &**name).then_some(value.trim_matches('"'))
            })?;
            Some(xxh64(value.as_bytes(), 0))
        }
        HashKind::SourceIp => Some(self::source(source)),
        HashKind::Query(name) => query_value(head.query()?, name).map(|value| xxh64(value.as_bytes(), 0)),
    }
}
