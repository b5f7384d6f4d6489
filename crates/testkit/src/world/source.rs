//! Calls from within a workload or from this machine, and what the caller reports, parsed.

use std::collections::BTreeMap;
use std::time::Duration;

use lateen_images::echo::api::ForwardEchoRequest;
use lateen_images::echo::{Client, forward};

use super::Workload;
use super::forwarded::Forwarded;
use crate::kubectl::Kubectl;

/// How long a source may take beyond what its calls may.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where workloads take orders.
const PORT: u16 = 17070;

/// Who makes calls: a workload, or this machine, which is outside the cluster.
pub struct Source {
    workload: Option<Forwarded>,
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
        let forwarded = Forwarded::open(kubectl, &workload.namespace, &workload.controller(), PORT)?;
        Self::new(Some(forwarded))
    }

    /// This machine.
    ///
    /// # Errors
    /// When the system refuses what a runtime needs.
    pub fn outside() -> anyhow::Result<Self> {
        Self::new(None)
    }

    fn new(workload: Option<Forwarded>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { workload, runtime })
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
            let call = async {
                match &self.workload {
                    Some(forwarded) => Client::connect(forwarded.address()).await?.forward(request).await,
                    None => forward(request.clone()).await,
                }
            };
            tokio::time::timeout(limit, call).await
        });
        let answer = answer.map_err(|_| anyhow::anyhow!("no answer from the source within {limit:?}"))??;
        Ok(answer.output.iter().map(|text| parse(text)).collect())
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
