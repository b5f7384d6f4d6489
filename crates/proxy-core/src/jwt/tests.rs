use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::head::SimpleHead;
use crate::route::PathMatch;

const NOW: u64 = 1_000_000;

/// The signature is right when it is the key's secret.
struct Fake;

impl Signatures for Fake {
    fn verify(&self, _: Algorithm, key: &KeyMaterial, _: &[u8], signature: &[u8]) -> bool {
        matches!(key, KeyMaterial::Secret(secret) if **secret == *signature)
    }
}

fn encode(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn token(claims: &Value, key: &str) -> String {
    format!("{}.{}.{}", encode(r#"{"alg":"HS256"}"#), encode(claims.to_string()), encode(key))
}

fn keys(secret: &str) -> Option<KeySet> {
    KeySet::parse(&json!({"keys": [{"kty": "oct", "k": encode(secret)}]}).to_string()).ok()
}

fn provider(issuer: &str) -> Provider {
    Provider {
        issuer: issuer.into(),
        keys: keys(issuer),
        locations: Location::usual(),
        payload_key: "payload".into(),
        space_delimited: vec!["scope".into()],
        clock_skew: 60,
        ..Provider::default()
    }
}

fn filter(providers: Vec<Provider>, requirement: Requirement) -> JwtAuthn {
    let form = RouteMatch {
        path: PathMatch::Prefix("/".into()),
        case_sensitive: true,
        headers: vec![],
        query: vec![],
        fraction: None,
        grpc: false,
        claims: vec![],
    };
    JwtAuthn {
        providers,
        rules: vec![Rule { form, requirement: Some(requirement) }],
        bypass_preflight: true,
        strip_failure: false,
        stat_prefix: "".into(),
    }
}

/// As Istio asks for tokens of one issuer.
fn optional(provider: Provider) -> JwtAuthn {
    let some = vec![Requirement::Provider(0), Requirement::AllowMissing(vec![0])];
    filter(vec![provider], Requirement::Any(some))
}

fn ask(filter: &JwtAuthn, head: &SimpleHead) -> Result<Passed, Status> {
    filter.authenticate(head, NOW, &Fake)
}

fn bearing(token: &str) -> SimpleHead {
    SimpleHead::get("web", "/").with("authorization", &format!("Bearer {token}"))
}

#[test]
fn tokens_are_judged_by_what_they_say() {
    let filter = optional(Provider { audiences: vec!["web".into()], ..provider("me") });
    let claims = |more: Value| {
        let mut all = json!({"iss": "me", "aud": "web"});
        all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        token(&all, "me")
    };
    for (text, expected) in [
        (claims(json!({})), None),
        (claims(json!({"aud": ["x", "https://web/"]})), None),
        (claims(json!({"exp": NOW - 60})), None),
        (claims(json!({"exp": NOW - 61})), Some(Status::Expired)),
        (claims(json!({"nbf": NOW + 60})), None),
        (claims(json!({"nbf": NOW + 61})), Some(Status::NotYetValid)),
        (claims(json!({"exp": "soon"})), Some(Status::EndNotNumber)),
        (claims(json!({"exp": -1})), Some(Status::EndOutOfRange)),
        (claims(json!({"iss": 3})), Some(Status::IssuerNotText)),
        (claims(json!({"sub": 3})), Some(Status::SubjectNotText)),
        (claims(json!({"aud": 3})), Some(Status::AudienceNotText)),
        (claims(json!({"aud": "other"})), Some(Status::AudienceNotAllowed)),
        (claims(json!({"iss": "other"})), Some(Status::UnknownIssuer)),
        (token(&json!({"iss": "me", "aud": "web"}), "forged"), Some(Status::VerificationFails)),
        ("a.b".into(), Some(Status::BadFormat)),
        ("a.b.c.d".into(), Some(Status::BadFormat)),
        ("..".into(), Some(Status::BadFormat)),
        (format!("{}.e30.e30", encode("{}")), Some(Status::HeaderAlgorithm)),
        (format!("{}.e30.e30", encode(r#"{"alg":"none"}"#)), Some(Status::UnknownAlgorithm)),
        (format!("{}.e30.e30", encode("no json")), Some(Status::HeaderJson)),
        (format!("{}.{}.e30", encode(r#"{"alg":"RS256"}"#), encode("[]")), Some(Status::PayloadJson)),
    ] {
        assert_eq!(ask(&filter, &bearing(&text)).err(), expected, "{text}");
    }
    assert_eq!(ask(&filter, &SimpleHead::get("web", "/")), Ok(Passed::default()), "no token is no bad one");
}

#[test]
fn the_algorithm_must_be_the_keys() {
    let rsa = json!({"keys": [{"kty": "RSA", "n": encode("n"), "e": encode("e")}]}).to_string();
    let filter = optional(Provider { keys: KeySet::parse(&rsa).ok(), ..provider("me") });
    // A public key taken for a secret: what everyone knows would sign.
    let text = token(&json!({"iss": "me"}), "n");
    assert_eq!(ask(&filter, &bearing(&text)).err(), Some(Status::VerificationFails));
    let none = optional(Provider { keys: None, ..provider("me") });
    assert_eq!(ask(&none, &bearing(&text)).err(), Some(Status::NoKeys));
}

#[test]
fn keys_are_chosen_by_name_and_algorithm() {
    let set = json!({"keys": [
        {"kty": "oct", "kid": "a", "k": encode("secret a")},
        {"kty": "oct", "kid": "b", "alg": "HS512", "k": encode("secret b")},
        {"kty": "oct", "kid": "c", "alg": "RS256", "k": encode("secret c")},
        {"kty": "EC", "kid": "d", "crv": "P-256", "x": encode("too short is filled up"), "y": encode("y")},
        {"kty": "unheard of"},
    ]});
    let filter = optional(Provider { keys: KeySet::parse(&set.to_string()).ok(), ..provider("me") });
    let signed = |header: Value, secret: &str| {
        format!("{}.{}.{}", encode(header.to_string()), encode(r#"{"iss":"me"}"#), encode(secret))
    };
    for (header, secret, expected) in [
        (json!({"alg": "HS256", "kid": "a"}), "secret a", None),
        (json!({"alg": "HS256"}), "secret a", None),
        (json!({"alg": "HS512"}), "secret b", None),
        (json!({"alg": "HS256", "kid": "b"}), "secret b", Some(Status::NoSuchKey)),
        (json!({"alg": "HS256", "kid": "c"}), "secret c", Some(Status::NoSuchKey)),
        (json!({"alg": "HS256", "kid": "a"}), "secret b", Some(Status::VerificationFails)),
        (json!({"alg": "HS256", "kid": "d"}), "secret a", Some(Status::VerificationFails)),
    ] {
        assert_eq!(ask(&filter, &bearing(&signed(header.clone(), secret))).err(), expected, "{header}");
    }
    assert_eq!(KeySet::parse("x").err(), Some(KeySetError::NotJson));
    assert_eq!(KeySet::parse("{}").err(), Some(KeySetError::NoList));
    assert_eq!(KeySet::parse(r#"{"keys":[{"kty":"unheard of"}]}"#).err(), Some(KeySetError::NoKeys));
}

#[test]
fn tokens_are_found_where_they_may_be_and_taken_out() {
    let places = vec![
        Location::Header { name: "x-token".into(), prefix: "".into() },
        Location::Header { name: "x-prefixed".into(), prefix: "id:".into() },
        Location::Parameter("to ken".into()),
        Location::Cookie("session".into()),
    ];
    let filter = filter(vec![Provider { locations: places, ..provider("me") }], Requirement::Provider(0));
    let good = token(&json!({"iss": "me"}), "me");
    let get = |path: &str| SimpleHead::get("web", path);
    let gone = |name: &str| (vec![Box::from(name)], None);
    for (head, (removed, path)) in [
        (get("/").with("x-token", &good), gone("x-token")),
        (get("/").with("x-prefixed", &format!("id: {good}, more")), gone("x-prefixed")),
        (get(&format!("/a?x=1&to%20ken={good}&y=2")), (vec![], Some("/a?x=1&y=2".to_owned()))),
        (get(&format!("/a?to%20ken={good}")), (vec![], Some("/a".to_owned()))),
        (get("/").with("cookie", &format!("a=b; session={good}")), (vec![], None)),
    ] {
        let passed = ask(&filter, &head).unwrap_or_else(|status| panic!("{head:?}: {status}"));
        assert_eq!((passed.removed, passed.path), (removed, path), "{head:?}");
    }
    for head in [get("/"), bearing(&good), get(&format!("/?access_token={good}"))] {
        assert_eq!(ask(&filter, &head).err(), Some(Status::Missing), "{head:?}");
    }
}

#[test]
fn claims_are_left_for_others() {
    let header = |path: &str, name: &str| (path.split('.').map(Into::into).collect(), name.into());
    let filter = optional(Provider {
        forward: true,
        payload_header: Some("x-payload".into()),
        claim_headers: vec![
            header("sub", "x-sub"),
            header("n.level", "x-level"),
            header("list", "x-list"),
            header("none", "x-none"),
            header("evil", "x-evil"),
        ],
        ..provider("me")
    });
    let claims =
        json!({"iss": "me", "sub": "a", "n": {"level": 3.0}, "list": [1], "scope": "x  y", "evil": "a\r\nb: c"});
    let text = token(&claims, "me");
    let head = bearing(&text).with("x-sub", "forged").with("x-none", "forged");
    let passed = ask(&filter, &head).expect("passes");
    let removed: Vec<&str> = passed.removed.iter().map(|name| &**name).collect();
    assert_eq!(removed, ["x-sub", "x-none"], "nobody else writes them");
    let added: Vec<String> =
        passed.added.iter().map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value))).collect();
    let payload = format!("x-payload={}", encode(claims.to_string()));
    assert_eq!(added, ["x-sub=a", "x-level=3", "x-list=WzFd", &payload]);
    assert_eq!(passed.claims["payload"]["scope"], json!(["x", "y"]));
    assert_eq!(passed.claims["payload"]["n"]["level"], json!(3.0));
    let without = ask(&filter, &SimpleHead::get("web", "/").with("x-sub", "forged")).expect("passes");
    assert_eq!(without.removed, [Box::from("x-sub")], "also where no token is");
}

/// As Istio asks for tokens of several issuers.
fn several() -> JwtAuthn {
    let one = |at: usize| Requirement::Any(vec![Requirement::Provider(at), Requirement::AllowMissing(vec![at])]);
    let all = Requirement::All(vec![one(0), one(1)]);
    let places = vec![Location::Header { name: "x-token".into(), prefix: "".into() }];
    let providers =
        vec![provider("me"), Provider { locations: [Location::usual(), places].concat(), ..provider("you") }];
    filter(providers, Requirement::Any(vec![Requirement::Provider(0), Requirement::Provider(1), all]))
}

#[test]
fn several_issuers_share_places() {
    let filter = several();
    let of = |issuer: &str| token(&json!({"iss": issuer}), issuer);
    let passes = |head: &SimpleHead| ask(&filter, head).map(|passed| passed.claims["payload"]["iss"].clone());
    assert_eq!(passes(&bearing(&of("me"))), Ok(json!("me")));
    assert_eq!(passes(&bearing(&of("you"))), Ok(json!("you")));
    assert_eq!(passes(&SimpleHead::get("web", "/").with("x-token", &of("you"))), Ok(json!("you")));
    assert_eq!(ask(&filter, &bearing(&of("they"))).err(), Some(Status::UnknownIssuer));
    assert_eq!(
        ask(&filter, &SimpleHead::get("web", "/").with("x-token", &of("me"))).err(),
        Some(Status::UnknownIssuer)
    );
    assert!(ask(&filter, &SimpleHead::get("web", "/")).is_ok());
}

#[test]
fn browsers_ask_without_token_first() {
    let filter = filter(vec![provider("me")], Requirement::Provider(0));
    let preflight = SimpleHead { method: "OPTIONS".into(), ..SimpleHead::get("web", "/") };
    let asks = preflight.clone().with("origin", "https://a").with("access-control-request-method", "GET");
    assert!(ask(&filter, &asks).is_ok());
    assert_eq!(ask(&filter, &preflight).err(), Some(Status::Missing));
}

#[test]
fn answers_are_envoys() {
    assert_eq!(Status::Missing.challenge("http://web/"), "Bearer realm=\"http://web/\"");
    assert_eq!(Status::Expired.challenge("http://web/"), "Bearer realm=\"http://web/\", error=\"invalid_token\"");
    assert_eq!(Status::Expired.details(), "jwt_authn_access_denied{Jwt_is_expired}");
    assert_eq!((Status::Missing.http(), Status::AudienceNotAllowed.http()), (401, 403));
}
