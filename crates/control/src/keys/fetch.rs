//! One key set, over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use lateen_control_core::keys::{self, KeySource};
use lateen_mesh::Cidr;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls::provider;

/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// Most answers that only lead elsewhere.
const MAX_REDIRECTS: usize = 5;
/// Certificates that are trusted beside those of the system, where Istio has them.
const MORE_ROOTS: &str = "/cacerts/extra.pem";

/// What may be reached, and whom to trust there.
#[derive(Clone, Debug, Default)]
pub struct Net {
    /// Addresses that are never asked.
    pub blocked: Vec<Cidr>,
}

/// Fetches key sets.
pub struct Fetcher {
    net: Net,
    tls: TlsConnector,
}

impl Fetcher {
    /// Trusts the certificates of the system and those of Istio's file.
    ///
    /// # Errors
    /// When TLS can't be set up.
    pub fn new(net: Net) -> Result<Self, rustls::Error> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let more = std::fs::read(MORE_ROOTS).unwrap_or_default();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&more).flatten());
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { net, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// The key set of a source, or why there is none.
    pub async fn keys(&self, source: &KeySource, timeout: Duration) -> Result<String, String> {
        let fetching = async {
            let uri = match source {
                KeySource::Uri(uri) => uri.clone(),
                KeySource::Issuer(issuer) => keys::told_by_issuer(&self.text(&KeySource::discovery(issuer)).await?)?,
            };
            let text = self.text(&uri).await?;
            keys::check(&text).map_err(|reason| format!("{uri} answers with {reason}"))?;
            Ok(text)
        };
        let late = || format!("no answer within {timeout:?}");
        tokio::time::timeout(timeout, fetching).await.unwrap_or_else(|_| Err(late()))
    }

    /// The text at an address.
    async fn text(&self, address: &str) -> Result<String, String> {
        let mut address = address.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let uri: Uri = address.parse().map_err(|_| format!("{address:?} is not an http or https URL"))?;
            match self.get(&uri).await.map_err(|reason| format!("{address}: {reason}"))? {
                Answer::Text(text) => return Ok(text),
                Answer::Elsewhere(to) => address = joined(&uri, &to),
            }
        }
        Err(format!("{address}: more than {MAX_REDIRECTS} redirects"))
    }

    async fn get(&self, uri: &Uri) -> Result<Answer, String> {
        let host = uri.host().ok_or("the URL has no host")?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("only http and https are possible".into()),
        };
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = self.connect(bare, port).await?;
        if !secure {
            return exchange(TokioIo::new(stream), uri).await;
        }
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| format!("{bare:?} is no host name"))?;
        let stream = self.tls.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?;
        exchange(TokioIo::new(stream), uri).await
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, String> {
        let found = tokio::net::lookup_host((host, port)).await.map_err(|error| format!("{host}: {error}"))?;
        let allowed: Vec<SocketAddr> =
            found.filter(|address| !self.net.blocked.iter().any(|net| net.contains(address.ip()))).collect();
        if allowed.is_empty() {
            return Err(format!("{host} has no address that may be asked (BLOCKED_CIDRS_IN_JWKS_URIS)"));
        }
        TcpStream::connect(&*allowed).await.map_err(|error| error.to_string())
    }
}

enum Answer {
    Text(String),
    Elsewhere(String),
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    io: TokioIo<S>,
    uri: &Uri,
) -> Result<Answer, String> {
    let failed = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    let _ended = tokio_util::task::AbortOnDropHandle::new(connection);
    let request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, uri.authority().map_or("", |authority| authority.as_str()))
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "istiod")
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(failed)?;
    if response.status().is_redirection() {
        let location = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
        return Ok(Answer::Elsewhere(location.ok_or("a redirect to nowhere")?.to_owned()));
    }
    if response.status() != StatusCode::OK {
        return Err(format!("status {}", response.status()));
    }
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect();
    let bytes = body.await.map_err(|error| error.to_string())?.to_bytes();
    String::from_utf8(bytes.into()).map(Answer::Text).map_err(|_| "the answer is no text".into())
}

/// A redirect's target, which may be a path only.
fn joined(from: &Uri, to: &str) -> String {
    if to.starts_with('/') && !to.starts_with("//") {
        let origin =
            format!("{}://{}", from.scheme_str().unwrap_or("http"), from.authority().map_or("", |a| a.as_str()));
        return origin + to;
    }
    to.to_owned()
}
