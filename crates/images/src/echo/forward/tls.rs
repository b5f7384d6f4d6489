//! TLS of calls: whom to believe, who we are, what to offer.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::plan::Scheme;
use crate::{echo::api::ForwardEchoRequest, tls::AcceptAny};

pub(super) fn config(request: &ForwardEchoRequest, scheme: Scheme) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let authorities = content("caCert", &request.ca_cert, &request.ca_cert_file)?;
    let builder = match authorities {
        Some(pem) if !request.insecure_skip_verify => builder.with_root_certificates(roots(&pem)?),
        _ => builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny(provider))),
    };
    let certificate = content("cert", &request.cert, &request.cert_file)?;
    let key = content("key", &request.key, &request.key_file)?;
    let mut config = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| format!("key: {error}"))?;
            let chain = certificates("cert", &certificate)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| format!("cert and key: {error}"))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err("cert and key: one is given without the other".into()),
    };
    config.alpn_protocols = match &request.alpn {
        Some(alpn) => alpn.value.iter().map(|name| name.clone().into_bytes()).collect(),
        None if scheme == Scheme::Tls => Vec::new(),
        None if request.http2 => vec![b"h2".to_vec()],
        None => vec![b"http/1.1".to_vec()],
    };
    Ok(Arc::new(config))
}

/// What a field or the file that another field names holds.
fn content(field: &str, inline: &str, file: &str) -> Result<Option<String>, String> {
    match (inline, file) {
        ("", "") => Ok(None),
        ("", file) => std::fs::read_to_string(file).map(Some).map_err(|error| format!("{field}File: {file}: {error}")),
        (inline, _) => Ok(Some(inline.to_owned())),
    }
}

fn roots(pem: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("caCert", pem)?);
    Ok(roots)
}

fn certificates(field: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let parsed = parsed.map_err(|error| format!("{field}: {error}"))?;
    if parsed.is_empty() { Err(format!("{field}: it holds no certificate")) } else { Ok(parsed) }
}
