//! `lateen`: a service mesh in one binary.

mod commands;
mod images;
mod operator;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A service mesh in one binary: Istio's APIs and behaviour, and no cluster needed to begin.
#[derive(Parser)]
#[command(name = "lateen", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a cluster with the mesh on this machine
    Up(commands::up::Args),
    /// Stop the cluster of this machine
    Down(commands::down::Args),
    /// Show whether a cluster runs on this machine
    Status(commands::status::Args),
    /// Run kubectl against the cluster of this machine
    Kubectl(commands::kubectl::Args),
    /// Show the proxies that the control plane knows, and whether they are up to date
    #[command(visible_alias = "ps")]
    ProxyStatus(operator::proxy_status::Args),
    /// Show what a proxy has been told
    #[command(visible_alias = "pc")]
    ProxyConfig(operator::proxy_config::Args),
    /// Show who still sends plaintext, and refuse it namespace by namespace
    Mtls(operator::mtls::Args),
    /// Suggest authorization policies out of what was seen
    Authz(operator::authz::Args),
    /// Show versions
    Version(operator::version::Args),
    /// Run the control plane
    Control(commands::control::Args),
    /// Run the data plane of a pod
    Proxy(commands::proxy::Args),
    /// Set up interception in the current network namespace (the init container)
    Capture(commands::capture::Args),
    /// Send one request, as from inside a container
    #[command(hide = true)]
    Request(operator::request::Args),
    /// Run a program of a built-in image
    #[command(hide = true)]
    Image(commands::image::Args),
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let (program, rest) = args.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    // Stages of the local cluster enter namespaces, which only works before any thread exists.
    if let Some(code) = lateen_local::reexec::dispatch(rest, commands::up::platform) {
        return code;
    }
    if let Some(applet) = lateen_images::applet(program) {
        return lateen_images::run(applet, rest);
    }
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(args) => commands::up::run(&args),
        Command::Down(args) => commands::down::run(&args),
        Command::Status(args) => commands::status::run(&args),
        Command::Kubectl(args) => commands::kubectl::run(&args),
        Command::ProxyStatus(args) => done(operator::proxy_status::run(&args)),
        Command::ProxyConfig(args) => done(operator::proxy_config::run(&args)),
        Command::Mtls(args) => done(operator::mtls::run(&args)),
        Command::Authz(args) => done(operator::authz::run(&args)),
        Command::Version(args) => done(operator::version::run(&args)),
        Command::Control(args) => commands::control::run(&args),
        Command::Proxy(args) => commands::proxy::run(&args),
        Command::Capture(args) => commands::capture::run(&args),
        Command::Request(args) => done(operator::request::run(&args)),
        Command::Image(args) => Ok(commands::image::run(&args)),
    }
}

fn done(result: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    result.map(|()| ExitCode::SUCCESS)
}
