//! What a handshake settled, as a server tells it.

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::{ProtocolVersion, ServerConnection};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A server's view of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    /// `TLSv1.3`, `TLSv1.2`.
    pub version: &'static str,
    pub cipher_suite: String,
    pub alpn: String,
    pub server_name: String,
    /// The client's certificates, DER, its own first.
    client: Vec<Vec<u8>>,
}

impl Session {
    pub fn of(session: &ServerConnection) -> Self {
        let chain = session.peer_certificates().unwrap_or_default();
        Session {
            version: match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "",
            },
            cipher_suite: session
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                // As Go names those of version 1.3.
                .map(|name| name.replace("TLS13_", "TLS_"))
                .unwrap_or_default(),
            alpn: session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default(),
            server_name: session.server_name().unwrap_or_default().to_owned(),
            client: chain.iter().map(|certificate| certificate.to_vec()).collect(),
        }
    }

    /// The client's certificates, PEM.
    pub fn client_certificates(&self) -> Vec<String> {
        self.client.iter().map(|der| pem(der)).collect()
    }

    /// Subject and serial number of the client's certificate, as Go writes them: the most specific part first.
    pub fn client(&self) -> Option<(String, String)> {
        let (_, certificate) = X509Certificate::from_der(self.client.first()?).ok()?;
        let written = certificate.subject().to_string();
        let mut parts: Vec<&str> = written.split(", ").collect();
        parts.reverse();
        let serial = certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
        Some((parts.join(","), serial))
    }
}

fn pem(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}
