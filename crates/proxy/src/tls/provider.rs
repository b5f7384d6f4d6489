//! Cryptography: AES-128-GCM first, and the post-quantum key exchange.

use std::sync::{Arc, OnceLock};

use lateen_proxy_core::tls::{CommonTls, TlsVersion};
use rustls::crypto::aws_lc_rs::{self, cipher_suite as suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use super::TlsError;

/// The cryptography of TLS connections that nothing else is said for.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| {
            let mut provider = aws_lc_rs::default_provider();
            let first = suite::TLS13_AES_128_GCM_SHA256.suite();
            provider.cipher_suites.sort_by_key(|suite| suite.suite() != first);
            Arc::new(provider)
        })
        .clone()
}

/// The cryptography that a configuration allows. Of what it names, the rest counts where some can't be done here
/// (encryption without AEAD, key exchange without forward secrecy, P-521).
pub fn provider_for(common: &CommonTls) -> Result<Arc<CryptoProvider>, TlsError> {
    if common.ciphers.is_empty() && common.curves.is_empty() {
        return Ok(provider());
    }
    let mut provider = CryptoProvider::clone(&provider());
    if !common.ciphers.is_empty() {
        provider.cipher_suites.retain(|suite| matches!(suite, SupportedCipherSuite::Tls13(_)));
        provider.cipher_suites.extend(common.ciphers.iter().filter_map(|name| cipher(name)));
    }
    if !common.curves.is_empty() {
        provider.kx_groups = common.curves.iter().filter_map(|name| group(name)).collect();
    }
    let lacks = |what: &str, names: &[Arc<str>]| {
        let names = names.join(", ");
        Err(TlsError::Unusable(format!("this proxy can do none of the {what} that are allowed: {names}")))
    };
    let old = provider.cipher_suites.iter().any(|suite| matches!(suite, SupportedCipherSuite::Tls12(_)));
    if common.max == TlsVersion::V12 && !old {
        return lacks("cipher suites", &common.ciphers);
    }
    if provider.kx_groups.is_empty() {
        return lacks("curves", &common.curves);
    }
    Ok(Arc::new(provider))
}

fn cipher(name: &str) -> Option<SupportedCipherSuite> {
    Some(match name {
        "ECDHE-ECDSA-AES128-GCM-SHA256" => suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-RSA-AES128-GCM-SHA256" => suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-ECDSA-AES256-GCM-SHA384" => suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-RSA-AES256-GCM-SHA384" => suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-ECDSA-CHACHA20-POLY1305" => suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-RSA-CHACHA20-POLY1305" => suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        _ => return None,
    })
}

fn group(name: &str) -> Option<&'static dyn SupportedKxGroup> {
    Some(match name {
        "X25519MLKEM768" => kx_group::X25519MLKEM768,
        "X25519" => kx_group::X25519,
        "P-256" => kx_group::SECP256R1,
        "P-384" => kx_group::SECP384R1,
        _ => return None,
    })
}

/// The versions that a configuration allows.
pub fn versions(common: &CommonTls) -> Vec<&'static SupportedProtocolVersion> {
    let mut versions = Vec::with_capacity(2);
    if common.max == TlsVersion::V13 {
        versions.push(&rustls::version::TLS13);
    }
    let old = common.ciphers.is_empty() || common.ciphers.iter().any(|name| cipher(name).is_some());
    if common.min == TlsVersion::V12 && old {
        versions.push(&rustls::version::TLS12);
    }
    versions
}
