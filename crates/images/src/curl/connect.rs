//! From a URL to a connection: addresses, TCP, TLS.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use tokio::net::TcpStream;

use super::{
    failure::Failure,
    options::{Family, Options},
    output::note,
    url::Url,
};

/// How long connecting may take where nothing else is said.
const PATIENCE: Duration = Duration::from_secs(300);

/// A TCP connection, and when its parts were done.
pub(super) struct Connected {
    pub stream: TcpStream,
    pub remote: SocketAddr,
    pub resolved_after: Duration,
    pub connected_after: Duration,
}

/// Connects to the host of `url`, or to where the options send that host.
pub(super) async fn connect(options: &Options, url: &Url, started: Instant) -> Result<Connected, Failure> {
    let began = Instant::now();
    let limit = options.connect_timeout.unwrap_or(PATIENCE);
    let attempt = tokio::time::timeout(limit, attempt(options, url, started)).await;
    attempt.unwrap_or_else(|_| {
        Err(Failure::Timeout(format!("Connection timed out after {} milliseconds", began.elapsed().as_millis())))
    })
}

async fn attempt(options: &Options, url: &Url, started: Instant) -> Result<Connected, Failure> {
    let (host, port) = destination(options, url);
    let addresses = addresses(options, &host, port).await?;
    let resolved_after = started.elapsed();
    let began = Instant::now();
    for address in addresses {
        note(options, format_args!("  Trying {address}..."));
        match TcpStream::connect(address).await {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                let connected_after = started.elapsed();
                note(options, format_args!("Connected to {host} ({}) port {port}", address.ip()));
                return Ok(Connected { stream, remote: address, resolved_after, connected_after });
            }
            Err(error) => {
                note(options, format_args!("connect to {} port {port} failed: {}", address.ip(), plain(&error)));
            }
        }
    }
    Err(Failure::Connect(host, port, began.elapsed()))
}

/// `--connect-to` replaces host and port, or one of them.
fn destination(options: &Options, url: &Url) -> (String, u16) {
    let port = url.port.to_string();
    for (from_host, from_port, to_host, to_port) in &options.connect_to {
        if (from_host.is_empty() || *from_host == url.host) && (from_port.is_empty() || *from_port == port) {
            let host = if to_host.is_empty() { url.host.clone() } else { to_host.trim_matches(['[', ']']).into() };
            return (host, to_port.parse().unwrap_or(url.port));
        }
    }
    (url.host.clone(), url.port)
}

async fn addresses(options: &Options, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let given =
        options.resolve.iter().find(|(known, known_port, _)| (known == host || known == "*") && *known_port == port);
    let found: Vec<SocketAddr> = if let Some((_, _, addresses)) = given {
        addresses.iter().map(|address| SocketAddr::new(*address, port)).collect()
    } else if let Ok(address) = host.parse::<IpAddr>() {
        vec![SocketAddr::new(address, port)]
    } else {
        let looked_up = tokio::net::lookup_host((host, port)).await;
        looked_up.map_err(|_| Failure::Resolve(host.to_owned()))?.collect()
    };
    let wanted = |address: &SocketAddr| match options.family {
        Some(Family::V4) => address.is_ipv4(),
        Some(Family::V6) => address.is_ipv6(),
        None => true,
    };
    let found: Vec<SocketAddr> = found.into_iter().filter(wanted).collect();
    if found.is_empty() { Err(Failure::Resolve(host.to_owned())) } else { Ok(found) }
}

/// An operating system's error without Rust's number.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
