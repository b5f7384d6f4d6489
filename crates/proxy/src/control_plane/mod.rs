//! The way to the control plane: TLS checked against the mesh's root, the pod's token as credential.

mod dial;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use lateen_xds::HTTP2_WINDOW_BYTES;
use rustls::crypto::CryptoProvider;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};

/// Why the control plane could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The token file cannot be read.
    #[error("cannot read the pod's token {path}: {error}; the pod needs the projected volume istio-token")]
    Token {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The token is not one.
    #[error("the pod's token {0} is no valid token: it has characters that cannot be sent")]
    TokenText(String),
    /// The root file cannot be used.
    #[error("cannot read the mesh's root certificate {path}: {error}; it comes from ConfigMap istio-ca-root-cert")]
    Root {
        /// The file.
        path: String,
        /// Why.
        error: String,
    },
    /// The address is none.
    #[error("`{0}` is no control plane address; write it like istiod.istio-system.svc:15012")]
    Address(String),
    /// No connection.
    #[error("cannot reach the control plane at {address}: {error}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        error: String,
    },
}

/// Where the control plane is and how to speak to it.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    /// Host and port.
    pub address: String,
    /// The pod's token; read anew for each connection, as it is rotated.
    pub token_file: PathBuf,
    /// Roots that its certificate has to lead to; read anew, too.
    pub root_file: PathBuf,
    /// Mark of our sockets, where capture knows them by it.
    pub mark: Option<u32>,
    /// The pod's cluster.
    pub cluster_id: String,
    /// Cryptography.
    pub provider: Arc<CryptoProvider>,
}

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a quiet connection is checked.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long an answer to the check may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The port on which the control plane speaks without TLS.
const PLAINTEXT_PORT: &str = ":15010";

impl ControlPlane {
    /// Opens a connection.
    pub async fn channel(&self) -> Result<Channel, DialError> {
        let endpoint = Endpoint::from(self.origin()?)
            .connect_timeout(CONNECT_TIMEOUT)
            .initial_stream_window_size(HTTP2_WINDOW_BYTES)
            .initial_connection_window_size(HTTP2_WINDOW_BYTES)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let this = self.clone();
        let connector = tower::service_fn(move |_: http::Uri| {
            let this = this.clone();
            async move { dial::dial(&this).await.map(TokioIo::new) }
        });
        endpoint.connect_with_connector(connector).await.map_err(|e| self.broken(&e))
    }

    /// Scheme and authority of the control plane.
    pub fn origin(&self) -> Result<http::Uri, DialError> {
        let scheme = if self.is_plaintext() { "http" } else { "https" };
        format!("{scheme}://{}", self.address).parse().map_err(|_| DialError::Address(self.address.clone()))
    }

    /// The credentials of the pod, read now.
    pub fn credentials(&self) -> Result<MetadataMap, DialError> {
        let path = || self.token_file.display().to_string();
        let mut metadata = MetadataMap::new();
        if let Ok(cluster) = MetadataValue::try_from(self.cluster_id.as_str()) {
            metadata.insert("clusterid", cluster);
        }
        let token = match std::fs::read_to_string(&self.token_file) {
            Ok(token) => token,
            // The plaintext port asks for none.
            Err(_) if self.is_plaintext() => return Ok(metadata),
            Err(error) => {
                return Err(DialError::Token { path: path(), error });
            }
        };
        let mut value =
            MetadataValue::try_from(format!("Bearer {}", token.trim())).map_err(|_| DialError::TokenText(path()))?;
        value.set_sensitive(true);
        metadata.insert("authorization", value);
        Ok(metadata)
    }

    /// Names the control plane in a transport error.
    pub(crate) fn broken(&self, error: &(dyn std::error::Error + 'static)) -> DialError {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        DialError::Connect { address: self.address.clone(), error: text }
    }

    fn is_plaintext(&self) -> bool {
        self.address.ends_with(PLAINTEXT_PORT)
    }
}
