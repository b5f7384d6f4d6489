//! The messages of `proto.EchoTestService`, numbered as Istio's `echo.proto` numbers them.

/// What `Echo` is asked.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EchoRequest {
    /// The text to come back.
    #[prost(string, tag = "1")]
    pub message: String,
}

/// What `Echo` answers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EchoResponse {
    /// What the server saw, one `Field=value` on each line.
    #[prost(string, tag = "1")]
    pub message: String,
}

/// A header of a forwarded call.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Header {
    /// Its name; `Host` sets the authority.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Protocols to offer in a TLS handshake.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Alpn {
    /// In order of preference.
    #[prost(string, repeated, tag = "1")]
    pub value: Vec<String>,
}

/// The PROXY protocol's versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ProxyProtocol {
    /// No header.
    None = 0,
    /// The textual header.
    V1 = 1,
    /// The binary header.
    V2 = 2,
}

/// Calls to make from where the server runs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ForwardEchoRequest {
    /// How many calls; 0 means one.
    #[prost(int32, tag = "1")]
    pub count: i32,
    /// How many to start in each second; 0 means all at once.
    #[prost(int32, tag = "2")]
    pub qps: i32,
    /// How long one call may take; 0 means the server's own limit.
    #[prost(int64, tag = "3")]
    pub timeout_micros: i64,
    /// Where to: `http`, `https`, `grpc`, `ws`, `wss`, `tcp`, `tls` or `dns`, then `://HOST[:PORT][/PATH]`.
    #[prost(string, tag = "4")]
    pub url: String,
    /// Headers to send.
    #[prost(message, repeated, tag = "5")]
    pub headers: Vec<Header>,
    /// What to send as body or message.
    #[prost(string, tag = "6")]
    pub message: String,
    /// Cleartext HTTP/2 without asking first, or HTTP/2 over TLS.
    #[prost(bool, tag = "7")]
    pub http2: bool,
    /// Wait for the server's greeting before anything is sent.
    #[prost(bool, tag = "8")]
    pub server_first: bool,
    /// The HTTP method; `GET` where empty.
    #[prost(string, tag = "9")]
    pub method: String,
    /// The client's certificate, PEM.
    #[prost(string, tag = "10")]
    pub cert: String,
    /// The client's key, PEM.
    #[prost(string, tag = "11")]
    pub key: String,
    /// The authorities to believe, PEM; any server is believed where this and the file are empty.
    #[prost(string, tag = "12")]
    pub ca_cert: String,
    /// Protocols to offer; the scheme's own where absent.
    #[prost(message, optional, tag = "13")]
    pub alpn: Option<Alpn>,
    /// Follow redirects.
    #[prost(bool, tag = "14")]
    pub follow_redirects: bool,
    /// HTTP/3, which this server does not speak.
    #[prost(bool, tag = "15")]
    pub http3: bool,
    /// A file with the client's certificate.
    #[prost(string, tag = "16")]
    pub cert_file: String,
    /// A file with the client's key.
    #[prost(string, tag = "17")]
    pub key_file: String,
    /// A file with the authorities to believe.
    #[prost(string, tag = "18")]
    pub ca_cert_file: String,
    /// Believe any server.
    #[prost(bool, tag = "19")]
    pub insecure_skip_verify: bool,
    /// The name to ask for in a TLS handshake; the `Host` header or the URL's host where empty.
    #[prost(string, tag = "20")]
    pub server_name: String,
    /// The text that a TCP answer must hold; `StatusCode=200` where absent.
    #[prost(message, optional, tag = "21")]
    pub expected_response: Option<String>,
    /// A connection for each call.
    #[prost(bool, tag = "22")]
    pub new_connection_per_request: bool,
    /// Look the host up again for each call.
    #[prost(bool, tag = "23")]
    pub force_dns_lookup: bool,
    /// Begin each connection with a PROXY protocol header.
    #[prost(enumeration = "ProxyProtocol", tag = "25")]
    pub proxy_protocol_version: i32,
}

/// The answers to forwarded calls.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ForwardEchoResponse {
    /// One text for each call, its lines marked with the call's number.
    #[prost(string, repeated, tag = "1")]
    pub output: Vec<String>,
}
