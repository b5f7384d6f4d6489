//! Why the process ends.

use std::io;

/// Why a proxy cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The settings make no sense.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// No runtime.
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// A port of the proxy's own is not to be had.
    #[error("cannot open the {0} port {1}: {2}; does another proxy run in this pod?")]
    Port(&'static str, u16, #[source] io::Error),
    /// Cryptography is broken.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}
