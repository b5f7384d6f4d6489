//! The protocol's rules, one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use lateen_api::discovery::{DeltaDiscoveryRequest, DiscoveryRequest, Status};
use lateen_xds::server::{Event, Limits, Response, Session};

use crate::catalog::{CLUSTERS, ENDPOINTS, ORDER, World};

fn session(delta: bool) -> Session {
    Session::new(delta, ORDER, Limits::default())
}

fn subscribe(type_url: &str, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: type_url.into(),
        resource_names_subscribe: names.iter().map(|name| name.to_string()).collect(),
        ..Default::default()
    }
}

fn full(type_url: &str, names: &[&str], nonce: &str) -> DiscoveryRequest {
    DiscoveryRequest {
        type_url: type_url.into(),
        resource_names: names.iter().map(|name| name.to_string()).collect(),
        response_nonce: nonce.into(),
        ..Default::default()
    }
}

fn ack(response: &Response) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: response.type_url.to_string(),
        response_nonce: response.nonce.clone(),
        ..Default::default()
    }
}

fn nack(response: &Response) -> DeltaDiscoveryRequest {
    let error = Status { code: 3, message: "no".into(), ..Default::default() };
    DeltaDiscoveryRequest { error_detail: Some(error), ..ack(response) }
}

fn names(response: &Response) -> Vec<&str> {
    response.resources.iter().map(|entry| &*entry.name).collect()
}

fn world() -> World {
    let mut world = World::default();
    world.put(CLUSTERS, "a", "1");
    world.put(CLUSTERS, "b", "1");
    world.put(ENDPOINTS, "a", "1");
    world
}

#[test]
fn clusters_come_before_their_endpoints() {
    let (mut session, mut world) = (session(true), world());
    session.on_request(subscribe(ENDPOINTS, &["a"]).into()).unwrap();
    session.on_request(subscribe(CLUSTERS, &[]).into()).unwrap();
    let first = session.next_response(&mut world, "v").unwrap();
    let second = session.next_response(&mut world, "v").unwrap();
    assert_eq!((&*first.type_url, &*second.type_url), (CLUSTERS, ENDPOINTS));
    assert!(session.next_response(&mut world, "v").is_none());
}

#[test]
fn a_refused_version_is_not_sent_again_until_it_changes() {
    let (mut session, mut world) = (session(true), world());
    session.on_request(subscribe(CLUSTERS, &["*"]).into()).unwrap();
    let response = session.next_response(&mut world, "v").unwrap();
    let event = session.on_request(nack(&response).into()).unwrap();
    let Event::Nacked { message, names: refused, .. } = event else { panic!("{event:?}") };
    assert_eq!((message.as_str(), refused.len()), ("no", 2));
    session.changed_all(CLUSTERS);
    assert!(session.next_response(&mut world, "v").is_none(), "the same versions again");
    world.put(CLUSTERS, "b", "2");
    session.changed(CLUSTERS, &Arc::from("b"));
    assert_eq!(names(&session.next_response(&mut world, "v").unwrap()), ["b"]);
}

#[test]
fn changes_wait_for_the_answer_and_are_merged() {
    let (mut session, mut world) = (session(true), world());
    session.on_request(subscribe(CLUSTERS, &["*"]).into()).unwrap();
    let first = session.next_response(&mut world, "v").unwrap();
    for value in ["2", "3"] {
        world.put(CLUSTERS, "a", value);
        session.changed(CLUSTERS, &Arc::from("a"));
        assert!(session.next_response(&mut world, "v").is_none(), "one outstanding");
    }
    world.drop(CLUSTERS, "b");
    session.changed(CLUSTERS, &Arc::from("b"));
    assert!(matches!(session.on_request(ack(&first).into()), Ok(Event::Acked { .. })));
    let merged = session.next_response(&mut world, "v").unwrap();
    assert_eq!((names(&merged), &*merged.removed), (vec!["a"], &[Arc::from("b")][..]));
    assert_eq!(&*merged.resources[0].version, "3");
}

#[test]
fn a_reconnecting_client_gets_only_what_changed() {
    let (mut session, mut world) = (session(true), world());
    let held = [("a", "1"), ("b", "0"), ("gone", "1")];
    let held = BTreeMap::from(held.map(|(name, version)| (name.to_owned(), version.to_owned())));
    let request = DeltaDiscoveryRequest { initial_resource_versions: held, ..subscribe(CLUSTERS, &["*"]) };
    session.on_request(request.into()).unwrap();
    let response = session.next_response(&mut world, "v").unwrap();
    assert_eq!((names(&response), &*response.removed), (vec!["b"], &[Arc::from("gone")][..]));
}

#[test]
fn an_unknown_name_is_answered_once_and_sent_when_it_appears() {
    let (mut session, mut world) = (session(true), world());
    session.on_request(subscribe(ENDPOINTS, &["new"]).into()).unwrap();
    let response = session.next_response(&mut world, "v").unwrap();
    assert_eq!(&*response.removed, &[Arc::from("new")][..]);
    session.on_request(ack(&response).into()).unwrap();
    session.changed_all(ENDPOINTS);
    assert!(session.next_response(&mut world, "v").is_none());
    world.put(ENDPOINTS, "new", "1");
    session.changed(ENDPOINTS, &Arc::from("new"));
    assert_eq!(names(&session.next_response(&mut world, "v").unwrap()), ["new"]);
}

#[test]
fn a_name_subscribed_again_is_sent_again() {
    let (mut session, mut world) = (session(true), world());
    session.on_request(subscribe(ENDPOINTS, &["a"]).into()).unwrap();
    let response = session.next_response(&mut world, "v").unwrap();
    session.on_request(ack(&response).into()).unwrap();
    session.on_request(subscribe(ENDPOINTS, &["a"]).into()).unwrap();
    assert_eq!(names(&session.next_response(&mut world, "v").unwrap()), ["a"]);
}

#[test]
fn what_depends_on_a_changed_resource_can_be_sent_again() {
    let (mut session, mut world) = (session(true), world());
    session.on_request(subscribe(ENDPOINTS, &["a"]).into()).unwrap();
    let response = session.next_response(&mut world, "v").unwrap();
    session.on_request(ack(&response).into()).unwrap();
    for name in ["a", "b"] {
        session.resend(ENDPOINTS, &Arc::from(name));
    }
    assert_eq!(names(&session.next_response(&mut world, "v").unwrap()), ["a"], "only what was asked for");
}

#[test]
fn an_empty_type_is_still_answered_once() {
    for delta in [true, false] {
        let mut session = session(delta);
        session.on_request(subscribe(CLUSTERS, &[]).into()).unwrap();
        let response = session.next_response(&mut World::default(), "v").unwrap();
        assert!(response.resources.is_empty());
        assert!(session.next_response(&mut World::default(), "v").is_none());
    }
}

#[test]
fn state_of_the_world_sends_all_clusters_but_only_changed_endpoints() {
    let (mut session, mut world) = (session(false), world());
    world.put(ENDPOINTS, "b", "1");
    session.on_request(full(CLUSTERS, &[], "").into()).unwrap();
    session.on_request(full(ENDPOINTS, &["a", "b"], "").into()).unwrap();
    let clusters = session.next_response(&mut world, "v").unwrap();
    let endpoints = session.next_response(&mut world, "v").unwrap();
    assert_eq!((names(&clusters), names(&endpoints)), (vec!["a", "b"], vec!["a", "b"]));
    session.on_request(full(CLUSTERS, &[], &clusters.nonce).into()).unwrap();
    session.on_request(full(ENDPOINTS, &["a", "b"], &endpoints.nonce).into()).unwrap();
    assert!(session.next_response(&mut world, "v").is_none(), "an ACK is not answered");

    world.drop(CLUSTERS, "b");
    world.put(ENDPOINTS, "b", "2");
    session.changed_all(CLUSTERS);
    session.changed_all(ENDPOINTS);
    let all = session.next_response(&mut world, "v").unwrap();
    let changed = session.next_response(&mut world, "v").unwrap();
    assert_eq!((names(&all), names(&changed)), (vec!["a"], vec!["b"]));

    let stale = session.on_request(full(ENDPOINTS, &["a"], &endpoints.nonce).into());
    assert_eq!(stale.unwrap(), Event::Stale);
}

#[test]
fn a_client_cannot_make_the_server_remember_without_end() {
    let mut session = Session::new(true, ORDER, Limits { types: 1, names: 2 });
    session.on_request(subscribe(ENDPOINTS, &["a", "b"]).into()).unwrap();
    assert!(session.on_request(subscribe(ENDPOINTS, &["c"]).into()).is_err());
    assert!(session.on_request(subscribe(CLUSTERS, &[]).into()).is_err());
}
