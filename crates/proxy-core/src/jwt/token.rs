//! Tokens as they are written: `header.payload.signature`.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::Status;

/// Padding may be there or not, and bits of the last character that say nothing may be anything, as Envoy has it.
pub(super) const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// How a token is signed (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names are the RFCs'.
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    Hs256,
    Hs384,
    Hs512,
    EdDsa,
}

const ALGORITHMS: [(Algorithm, &str); 13] = [
    (Algorithm::Rs256, "RS256"),
    (Algorithm::Rs384, "RS384"),
    (Algorithm::Rs512, "RS512"),
    (Algorithm::Ps256, "PS256"),
    (Algorithm::Ps384, "PS384"),
    (Algorithm::Ps512, "PS512"),
    (Algorithm::Es256, "ES256"),
    (Algorithm::Es384, "ES384"),
    (Algorithm::Es512, "ES512"),
    (Algorithm::Hs256, "HS256"),
    (Algorithm::Hs384, "HS384"),
    (Algorithm::Hs512, "HS512"),
    (Algorithm::EdDsa, "EdDSA"),
];

impl Algorithm {
    /// The algorithm of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        ALGORITHMS.iter().find(|(_, known)| *known == name).map(|(algorithm, _)| *algorithm)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        ALGORITHMS.iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
    }
}

/// A token, read but not believed.
pub struct Token<'t> {
    /// How it is signed.
    pub algorithm: Algorithm,
    /// Which key signed it; empty when it doesn't say.
    pub key_id: String,
    /// What it says.
    pub payload: Map<String, Value>,
    /// The same, as it came.
    pub encoded_payload: &'t str,
    /// What is signed.
    pub signed: &'t [u8],
    /// The signature.
    pub signature: Vec<u8>,
    /// Who issued it.
    pub issuer: String,
    /// For whom.
    pub audiences: Vec<String>,
    /// Seconds since 1970 from which it is valid.
    pub begin: u64,
    /// Seconds since 1970 until which it is valid; for ever when `None`.
    pub end: Option<u64>,
}

impl<'t> Token<'t> {
    /// Reads a token.
    pub fn parse(text: &'t str) -> Result<Self, Status> {
        let mut parts = text.split('.');
        let (Some(header), Some(encoded_payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Status::BadFormat);
        };
        if [header, encoded_payload, signature].iter().any(|part| part.is_empty()) {
            return Err(Status::BadFormat);
        }
        let signed = &text.as_bytes()[..header.len() + 1 + encoded_payload.len()];
        let head = object(header, Status::HeaderBase64, Status::HeaderJson)?;
        let name = head.get("alg").and_then(Value::as_str).ok_or(Status::HeaderAlgorithm)?;
        let algorithm = Algorithm::of_name(name).ok_or(Status::UnknownAlgorithm)?;
        let key_id = text_of(&head, "kid", Status::HeaderKeyId)?;
        let payload = object(encoded_payload, Status::PayloadBase64, Status::PayloadJson)?;
        let issuer = text_of(&payload, "iss", Status::IssuerNotText)?;
        text_of(&payload, "sub", Status::SubjectNotText)?;
        time_of(&payload, "iat", Status::IssuedNotNumber, Status::IssuedOutOfRange)?;
        let begin = time_of(&payload, "nbf", Status::BeginNotNumber, Status::BeginOutOfRange)?.unwrap_or(0);
        let end = time_of(&payload, "exp", Status::EndNotNumber, Status::EndOutOfRange)?.filter(|end| *end > 0);
        text_of(&payload, "jti", Status::IdNotText)?;
        let audiences = audiences(&payload)?;
        let signature = BASE64URL.decode(signature).map_err(|_| Status::SignatureBase64)?;
        Ok(Self { algorithm, key_id, payload, encoded_payload, signed, signature, issuer, audiences, begin, end })
    }

    /// Whether its time has come and not passed.
    pub fn check_time(&self, now: u64, skew: u64) -> Result<(), Status> {
        if now.saturating_add(skew) < self.begin {
            return Err(Status::NotYetValid);
        }
        if self.end.is_some_and(|end| now > end.saturating_add(skew)) {
            return Err(Status::Expired);
        }
        Ok(())
    }
}

fn object(encoded: &str, bad_base64: Status, bad_json: Status) -> Result<Map<String, Value>, Status> {
    let bytes = BASE64URL.decode(encoded).map_err(|_| bad_base64)?;
    serde_json::from_slice(&bytes).map_err(|_| bad_json)
}

fn text_of(object: &Map<String, Value>, key: &str, bad: Status) -> Result<String, Status> {
    match object.get(key) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(bad),
    }
}

fn time_of(object: &Map<String, Value>, key: &str, bad: Status, out_of_range: Status) -> Result<Option<u64>, Status> {
    let Some(value) = object.get(key) else { return Ok(None) };
    if let Some(seconds) = value.as_u64() {
        return Ok(Some(seconds));
    }
    let seconds = value.as_f64().ok_or(bad)?;
    // Fractions of seconds are cut off.
    if (0.0..u64::MAX as f64).contains(&seconds) { Ok(Some(seconds as u64)) } else { Err(out_of_range) }
}

fn audiences(payload: &Map<String, Value>) -> Result<Vec<String>, Status> {
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or(Status::AudienceNotText);
    match payload.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(text).collect(),
        Some(value) => Ok(vec![text(value)?]),
    }
}
