//! Whatever happens on the way, the client ends with what the server has, bad resources aside.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use lateen_api::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node};
use lateen_xds::client::{Rejected, Session as Client, Subscriptions, Update};
use lateen_xds::server::{Limits, Session as Server};
use proptest::prelude::*;

use crate::catalog::{CLUSTERS, ENDPOINTS, ORDER, World};

#[derive(Clone, Debug)]
enum Step {
    /// A resource changes; the client refuses version 0 of anything.
    Put(bool, u8, u8),
    Drop(bool, u8),
    Want(u8),
    Unwant(u8),
    /// The client's next message reaches the server.
    Up,
    /// The server's next message reaches the client.
    Down,
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any::<bool>(), 0..5u8, 0..6u8).prop_map(|(t, n, v)| Step::Put(t, n, v)),
        2 => (any::<bool>(), 0..5u8).prop_map(|(t, n)| Step::Drop(t, n)),
        1 => (0..5u8).prop_map(Step::Want),
        1 => (0..5u8).prop_map(Step::Unwant),
        5 => Just(Step::Up),
        5 => Just(Step::Down),
        1 => Just(Step::Reconnect),
    ]
}

const BAD: &str = "v0";

struct Link {
    world: World,
    server: Server,
    client: Client,
    wanted: Subscriptions,
    up: VecDeque<DeltaDiscoveryRequest>,
    down: VecDeque<DeltaDiscoveryResponse>,
    applied: BTreeMap<(String, String), String>,
}

impl Link {
    fn new() -> Self {
        let wanted = Subscriptions::default();
        wanted.add_all(CLUSTERS);
        Link {
            world: World::default(),
            server: Server::new(true, ORDER, Limits::default()),
            client: Client::new(Node::default()),
            wanted,
            up: VecDeque::new(),
            down: VecDeque::new(),
            applied: BTreeMap::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        let kind = |endpoint: bool| if endpoint { ENDPOINTS } else { CLUSTERS };
        match *step {
            Step::Put(endpoint, name, value) => {
                self.world.put(kind(endpoint), &format!("r{name}"), &format!("v{value}"));
                self.changed(kind(endpoint), name);
            }
            Step::Drop(endpoint, name) => {
                self.world.drop(kind(endpoint), &format!("r{name}"));
                self.changed(kind(endpoint), name);
            }
            Step::Want(name) => self.wanted.add(ENDPOINTS, &format!("r{name}")),
            Step::Unwant(name) => self.wanted.remove(ENDPOINTS, &format!("r{name}")),
            Step::Up => self.deliver_up(),
            Step::Down => self.deliver_down(),
            Step::Reconnect => self.reconnect(),
        }
        while let Some(request) = self.client.next_request(&self.wanted.wanted()) {
            self.up.push_back(request);
        }
        while let Some(response) = self.server.next_response(&mut self.world, "v") {
            self.down.push_back(response.into());
        }
    }

    fn changed(&mut self, type_url: &str, name: u8) {
        self.server.changed(type_url, &Arc::from(format!("r{name}")));
    }

    fn reconnect(&mut self) {
        self.server = Server::new(true, ORDER, Limits::default());
        self.client.reconnected();
        self.up.clear();
        self.down.clear();
    }

    fn deliver_up(&mut self) {
        if let Some(request) = self.up.pop_front() {
            self.server.on_request(request.into()).expect("within limits");
        }
    }

    fn deliver_down(&mut self) {
        let Some(response) = self.down.pop_front() else {
            return;
        };
        let applied = &mut self.applied;
        let mut handler = |update: Update| {
            let mut rejected = Vec::new();
            for (name, version, body) in update.upserts {
                assert_eq!(version.as_bytes(), body);
                if version == BAD {
                    rejected.push(Rejected { name, reason: "is bad".into() });
                } else {
                    applied.insert((update.type_url.clone(), name), version);
                }
            }
            for name in update.removed {
                applied.remove(&(update.type_url.clone(), name));
            }
            rejected
        };
        self.client.on_response(response, &mut handler);
    }

    /// Lets everything in flight arrive; fails if that never ends.
    fn settle(&mut self) {
        for _ in 0..1000 {
            if self.up.is_empty() && self.down.is_empty() {
                return;
            }
            self.take(&Step::Up);
            self.take(&Step::Down);
        }
        panic!("the two ends go on for ever");
    }
}

proptest! {
    #[test]
    fn client_ends_with_what_the_server_has(steps in prop::collection::vec(step(), 0..80)) {
        let mut link = Link::new();
        link.take(&Step::Up);
        steps.iter().for_each(|step| link.take(step));
        link.settle();

        let wanted = link.wanted.wanted();
        let endpoints = wanted.names(ENDPOINTS).cloned().unwrap_or_default();
        let wants = |url: &str, name: &str| url == CLUSTERS || endpoints.contains(name);
        let mut known = BTreeSet::new();
        for (key, value) in link.world.0.iter().filter(|((url, name), _)| wants(url, name)) {
            known.insert(key);
            if value != BAD {
                prop_assert_eq!(link.applied.get(key), Some(value), "{:?}", key);
            }
        }
        for key in link.applied.keys().filter(|(url, name)| wants(url, name)) {
            prop_assert!(known.contains(key), "{:?} should be gone", key);
        }
    }
}
