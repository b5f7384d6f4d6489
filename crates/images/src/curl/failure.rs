//! What can go wrong, with curl's exit code and words for it.

use std::time::Duration;

/// A transfer that failed, or a command line that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The command line.
    Usage(String),
    /// The URL's scheme isn't one of ours.
    Protocol(String),
    /// The URL can't be read.
    Url(String),
    /// The host has no address.
    Resolve(String),
    /// Nobody accepts connections: host, port, time spent.
    Connect(String, u16, Duration),
    /// The server speaks something else.
    Weird(String),
    /// The body ended early.
    Partial(String),
    /// `--fail` and a status of 400 or more.
    Http(u16),
    /// The output can't be written.
    Write(String),
    /// A local file can't be read.
    Read(String),
    /// Out of time.
    Timeout(String),
    /// The TLS handshake.
    Tls(String),
    /// `--max-redirs`.
    Redirects(u32),
    /// The server closed the connection without an answer.
    Empty,
    /// The request can't be sent.
    Send(String),
    /// The answer can't be received.
    Receive(String),
    /// The server's certificate isn't to be trusted.
    Certificate(String),
    /// A client certificate or CA file can't be used: exit code, text.
    File(u8, String),
    /// The HTTP/2 connection.
    Http2(String),
}

impl Failure {
    /// curl's exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Protocol(_) => 1,
            Failure::Url(_) => 3,
            Failure::Resolve(_) => 6,
            Failure::Connect(..) => 7,
            Failure::Weird(_) => 1,
            Failure::Http2(_) => 16,
            Failure::Partial(_) => 18,
            Failure::Http(_) => 22,
            Failure::Write(_) => 23,
            Failure::Read(_) => 26,
            Failure::Timeout(_) => 28,
            Failure::Tls(_) => 35,
            Failure::Redirects(_) => 47,
            Failure::Empty => 52,
            Failure::Send(_) => 55,
            Failure::Receive(_) => 56,
            Failure::Certificate(_) => 60,
            Failure::File(code, _) => *code,
        }
    }

    /// curl's words.
    pub fn text(&self) -> String {
        match self {
            Failure::Usage(text)
            | Failure::Weird(text)
            | Failure::Partial(text)
            | Failure::Write(text)
            | Failure::Read(text)
            | Failure::Timeout(text)
            | Failure::Tls(text)
            | Failure::Http2(text)
            | Failure::File(_, text) => text.clone(),
            Failure::Protocol(scheme) => format!("Protocol \"{scheme}\" not supported"),
            Failure::Url(reason) => format!("URL rejected: {reason}"),
            Failure::Resolve(host) => format!("Could not resolve host: {host}"),
            Failure::Connect(host, port, spent) => format!(
                "Failed to connect to {host} port {port} after {} ms: Could not connect to server",
                spent.as_millis()
            ),
            Failure::Http(status) => format!("The requested URL returned error: {status}"),
            Failure::Redirects(limit) => format!("Maximum ({limit}) redirects followed"),
            Failure::Empty => "Empty reply from server".into(),
            Failure::Send(reason) => format!("Send failure: {reason}"),
            Failure::Receive(reason) => format!("Recv failure: {reason}"),
            Failure::Certificate(reason) => format!("SSL certificate problem: {reason}"),
        }
    }
}
