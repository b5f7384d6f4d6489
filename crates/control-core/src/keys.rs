//! Where the keys come from that tokens are checked with.

use std::collections::BTreeMap;
use std::time::Duration;

use lateen_api::istio::JwtRule;
use serde_json::Value;

use crate::snapshot::Snapshot;

/// How long fetching may take, unless a rule says otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What an issuer's configuration is found under (OpenID Connect Discovery 1.0, section 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Where a key set is fetched from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeySource {
    /// This address.
    Uri(String),
    /// The address that this issuer tells.
    Issuer(String),
}

impl KeySource {
    /// Where the keys of a rule are fetched; `None` when the rule brings them along.
    pub fn of(rule: &JwtRule) -> Option<Self> {
        if !rule.jwks_uri.is_empty() {
            Some(Self::Uri(rule.jwks_uri.clone()))
        } else if rule.jwks.is_empty() {
            Some(Self::Issuer(rule.issuer.clone()))
        } else {
            None
        }
    }

    /// Where an issuer tells the address of its keys.
    pub fn discovery(issuer: &str) -> String {
        format!("{}{DISCOVERY}", issuer.trim_end_matches('/'))
    }
}

impl std::fmt::Display for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uri(uri) => f.write_str(uri),
            Self::Issuer(issuer) => write!(f, "{} (jwksUri isn't set)", Self::discovery(issuer)),
        }
    }
}

/// All that has to be fetched, how long that may take, and an object that wants it.
pub fn wanted(snapshot: &Snapshot) -> BTreeMap<KeySource, (Duration, String)> {
    let mut all: BTreeMap<KeySource, (Duration, String)> = BTreeMap::new();
    for config in snapshot.request_authentications.iter() {
        for rule in &config.spec.jwt_rules {
            let Some(source) = KeySource::of(rule) else { continue };
            let given = rule.timeout.as_deref().and_then(|text| lateen_mesh::duration::parse(text).ok());
            let timeout = given.filter(|timeout| !timeout.is_zero()).unwrap_or(TIMEOUT);
            let entry = all.entry(source).or_insert_with(|| (timeout, config.full_name()));
            entry.0 = entry.0.max(timeout);
        }
    }
    all
}

/// The address of the keys in an issuer's configuration.
pub fn told_by_issuer(configuration: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(configuration).map_err(|error| format!("no JSON: {error}"))?;
    value["jwks_uri"].as_str().map(str::to_owned).ok_or_else(|| "the issuer's configuration has no jwks_uri".to_owned())
}

/// Whether a text is a key set that proxies can use.
pub fn check(text: &str) -> Result<(), String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("no JSON Web Key Set: {error}"))?;
    let keys = value["keys"].as_array().ok_or("no JSON Web Key Set: it has no list of keys")?;
    let none = "a key set without any key that can be used (RSA, EC with P-256, P-384 or P-521, OKP with Ed25519, oct)";
    if keys.iter().any(is_usable) { Ok(()) } else { Err(none.to_owned()) }
}

fn is_usable(key: &Value) -> bool {
    let given = |names: &[&str]| names.iter().all(|name| key[name].as_str().is_some_and(|text| !text.is_empty()));
    match (key["kty"].as_str(), key["crv"].as_str()) {
        (Some("RSA"), _) => given(&["n", "e"]),
        (Some("EC"), Some("P-256" | "P-384" | "P-521")) => given(&["x", "y"]),
        (Some("OKP"), Some("Ed25519")) => given(&["x"]),
        (Some("oct"), _) => given(&["k"]),
        _ => false,
    }
}
