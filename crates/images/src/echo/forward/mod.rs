//! Calls made on request, from where the server runs.

mod connect;
mod dns;
mod grpc;
mod http;
mod plan;
mod tcp;
mod tls;
mod websocket;

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};

use super::{
    api::{ForwardEchoRequest, ForwardEchoResponse},
    lines::Lines,
};
use crate::rpc::Status;
use plan::{Plan, Scheme};

/// How many calls are under way at once.
const CONCURRENT: usize = 20;

/// Makes the calls that are asked for from here and tells what each was answered.
///
/// # Errors
/// When one of the calls fails, or can't be made as it is asked for; the message says which and why.
pub async fn forward(request: ForwardEchoRequest) -> Result<ForwardEchoResponse, Status> {
    let plan = Plan::new(request).map_err(|reason| Status::new(Status::INVALID_ARGUMENT, reason))?;
    let pool = http::Pool::default();
    let started = Instant::now();
    let calls = (0..plan.count).map(|id| one(&plan, &pool, id, started));
    let results: Vec<_> = stream::iter(calls).buffered(CONCURRENT).collect().await;
    let failed = results.iter().filter(|result| result.is_err()).count();
    let output: Result<Vec<String>, String> = results.into_iter().collect();
    output.map(|output| ForwardEchoResponse { output }).map_err(|first| {
        let count = plan.count;
        Status::new(Status::UNKNOWN, format!("{failed}/{count} requests had errors; first error: {first}"))
    })
}

async fn one(plan: &Plan, pool: &http::Pool, id: usize, started: Instant) -> Result<String, String> {
    if plan.qps > 0 {
        let due = started + Duration::from_secs_f64(id as f64 / f64::from(plan.qps));
        tokio::time::sleep_until(due.into()).await;
    }
    let mut lines = Lines::of_call(id);
    lines.field("Url", &plan.url);
    let began = Instant::now();
    let call = async {
        match plan.scheme {
            Scheme::Http | Scheme::Https => http::call(plan, pool, id, &mut lines).await,
            Scheme::Grpc => grpc::call(plan, id, &mut lines).await,
            Scheme::WebSocket | Scheme::WebSocketTls => websocket::call(plan, id, &mut lines).await,
            Scheme::Tcp | Scheme::Tls => tcp::call(plan, id, &mut lines).await,
            Scheme::Dns => dns::call(plan, id, &mut lines).await,
        }
    };
    match tokio::time::timeout(plan.timeout, call).await {
        Ok(Ok(())) => {
            lines.field("Latency", format_args!("{:?}", began.elapsed()));
            Ok(lines.finish())
        }
        Ok(Err(reason)) => Err(format!("request {id} to {}: {reason}", plan.url)),
        Err(_) => Err(format!("request {id} to {}: timeout after {:?}", plan.url, plan.timeout)),
    }
}
