//! JSON Web Key Sets (RFC 7517).

use base64::Engine;
use serde_json::{Map, Value};

use super::token::{Algorithm, BASE64URL, Token};
use super::{Signatures, Status};

/// The curve of an elliptic key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names are the RFC's.
pub enum Curve {
    P256,
    P384,
    P521,
}

/// What a key consists of.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyMaterial {
    /// RSA: modulus and exponent, big-endian.
    Rsa {
        /// Modulus.
        n: Box<[u8]>,
        /// Exponent.
        e: Box<[u8]>,
    },
    /// A point on a curve, uncompressed.
    Elliptic {
        /// The curve.
        curve: Curve,
        /// `04`, x, y.
        point: Box<[u8]>,
    },
    /// Ed25519.
    Ed25519(Box<[u8]>),
    /// A secret that both sides know.
    Secret(Box<[u8]>),
}

/// Secrets don't show.
impl std::fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rsa { .. } => "Rsa",
            Self::Elliptic { .. } => "Elliptic",
            Self::Ed25519(_) => "Ed25519",
            Self::Secret(_) => "Secret",
        })
    }
}

impl KeyMaterial {
    fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm as A;
        match self {
            Self::Rsa { .. } => {
                matches!(algorithm, A::Rs256 | A::Rs384 | A::Rs512 | A::Ps256 | A::Ps384 | A::Ps512)
            }
            Self::Elliptic { curve: Curve::P256, .. } => algorithm == A::Es256,
            Self::Elliptic { curve: Curve::P384, .. } => algorithm == A::Es384,
            Self::Elliptic { curve: Curve::P521, .. } => algorithm == A::Es512,
            Self::Ed25519(_) => algorithm == A::EdDsa,
            Self::Secret(_) => matches!(algorithm, A::Hs256 | A::Hs384 | A::Hs512),
        }
    }
}

#[derive(Debug, Clone)]
struct Key {
    id: Box<str>,
    algorithm: Box<str>,
    material: KeyMaterial,
}

/// The keys of an issuer.
#[derive(Debug, Clone)]
pub struct KeySet(Box<[Key]>);

/// A text is no key set that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is no JSON.
    #[error("is no JSON: write {{\"keys\": [...]}}")]
    NotJson,
    /// It has no list of keys.
    #[error("has no list of keys: write {{\"keys\": [...]}}")]
    NoList,
    /// None of its keys can be used.
    #[error("holds no key that can be used (RSA, EC with P-256, P-384 or P-521, OKP with Ed25519, oct)")]
    NoKeys,
}

impl KeySet {
    /// Reads a key set; keys that can't be used are left out.
    pub fn parse(text: &str) -> Result<Self, KeySetError> {
        let value: Value = serde_json::from_str(text).map_err(|_| KeySetError::NotJson)?;
        let list = value.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoList)?;
        let keys: Box<[Key]> = list.iter().filter_map(Value::as_object).filter_map(key).collect();
        if keys.is_empty() { Err(KeySetError::NoKeys) } else { Ok(Self(keys)) }
    }

    /// Whether one of the keys signed the token.
    pub(super) fn verify(&self, token: &Token<'_>, signatures: &dyn Signatures) -> Result<(), Status> {
        let named = |key: &&Key| {
            (token.key_id.is_empty() || key.id.is_empty() || *key.id == *token.key_id)
                && (key.algorithm.is_empty() || *key.algorithm == *token.algorithm.name())
        };
        let mut candidates = self.0.iter().filter(named).peekable();
        candidates.peek().ok_or(Status::NoSuchKey)?;
        let signed = |key: &Key| {
            key.material.fits(token.algorithm)
                && signatures.verify(token.algorithm, &key.material, token.signed, &token.signature)
        };
        if candidates.any(signed) { Ok(()) } else { Err(Status::VerificationFails) }
    }
}

fn key(fields: &Map<String, Value>) -> Option<Key> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let bytes = |name: &str| BASE64URL.decode(text(name)?).ok().filter(|bytes| !bytes.is_empty());
    let material = match text("kty")? {
        "RSA" => KeyMaterial::Rsa { n: unsigned(bytes("n")?), e: unsigned(bytes("e")?) },
        "EC" => {
            let (curve, size) = match text("crv")? {
                "P-256" => (Curve::P256, 32),
                "P-384" => (Curve::P384, 48),
                "P-521" => (Curve::P521, 66),
                _ => return None,
            };
            let mut point = vec![4];
            for name in ["x", "y"] {
                let coordinate = bytes(name)?;
                point.extend(std::iter::repeat_n(0, size - coordinate.len().min(size)));
                point.extend(coordinate);
            }
            (point.len() == 1 + 2 * size).then(|| KeyMaterial::Elliptic { curve, point: point.into() })?
        }
        "OKP" if text("crv")? == "Ed25519" => {
            KeyMaterial::Ed25519(bytes("x").filter(|bytes| bytes.len() == 32)?.into())
        }
        "oct" => KeyMaterial::Secret(bytes("k")?.into()),
        _ => return None,
    };
    let algorithm = text("alg").unwrap_or_default();
    // A key that is for something else than signing tokens.
    if !algorithm.is_empty() && !Algorithm::of_name(algorithm).is_some_and(|known| material.fits(known)) {
        return None;
    }
    Some(Key { id: text("kid").unwrap_or_default().into(), algorithm: algorithm.into(), material })
}

/// Without zeros in front.
fn unsigned(bytes: Vec<u8>) -> Box<[u8]> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[zeros..].into()
}
