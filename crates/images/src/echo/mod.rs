//! The echo workload of Istio's tests: a server that tells what it saw, and makes calls from where it runs when asked to.

pub mod api;
mod client;
mod forward;
mod lines;
mod options;
mod proxy_protocol;
mod server;

use std::process::ExitCode;

pub use crate::rpc::Status;
pub use client::Client;
pub use forward::forward;

/// The server.
pub(crate) async fn run(args: &[String]) -> ExitCode {
    let ran = match options::parse(args) {
        Ok(options) => server::run(options).await,
        Err(reason) => Err(reason),
    };
    ended("server", ran)
}

/// The program that makes calls and prints their answers.
pub(crate) async fn run_client(args: &[String]) -> ExitCode {
    ended("client", client::run(args).await)
}

fn ended(program: &str, ran: Result<(), String>) -> ExitCode {
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{program}: {reason}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests;
