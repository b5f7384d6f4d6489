//! TLS at the application.

use std::{path::Path, sync::Arc};

use rustls::ServerConfig;

use crate::{
    echo::options::Options,
    tls::{self, Clients, Pair},
};

/// Where the original image has a certificate of its own; ours makes one at its start.
const OWN_CERTIFICATE: &str = "/cert.crt";

/// The settings of ports with HTTP, gRPC and bytes.
pub(super) fn configs(options: &Options) -> Result<[Arc<ServerConfig>; 3], String> {
    let pair = pair(options)?;
    let with = |alpn: &[&[u8]]| {
        let alpn = if options.disable_alpn { &[] } else { alpn };
        tls::config(&pair, alpn, &Clients::Any)
    };
    Ok([with(&[b"h2", b"http/1.1", b"http/1.0"])?, with(&[b"h2"])?, with(&[])?])
}

fn pair(options: &Options) -> Result<Pair, String> {
    match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) if certificate != OWN_CERTIFICATE || Path::new(certificate).exists() => {
            tls::pair_of_files(certificate, key).map_err(|error| format!("--crt and --key: {error}"))
        }
        _ => tls::own_pair(),
    }
}
