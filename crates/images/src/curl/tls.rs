//! TLS: the system's roots or `--cacert`, client certificates, `-k`.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, Error as TlsError, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::tls::AcceptAny;

use super::{
    failure::Failure,
    options::{HttpVersion, Options},
    output::note,
};

/// Where systems keep the roots that they trust.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// Shakes hands with `host`.
pub(super) async fn handshake(
    options: &Options,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Failure> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::Tls(format!("{host:?} can't be the name of a server")))?;
    let connector = TlsConnector::from(Arc::new(config(options)?));
    let stream = connector.connect(name, stream).await.map_err(|error| {
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
        match cause {
            Some(TlsError::InvalidCertificate(reason)) => Failure::Certificate(certificate_problem(reason)),
            Some(other) => Failure::Tls(format!("TLS connect error: {other}")),
            None => {
                Failure::Tls(format!("OpenSSL SSL_connect: {} in connection to {host}", super::connect::plain(&error)))
            }
        }
    })?;
    let (_, session) = stream.get_ref();
    if let (Some(version), Some(suite)) = (session.protocol_version(), session.negotiated_cipher_suite()) {
        note(options, format_args!("SSL connection using {version:?} / {:?}", suite.suite()));
    }
    if let Some(protocol) = session.alpn_protocol() {
        note(options, format_args!("ALPN: server accepted {}", String::from_utf8_lossy(protocol)));
    }
    Ok(stream)
}

fn config(options: &Options) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Tls(error.to_string()))?;
    let builder = match options.insecure {
        true => builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny(provider))),
        false => builder.with_root_certificates(roots(options)?),
    };
    let mut config = match client_identity(options)? {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| Failure::File(58, format!("could not use the client certificate: {error}")))?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match options.http {
        HttpVersion::Negotiated => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        HttpVersion::Http2PriorKnowledge => vec![b"h2".to_vec()],
        HttpVersion::Http11 => vec![b"http/1.1".to_vec()],
        HttpVersion::Http10 => vec![b"http/1.0".to_vec()],
    };
    Ok(config)
}

fn roots(options: &Options) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &options.ca_file {
        let bad = || Failure::File(77, format!("error adding trust anchors from file: {file}"));
        roots.add_parsable_certificates(certificates(file).map_err(|_| bad())?);
        return if roots.is_empty() { Err(bad()) } else { Ok(roots) };
    }
    let configured = ["CURL_CA_BUNDLE", "SSL_CERT_FILE"].into_iter().filter_map(|name| std::env::var(name).ok());
    let known = SYSTEM_ROOTS.into_iter().map(str::to_owned);
    if let Some(found) = configured.chain(known).find_map(|file| certificates(&file).ok()) {
        roots.add_parsable_certificates(found);
    }
    Ok(roots)
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_file_iter(file)?.collect()
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client_identity(options: &Options) -> Result<Option<Identity>, Failure> {
    let Some(file) = &options.certificate else {
        return Ok(None);
    };
    let bad = |file: &str| Failure::File(58, format!("could not load PEM client certificate from {file}"));
    let chain = certificates(file).map_err(|_| bad(file))?;
    let key_file = options.key.as_ref().unwrap_or(file);
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|_| bad(key_file))?;
    Ok(Some((chain, key)))
}

fn certificate_problem(reason: &CertificateError) -> String {
    match reason {
        CertificateError::UnknownIssuer => "unable to get local issuer certificate".into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate has expired".into(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "no alternative certificate subject name matches target host name".into()
        }
        other => other.to_string(),
    }
}
