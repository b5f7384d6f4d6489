//! Tokens of service accounts: JWTs signed by the server's own key (ES256).

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MAX_TOKEN_BYTES: usize = 16 << 10;
/// Seconds by which the clock may have been set back since a token was issued.
const CLOCK_SKEW: i64 = 60;

/// Why a token is not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of this server.
    #[error("the token was not issued by this server")]
    Malformed,
    /// The signature does not fit.
    #[error("the token's signature is not valid")]
    Signature,
    /// Too early.
    #[error("the token is not valid yet")]
    NotYet,
    /// Too old.
    #[error("the token has expired")]
    Expired,
    /// Meant for somebody else.
    #[error("the token's audiences {0:?} do not include any of {1:?}")]
    Audience(Vec<String>, Vec<String>),
    /// Its service account or pod is gone.
    #[error("the token is bound to {0}, which no longer exists")]
    Unbound(String),
}

/// An object that a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// Kinds of objects that a token can be bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundKind {
    /// A pod.
    Pod,
    /// A Secret.
    Secret,
}

impl BoundKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Pod, Self::Secret];

    /// Such as `Pod`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Secret => "Secret",
        }
    }

    /// Such as `pods`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Pod => "pods",
            Self::Secret => "secrets",
        }
    }

    /// Where its objects are stored.
    pub fn collection(self) -> String {
        format!("/{}", self.plural())
    }

    fn claim(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Secret => "secret",
        }
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `jti`
    pub id: String,
    /// Namespace of the service account.
    pub namespace: String,
    /// The service account.
    pub account: Binding,
    /// The object that the token is bound to.
    pub bound: Option<(BoundKind, Binding)>,
    /// Who it is for.
    pub audiences: Vec<String>,
    /// Seconds since 1970.
    pub issued_at: i64,
    /// Seconds since 1970.
    pub expires_at: i64,
}

impl Claims {
    /// `system:serviceaccount:<namespace>:<name>`
    pub fn subject(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.account.name)
    }

    fn to_value(&self, issuer: &str) -> Value {
        let mut kubernetes = json!({
            "namespace": self.namespace,
            "serviceaccount": {"name": self.account.name, "uid": self.account.uid},
        });
        if let Some((kind, bound)) = &self.bound {
            kubernetes[kind.claim()] = json!({"name": bound.name, "uid": bound.uid});
        }
        json!({
            "aud": self.audiences,
            "exp": self.expires_at,
            "iat": self.issued_at,
            "iss": issuer,
            "jti": self.id,
            "kubernetes.io": kubernetes,
            "nbf": self.issued_at,
            "sub": self.subject(),
        })
    }

    fn from_value(value: &Value) -> Option<Self> {
        let text = |v: &Value| v.as_str().map(str::to_owned);
        let binding = |v: &Value| Some(Binding { name: text(&v["name"])?, uid: text(&v["uid"])? });
        let kubernetes = &value["kubernetes.io"];
        Some(Self {
            id: text(&value["jti"]).unwrap_or_default(),
            namespace: text(&kubernetes["namespace"])?,
            account: binding(&kubernetes["serviceaccount"])?,
            bound: BoundKind::ALL.into_iter().find_map(|kind| Some((kind, binding(&kubernetes[kind.claim()])?))),
            audiences: value["aud"].as_array()?.iter().filter_map(text).collect(),
            issued_at: value["iat"].as_i64()?,
            expires_at: value["exp"].as_i64()?,
        })
    }
}

/// Issues and verifies tokens.
pub struct Tokens {
    key: EcdsaKeyPair,
    key_id: String,
    issuer: String,
}

impl Tokens {
    /// A new signing key, PKCS #8.
    pub fn generate_key() -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())?;
        Ok(document.as_ref().to_vec())
    }

    /// Uses a key made by [`Tokens::generate_key`].
    pub fn new(pkcs8: &[u8], issuer: impl Into<String>) -> Result<Self, aws_lc_rs::error::KeyRejected> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)?;
        let key_id = B64.encode(Sha256::digest(key.public_key().as_ref()));
        Ok(Self { key, key_id, issuer: issuer.into() })
    }

    /// Who issues these tokens; also their default audience.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs claims.
    pub fn issue(&self, claims: &Claims) -> Result<String, aws_lc_rs::error::Unspecified> {
        let header = json!({"alg": "ES256", "kid": self.key_id});
        let body = claims.to_value(&self.issuer);
        let signed = format!("{}.{}", B64.encode(header.to_string()), B64.encode(body.to_string()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes())?;
        Ok(format!("{signed}.{}", B64.encode(signature.as_ref())))
    }

    /// Checks signature, issuer, time and audience; whether its objects still exist is checked
    /// by the caller.
    pub fn verify(&self, token: &str, audiences: &[String], now: i64) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (_, body) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let signature = B64.decode(signature).map_err(|_| TokenError::Malformed)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| TokenError::Signature)?;
        let body = B64.decode(body).map_err(|_| TokenError::Malformed)?;
        let body: Value = serde_json::from_slice(&body).map_err(|_| TokenError::Malformed)?;
        let claims = Claims::from_value(&body).ok_or(TokenError::Malformed)?;
        if body["iss"] != self.issuer.as_str() {
            return Err(TokenError::Malformed);
        }
        if body["nbf"].as_i64().is_some_and(|start| now < start - CLOCK_SKEW) {
            return Err(TokenError::NotYet);
        }
        if now >= claims.expires_at {
            return Err(TokenError::Expired);
        }
        if !claims.audiences.iter().any(|a| audiences.contains(a)) {
            return Err(TokenError::Audience(claims.audiences, audiences.to_vec()));
        }
        Ok(claims)
    }

    /// The public key as a JWK set.
    pub fn jwks(&self) -> Value {
        let point = self.key.public_key().as_ref();
        // An uncompressed point: 4, x, y.
        let (x, y) = point.get(1..).map_or((&[][..], &[][..]), |xy| xy.split_at(xy.len() / 2));
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256",
            "x": B64.encode(x), "y": B64.encode(y),
        }]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            id: "1".into(),
            namespace: "default".into(),
            account: Binding { name: "web".into(), uid: "u".into() },
            bound: Some((BoundKind::Pod, Binding { name: "web-1".into(), uid: "p".into() })),
            audiences: vec!["istio-ca".into()],
            issued_at: 100,
            expires_at: 200,
        }
    }

    #[test]
    fn tokens_are_accepted_from_this_server_in_time_and_for_their_audience() {
        let tokens = Tokens::new(&Tokens::generate_key().unwrap(), "https://issuer").unwrap();
        let other = Tokens::new(&Tokens::generate_key().unwrap(), "https://issuer").unwrap();
        let token = tokens.issue(&claims()).unwrap();
        let ours = ["istio-ca".to_owned()];
        assert_eq!(tokens.verify(&token, &ours, 150), Ok(claims()));
        assert_eq!(tokens.verify(&token, &ours, 200), Err(TokenError::Expired));
        assert_eq!(tokens.verify(&token, &ours, 30), Err(TokenError::NotYet));
        assert!(matches!(tokens.verify(&token, &["api".to_owned()], 150), Err(TokenError::Audience(..))));
        assert_eq!(other.verify(&token, &ours, 150), Err(TokenError::Signature));
        assert_eq!(tokens.verify("a.b.YWJj", &ours, 150), Err(TokenError::Signature));
        assert_eq!(tokens.verify("abc", &ours, 150), Err(TokenError::Malformed));
    }
}
