//! What distinguishes one set of labels from another, cheap to make and to compare: by the addresses of shared values,
//! which an entry keeps alive, and by short texts.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use lateen_proxy_core::cluster::ClusterConfig;
use lateen_proxy_core::endpoint::Workload;
use lateen_proxy_core::listener::Direction;
use xxhash_rust::xxh64::Xxh64;

use crate::peer::Peer;
use crate::record::{Protocol, Record};

/// Facts of a record that decide about its labels.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Facts {
    direction: Direction,
    tcp: bool,
    grpc: bool,
    status: u16,
    grpc_status: Option<u32>,
    flags: u32,
    mtls: bool,
    cluster: usize,
    workload: usize,
    peer: usize,
}

/// The key of a series, with what it refers to.
pub(super) struct Key {
    facts: Facts,
    texts: [Box<str>; 4],
    _cluster: Option<Arc<ClusterConfig>>,
    _workload: Option<Arc<Workload>>,
    _peer: Option<Arc<Peer>>,
}

fn address<T>(value: Option<&Arc<T>>) -> usize {
    value.map_or(0, |value| Arc::as_ptr(value) as usize)
}

impl Facts {
    fn of(record: &Record<'_>) -> Facts {
        Facts {
            direction: record.listener.direction,
            tcp: record.protocol == Protocol::Tcp,
            grpc: record.request.is_some_and(|request| request.grpc),
            status: record.response.status,
            grpc_status: record.response.grpc_status,
            flags: record.flags.bits(),
            mtls: record.mtls,
            // Unlike the cluster, this stays the same when endpoints change.
            cluster: address(record.cluster.map(|cluster| &cluster.config)),
            workload: address(record.endpoint.and_then(|endpoint| endpoint.workload.as_ref())),
            peer: address(record.peer),
        }
    }
}

fn texts<'a>(record: &Record<'a>) -> [&'a str; 4] {
    [
        record.downstream_principal.unwrap_or_default(),
        record.upstream_principal.unwrap_or_default(),
        record.cluster_name,
        super::labels::fallback_host(record),
    ]
}

impl Key {
    pub(super) fn of(record: &Record<'_>) -> Key {
        let workload = record.endpoint.and_then(|endpoint| endpoint.workload.clone());
        Key {
            facts: Facts::of(record),
            texts: texts(record).map(Into::into),
            _cluster: record.cluster.map(|cluster| cluster.config.clone()),
            _workload: workload,
            _peer: record.peer.cloned(),
        }
    }

    /// Whether `record` has the same labels.
    pub(super) fn fits(&self, record: &Record<'_>) -> bool {
        self.facts == Facts::of(record) && self.texts.iter().zip(texts(record)).all(|(mine, its)| **mine == *its)
    }
}

/// Where to look for the key of a record.
pub(super) fn hash(record: &Record<'_>) -> u64 {
    let mut hasher = Xxh64::new(0);
    Facts::of(record).hash(&mut hasher);
    for text in texts(record) {
        hasher.write(text.as_bytes());
    }
    hasher.finish()
}
