//! Who calls this workload, and for what: the facts that policies about callers are made of.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::SystemTime;

use lateen_proxy_core::listener::Direction;
use serde_json::{Value, json};
use xxhash_rust::xxh64::Xxh64;

use crate::record::Record;

/// Kinds of calls kept by one worker. Beyond half of it paths are kept no longer, beyond all of it nothing new is.
const MOST: usize = 1024;
/// Paths longer than this are not kept.
const LONGEST_PATH: usize = 256;
/// Why a connection is cut off that is not what the port accepts.
const NOT_ACCEPTED: &str = "filter_chain_not_found";
/// How the details of a call begin that a policy denied.
const DENIED: &str = "rbac_access_denied";
/// Stands for any path.
const ANY: &str = "*";

/// A kind of call: from one caller, for one thing.
#[derive(Clone, Debug)]
struct Call {
    /// The caller's identity, if it proved one.
    principal: Option<Box<str>>,
    /// The caller's address, if it did not.
    address: Option<IpAddr>,
    /// Port of the workload.
    port: u16,
    /// Method and path; empty for byte streams.
    method: Box<str>,
    path: Box<str>,
    calls: u64,
    /// How many of them were cut off for not being what the port accepts.
    refused: u64,
    last: SystemTime,
}

/// The same, borrowed.
#[derive(Clone, Copy, Hash)]
struct Seen<'a> {
    principal: Option<&'a str>,
    address: Option<IpAddr>,
    port: u16,
    method: &'a str,
    path: &'a str,
}

impl<'a> Seen<'a> {
    fn of(record: &Record<'a>) -> Self {
        let head = record.request.map(|request| request.head);
        let path = head.map_or("", |head| head.path());
        let path = path.split(['?', '#']).next().unwrap_or_default();
        Seen {
            principal: record.downstream_principal.filter(|_| record.mtls),
            address: (!record.mtls).then(|| record.downstream_remote.ip()),
            port: record.downstream_local.port(),
            method: head.map_or("", |head| head.method()),
            path: if path.len() > LONGEST_PATH { ANY } else { path },
        }
    }

    fn hash(&self) -> u64 {
        let mut hasher = Xxh64::new(0);
        Hash::hash(self, &mut hasher);
        hasher.finish()
    }

    fn fits(&self, call: &Call) -> bool {
        (self.principal, self.address, self.port) == (call.principal.as_deref(), call.address, call.port)
            && (self.method, self.path) == (&*call.method, &*call.path)
    }
}

/// What one worker has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Callers(HashMap<u64, Call>);

impl Callers {
    /// Counts a call of this workload by another.
    pub(super) fn add(&mut self, record: &Record<'_>) {
        // Of connections that met no filter chain, some were cut off for their handshake: who called is not known.
        let refused = record.filter_chain.is_empty();
        let unknown = refused && record.details != NOT_ACCEPTED;
        // What a policy denies is nothing that the workload is for.
        let denied = record.details.starts_with(DENIED);
        if record.listener.direction != Direction::Inbound || unknown || denied {
            return;
        }
        let mut seen = Seen::of(record);
        let mut hash = seen.hash();
        if self.0.len() >= MOST / 2 && !seen.path.is_empty() && !self.0.contains_key(&hash) {
            seen.path = ANY;
            hash = seen.hash();
        }
        if self.0.len() >= MOST && !self.0.contains_key(&hash) {
            return;
        }
        let call = self.0.entry(hash).or_insert_with(|| Call {
            principal: seen.principal.map(Into::into),
            address: seen.address,
            port: seen.port,
            method: seen.method.into(),
            path: seen.path.into(),
            calls: 0,
            refused: 0,
            last: record.start,
        });
        if seen.fits(call) {
            call.calls += 1;
            call.refused += u64::from(refused);
            call.last = call.last.max(record.start);
        }
    }

    /// Adds what another worker has seen.
    pub(super) fn merge(&mut self, other: Callers) {
        for (hash, call) in other.0 {
            match self.0.get_mut(&hash) {
                None => drop(self.0.insert(hash, call)),
                Some(known) => {
                    known.calls += call.calls;
                    known.refused += call.refused;
                    known.last = known.last.max(call.last);
                }
            }
        }
    }

    /// For people and programs.
    pub(super) fn to_json(&self, now: SystemTime) -> Value {
        let entry = |call: &Call| {
            json!({
                "principal": call.principal,
                "address": call.address,
                "port": call.port,
                "method": call.method,
                "path": call.path,
                "calls": call.calls,
                "refused": call.refused,
                "seconds_ago": now.duration_since(call.last).unwrap_or_default().as_secs(),
            })
        };
        json!({ "callers": self.0.values().map(entry).collect::<Vec<_>>() })
    }
}
