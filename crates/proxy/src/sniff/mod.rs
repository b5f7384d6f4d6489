//! What protocol a connection speaks, told by its first bytes.

mod client_hello;
mod http;

use std::io;
use std::time::Duration;

use lateen_proxy_core::Transport;
use lateen_proxy_core::listener::Sniff;

use crate::buffer::Inbuf;
use crate::io::Stream;

pub use client_hello::ClientHello;

/// Most bytes looked at.
const LIMIT: usize = 64 << 10;

/// What was found.
#[derive(Debug, Default)]
pub struct Sniffed {
    /// TLS or not.
    pub transport: Transport,
    /// Server name of the ClientHello.
    pub server_name: Option<String>,
    /// ALPN of the ClientHello, or the HTTP version found.
    pub protocols: Vec<String>,
    /// The client ended the connection meanwhile.
    pub ended: bool,
}

/// Why sniffing gave up.
#[derive(Debug, thiserror::Error)]
pub enum SniffError {
    /// The connection broke.
    #[error("the client's connection broke before it sent anything useful: {0}")]
    Io(#[from] io::Error),
    /// Nothing came in time.
    #[error("the client sent nothing within the listener's time limit")]
    Timeout,
}

/// Reads until the protocol is known. What was read stays in `inbuf`.
pub async fn sniff(stream: &Stream, inbuf: &mut Inbuf, settings: &Sniff, port: u16) -> Result<Sniffed, SniffError> {
    let tls = settings.tls.as_ref().is_some_and(|except| !except.contains(port));
    let http = settings.http.as_ref().is_some_and(|except| !except.contains(port));
    if !tls && !http {
        return Ok(Sniffed::default());
    }
    let looking = look(stream, inbuf, tls, http);
    match settings.timeout {
        None => looking.await,
        Some(limit) => match timeout(limit, looking).await {
            Some(found) => found,
            None if settings.continue_on_timeout => Ok(Sniffed::default()),
            None => Err(SniffError::Timeout),
        },
    }
}

async fn timeout<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, future).await.ok()
}

async fn look(stream: &Stream, inbuf: &mut Inbuf, tls: bool, http: bool) -> Result<Sniffed, SniffError> {
    let mut tls_open = tls;
    loop {
        if !inbuf.is_empty() || !tls {
            if tls_open {
                match client_hello::parse(inbuf.bytes()) {
                    client_hello::Parsed::Hello(hello) => return Ok(hello.into()),
                    client_hello::Parsed::NotTls => tls_open = false,
                    client_hello::Parsed::Incomplete => {}
                }
            }
            if !tls_open {
                if !http {
                    return Ok(Sniffed::default());
                }
                if let Some(found) = http::detect(inbuf.bytes()) {
                    let protocols = found.map(str::to_owned).into_iter().collect();
                    return Ok(Sniffed { protocols, ..Sniffed::default() });
                }
            }
        }
        if inbuf.fill(stream, LIMIT).await? == 0 {
            return Ok(Sniffed { ended: true, ..Sniffed::default() });
        }
    }
}

impl From<ClientHello> for Sniffed {
    fn from(hello: ClientHello) -> Self {
        Self { transport: Transport::Tls, server_name: hello.server_name, protocols: hello.alpn, ended: false }
    }
}
