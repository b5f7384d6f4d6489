//! Calling a webhook over HTTPS.

use std::{io::ErrorKind, pin::Pin, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio_rustls::TlsConnector;

use super::{
    Hook,
    review::{Answer, Review},
};
use crate::{config::Dialer, engine::Engine, runtime::Duplex, store::Key};

const MAX_ANSWER_BYTES: usize = 4 << 20;

/// Calls webhooks.
pub struct Webhooks {
    dialer: Arc<dyn Dialer>,
}

struct Target {
    /// As it is shown in errors.
    url: String,
    path: String,
    /// Name that the certificate must have.
    server: String,
    dial: String,
    port: u16,
}

impl Webhooks {
    /// Connections are made by `dialer`.
    pub fn new(dialer: Arc<dyn Dialer>) -> Self {
        Self { dialer }
    }

    /// Asks one webhook; the error says why it didn't answer.
    pub async fn ask(&self, engine: &Engine, hook: &Hook, review: &Review) -> Result<Answer, String> {
        let settings = hook.settings();
        let seconds = settings["timeoutSeconds"].as_u64().unwrap_or(10).clamp(1, 30);
        let target = target(engine, &settings["clientConfig"], seconds)?;
        let call = self.post(settings, &target, review.to_bytes());
        let called = match tokio::time::timeout(Duration::from_secs(seconds), call).await {
            Ok(called) => called,
            Err(_) => Err("context deadline exceeded".to_owned()),
        };
        let body = called.map_err(|e| format!("failed to call webhook: Post {:?}: {e}", target.url))?;
        Answer::parse(&body, &review.uid, hook.mutates).map_err(|e| format!("received invalid webhook response: {e}"))
    }

    async fn post(&self, hook: &Value, target: &Target, body: Vec<u8>) -> Result<Bytes, String> {
        let tls = tls(&hook["clientConfig"]["caBundle"])?;
        let plain = self
            .dialer
            .dial(&target.dial, target.port)
            .await
            .map_err(|e| format!("dial tcp {}:{}: {}", target.dial, target.port, unreachable(&e)))?;
        let server = ServerName::try_from(target.server.clone()).map_err(|e| e.to_string())?;
        let stream: Pin<Box<dyn Duplex>> = plain;
        let stream = tls.connect(server, stream).await.map_err(|e| untrusted(&e))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        let driver = tokio::spawn(connection);
        let request = Request::post(target.path.as_str())
            .header(header::HOST, format!("{}:{}", target.server, target.port))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| e.to_string())?;
        let answered = async {
            let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
            let code = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
            let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
            if code.is_success() { Ok(body) } else { Err(unsuccessful(code, &body)) }
        };
        let answered = answered.await;
        driver.abort();
        answered
    }
}

fn unreachable(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        _ => error.to_string(),
    }
}

fn untrusted(error: &std::io::Error) -> String {
    let cause = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            "tls: failed to verify certificate: x509: certificate signed by unknown authority".to_owned()
        }
        _ => format!("tls: {error}"),
    }
}

fn unsuccessful(code: StatusCode, body: &[u8]) -> String {
    const SHOWN: usize = 1024;
    if code == StatusCode::NOT_FOUND {
        return "the server could not find the requested resource".to_owned();
    }
    let body = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
    format!("an error on the server ({:?}) has prevented the request from succeeding", body.trim())
}

fn target(engine: &Engine, client: &Value, seconds: u64) -> Result<Target, String> {
    if let Some(url) = client["url"].as_str() {
        let uri: Uri = url.parse().map_err(|e| format!("invalid url {url:?}: {e}"))?;
        let host = uri.host().ok_or_else(|| format!("invalid url {url:?}: no host"))?;
        let path = uri.path_and_query().map_or("/", |p| p.as_str());
        let joint = if path.contains('?') { '&' } else { '?' };
        return Ok(Target {
            url: format!("{url}{joint}timeout={seconds}s"),
            path: format!("{path}{joint}timeout={seconds}s"),
            server: host.trim_matches(['[', ']']).to_owned(),
            dial: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(443),
        });
    }
    let service = &client["service"];
    let name = service["name"].as_str().unwrap_or_default();
    let namespace = service["namespace"].as_str().unwrap_or_default();
    let port = service["port"].as_u64().and_then(|p| u16::try_from(p).ok()).unwrap_or(443);
    let key = Key::new(&"/services".into(), namespace, name);
    let found = engine.store.latest(&key);
    let address = found.as_deref().and_then(|s| s["spec"]["clusterIP"].as_str());
    let path = service["path"].as_str().unwrap_or("/");
    let server = format!("{name}.{namespace}.svc");
    let url = format!("https://{server}:{port}{path}?timeout={seconds}s");
    let dial = match address {
        Some(ip) if ip != "None" => ip.to_owned(),
        Some(_) => format!("{server}.cluster.local"),
        None => {
            return Err(format!("failed to call webhook: Post {url:?}: service {name:?} not found"));
        }
    };
    Ok(Target { url, path: format!("{path}?timeout={seconds}s"), server, dial, port })
}

fn tls(bundle: &Value) -> Result<TlsConnector, String> {
    let pem = STANDARD
        .decode(bundle.as_str().unwrap_or_default())
        .map_err(|e| format!("unable to load root certificates: {e}"))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| format!("unable to load root certificates: {e}"))?;
        roots.add(certificate).map_err(|e| format!("unable to load root certificates: {e}"))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
