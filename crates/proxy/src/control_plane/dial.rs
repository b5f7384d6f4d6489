//! One connection to the control plane.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use nix::sys::socket::{setsockopt, sockopt};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::{ControlPlane, DialError};

/// A byte stream, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) async fn dial(target: &ControlPlane) -> Result<Box<dyn Stream>, DialError> {
    let tcp = connect(target).await.map_err(|error| failed(target, &error))?;
    if target.is_plaintext() {
        return Ok(Box::new(tcp));
    }
    let host = target.address.rsplit_once(':').map_or(target.address.as_str(), |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host).map_err(|_| DialError::Address(target.address.clone()))?;
    let connector = TlsConnector::from(Arc::new(client_config(target)?));
    let tls = connector.connect(name, tcp).await.map_err(|error| failed(target, &error))?;
    Ok(Box::new(tls))
}

fn failed(target: &ControlPlane, error: &io::Error) -> DialError {
    DialError::Connect { address: target.address.clone(), error: error.to_string() }
}

async fn connect(target: &ControlPlane) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in lookup_host(&target.address).await? {
        match connect_to(address, target.mark).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_to(address: SocketAddr, mark: Option<u32>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(mark) = mark {
        setsockopt(&socket, sockopt::Mark, &mark)?;
    }
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

fn client_config(target: &ControlPlane) -> Result<ClientConfig, DialError> {
    let bad = |error: String| DialError::Root { path: target.root_file.display().to_string(), error };
    let pem = std::fs::read(&target.root_file).map_err(|e| bad(e.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| bad(e.to_string()))?;
        roots.add(certificate).map_err(|e| bad(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("it holds no certificate".to_owned()));
    }
    let builder = ClientConfig::builder_with_provider(target.provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| bad(e.to_string()))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
