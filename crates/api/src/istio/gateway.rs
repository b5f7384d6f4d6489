use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::DeclaredPort;

/// What a gateway listens for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Gateway {
    /// Listeners.
    pub servers: Vec<Server>,
    /// Labels of the gateway's pods.
    pub selector: BTreeMap<String, String>,
}

/// One listener of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["port", "hosts"]))]
pub struct Server {
    /// Port and protocol.
    #[schemars(extend("required" = ["number", "protocol", "name"]))]
    pub port: DeclaredPort,
    /// Address to listen on; default all.
    pub bind: String,
    /// Hosts served, optionally with a namespace: `ns/host`, `./host`, `*/host`.
    pub hosts: Vec<String>,
    /// TLS for this listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTlsSettings>,
    /// Not used by gateways.
    pub default_endpoint: String,
    /// Name, unique among all servers.
    pub name: String,
}

/// TLS of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerTlsSettings {
    /// Answer plain HTTP with a redirect to HTTPS.
    pub https_redirect: bool,
    /// Kind of TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ServerTlsMode>,
    /// File with the certificate.
    pub server_certificate: String,
    /// File with the key.
    pub private_key: String,
    /// File with roots for client certificates.
    pub ca_certificates: String,
    /// File with revoked certificates.
    pub ca_crl: String,
    /// Secret with certificate and key.
    pub credential_name: String,
    /// Up to two secrets, of different key types.
    #[schemars(extend("minItems" = 1, "maxItems" = 2))]
    pub credential_names: Vec<String>,
    /// Secret with roots for client certificates.
    pub ca_cert_credential_name: String,
    /// Up to two certificates in files.
    #[schemars(extend("minItems" = 1, "maxItems" = 2))]
    pub tls_certificates: Vec<TlsCertificate>,
    /// Names a client certificate must have one of.
    pub subject_alt_names: Vec<String>,
    /// SHA-256 of acceptable client keys, base64.
    pub verify_certificate_spki: Vec<String>,
    /// SHA-256 of acceptable client certificates, hexadecimal.
    pub verify_certificate_hash: Vec<String>,
    /// Lowest TLS version; default TLSV1_2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_protocol_version: Option<TlsProtocol>,
    /// Highest TLS version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_protocol_version: Option<TlsProtocol>,
    /// Cipher suites for TLS 1.2 and below.
    pub cipher_suites: Vec<String>,
    /// Key exchange curves.
    pub ecdh_curves: Vec<String>,
    /// Accept any client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
}

/// A certificate in files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsCertificate {
    /// File with the certificate.
    pub server_certificate: String,
    /// File with the key.
    pub private_key: String,
    /// File with roots.
    pub ca_certificates: String,
}

/// Kind of TLS of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerTlsMode {
    /// Route by SNI, do not terminate.
    Passthrough,
    /// Terminate, no client certificate.
    Simple,
    /// Terminate, client certificate required.
    Mutual,
    /// Route by the mesh's own SNI form.
    AutoPassthrough,
    /// Terminate with mesh certificates on both sides.
    IstioMutual,
    /// Terminate, client certificate verified if sent.
    OptionalMutual,
}

/// TLS versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsProtocol {
    /// The default.
    #[serde(rename = "TLS_AUTO")]
    Auto,
    /// 1.0
    #[serde(rename = "TLSV1_0")]
    V1_0,
    /// 1.1
    #[serde(rename = "TLSV1_1")]
    V1_1,
    /// 1.2
    #[serde(rename = "TLSV1_2")]
    V1_2,
    /// 1.3
    #[serde(rename = "TLSV1_3")]
    V1_3,
}
