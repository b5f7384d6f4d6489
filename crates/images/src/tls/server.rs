//! Settings of servers.

use std::sync::Arc;

use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use super::AcceptAny;

/// A certificate with what leads to its authority, and its key.
pub(crate) type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Which clients may connect.
pub(crate) enum Clients {
    /// All; a certificate is looked at where there is one.
    Any,
    /// Those with a certificate of an authority in this file.
    Known(String),
}

/// A server with this certificate and these protocols.
pub(crate) fn config((chain, key): &Pair, alpn: &[&[u8]], clients: &Clients) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match clients {
        Clients::Any => builder.with_client_cert_verifier(Arc::new(AcceptAny(provider))),
        Clients::Known(file) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates(file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| format!("{file}: {error}"))?)
        }
    };
    let mut config = builder
        .with_single_cert(chain.clone(), key.clone_key())
        .map_err(|error| format!("certificate and key: {error}"))?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

/// The pair in two PEM files.
pub(crate) fn pair_of_files(certificate: &str, key: &str) -> Result<Pair, String> {
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{key}: {error}"))?;
    Ok((certificates(certificate)?, private))
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let parsed = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    parsed.map_err(|error| format!("{file}: {error}"))
}

/// A pair made now, that nobody else believes.
pub(crate) fn own_pair() -> Result<Pair, String> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let made = made.map_err(|error| format!("can't make a certificate: {error}"))?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((vec![made.cert.der().clone()], key.into()))
}
