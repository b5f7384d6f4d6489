//! Connections of calls: addresses, TCP, PROXY protocol, TLS.

use std::{error::Error, net::SocketAddr};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::plan::Plan;
use crate::echo::proxy_protocol;

/// A connection's bytes, under whatever wraps them.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection, ready for the first byte of the scheme's protocol.
pub(super) struct Connected {
    pub stream: Box<dyn Duplex>,
    /// What the server chose of the protocols offered.
    pub alpn: Option<Vec<u8>>,
}

/// Connects to the plan's own destination.
pub(super) async fn connect(plan: &Plan) -> Result<Connected, String> {
    connect_to(plan, &plan.host, plan.port, &plan.server_name).await
}

/// Connects to another destination, as a redirect names it.
pub(super) async fn connect_to(plan: &Plan, host: &str, port: u16, server_name: &str) -> Result<Connected, String> {
    let mut stream = dial(host, port).await?;
    let _ = stream.set_nodelay(true);
    if plan.proxy_protocol > 0 {
        let ends = stream.local_addr().and_then(|local| stream.peer_addr().map(|peer| (local, peer)));
        let (local, peer) = ends.map_err(|error| error.to_string())?;
        let header = proxy_protocol::header(plan.proxy_protocol, local, peer);
        stream.write_all(&header).await.map_err(|error| error.to_string())?;
    }
    let Some(config) = &plan.tls else {
        return Ok(Connected { stream: Box::new(stream), alpn: None });
    };
    let name = ServerName::try_from(server_name.to_owned());
    let name = name.map_err(|_| format!("{server_name:?} can't be the name of a server"))?;
    let stream = TlsConnector::from(config.clone()).connect(name, stream).await;
    let stream = stream.map_err(|error| format!("tls handshake: {}", chain(&error)))?;
    let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    Ok(Connected { stream: Box::new(stream), alpn })
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    let found = tokio::net::lookup_host((host, port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(|error| format!("lookup {host}: {error}"))?.collect();
    let mut last = format!("lookup {host}: no such host");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = format!("dial tcp {address}: {error}"),
        }
    }
    Err(last)
}

/// An error with what caused it.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
