/// Why a token isn't taken, in the words that Envoy's clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // The words say it.
pub enum Status {
    #[error("Jwt is missing")]
    Missing,
    #[error("Jwt not yet valid")]
    NotYetValid,
    #[error("Jwt is expired")]
    Expired,
    #[error("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections")]
    BadFormat,
    #[error("Jwt header is an invalid Base64url encoded")]
    HeaderBase64,
    #[error("Jwt header is an invalid JSON")]
    HeaderJson,
    #[error("Jwt header [alg] field is required and must be a string")]
    HeaderAlgorithm,
    #[error("Jwt header [alg] is not supported")]
    UnknownAlgorithm,
    #[error("Jwt header [kid] field is not a string")]
    HeaderKeyId,
    #[error("Jwt payload is an invalid Base64url encoded")]
    PayloadBase64,
    #[error("Jwt payload is an invalid JSON")]
    PayloadJson,
    #[error("Jwt payload [iss] field is not a string")]
    IssuerNotText,
    #[error("Jwt payload [sub] field is not a string")]
    SubjectNotText,
    #[error("Jwt payload [iat] field is not an integer")]
    IssuedNotNumber,
    #[error("Jwt payload [iat] field is not a positive 64 bit integer")]
    IssuedOutOfRange,
    #[error("Jwt payload [nbf] field is not an integer")]
    BeginNotNumber,
    #[error("Jwt payload [nbf] field is not a positive 64 bit integer")]
    BeginOutOfRange,
    #[error("Jwt payload [exp] field is not an integer")]
    EndNotNumber,
    #[error("Jwt payload [exp] field is not a positive 64 bit integer")]
    EndOutOfRange,
    #[error("Jwt payload [jti] field is not a string")]
    IdNotText,
    #[error("Jwt payload [aud] field is not a string or string list")]
    AudienceNotText,
    #[error("Jwt signature is an invalid Base64url encoded")]
    SignatureBase64,
    #[error("Jwt issuer is not configured")]
    UnknownIssuer,
    #[error("Audiences in Jwt are not allowed")]
    AudienceNotAllowed,
    #[error("Jwt verification fails")]
    VerificationFails,
    #[error("Jwks doesn't have key to match kid or alg from Jwt")]
    NoSuchKey,
    #[error("Jwks doesn't have any valid public key")]
    NoKeys,
}

impl Status {
    /// HTTP status of the answer.
    pub fn http(self) -> u16 {
        if self == Self::AudienceNotAllowed { 403 } else { 401 }
    }

    /// The value of the `www-authenticate` header; `uri` is what was asked for.
    pub fn challenge(self, uri: &str) -> String {
        let error = if self == Self::Missing { "" } else { ", error=\"invalid_token\"" };
        format!("Bearer realm=\"{uri}\"{error}")
    }

    /// Details for the access log.
    pub fn details(self) -> String {
        format!("jwt_authn_access_denied{{{}}}", self.to_string().replace(' ', "_"))
    }
}
