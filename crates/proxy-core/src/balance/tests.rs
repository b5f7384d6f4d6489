use crate::tables::ClusterId;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::cluster::{ClusterConfig, ClusterState, Discovery, HttpVersion, Limits};
use crate::endpoint::{Address, EndpointSet, EndpointState, LocalityGroup, Priority, Transport};
use crate::outlier::{Outcome, OutlierConfig};

fn endpoint(id: u64, healthy: bool, active: u32) -> Arc<Endpoint> {
    let state = EndpointState::default();
    state.active.store(active, Relaxed);
    Arc::new(Endpoint {
        id,
        address: Address::Socket(([10, 0, 0, id as u8], 80).into()),
        further: Box::default(),
        hostname: "".into(),
        weight: 1,
        healthy,
        transport: Transport::Plain,
        workload: None,
        labels: Arc::default(),
        container_ports: Arc::from([]),
        state: Arc::new(state),
    })
}

fn cluster(policy: Policy, priorities: Vec<Vec<Arc<Endpoint>>>) -> Cluster {
    let limits =
        Limits { connections: u32::MAX, pending: u32::MAX, requests: u32::MAX, retries: u32::MAX, budget: None };
    let config = ClusterConfig {
        id: ClusterId(0),
        name: "c".into(),
        discovery: Discovery::Static,
        policy,
        choices: 2,
        locality_weighted: false,
        panic_percent: 0,
        connect_timeout: Duration::from_secs(10),
        transports: Vec::new(),
        http: HttpVersion::Http1,
        limits: [limits; 2],
        outlier: None,
        bind: Vec::new(),
        keepalive: None,
        max_requests_per_connection: 0,
        max_concurrent_streams: 100,
        max_connection_duration: None,
        idle_timeout: None,
        keep_alpn: false,
        services: Vec::new(),
        external: false,
        connection_id: 0,
        dns_refresh: Duration::from_secs(60),
        provenance: None,
    };
    let priorities = priorities.into_iter().map(|endpoints| Priority { localities: Vec::new(), endpoints }).collect();
    let endpoints = Arc::new(EndpointSet { priorities, overprovisioning: 140 });
    let ring = Ring::build(policy, false, &endpoints);
    Cluster { config: Arc::new(config), endpoints, ring, state: Arc::new(ClusterState::default()) }
}

fn context(random: u64) -> PickContext<'static> {
    PickContext { now: 0, random, hash: None, avoid: &[], attempts: 5 }
}

fn counts(cluster: &Cluster) -> HashMap<u64, u32> {
    let mut counts = HashMap::new();
    for i in 0..10_000u64 {
        let picked = cluster.pick(context(mix(i))).expect("some endpoint");
        *counts.entry(picked.id).or_insert(0) += 1;
    }
    counts
}

#[test]
fn least_request_prefers_the_idle_endpoint() {
    let counts = counts(&cluster(Policy::LeastRequest, vec![vec![endpoint(1, true, 9), endpoint(2, true, 0)]]));
    assert!(counts[&2] > 6_500, "{counts:?}");
}

#[test]
fn unhealthy_endpoints_get_nothing_and_none_is_an_answer() {
    let mixed = cluster(Policy::Random, vec![vec![endpoint(1, false, 0), endpoint(2, true, 0)]]);
    assert_eq!(counts(&mixed).get(&1), None);
    let none = cluster(Policy::Random, vec![vec![endpoint(1, false, 0)]]);
    assert!(none.pick(context(1)).is_none());
    assert!(cluster(Policy::RoundRobin, vec![]).pick(context(1)).is_none());
}

#[test]
fn load_spills_to_the_next_priority() {
    let healthy = vec![endpoint(3, true, 0)];
    let half = vec![endpoint(1, true, 0), endpoint(2, false, 0)];
    let counts = counts(&cluster(Policy::Random, vec![half, healthy]));
    assert!((6_500..7_500).contains(&counts[&1]), "70 % stay: {counts:?}");
    assert!(counts[&3] > 2_500, "{counts:?}");
}

#[test]
fn what_several_priorities_can_take_is_made_a_whole() {
    let one_of = |count: u64, first: u64| (0..count).map(|i| endpoint(first + i, i == 0, 0)).collect::<Vec<_>>();
    // Each can take 28 %, so that both get half of the load: neither is in panic.
    let counts = counts(&cluster(Policy::Random, vec![one_of(5, 1), one_of(5, 11)]));
    assert!((4_700..5_300).contains(&counts[&1]), "{counts:?}");
    assert_eq!(counts.len(), 2, "{counts:?}");
}

#[test]
fn hashes_move_on_to_the_next_priority_when_the_first_fails() {
    for policy in [Policy::RingHash { min_size: 64 }, Policy::Maglev { size: 251 }] {
        let set = |healthy| cluster(policy, vec![vec![endpoint(1, healthy, 0)], vec![endpoint(2, true, 0)]]);
        let pick = |cluster: &Cluster, hash| cluster.pick(PickContext { hash: Some(hash), ..context(0) }).map(|e| e.id);
        assert!((0..200).all(|hash| pick(&set(true), mix(hash)) == Some(1)), "{policy:?}");
        assert!((0..200).all(|hash| pick(&set(false), mix(hash)) == Some(2)), "{policy:?}");
    }
}

#[test]
fn localities_get_their_share_as_far_as_they_can_take_it() {
    let weighted = |cluster: Cluster, groups: Vec<(u32, Vec<Arc<Endpoint>>)>| {
        let localities = groups
            .into_iter()
            .map(|(weight, endpoints)| LocalityGroup { name: "".into(), weight: Some(weight), endpoints })
            .collect();
        let mut set = (*cluster.endpoints).clone();
        set.priorities[0].localities = localities;
        let config = ClusterConfig { locality_weighted: true, ..(*cluster.config).clone() };
        Cluster { config: Arc::new(config), endpoints: Arc::new(set), ..cluster }
    };
    let (near, far) = (endpoint(1, true, 0), endpoint(2, true, 0));
    let both = cluster(Policy::RoundRobin, vec![vec![near.clone(), far.clone()]]);
    let spread = counts(&weighted(both.clone(), vec![(80, vec![near.clone()]), (20, vec![far.clone()])]));
    assert!((7_700..8_300).contains(&spread[&1]), "{spread:?}");
    let failed = endpoint(3, false, 0);
    let spread = counts(&weighted(both, vec![(80, vec![failed]), (20, vec![far])]));
    assert_eq!(spread.len(), 1, "{spread:?}");
}

#[test]
fn ejected_endpoints_are_left_out_until_their_time_is_over() {
    let bad = endpoint(1, true, 0);
    let cluster = cluster(Policy::Random, vec![vec![bad.clone(), endpoint(2, true, 0)]]);
    let config = OutlierConfig {
        consecutive_5xx: Some(1),
        consecutive_gateway: None,
        consecutive_local: None,
        split_local: false,
        interval: Duration::from_secs(10),
        base_ejection: Duration::from_secs(30),
        max_ejection: Duration::from_secs(300),
        max_percent: 50,
    };
    assert!(crate::outlier::report(&config, &cluster.endpoints, &bad.state.health, Outcome::Status(503), 0));
    assert_eq!(counts(&cluster).get(&1), None);
    let later = PickContext { now: 30_000, ..context(0) };
    assert!((0..100).any(|i| { cluster.pick(PickContext { random: mix(i), ..later }).expect("some").id == 1 }));
}

#[test]
fn endpoints_tried_before_are_avoided() {
    let cluster = cluster(Policy::Random, vec![vec![endpoint(1, true, 0), endpoint(2, true, 0)]]);
    let avoided = (0..1000)
        .filter(|i| cluster.pick(PickContext { avoid: &[1], ..context(mix(*i)) }).expect("some").id == 1)
        .count();
    assert!(avoided < 60, "{avoided}");
}

#[test]
fn hashes_stick_to_their_endpoint() {
    let endpoints: Vec<_> = (1..=5).map(|id| endpoint(id, true, 0)).collect();
    for policy in [Policy::RingHash { min_size: 1024 }, Policy::Maglev { size: 65537 }] {
        let all = cluster(policy, vec![endpoints.clone()]);
        let fewer = cluster(policy, vec![endpoints[..4].to_vec()]);
        let pick = |cluster: &Cluster, hash: u64| {
            cluster.pick(PickContext { hash: Some(mix(hash)), ..context(0) }).expect("some").id
        };
        let mut moved = 0;
        let mut seen = HashMap::new();
        for hash in 0..2000 {
            let before = pick(&all, hash);
            *seen.entry(before).or_insert(0) += 1;
            moved += usize::from(before != 5 && pick(&fewer, hash) != before);
        }
        assert!(seen.values().all(|count| (200..800).contains(count)), "{policy:?}: {seen:?}");
        // A ring of four has more points for each endpoint than one of five, so some of the 1,600 keys move with it.
        assert!(moved < 300, "{policy:?} moved {moved}");
    }
}
