//! From an accepted connection to its protocol: PROXY protocol, TLS, then HTTP, gRPC or bytes.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{Server, grpc, http, tcp};
use crate::{
    echo::{
        options::{Kind, Port},
        proxy_protocol::{self, Start},
    },
    serve,
    tls::Session,
};

/// How long a client may take for what comes before its first request.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of a connection.
pub(super) struct Connection {
    /// The client, as the PROXY protocol names it, else the socket's other end.
    pub peer: SocketAddr,
    /// The version of the PROXY protocol that the connection began with.
    pub proxy_protocol: Option<u8>,
    pub tls: Option<Session>,
}

/// A connection's bytes, under whatever wraps them.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub(super) async fn serve(
    server: Arc<Server>,
    port: Port,
    stream: TcpStream,
    peer: SocketAddr,
    stopped: watch::Receiver<bool>,
) {
    // Clients that never get as far as a request are nobody's concern here.
    let Ok(Ok((stream, connection))) = timeout(PATIENCE, prepare(&server, &port, stream, peer)).await else {
        return;
    };
    let connection = Arc::new(connection);
    match port.kind {
        Kind::Tcp => tcp::serve(&server, &port, &connection, stream, stopped).await,
        Kind::Http => {
            serve::http(
                stream,
                |request| http::answer(server.clone(), port.clone(), connection.clone(), request),
                stopped,
            )
            .await;
        }
        Kind::Grpc => {
            serve::http(
                stream,
                |request| grpc::answer(server.clone(), port.clone(), connection.clone(), request),
                stopped,
            )
            .await;
        }
    }
}

async fn prepare(
    server: &Server,
    port: &Port,
    stream: TcpStream,
    peer: SocketAddr,
) -> io::Result<(Box<dyn Duplex>, Connection)> {
    let mut connection = Connection { peer, proxy_protocol: None, tls: None };
    let mut stream: Box<dyn Duplex> = Box::new(stream);
    if port.proxy_protocol {
        stream = without_header(stream, &mut connection).await?;
    }
    if port.tls
        && let Some(configs) = &server.tls
    {
        let config = match port.kind {
            Kind::Http => &configs[0],
            Kind::Grpc => &configs[1],
            Kind::Tcp => &configs[2],
        };
        let accepted = TlsAcceptor::from(config.clone()).accept(stream).await?;
        connection.tls = Some(Session::of(accepted.get_ref().1));
        stream = Box::new(accepted);
    }
    Ok((stream, connection))
}

/// Reads the PROXY protocol's header, if the connection begins with one.
async fn without_header(mut stream: Box<dyn Duplex>, connection: &mut Connection) -> io::Result<Box<dyn Duplex>> {
    let mut read = Vec::new();
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            break;
        }
        match proxy_protocol::parse(&read) {
            Start::Incomplete => {}
            Start::Plain => break,
            Start::Header { version, source, length } => {
                connection.proxy_protocol = Some(version);
                connection.peer = source.unwrap_or(connection.peer);
                read.drain(..length);
                break;
            }
        }
    }
    let (reader, writer) = tokio::io::split(stream);
    Ok(Box::new(tokio::io::join(io::Cursor::new(read).chain(reader), writer)))
}
