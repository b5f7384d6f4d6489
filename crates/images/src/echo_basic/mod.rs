//! The backend of the Gateway API's conformance tests: answers with what it was asked, as JSON or over gRPC. Its
//! settings are environment variables.

mod grpc;
mod http;

use std::{env, process::ExitCode, sync::Arc};

use rustls::ServerConfig;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::{
    serve,
    tls::{self, Clients, Session},
};

/// Who answers.
#[derive(Debug, Clone, Default)]
struct Identity {
    namespace: String,
    ingress: String,
    service: String,
    pod: String,
    /// The port for plain HTTP, which every answer names.
    http_port: String,
}

/// What is served on a port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Grpc,
}

pub(crate) async fn run() -> ExitCode {
    match start().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("echo-basic: {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn start() -> Result<(), String> {
    let kind = if text("GRPC_ECHO_SERVER").is_empty() { Kind::Http } else { Kind::Grpc };
    let identity = Arc::new(Identity {
        namespace: text("NAMESPACE"),
        ingress: text("INGRESS_NAME"),
        service: text("SERVICE_NAME"),
        pod: text("POD_NAME"),
        http_port: or("HTTP_PORT", "3000"),
    });
    let mut serving = JoinSet::new();
    serving.spawn(port(listen(&identity.http_port).await?, kind, identity.clone(), None));
    if kind == Kind::Http {
        serving.spawn(port(listen(&or("H2C_PORT", "3001")).await?, kind, identity.clone(), None));
    }
    if let Some(config) = tls_config(kind)? {
        serving.spawn(port(listen(&or("HTTPS_PORT", "8443")).await?, kind, identity, Some(config)));
    }
    while let Some(ended) = serving.join_next().await {
        ended.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn text(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

fn or(name: &str, default: &str) -> String {
    env::var(name).ok().filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned())
}

/// TLS where a certificate and its key are given.
fn tls_config(kind: Kind) -> Result<Option<Arc<ServerConfig>>, String> {
    let (certificate, key) = (text("TLS_SERVER_CERT"), or("TLS_SERVER_PRIVKEY", &text("TLS_SERVER_PRIV_KEY")));
    if certificate.is_empty() || key.is_empty() {
        return Ok(None);
    }
    let pair = tls::pair_of_files(&certificate, &key)
        .map_err(|error| format!("TLS_SERVER_CERT and TLS_SERVER_PRIVKEY: {error}"))?;
    let clients = match text("TLS_CLIENT_CACERTS") {
        none if none.is_empty() => Clients::Any,
        file => Clients::Known(file),
    };
    let alpn: &[&[u8]] = if kind == Kind::Grpc { &[b"h2"] } else { &[b"h2", b"http/1.1"] };
    tls::config(&pair, alpn, &clients).map(Some)
}

async fn listen(port: &str) -> Result<TcpListener, String> {
    let listener = serve::listen(&format!(":{port}")).await;
    let listener = listener.map_err(|error| format!("can't listen on port {port}: {error}"))?;
    println!("Starting server, listening on port {port}");
    Ok(listener)
}

async fn port(
    listener: TcpListener,
    kind: Kind,
    identity: Arc<Identity>,
    tls: Option<Arc<ServerConfig>>,
) -> std::io::Result<()> {
    serve::accept(listener, move |stream, _, stopped| {
        let (identity, tls) = (identity.clone(), tls.clone());
        async move {
            let answer = |session: Option<Session>| {
                let session = Arc::new(session);
                move |request| respond(kind, identity.clone(), session.clone(), request)
            };
            match tls {
                None => serve::http(stream, answer(None), stopped).await,
                Some(config) => {
                    // A client that gets no further than a handshake is nobody's concern here.
                    let Ok(accepted) = TlsAcceptor::from(config).accept(stream).await else {
                        return;
                    };
                    let session = Session::of(accepted.get_ref().1);
                    serve::http(accepted, answer(Some(session)), stopped).await;
                }
            }
        }
    })
    .await
}

async fn respond(
    kind: Kind,
    identity: Arc<Identity>,
    session: Arc<Option<Session>>,
    request: ::http::Request<hyper::body::Incoming>,
) -> ::http::Response<serve::Body> {
    match kind {
        Kind::Http => http::answer(&identity, session.as_ref().as_ref(), request).await,
        Kind::Grpc => grpc::answer(&identity, session.as_ref().as_ref(), request).await,
    }
}
