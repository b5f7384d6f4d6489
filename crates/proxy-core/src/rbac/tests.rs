use std::net::SocketAddr;

use ipnet::IpNet;
use serde_json::json;

use super::*;
use crate::external::{Service, Shown};
use crate::head::{RequestHead, SimpleHead};
use crate::http::Hcm;
use crate::pattern::StringMatch;
use crate::route::{Forward, Target};
use crate::tables::ClusterId;

fn path(text: &str) -> Matcher {
    Matcher::Path(StringMatch::Exact(text.into()))
}

fn who(text: &str) -> Matcher {
    Matcher::Authenticated(Some(StringMatch::Exact(text.into())))
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a net")
}

fn request<'a>(head: &'a SimpleHead, uris: &'a [String]) -> Request<'a> {
    let destination: SocketAddr = "10.0.0.9:8080".parse().expect("an address");
    Request {
        head: Some(head),
        destination,
        direct: [10, 0, 0, 1].into(),
        remote: [1, 2, 3, 4].into(),
        server_name: "",
        peer: (!uris.is_empty()).then_some(Peer { uris, dns: &[], subject: "" }),
    }
}

fn rules(action: Action, policies: Vec<Policy>) -> Check {
    Check::Rules(Arc::new(Rbac { enforced: Some(Rules::new(action, policies)), ..Rbac::default() }))
}

fn verdict(checks: &[Check], request: &Request<'_>) -> Result<(), String> {
    decide(checks, request, Unasked::Denied, |_| {}).map_err(|denial| denial.details.to_owned())
}

#[test]
fn deny_comes_before_allow_and_the_first_name_is_told() {
    let policy = |name: &str, at: &str| Policy::new(name, path(at), Matcher::Always(true));
    let checks = [
        rules(Action::Deny, vec![policy("z", "/admin"), policy("ns[a]-policy[b]-rule[0]", "/admin")]),
        rules(Action::Allow, vec![policy("open", "/open"), policy("admin", "/admin")]),
    ];
    let head = |path: &str| SimpleHead::get("web", path);
    for (path, expected) in [
        ("/open", Ok(())),
        ("/open?x=/admin", Ok(())),
        ("/admin", Err("rbac_access_denied_matched_policy[ns[a]-policy[b]-rule[0]]".to_owned())),
        ("/other", Err("rbac_access_denied_matched_policy[none]".to_owned())),
    ] {
        assert_eq!(verdict(&checks, &request(&head(path), &[])), expected, "{path}");
    }
    let head = head("/admin");
    let denial = decide(&checks, &request(&head, &[]), Unasked::Denied, |_| {}).expect_err("denied");
    assert_eq!((denial.status, denial.cause.as_str()), (403, "denied by rule 0 of AuthorizationPolicy a/b"));
}

#[test]
fn rules_without_policies_allow_nothing() {
    let head = SimpleHead::get("web", "/");
    assert!(verdict(&[rules(Action::Allow, vec![])], &request(&head, &[])).is_err());
    assert!(verdict(&[rules(Action::Deny, vec![])], &request(&head, &[])).is_ok());
    assert!(verdict(&[], &request(&head, &[])).is_ok());
}

#[test]
fn who_asks_is_known_by_certificate_address_or_token() {
    let uris = ["spiffe://td/ns/a/sa/b".to_owned()];
    let claims = json!({"payload": {"iss": "me", "groups": ["x", "y"], "nested": {"key": "value"}}});
    let head = SimpleHead { claims: claims.as_object().cloned(), ..SimpleHead::get("web", "/") };
    let holds = |text: &str| ValueMatch::Holds(Box::new(ValueMatch::Text(StringMatch::Exact(text.into()))));
    let claim = |path: &[&str], value| {
        let path = std::iter::once("payload").chain(path.iter().copied()).map(Into::into).collect();
        Matcher::Claim(ClaimMatch { path, value, invert: false })
    };
    let text = |text: &str| ValueMatch::Text(StringMatch::Exact(text.into()));
    for (matcher, expected) in [
        (who("spiffe://td/ns/a/sa/b"), true),
        (who("spiffe://td/ns/a/sa/c"), false),
        (Matcher::Authenticated(None), true),
        (Matcher::Direct(net("10.0.0.0/24")), true),
        (Matcher::Direct(net("1.2.3.0/24")), false),
        (Matcher::Remote(net("1.2.3.0/24")), true),
        (claim(&["iss"], text("me")), true),
        (claim(&["nested", "key"], text("value")), true),
        (claim(&["nested", "none"], text("value")), false),
        (claim(&["groups"], holds("y")), true),
        (claim(&["groups"], holds("z")), false),
        (claim(&["nothing"], ValueMatch::Null), true),
    ] {
        let request = request(&head, &uris);
        assert_eq!(matcher.matches(&request), expected, "{matcher:?}");
        assert_eq!(Matcher::Not(Box::new(matcher)).matches(&request), !expected);
    }
    assert!(!who("spiffe://td/ns/a/sa/b").matches(&request(&head, &[])), "no certificate, no identity");
}

#[test]
fn the_index_changes_no_verdict() {
    let both = |i: usize| Matcher::either(vec![path(&format!("/{i}")), path(&format!("/{}", i + 1))]);
    let policies: Vec<Policy> = (0..60)
        .map(|i| match i % 3 {
            0 => Policy::new(&format!("p{i:02}"), both(i), Matcher::Always(true)),
            1 => Policy::new(&format!("p{i:02}"), Matcher::Always(true), who(&format!("spiffe://{i}"))),
            _ => {
                Policy::new(&format!("p{i:02}"), Matcher::all(vec![both(i)]), Matcher::either(vec![who("spiffe://x")]))
            }
        })
        .collect();
    let compiled = Rules::new(Action::Deny, policies.clone());
    for i in 0..62 {
        let head = SimpleHead::get("web", &format!("/{i}"));
        for name in ["spiffe://x".to_owned(), format!("spiffe://{i}")] {
            let uris = [name];
            let request = request(&head, &uris);
            let first = policies.iter().find(|policy| policy.matches(&request)).map(|policy| &policy.name);
            assert_eq!(compiled.decide(&request).policy, first, "{i} {uris:?}");
        }
    }
}

#[test]
fn only_what_tried_rules_marked_is_asked_about() {
    let tried = Rules::new(Action::Deny, vec![Policy::new("ext-1", path("/ask"), Matcher::Always(true))]);
    let marks = Rbac { tried: Some(tried), tried_prefix: "istio_ext_authz_".into(), ..Rbac::default() };
    let mark = Some(("istio_ext_authz_".into(), StringMatch::Prefix("ext-".into())));
    let external = External {
        mark,
        service: Service::Grpc { authority: "authorizer".into() },
        forward: Arc::new(Forward::plain(Target::Single(ClusterId(0)), None)),
        manager: Arc::new(Hcm::of_own_requests()),
        fail_open: false,
        tell_fail_open: false,
        status: 403,
        clear_route: false,
        body: None,
        shown: Shown::default(),
    };
    let checks = [Check::Rules(Arc::new(marks)), Check::External(Arc::new(external))];
    let (ask, pass) = (SimpleHead::get("web", "/ask"), SimpleHead::get("web", "/pass"));
    assert!(verdict(&checks, &request(&pass, &[])).is_ok());
    let denial = decide(&checks, &request(&ask, &[]), Unasked::Denied, |_| {}).expect_err("can't be asked");
    assert!(decide(&checks, &request(&ask, &[]), Unasked::Passed, |_| {}).is_ok());
    assert_eq!((denial.flag, denial.details), (Some(Flag::UnauthorizedExternalService), "ext_authz_error"));
}

#[test]
fn a_connection_has_no_path() {
    let head = SimpleHead::get("web", "/");
    let connection = Request { head: None, ..request(&head, &[]) };
    assert!(!path("/").matches(&connection));
    assert!(Matcher::DestinationPort(8080..8081).matches(&connection));
    let head: &dyn RequestHead = &head;
    assert!(path("/").matches(&Request { head: Some(head), ..connection }));
}
