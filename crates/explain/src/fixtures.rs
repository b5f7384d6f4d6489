//! What several tests need.

use lateen_proxy_core::jwt::{Algorithm, KeyMaterial, Signatures};

use crate::Judge;

/// Takes no token.
struct NoTokens;

impl Signatures for NoTokens {
    fn verify(&self, _: Algorithm, _: &KeyMaterial, _: &[u8], _: &[u8]) -> bool {
        false
    }
}

/// Judges without tokens, at the beginning of time.
pub(crate) const BY: Judge<'static> = Judge { signatures: &NoTokens, now: 0 };
