//! An admission webhook in this process.

use std::sync::{Arc, Mutex};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::KeyPair;
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// A running webhook; ends with the value.
pub struct Hook {
    pub port: u16,
    /// The certificate that it is known by, as configurations carry it.
    pub bundle: String,
    seen: Arc<Mutex<Vec<Value>>>,
    serving: JoinHandle<()>,
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Hook {
    /// The requests that it was asked about since it was last looked at.
    pub fn take_seen(&self) -> Vec<Value> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// Starts a webhook that answers every review by `answer(request)`; never, where that is null.
pub async fn start(answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Hook {
    let key = KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let serving = tokio::spawn({
        let (seen, answer) = (Arc::clone(&seen), Arc::new(answer));
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen, answer) = (acceptor.clone(), Arc::clone(&seen), Arc::clone(&answer));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let Some(request) = read(&mut stream).await else { return };
                    let said = answer(&request);
                    seen.lock().unwrap().push(request.clone());
                    if said.is_null() {
                        return std::future::pending().await;
                    }
                    write(&mut stream, &request, said).await;
                });
            }
        }
    });
    Hook { port, bundle: STANDARD.encode(certificate.pem()), seen, serving }
}

/// The `request` of the review that the client sends.
async fn read(stream: &mut TlsStream<TcpStream>) -> Option<Value> {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        match stream.read(&mut part).await {
            Ok(n @ 1..) => bytes.extend_from_slice(&part[..n]),
            _ => return None,
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((_, body)) = text.split_once("\r\n\r\n") else { continue };
        if let Ok(review) = serde_json::from_str::<Value>(body) {
            return Some(review["request"].clone());
        }
    }
}

async fn write(stream: &mut TlsStream<TcpStream>, request: &Value, mut response: Value) {
    response["uid"] = request["uid"].clone();
    let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    let body = body.to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let _ = stream.write_all((head + &body).as_bytes()).await;
    let _ = stream.shutdown().await;
}
