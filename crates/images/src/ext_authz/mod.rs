//! The external authorizer of Istio's samples, over HTTP and as Envoy's gRPC service: it allows what carries the header
//! `x-ext-authz: allow`, and without that header, over gRPC, what comes from one service account.

mod api;
mod grpc;
mod http;

use std::{process::ExitCode, sync::Arc};

use tokio::net::TcpListener;

use crate::{go_flags, serve};

/// The header that decides.
const CHECK: &str = "x-ext-authz";
/// Its value for a request that may pass.
const ALLOWED: &str = "allow";
/// The header of the answer that tells the verdict.
const RESULT: &str = "x-ext-authz-check-result";
/// The header of the answer that tells what was asked.
const RECEIVED: &str = "x-ext-authz-check-received";
/// A header that the answer sets anew.
const OVERRIDE: &str = "x-ext-authz-additional-header-override";
/// The longest account of a request that goes into a header.
const RECEIVED_LIMIT: usize = 60_000;

/// What the command line says.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    http: String,
    grpc: String,
    /// The service account whose calls are allowed when they don't carry the header.
    account: String,
}

pub(crate) async fn run(args: &[String]) -> ExitCode {
    let options = match parse(args) {
        Ok(options) => options,
        Err(reason) => {
            eprintln!("ext-authz: {reason}");
            return ExitCode::from(2);
        }
    };
    match start(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("ext-authz: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options { http: "8000".into(), grpc: "9000".into(), account: "a".into() };
    for (name, value) in go_flags::read(args, &[]).map_err(|refused| refused.to_string())? {
        match name {
            "http" => options.http = value.to_owned(),
            "grpc" => options.grpc = value.to_owned(),
            "allow_service_account" => options.account = value.to_owned(),
            _ => return Err(format!("flag provided but not defined: -{name}")),
        }
    }
    Ok(options)
}

async fn start(options: Options) -> Result<(), String> {
    let (http, grpc) = (listen("HTTP", &options.http).await?, listen("gRPC", &options.grpc).await?);
    served(http, grpc, options.account).await.map_err(|error| error.to_string())
}

async fn listen(what: &str, port: &str) -> Result<TcpListener, String> {
    let listener = serve::listen(&format!(":{port}")).await;
    let listener = listener.map_err(|error| format!("can't listen on port {port}: {error}"))?;
    println!("Starting {what} server at port {port}");
    Ok(listener)
}

async fn served(http: TcpListener, grpc: TcpListener, account: String) -> std::io::Result<()> {
    let account: Arc<str> = account.into();
    let http = serve::serve(http, |request, _| http::answer(request));
    let grpc = serve::serve(grpc, move |request, _| grpc::answer(account.clone(), request));
    tokio::try_join!(http, grpc).map(drop)
}

/// The word for a verdict.
fn verdict(allowed: bool) -> &'static str {
    if allowed { "allowed" } else { "denied" }
}

/// The body of a denial.
fn reason() -> String {
    format!("denied by ext_authz for not found header `{CHECK}: {ALLOWED}` in the request")
}

/// An account of a request, as far as a header can hold it.
fn bounded(received: String) -> String {
    if received.len() <= RECEIVED_LIMIT { received } else { "<too-long>".into() }
}

#[cfg(test)]
mod tests;
