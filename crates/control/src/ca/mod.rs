//! The certificate authority of the mesh: workload identities and istiod's own certificate.

mod authority;
mod csr;
mod expiry;
mod keeper;
mod live;
mod pem;
mod rotation;
mod secret;
mod service;

#[cfg(test)]
mod tests;

pub use authority::{Authority, CaFiles, ServerCertificate};
pub use keeper::{Keeper, Timing};
pub use live::Live;
pub use rotation::Active;
pub use secret::load_or_create;
pub use service::CaServer;

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The CA's own key or certificate does not work.
    #[error("the CA's {what} cannot be used: {reason}; correct the secret")]
    BadAuthority {
        /// Which part of it.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate signing request is not acceptable.
    #[error("certificate signing request refused: {0}")]
    BadRequest(String),
    /// Signing failed.
    #[error("signing failed: {0}")]
    Signing(#[from] rcgen::Error),
    /// The secret with the CA's key could not be read or written.
    #[error("secret {namespace}/{name} with the CA's key: {source}")]
    Secret {
        /// Namespace of the secret.
        namespace: String,
        /// Name of the secret.
        name: &'static str,
        /// What the API server said.
        source: Box<kube::Error>,
    },
}
