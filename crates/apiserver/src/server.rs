//! The server as its embedding program sees it.

use std::{fs, io, os::unix::fs::DirBuilderExt, path::PathBuf, sync::Arc};

use tokio::net::TcpListener;

use crate::{
    auth::{Tokens, User},
    client::Client,
    config::Config,
    engine::Engine,
    http_front,
    pki::{Pki, PkiError},
    status::Status,
    store::{Store, StoreError},
};

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The state directory cannot be used.
    #[error("cannot use the state directory {path}: {source}; check its owner and mode")]
    Home {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// Keys or certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The objects that every cluster has could not be created.
    #[error("cannot set up the cluster's first objects: {0}")]
    Bootstrap(#[from] Status),
}

/// An API server.
#[derive(Clone)]
pub struct Server {
    engine: Arc<Engine>,
    pki: Arc<Pki>,
}

impl Server {
    /// Opens the state in `config.home`, made if it is not there, and fills in what every
    /// cluster has.
    pub async fn open(config: Config) -> Result<Self, ServerError> {
        let home = config.home.clone();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&home)
            .map_err(|source| ServerError::Home { path: home.clone(), source })?;
        let store = Store::open(&home.join("cluster.redb"), config.watch_history)?;
        let first = u32::from(config.service_cidr.network()) + 1;
        let pki = Pki::open(&home, &[first.into(), config.advertise_address])?;
        let tokens = Tokens::new(&pki.account_key, config.issuer.clone())
            .map_err(|e| PkiError::Damaged { path: home.join("sa.key"), text: e.to_string() })?;
        let engine = Engine::new(store, config, tokens);
        let server = Self { engine: Arc::new(engine), pki: Arc::new(pki) };
        Box::pin(server.engine.bootstrap(&server.client())).await?;
        Ok(server)
    }

    /// A client with all rights.
    pub fn client(&self) -> Client {
        Client::new(Arc::clone(&self.engine), User::system("system:apiserver"))
    }

    #[cfg(test)]
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The cluster CA's certificate (what `kube-root-ca.crt` holds), PEM.
    pub fn ca_pem(&self) -> &str {
        &self.pki.ca_pem
    }

    /// A kubeconfig with the administrator's certificate for `server`, such as
    /// `https://127.0.0.1:6443`.
    pub fn kubeconfig(&self, server: &str) -> String {
        self.pki.kubeconfig(server)
    }

    /// Serves HTTPS on all listeners until the future is dropped.
    pub async fn serve(&self, listeners: Vec<TcpListener>) -> Result<(), ServerError> {
        let tls = self.pki.server_config()?;
        http_front::serve(Arc::clone(&self.engine), tls, listeners).await;
        Ok(())
    }
}
