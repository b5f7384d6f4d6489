//! `lateen request METHOD PORT PATH`: one request to loopback, for use inside a container that has no other client.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// Answers longer than this are not for a terminal.
const LARGEST: u64 = 256 << 20;

/// Arguments of `lateen request`.
#[derive(clap::Args)]
pub struct Args {
    /// GET or POST
    method: String,
    /// Port on 127.0.0.1, for instance 15000
    port: u16,
    /// Path with query, for instance /config_dump
    path: String,
    /// Ask again until the answer is a success, for at most this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
}

/// How often a request that waits is sent.
const PAUSE: Duration = Duration::from_millis(200);

/// Sends the request and writes the body to standard output.
///
/// # Errors
/// When nothing answers, or the status is not a success.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(["GET", "POST"].contains(&args.method.as_str()), "method {} is not GET or POST", args.method);
    ensure!(args.path.starts_with('/') && !args.path.contains([' ', '\r', '\n']), "path {:?} is no path", args.path);
    let deadline = Instant::now() + Duration::from_secs(args.wait);
    let body = loop {
        match send(args) {
            Err(_) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            outcome => break outcome?,
        }
    };
    std::io::stdout().write_all(&body)?;
    Ok(())
}

/// The body of a successful answer.
fn send(args: &Args) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, args.port))
        .with_context(|| format!("nothing listens on 127.0.0.1:{}", args.port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "{} {} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        args.method, args.path
    )?;
    let mut answer = Vec::new();
    stream.take(LARGEST).read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").context("the answer has no end of headers")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap_or_default();
    if !status.starts_with('2') {
        bail!("{} answered {status}: {}", args.path, String::from_utf8_lossy(&answer[end + 4..]).trim());
    }
    Ok(answer.split_off(end + 4))
}
