use lateen_api::envoy::envoy::config::core::v3::data_source::Specifier;
use lateen_api::envoy::envoy::config::listener::v3::Listener;
use lateen_api::envoy::envoy::config::route::v3::RouteConfiguration;
use lateen_api::envoy::envoy::extensions::filters::http::jwt_authn::v3::{
    JwtAuthentication, JwtProvider, JwtRequirement, jwt_provider::JwksSourceSpecifier, jwt_requirement::RequiresType,
    requirement_rule::RequirementType,
};

use super::authorization::{config, http_filters};
use super::*;
use crate::keys::{self, KeySource};
use crate::reads::Fact;
use crate::translate::authentication::NO_KEYS;

/// The filter for requests to port 8080, and the names of those that come after it.
fn filter(snapshot: &Snapshot) -> Option<(JwtAuthentication, Vec<String>)> {
    let listener: Listener = get("virtualInbound", &sidecar(), snapshot)?;
    let all = http_filters(&listener);
    let at = all.iter().position(|filter| filter.name.ends_with("jwt_authn"))?;
    Some((config(&all[at]), all[at + 1..].iter().map(|filter| filter.name.clone()).collect()))
}

fn keys_of(provider: &JwtProvider) -> &str {
    match &provider.jwks_source_specifier {
        Some(JwksSourceSpecifier::LocalJwks(source)) => match &source.specifier {
            Some(Specifier::InlineString(text)) => text,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn keys_named(kid: &str) -> String {
    json!({"keys": [{"kty": "oct", "kid": kid, "k": "c2VjcmV0"}]}).to_string()
}

/// A requirement as text: `a|b` is any, `a&b` all, `-` a missing token.
fn said(requirement: &JwtRequirement) -> String {
    let joined =
        |list: &[JwtRequirement], with: &str| format!("({})", list.iter().map(said).collect::<Vec<_>>().join(with));
    match requirement.requires_type.as_ref().expect("a requirement") {
        RequiresType::ProviderName(name) => name.replace("origins-", ""),
        RequiresType::RequiresAny(any) => joined(&any.requirements, "|"),
        RequiresType::RequiresAll(all) => joined(&all.requirements, "&"),
        RequiresType::AllowMissing(_) => "-".into(),
        other => panic!("{other:?}"),
    }
}

fn required(filter: &JwtAuthentication) -> String {
    match &filter.rules[0].requirement_type {
        Some(RequirementType::Requires(requirement)) => said(requirement),
        other => panic!("{other:?}"),
    }
}

fn authentication(name: &str, rules: Value) -> Value {
    istio("RequestAuthentication", name, json!({"jwtRules": rules}))
}

#[test]
fn rules_of_all_policies_are_joined_by_issuer() {
    let mut elsewhere = authentication("elsewhere", json!([{"issuer": "other", "jwks": "{}"}]));
    elsewhere["spec"]["selector"] = json!({"matchLabels": {"app": "other"}});
    let mut mesh_wide = authentication("mesh", json!([{"issuer": "b", "jwks": keys_named("mesh")}]));
    mesh_wide["metadata"]["namespace"] = json!("istio-system");
    let one = authentication(
        "one",
        json!([{"issuer": "c", "jwks": keys_named("one"), "presence": "REQUIRED"}, {"issuer": "a", "jwks": keys_named("two")}]),
    );
    let deny = istio("AuthorizationPolicy", "deny", json!({"action": "DENY", "rules": [{}]}));
    let (filter, after) = filter(&mesh(&[shop(), vec![elsewhere, mesh_wide, one, deny]].concat())).expect("a filter");
    let mut issuers: Vec<_> = filter
        .providers
        .iter()
        .map(|(name, provider)| (name.clone(), provider.issuer.clone(), keys_of(provider)))
        .collect();
    issuers.sort();
    let [one, two, mesh] = ["one", "two", "mesh"].map(keys_named);
    let expected = [("origins-0", "a", &*two), ("origins-1", "b", &*mesh), ("origins-2", "c", &*one)];
    assert_eq!(issuers, expected.map(|(name, issuer, keys)| (name.to_owned(), issuer.to_owned(), keys)));
    assert_eq!(required(&filter), "(0|1|2|((0|-)&(1|-)&2))");
    assert!(filter.bypass_cors_preflight);
    assert!(after[0].ends_with("rbac"), "claims are there before rules look at them: {after:?}");
}

#[test]
fn a_rule_says_where_tokens_are_and_what_becomes_of_them() {
    let rule = json!({
        "issuer": "me", "jwks": "{}", "audiences": ["web"], "forwardOriginalToken": true,
        "fromHeaders": [{"name": "X-Token", "prefix": "id "}], "fromParams": ["token"], "fromCookies": ["session"],
        "outputPayloadToHeader": "x-payload", "outputClaimToHeaders": [{"header": "x-sub", "claim": "sub"}],
        "spaceDelimitedClaims": ["roles", "scope"],
    });
    let (filter, _) = filter(&mesh(&[shop(), vec![authentication("one", json!([rule]))]].concat())).expect("a filter");
    assert_eq!(required(&filter), "(0|-)");
    let provider = &filter.providers["origins-0"];
    assert!(provider.forward && !provider.clear_route_cache);
    assert_eq!(provider.audiences, ["web"]);
    assert_eq!(
        (provider.from_headers[0].name.as_str(), provider.from_headers[0].value_prefix.as_str()),
        ("X-Token", "id ")
    );
    assert_eq!(
        (provider.from_params.clone(), provider.from_cookies.clone()),
        (vec!["token".into()], vec!["session".into()])
    );
    assert_eq!(provider.forward_payload_header, "x-payload");
    let claim = &provider.claim_to_headers[0];
    assert_eq!((claim.header_name.as_str(), claim.claim_name.as_str()), ("x-sub", "sub"));
    let normalized = provider.normalize_payload_in_metadata.as_ref().expect("normalized");
    assert_eq!(normalized.space_delimited_claims, ["scope", "permission", "roles"]);
}

#[test]
fn keys_come_from_where_the_rule_says_once_they_are_fetched() {
    let rules = json!([{"issuer": "https://told/", "timeout": "7s"}, {"issuer": "x", "jwksUri": "http://keys/jwks", "jwks": "unused"}]);
    let mut store = Store::new();
    for object in [shop(), vec![authentication("one", rules)]].concat() {
        store.apply(Event::Apply(object));
    }
    let uri = KeySource::Uri("http://keys/jwks".into());
    let issuer = KeySource::Issuer("https://told/".into());
    let wanted = keys::wanted(&store.snapshot());
    let seconds: Vec<_> =
        wanted.iter().map(|(source, (timeout, by))| (source.clone(), timeout.as_secs(), by.as_str())).collect();
    assert_eq!(seconds, [(uri.clone(), 5, "default/one"), (issuer.clone(), 7, "default/one")]);
    assert_eq!(KeySource::discovery("https://told/"), "https://told/.well-known/openid-configuration");
    let found = |store: &Store| {
        let (filter, _) = filter(&store.snapshot()).expect("a filter");
        ["origins-0", "origins-1"].map(|name| keys_of(&filter.providers[name]).to_owned())
    };
    let none = NO_KEYS;
    assert_eq!(found(&store), [none, none], "without keys no token is good");
    let changes = store.apply(Event::Keys(uri.clone(), Some("fetched".into())));
    assert_eq!(changes.iter().collect::<Vec<_>>(), [&Fact::Keys(uri.clone())]);
    let made = resource(lateen_api::type_url::LISTENER, "virtualInbound", &sidecar(), &store.snapshot()).expect("made");
    assert!(changes.touch(&made.reads));
    assert_eq!(found(&store), [none, "fetched"]);
    assert!(store.apply(Event::Keys(uri.clone(), Some("fetched".into()))).is_empty(), "the same keys are no news");
    store.apply(Event::Keys(uri, None));
    assert_eq!(found(&store), [none, none]);
}

/// Envoy refuses a listener with keys that it can't use.
#[test]
fn keys_that_cannot_be_used_are_replaced() {
    for jwks in ["no JSON", "{}", r#"{"keys":[{"kty":"EC","crv":"secp256k1","x":"a","y":"b"}]}"#] {
        let policy = authentication("one", json!([{"issuer": "me", "jwks": jwks}]));
        let (filter, _) = filter(&mesh(&[shop(), vec![policy]].concat())).expect("a filter");
        assert_eq!(keys_of(&filter.providers["origins-0"]), NO_KEYS, "{jwks}");
    }
    assert_eq!(keys::check(NO_KEYS), Ok(()));
}

#[test]
fn routes_look_at_claims() {
    let headers = json!({"@request.auth.claims.groups": {"exact": "a"}, "@request.auth.claims[x][y.z]": {"prefix": "b"}, "x": {"exact": "c"}});
    let without = json!({"@request.auth.claims.sub": {"exact": "d"}});
    let route = json!({"match": [{"headers": headers, "withoutHeaders": without}],
        "route": [{"destination": {"host": "backend"}}]});
    let virtual_service = istio("VirtualService", "backend", json!({"hosts": ["backend"], "http": [route]}));
    let table: RouteConfiguration =
        get("80", &sidecar(), &mesh(&[shop(), vec![virtual_service]].concat())).expect("routes");
    let host = table.virtual_hosts.iter().find(|host| host.name.starts_with("backend.")).expect("a host");
    let matched = host.routes[0].r#match.as_ref().expect("a match");
    assert_eq!(matched.headers.len(), 1, "claims are no headers: {:?}", matched.headers);
    let mut found: Vec<_> = matched
        .dynamic_metadata
        .iter()
        .map(|claim| {
            let keys: Vec<_> = claim.path.iter().map(|segment| format!("{:?}", segment.segment)).collect();
            assert_eq!(claim.filter, "envoy.filters.http.jwt_authn");
            (keys.join("/"), claim.invert)
        })
        .collect();
    found.sort();
    let key = |keys: &[&str]| keys.iter().map(|key| format!("Some(Key({key:?}))")).collect::<Vec<_>>().join("/");
    assert_eq!(
        found,
        [
            (key(&["payload", "groups"]), false),
            (key(&["payload", "sub"]), true),
            (key(&["payload", "x", "y.z"]), false),
        ]
    );
}
