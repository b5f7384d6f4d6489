//! The server's HTTP face.

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpListener;

use crate::engine::Engine;

/// Serves all listeners until dropped.
pub async fn serve(engine: Arc<Engine>, tls: Arc<ServerConfig>, listeners: Vec<TcpListener>) {
    let _ = (engine, tls, listeners);
}
