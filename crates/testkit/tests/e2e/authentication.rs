//! RequestAuthentication with the real `kubectl`: Lateen's own sidecar and a stock Envoy judge the same tokens alike.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA512,
    RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lateen_testkit::cluster::{Cluster, User, eventually};
use serde_json::{Value, json};

use crate::authorization::{ARRIVAL, SERVERS, World};

const ISSUER: &str = "https://issuer.example/";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The keys of an issuer.
struct Keys {
    rsa: RsaKeyPair,
    elliptic: EcdsaKeyPair,
    edwards: Ed25519KeyPair,
}

impl Keys {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048)?,
            elliptic: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)?,
            edwards: Ed25519KeyPair::generate()?,
        })
    }

    fn published(&self) -> Value {
        let rsa = self.rsa.public_key();
        let point = self.elliptic.public_key().as_ref();
        let (x, y) = point[1..].split_at(48);
        json!({"keys": [
            {"kty": "RSA", "kid": "rsa", "n": encode(rsa.modulus().big_endian_without_leading_zero()),
                "e": encode(rsa.exponent().big_endian_without_leading_zero())},
            {"kty": "EC", "kid": "elliptic", "crv": "P-384", "x": encode(x), "y": encode(y)},
            {"kty": "OKP", "kid": "edwards", "crv": "Ed25519", "x": encode(self.edwards.public_key())},
        ]})
    }

    fn token(&self, algorithm: &str, claims: &Value) -> anyhow::Result<String> {
        let key = match &algorithm[..1] {
            "E" if algorithm == "EdDSA" => "edwards",
            "E" => "elliptic",
            _ => "rsa",
        };
        let header = json!({"alg": algorithm, "kid": key});
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = match algorithm {
            "RS256" => self.by_rsa(&RSA_PKCS1_SHA256, &signed)?,
            "PS512" => self.by_rsa(&RSA_PSS_SHA512, &signed)?,
            "ES384" => self.elliptic.sign(&SystemRandom::new(), signed.as_bytes())?.as_ref().to_vec(),
            "EdDSA" => self.edwards.sign(signed.as_bytes()).as_ref().to_vec(),
            other => anyhow::bail!("no key for {other}"),
        };
        Ok(format!("{signed}.{}", encode(signature)))
    }

    fn by_rsa(&self, how: &'static dyn RsaEncoding, message: &str) -> anyhow::Result<Vec<u8>> {
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        self.rsa.sign(how, &SystemRandom::new(), message.as_bytes(), &mut signature)?;
        Ok(signature)
    }
}

/// Claims of a good token, and others in addition.
fn claims(more: Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut all = json!({"iss": ISSUER, "sub": "alice", "aud": ["shop"], "exp": now + 3600, "iat": now});
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
        all.extend(more);
    }
    all
}

/// A server of a key set.
fn key_server(keys: &Value) -> String {
    let args = json!(["-listen=:8000", format!("-text={keys}")]);
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: keys, namespace: plain}}\n\
         spec: {{selector: {{app: keys}}, ports: [{{name: http, port: 80, targetPort: 8000}}]}}\n---\n\
         apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: keys, namespace: plain}}\n\
         spec:\n  selector: {{matchLabels: {{app: keys}}}}\n  template:\n    metadata: {{labels: {{app: keys}}}}\n    \
         spec:\n      terminationGracePeriodSeconds: 0\n      \
         containers: [{{name: keys, image: hashicorp/http-echo, args: {args}}}]\n"
    )
}

fn authentication(uri: &str) -> String {
    format!(
        r#"
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens}}
spec:
  selector: {{matchLabels: {{group: servers}}}}
  jwtRules:
  - issuer: {ISSUER}
    audiences: [shop]
    jwksUri: {uri}
    outputPayloadToHeader: x-payload
    outputClaimToHeaders: [{{header: x-user, claim: sub}}, {{header: x-level, claim: nested.level}}]
"#
    )
}

/// The answer of `server` to `curl` with these arguments: its head and body, without what differs from server to server.
fn curl(world: &World, server: &str, path: &str, args: &[String]) -> anyhow::Result<String> {
    let url = format!("http://{server}.default{path}");
    let base = ["exec", "-n", "plain", "deploy/curl", "-c", "curl", "--", "curl", "-s", "-i", "-m", "5"];
    let args: Vec<&str> = base.into_iter().chain(args.iter().map(String::as_str)).chain([url.as_str()]).collect();
    let text = world.kubectl.run(&args)?;
    let same = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().trim().trim_matches('"').to_ascii_lowercase();
        let told = ["date", "x-envoy-upstream-service-time", "server", "connection", "x-request-id", "content-length"];
        let traced = name.starts_with("x-b3-") || name.starts_with("x-envoy-") || name.starts_with("x-forwarded-");
        !told.contains(&name.as_str()) && !traced
    };
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(same).collect();
    Ok(lines.join("\n").replace(server, "SERVER").replace(",\n  }", "\n  }"))
}

fn bearer(token: &str) -> Vec<String> {
    vec!["-H".to_owned(), format!("Authorization: Bearer {token}")]
}

#[test]
fn tokens() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let world = World::new(&cluster)?;
    let kubectl = &world.kubectl;
    kubectl.run(&["set", "env", "-n", "istio-system", "deploy/istiod", "PILOT_JWT_PUB_KEY_REFRESH_INTERVAL=2s"])?;
    kubectl.run(&["rollout", "status", "-n", "istio-system", "deploy/istiod", "--timeout=90s"])?;
    let keys = Keys::new()?;
    kubectl.apply_text(&key_server(&keys.published()))?;
    kubectl.run(&["rollout", "status", "-n", "plain", "deploy/keys", "--timeout=90s"])?;
    kubectl.apply_text(&authentication("http://keys.plain/jwks.json"))?;
    both_judge_alike(&world, &keys).context("judgement")?;
    claims_count_in_policies(&world, &keys).context("policies")?;
    keys_rotate(&world, &keys).context("rotation")?;
    missing_keys_let_no_token_pass(&world).context("missing keys")?;
    let figures =
        ["exec", "deploy/httpbin", "-c", "istio-proxy", "--", "lateen", "request", "GET", "15020", "/stats/prometheus"];
    let figures = kubectl.run(&figures)?;
    for name in ["envoy_http_jwt_authn_allowed{", "envoy_http_jwt_authn_denied{"] {
        ensure!(figures.lines().any(|line| line.starts_with(name)), "{name} is not counted");
    }
    let status = cluster.run(&["proxy-status"])?;
    ensure!(!status.contains("ERROR"), "a proxy refused something:\n{status}");
    Ok(())
}

/// A good token passes everywhere, once the keys are there.
fn good(world: &World, token: &str) -> anyhow::Result<()> {
    eventually(ARRIVAL, || {
        for server in SERVERS {
            let answer = curl(world, server, "/status/204", &bearer(token))?;
            ensure!(answer.starts_with("HTTP/1.1 204"), "{server}: {answer}");
        }
        Ok(())
    })
}

fn both_judge_alike(world: &World, keys: &Keys) -> anyhow::Result<()> {
    let token = |algorithm: &str, more: Value| keys.token(algorithm, &claims(more));
    let plain = token("RS256", json!({"nested": {"level": 3}, "list": ["a"]}))?;
    good(world, &plain)?;
    eventually(ARRIVAL, || {
        let answer = curl(world, SERVERS[0], "/get", &bearer("no.token"))?;
        ensure!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        Ok(())
    })?;
    let stranger = Keys::new()?;
    let cases: Vec<(&str, &str, &str, Vec<String>)> = vec![
        ("none", "/headers", "200", vec![]),
        ("another scheme", "/headers", "200", vec!["-H".into(), "Authorization: Basic YTpi".into()]),
        ("RS256", "/headers", "200", bearer(&plain)),
        ("PS512", "/status/204", "204", bearer(&token("PS512", json!({}))?)),
        ("ES384", "/status/204", "204", bearer(&token("ES384", json!({}))?)),
        ("EdDSA", "/status/204", "204", bearer(&token("EdDSA", json!({}))?)),
        ("within the skew", "/status/204", "204", bearer(&token("RS256", json!({"exp": now() - 30}))?)),
        ("expired", "/get?a=b", "401", bearer(&token("RS256", json!({"exp": now() - 120}))?)),
        ("not yet valid", "/get", "401", bearer(&token("RS256", json!({"nbf": now() + 600}))?)),
        ("for others", "/get", "403", bearer(&token("RS256", json!({"aud": "other"}))?)),
        ("of nobody known", "/get", "401", bearer(&token("RS256", json!({"iss": "who"}))?)),
        ("of nobody", "/get", "401", bearer(&token("RS256", json!({"iss": 3}))?)),
        ("forged", "/get", "401", bearer(&stranger.token("RS256", &claims(json!({})))?)),
        ("changed", "/get", "401", bearer(&format!("{plain}xx"))),
        ("cut", "/get", "401", bearer(plain.rsplit_once('.').map_or("", |(cut, _)| cut))),
        (
            "unsigned",
            "/get",
            "401",
            bearer(&format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(claims(json!({})).to_string()))),
        ),
        ("no JSON", "/get", "401", bearer(&format!("{0}.{0}.{0}", encode("x")))),
        ("forged header", "/headers", "200", vec!["-H".into(), "x-user: mallory".into()]),
    ];
    for (name, path, status, args) in &cases {
        let [ours, envoys] = SERVERS.map(|server| curl(world, server, path, args));
        let (ours, envoys) = (ours?, envoys?);
        ensure!(ours.split_whitespace().nth(1) == Some(*status), "{name}: {ours}");
        let [ours, envoys] = [ours, envoys].map(|answer| sorted(&answer));
        ensure!(ours == envoys, "{name}:\nLateen says\n{ours}\nEnvoy says\n{envoys}");
    }
    let query = format!("/anything?access_token={plain}&a=b");
    let [ours, envoys] = SERVERS.map(|server| curl(world, server, &query, &[]));
    let [ours, envoys] = [sorted(&ours?), sorted(&envoys?)];
    ensure!(ours.contains("\"X-User\": \"alice\""), "{ours}");
    ensure!(ours == envoys, "a token in the query:\nLateen says\n{ours}\nEnvoy says\n{envoys}");
    Ok(())
}

/// The lines of an answer, in an order of their own; commas at their ends depend on it.
fn sorted(answer: &str) -> String {
    let mut lines: Vec<&str> = answer.lines().map(|line| line.trim_end_matches(',')).collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: tested}}\n\
         spec: {{selector: {{matchLabels: {{group: servers}}}}, {spec}}}\n"
    )
}

fn claims_count_in_policies(world: &World, keys: &Keys) -> anyhow::Result<()> {
    let expect = |who: &str, claims: Option<Value>, status: &str| {
        let token = claims.map(|claims| keys.token("RS256", &claims)).transpose()?;
        let args = token.as_deref().map(bearer).unwrap_or_default();
        eventually(ARRIVAL, || {
            for server in SERVERS {
                let answer = curl(world, server, "/status/204", &args)?;
                ensure!(answer.split_whitespace().nth(1) == Some(status), "{who} at {server}: {answer}");
            }
            Ok(())
        })
    };
    let alice = || Some(claims(json!({})));
    world
        .kubectl
        .apply_text(&policy("rules: [{from: [{source: {requestPrincipals: ['https://issuer.example//alice']}}]}]"))?;
    expect("nobody", None, "403")?;
    expect("alice", alice(), "204")?;
    expect("bob", Some(claims(json!({"sub": "bob"}))), "403")?;
    let banned = "action: DENY, rules: [{when: [{key: 'request.auth.claims[realm][roles]', values: [banned]}]}]";
    world.kubectl.apply_text(&policy(banned))?;
    expect("nobody", None, "204")?;
    expect("alice", alice(), "204")?;
    expect("banned alice", Some(claims(json!({"realm": {"roles": ["a", "banned"]}}))), "403")?;
    let unless = "action: DENY, rules: [{when: [{key: 'request.auth.claims[scope]', notValues: [read]}]}]";
    world.kubectl.apply_text(&policy(unless))?;
    expect("nobody", None, "403")?;
    expect("a reader", Some(claims(json!({"scope": "write read"}))), "204")?;
    world.kubectl.run(&["delete", "authorizationpolicy", "tested"]).map(drop)
}

fn keys_rotate(world: &World, old: &Keys) -> anyhow::Result<()> {
    let new = Keys::new()?;
    world.kubectl.apply_text(&key_server(&new.published()))?;
    good(world, &new.token("RS256", &claims(json!({})))?)?;
    let stale = bearer(&old.token("RS256", &claims(json!({})))?);
    eventually(ARRIVAL, || {
        for server in SERVERS {
            let answer = curl(world, server, "/get", &stale)?;
            ensure!(answer.ends_with("Jwt verification fails"), "{server}: {answer}");
        }
        Ok(())
    })
}

fn missing_keys_let_no_token_pass(world: &World) -> anyhow::Result<()> {
    world.kubectl.apply_text(&authentication("http://nowhere.plain/jwks.json"))?;
    let token = bearer(&Keys::new()?.token("RS256", &claims(json!({})))?);
    eventually(ARRIVAL, || {
        for server in SERVERS {
            let answer = curl(world, server, "/get", &token)?;
            ensure!(answer.starts_with("HTTP/1.1 401"), "{server}: {answer}");
            ensure!(answer.ends_with("Jwks doesn't have key to match kid or alg from Jwt"), "{server}: {answer}");
            let without = curl(world, server, "/status/204", &[])?;
            ensure!(without.starts_with("HTTP/1.1 204"), "{server}: {without}");
        }
        Ok(())
    })?;
    eventually(Duration::from_secs(20), || {
        let log = world.kubectl.run(&["logs", "-n", "istio-system", "deploy/istiod"])?;
        let told = log.contains("keys can't be fetched, so all tokens of their issuer are refused");
        ensure!(told && log.contains("default/tokens"), "the log doesn't say it:\n{log}");
        Ok(())
    })
}
