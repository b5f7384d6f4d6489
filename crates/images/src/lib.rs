//! The built-in container images of the local cluster: what `hashicorp/http-echo`, `curlimages/curl` and the httpbin
//! images do, without a registry to fetch them from.

mod curl;
pub mod echo;
mod echo_basic;
mod ext_authz;
mod go_duration;
mod go_flags;
mod http_echo;
mod http_text;
mod httpbin;
mod registry;
mod rpc;
mod serve;
mod tls;
mod web_socket;

use std::process::ExitCode;

pub use registry::{Builtin, list, resolve};

/// Runs the program `name` of a built-in image with its command line arguments, until it ends or gets SIGTERM.
pub fn run(name: &str, args: &[String]) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{name}: can't start: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        match name {
            "istio-app" | "server" => echo::run(args).await,
            "client" => echo::run_client(args).await,
            "echo-basic" => echo_basic::run().await,
            "ext-authz" => ext_authz::run(args).await,
            "http-echo" => http_echo::run(args).await,
            "curl" => curl::run(args).await,
            "httpbin" | "gunicorn" => httpbin::run(httpbin::Flavor::Python, args).await,
            "go-httpbin" => httpbin::run(httpbin::Flavor::Go, args).await,
            _ => {
                eprintln!("no built-in program {name:?}; there are: {}", programs().join(", "));
                ExitCode::from(127)
            }
        }
    })
}

/// The program that a built-in image runs when it is called as `argv0` (the last part of that path), if there is one.
pub fn applet(argv0: &str) -> Option<&'static str> {
    let name = argv0.rsplit('/').next().unwrap_or(argv0);
    programs().into_iter().find(|program| *program == name)
}

fn programs() -> Vec<&'static str> {
    let mut programs: Vec<&'static str> = list().iter().flat_map(|builtin| builtin.applets).copied().collect();
    programs.sort_unstable();
    programs.dedup();
    programs
}
