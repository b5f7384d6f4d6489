//! A port of a pod on this machine, by `kubectl port-forward`.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use anyhow::Context;

use crate::kubectl::Kubectl;

/// A forwarded port, for as long as this lives.
pub(super) struct Forwarded {
    /// Kept for its end.
    _forwarder: Forwarder,
    address: SocketAddr,
}

/// The process that forwards; it ends with this.
struct Forwarder(Child);

impl Forwarded {
    /// Forwards `port` of a pod of `target`, which is `KIND/NAME`.
    pub fn open(kubectl: &Kubectl, namespace: &str, target: &str, port: u16) -> anyhow::Result<Self> {
        let child = kubectl
            .command(&["port-forward", "--address", "127.0.0.1", "-n", namespace, target, &format!(":{port}")])
            .stdout(Stdio::piped())
            .spawn()
            .context("kubectl port-forward")?;
        let mut forwarder = Forwarder(child);
        let mut output = BufReader::new(forwarder.0.stdout.take().context("stdout")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        // It tells of every connection and ends when nobody listens.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        // Forwarding from 127.0.0.1:40123 -> 17070
        let address = line.split_whitespace().nth(2).and_then(|word| word.parse().ok());
        let address = address.with_context(|| format!("kubectl port-forward {target} says {line:?}"))?;
        Ok(Self { _forwarder: forwarder, address })
    }

    /// Where on this machine it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
