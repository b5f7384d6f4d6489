//! Calls from within a workload: its gRPC port forwarded to this machine, and what it reports, parsed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::Context;
use lateen_images::echo::Client;
use lateen_images::echo::api::ForwardEchoRequest;

use super::Workload;
use crate::kubectl::Kubectl;

/// How long a source may take beyond what its calls may.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where workloads take orders.
const PORT: &str = ":17070";

/// A workload that makes calls.
pub struct Source {
    forwarder: Child,
    address: SocketAddr,
    runtime: tokio::runtime::Runtime,
}

/// What one call was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status, `200` also for gRPC and bytes.
    pub status: String,
    /// `Field=value` lines of the destination.
    pub seen: BTreeMap<String, String>,
    /// The headers that the destination saw; repeated ones are joined by commas.
    pub request_headers: BTreeMap<String, String>,
    /// The headers that the source saw in the answer.
    pub response_headers: BTreeMap<String, String>,
    /// The lines of the body.
    pub body: Vec<String>,
}

impl Source {
    pub(super) fn open(kubectl: &Kubectl, workload: &Workload) -> anyhow::Result<Self> {
        let target = workload.controller();
        let mut forwarder = kubectl
            .command(&["port-forward", "--address", "127.0.0.1", "-n", &workload.namespace, &target, PORT])
            .stdout(Stdio::piped())
            .spawn()
            .context("kubectl port-forward")?;
        let mut output = BufReader::new(forwarder.stdout.take().context("stdout")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        // It tells of every connection and ends when nobody listens.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        // Forwarding from 127.0.0.1:40123 -> 17070
        let address = line.split_whitespace().nth(2).and_then(|word| word.parse().ok());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let address = match address {
            Some(address) => address,
            None => {
                let _ = forwarder.kill();
                let _ = forwarder.wait();
                anyhow::bail!("kubectl port-forward {target} says {line:?}");
            }
        };
        Ok(Self { forwarder, address, runtime })
    }

    /// Makes the calls; one response for each.
    ///
    /// # Errors
    /// When a call fails; the error says which and why.
    pub fn call(&self, request: &ForwardEchoRequest) -> anyhow::Result<Vec<Response>> {
        // What is forwarded may hang in ways that the source can't tell.
        let limit =
            PATIENCE + Duration::from_micros(request.timeout_micros.unsigned_abs()) * request.count.unsigned_abs();
        let answer = self.runtime.block_on(async {
            let call = async { Client::connect(self.address).await?.forward(request).await };
            tokio::time::timeout(limit, call).await
        });
        let answer = answer.map_err(|_| anyhow::anyhow!("no answer from the source within {limit:?}"))??;
        Ok(answer.output.iter().map(|text| parse(text)).collect())
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let _ = self.forwarder.kill();
        let _ = self.forwarder.wait();
    }
}

fn parse(text: &str) -> Response {
    let mut response = Response::default();
    for line in text.lines() {
        // `[3] Field=value` is the source's, `[3 body] Field=value` the destination's.
        let Some((mark, line)) = line.split_once("] ") else {
            continue;
        };
        let of_destination = mark.ends_with(" body");
        if of_destination {
            response.body.push(line.to_owned());
        }
        let Some((field, value)) = line.split_once('=') else {
            continue;
        };
        let headers = match (field, of_destination) {
            ("StatusCode", _) => {
                response.status = value.to_owned();
                continue;
            }
            ("RequestHeader", true) => &mut response.request_headers,
            ("ResponseHeader", false) => &mut response.response_headers,
            (_, true) => {
                response.seen.insert(field.to_owned(), value.to_owned());
                continue;
            }
            _ => continue,
        };
        if let Some((name, value)) = value.split_once(':') {
            let known = headers.entry(name.to_owned()).or_insert_with(String::new);
            *known = if known.is_empty() { value.to_owned() } else { format!("{known},{value}") };
        }
    }
    response
}
