//! The workload's identity: a key made in this process, a certificate from the control plane, and the roots that
//! peers are checked against. Renewed well before it ends.

mod authority;
mod credential;
mod identity;
mod renewal;
mod request;
mod store;
mod trusted;

pub use authority::{Authority, CertificateAuthority};
pub use credential::Credential;
pub(crate) use identity::revocation_lists;
pub use identity::{CertificateFacts, Identity, Roots, certificate_facts, to_pem};
pub use renewal::{Renewal, keep_fresh};
pub use request::{KeyKind, PendingKey};
pub use store::CertStore;

use crate::control_plane::DialError;

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// The control plane could not be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// It refused to sign.
    #[error("the certificate authority at {address} refused to sign: {message} ({code}); {hint}")]
    Refused {
        /// Where it was asked.
        address: String,
        /// Its words.
        message: String,
        /// gRPC code.
        code: String,
        /// What to look at.
        hint: &'static str,
    },
    /// It took too long.
    #[error("the certificate authority at {0} did not answer in time; is istiod overloaded?")]
    Timeout(String),
    /// Its answer is no usable certificate.
    #[error("the certificate authority sent an unusable certificate: {0}")]
    Answer(String),
    /// No key or request could be made.
    #[error("cannot make a key and certificate request: {0}")]
    Request(String),
}
