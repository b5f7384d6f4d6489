//! What every kind of process has: a configuration, an identity, a way to the control plane.

use std::io;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use tokio::net::TcpListener;

use super::AppError;
use crate::certs::{CertStore, CertificateAuthority, Renewal, keep_fresh};
use crate::config::Config;
use crate::control_plane::ControlPlane;
use crate::local_http::{Handler, serve};

/// A process with an identity in the mesh.
pub(crate) struct Identified {
    pub(crate) config: Arc<Config>,
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) certs: Arc<CertStore>,
}

impl Identified {
    pub(crate) fn new(config: Arc<Config>) -> Identified {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Identified { config, provider, certs: Arc::default() }
    }

    /// Gets certificates from now on.
    pub(crate) fn keep_certificate_fresh(&self) {
        let certificates = self.config.certificates;
        let renewal = Renewal {
            spiffe_id: self.config.spiffe_id(),
            key: certificates.key,
            lifetime: certificates.lifetime,
            grace_ratio: certificates.grace_ratio,
            grace_jitter: certificates.grace_jitter,
            root_file: self.config.control.root_file.clone(),
        };
        let authority = CertificateAuthority(self.control_plane(&self.config.control.authority));
        tokio::spawn(keep_fresh(renewal, authority, self.certs.clone(), self.provider.clone()));
    }

    /// The way to a part of the control plane.
    pub(crate) fn control_plane(&self, address: &str) -> ControlPlane {
        ControlPlane {
            address: address.to_owned(),
            token_file: self.config.control.token_file.clone(),
            root_file: self.config.control.root_file.clone(),
            mark: self.config.mark,
            cluster_id: self.config.cluster_id.clone(),
            provider: self.provider.clone(),
        }
    }
}

/// Opens a port; it serves from then on.
pub(crate) fn start_server(
    name: &'static str,
    port: u16,
    bind: fn(u16) -> io::Result<TcpListener>,
    handler: impl Handler,
) -> Result<(), AppError> {
    let listener = bind(port).map_err(|error| AppError::Port(name, port, error))?;
    tokio::spawn(serve(listener, Arc::new(handler)));
    Ok(())
}
