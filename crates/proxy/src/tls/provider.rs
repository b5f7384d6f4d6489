//! Cryptography: AES-128-GCM first.

use std::sync::{Arc, OnceLock};

use lateen_proxy_core::tls::{CommonTls, TlsVersion};
use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The cryptography of every TLS connection.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| {
            let mut provider = aws_lc_rs::default_provider();
            let first = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.suite();
            provider.cipher_suites.sort_by_key(|suite| suite.suite() != first);
            Arc::new(provider)
        })
        .clone()
}

/// The versions that a configuration allows.
pub fn versions(common: &CommonTls) -> Vec<&'static SupportedProtocolVersion> {
    let mut versions = Vec::with_capacity(2);
    if common.max == TlsVersion::V13 {
        versions.push(&rustls::version::TLS13);
    }
    if common.min == TlsVersion::V12 {
        versions.push(&rustls::version::TLS12);
    }
    versions
}
